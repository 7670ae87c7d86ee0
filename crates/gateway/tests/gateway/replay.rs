//! Replay: what may be ingested once more, from which replica, and what a crash leaves of it.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use simbdp_api::wire::rest::FileState;
use simbdp_broker::queue::PublishError;
use simbdp_coredms::Ledger;
use simbdp_coredms::ledger::Outcome;
use simbdp_gateway::sweeper;
use uuid::Uuid;

use crate::support::{Answer, CSV, READER, Running, WRITER, World, ask, files};

const QUEUE: &str = "ingest.flights";
const ROWS: &str = concat!(
    r#"{"line":3,"ordinal":1,"reason":"r","raw":"x,b","header":"id,name"}"#,
    "\n"
);

fn id(answer: &Answer) -> Uuid {
    answer.json()["id"].as_str().unwrap().parse().unwrap()
}

async fn replay_as(gateway: &Running, who: &str, id: Uuid, query: &str) -> Answer {
    let request = Request::post(format!("/v1/files/{id}/replay{query}"));
    let request = request.header("authorization", who);
    ask(&gateway.public, request.body(Body::empty()).unwrap()).await
}

async fn replay(gateway: &Running, id: Uuid, query: &str) -> Answer {
    replay_as(gateway, WRITER, id, query).await
}

async fn end(world: &World, id: Uuid, state: FileState, accepted: u64, rejected: u64) {
    let outcome = Outcome {
        state,
        accepted,
        rejected,
        seconds: 1.0,
        rejects: None,
        error: (state == FileState::Failed).then(|| "no header".to_owned()),
        duplicate_of: None,
    };
    assert!(world.ledger.ended(id, &outcome).await.unwrap());
}

/// A file that is done but for one row.
async fn with_a_reject(world: &World, gateway: &Running) -> Uuid {
    let file = id(&gateway.put("a.csv", CSV).await);
    let inside = format!("/internal/files/{file}/rejects");
    assert_eq!(gateway.inside("PUT", &inside, ROWS).await.status, 204);
    end(world, file, FileState::Done, 1, 1).await;
    file
}

#[tokio::test]
async fn a_failed_file_is_ingested_again_as_it_was() {
    let world = World::new();
    let gateway = world.start();
    let file = id(&gateway.put("a.csv", CSV).await);
    end(&world, file, FileState::Failed, 0, 0).await;
    sweeper::round(&gateway.gateway).await;
    let answer = replay(&gateway, file, "").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json()["replays"], 1);
    let works = world.publisher.works(QUEUE);
    assert_eq!(works.len(), 2);
    let again = works[1].replay.unwrap();
    assert_eq!((again.number, again.rejects), (1, false));
    let (mut first, mut second) = (works[0].clone(), works[1].clone());
    (first.replay, second.replay) = (None, None);
    assert_eq!(first, second, "the same identity, version and bytes");
    let told = gateway.get(&format!("/v1/files/{file}")).await.json();
    assert_eq!(
        (&told["state"], &told["replays"]),
        (&json!("Queued"), &json!(1))
    );
    assert_eq!(told.get("error"), None);
    let twice = replay(&gateway, file, "").await;
    twice.problem(409, "is Queued");
    end(&world, file, FileState::Failed, 0, 0).await;
    assert_eq!(replay(&gateway, file, "").await.json()["replays"], 2);
}

#[tokio::test]
async fn quarantined_rows_are_replayed_while_bytes_and_rows_are_kept() {
    let world = World::new();
    let gateway = world.start();
    let file = with_a_reject(&world, &gateway).await;
    sweeper::round(&gateway.gateway).await;
    assert!(
        world.staged("staged").contains(&format!("{file}.data")),
        "the bytes of a file with quarantined rows are kept"
    );
    assert_eq!(
        gateway.gateway.staging.index().open(),
        0,
        "it waits for nothing"
    );
    let answer = replay(&gateway, file, "?rejects=true").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let work = world.publisher.works(QUEUE).pop().unwrap();
    let again = work.replay.unwrap();
    assert_eq!(
        (again.rejects, again.accepted, again.rejected),
        (true, 1, 1)
    );
    // Every row is written now: what was quarantined is history.
    end(&world, file, FileState::Done, 2, 0).await;
    let rejects = gateway.get(&format!("/v1/files/{file}/rejects")).await;
    rejects.problem(404, "no row");
    let done = replay(&gateway, file, "").await;
    done.problem(409, "nothing to replay");
}

#[tokio::test]
async fn what_is_gone_is_told_with_what_is_left_to_do() {
    let world = World::new();
    let gateway = world.start();
    let file = with_a_reject(&world, &gateway).await;
    std::fs::remove_file(world.staging().join(format!("rejects/{file}.ndjson"))).unwrap();
    let answer = replay(&gateway, file, "?rejects=true").await;
    answer.problem(410, "replay all of it");
    let inside = format!("/internal/files/{file}/content");
    assert_eq!(gateway.inside("DELETE", &inside, "").await.status, 204);
    let answer = replay(&gateway, file, "").await;
    answer.problem(410, "upload it again");
    assert_eq!(
        world.publisher.works(QUEUE).len(),
        1,
        "nothing was published"
    );
}

#[tokio::test]
async fn only_what_has_ended_is_replayed_and_only_by_writers() {
    let world = World::new();
    let gateway = world.start();
    let file = id(&gateway.put("a.csv", CSV).await);
    replay(&gateway, file, "").await.problem(409, "is Queued");
    end(&world, file, FileState::Failed, 0, 0).await;
    let answer = replay(&gateway, file, "?rejects=true").await;
    answer.problem(409, "failed as a whole");
    let answer = replay(&gateway, file, "?reject=true").await;
    answer.problem(400, "unknown field");
    let answer = replay_as(&gateway, READER, file, "").await;
    answer.problem(403, "needs the role Writer");
    let nobody = Uuid::now_v7();
    replay(&gateway, nobody, "").await.problem(404, "no file");
    // The same bytes came in as another file since.
    let second = id(&gateway.put("a.csv", CSV).await);
    end(&world, second, FileState::Done, 2, 0).await;
    let answer = replay(&gateway, file, "").await;
    answer.problem(409, &format!("as file {second}"));
    world.close(files("flights", json!({})));
    gateway.gateway.config.reload();
    let answer = replay(&gateway, file, "").await;
    answer.problem(503, "being deleted");
}

#[tokio::test]
async fn a_replay_that_a_crash_cut_off_is_finished_or_never_was() {
    let world = World::new();
    let gateway = world.start();
    let file = with_a_reject(&world, &gateway).await;
    world.publisher.fail(PublishError::Full);
    let answer = replay(&gateway, file, "?rejects=true").await;
    answer.problem(429, "is staged");
    world.publisher.heal();
    let restarted = world.start();
    let swept = sweeper::round(&restarted.gateway).await;
    assert_eq!((swept.published, swept.failed), (1, false));
    let work = world.publisher.works(QUEUE).pop().unwrap();
    assert!(work.replay.unwrap().rejects, "what was asked for");
    assert_eq!(world.ledger.record(file).unwrap().state, FileState::Queued);
    end(&world, file, FileState::Done, 1, 1).await;
    // The ledger does not answer: it is not opened, and what is published comes to nothing.
    sweeper::round(&restarted.gateway).await;
    world.ledger.set_down(true);
    let answer = replay(&restarted, file, "").await;
    answer.problem(503, "database");
    world.ledger.set_down(false);
    assert_eq!(world.ledger.record(file).unwrap().state, FileState::Done);
    assert_eq!(replay(&restarted, file, "").await.json()["replays"], 2);
}

#[tokio::test]
async fn bytes_on_another_replica_are_replayed_there() {
    let owner = World::new();
    let owning = owner.start();
    let file = with_a_reject(&owner, &owning).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let internal = owning.internal.clone();
    tokio::spawn(async move { axum::serve(listener, internal).await });
    let mut world = World::new();
    world.ledger = owner.ledger.clone();
    world.peers = vec![format!("http://{address}")];
    let gateway = world.start();
    let answer = replay(&gateway, file, "?rejects=true").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(owner.publisher.works(QUEUE).len(), 2);
    assert!(world.publisher.works(QUEUE).is_empty());
    end(&owner, file, FileState::Done, 1, 1).await;
    std::fs::remove_file(owner.staging().join(format!("rejects/{file}.ndjson"))).unwrap();
    let answer = replay(&gateway, file, "?rejects=true").await;
    answer.problem(410, "replay all of it");
    world.peers.push("http://127.0.0.1:1".into());
    let inside = format!("/internal/files/{file}/content");
    assert_eq!(owning.inside("DELETE", &inside, "").await.status, 204);
    let answer = replay(&world.start(), file, "").await;
    answer.problem(503, "does not answer");
}

async fn mend(gateway: &Running, who: &str, id: Uuid, rows: &str) -> Answer {
    let request = Request::put(format!("/v1/files/{id}/rejects"));
    let request = request.header("authorization", who);
    ask(
        &gateway.public,
        request.body(rows.to_owned().into()).unwrap(),
    )
    .await
}

#[tokio::test]
async fn mended_rows_are_a_file_of_their_own_with_the_identity_of_the_first() {
    let world = World::new();
    let gateway = world.start();
    let file = with_a_reject(&world, &gateway).await;
    let answer = mend(&gateway, WRITER, file, ROWS).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let mending = id(&answer);
    let works = world.publisher.works(QUEUE);
    let work = works.iter().find(|work| work.id == mending).unwrap();
    assert_eq!((work.mends, work.mended_rows), (Some(file), true));
    assert_eq!((work.source(), work.name.as_str()), (file, "a.csv"));
    assert!(work.version > works[0].version, "it is newer");
    let told = gateway.get(&format!("/v1/files/{mending}")).await.json();
    assert_eq!(told["mends"], json!(file));
    // The same rows again are the same; those of another file are not.
    let again = mend(&gateway, WRITER, file, ROWS).await;
    assert_eq!((again.status.as_u16(), id(&again)), (200, mending));
    let other = id(&gateway.put("b.csv", "id,name\n7,z\n").await);
    end(&world, other, FileState::Done, 0, 1).await;
    assert_eq!(mend(&gateway, WRITER, other, ROWS).await.status, 202);
    mend(&gateway, READER, file, ROWS)
        .await
        .problem(403, "Writer");
    let answer = mend(&gateway, WRITER, mending, ROWS).await;
    answer.problem(409, "mend it once it has ended");
    end(&world, mending, FileState::Done, 1, 0).await;
    let answer = mend(&gateway, WRITER, mending, ROWS).await;
    answer.problem(409, "mend that one");
    mend(&gateway, WRITER, file, "").await.problem(422, "empty");
}

#[tokio::test]
async fn mended_rows_are_refused_where_a_program_reads_whole_files() {
    let world = World::new();
    let gateway = world.start();
    let file = with_a_reject(&world, &gateway).await;
    let mut config = files("flights", json!({}));
    config["app"] = json!({"output": "Rows", "timeoutSeconds": 60});
    world.pipeline(config);
    gateway.gateway.config.reload();
    let answer = mend(&gateway, WRITER, file, ROWS).await;
    answer.problem(409, "mend the file");
}

#[tokio::test]
async fn a_mended_file_has_the_identity_of_the_one_that_it_mends() {
    let world = World::new();
    let gateway = world.start();
    let file = id(&gateway.put("a.csv", CSV).await);
    let path = format!("/v1/pipelines/flights/files/b.csv?mends={file}");
    let early = gateway.put_to(&path, &[], "id,name\n1,c\n").await;
    early.problem(409, "once it has ended");
    end(&world, file, FileState::Failed, 0, 0).await;
    let answer = gateway.put_to(&path, &[], "id,name\n1,c\n").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let work = world.publisher.works(QUEUE).pop().unwrap();
    assert_eq!((work.source(), work.mended_rows), (file, false));
    world.pipeline(files("others", json!({})));
    gateway.gateway.config.reload();
    let path = format!("/v1/pipelines/others/files/b.csv?mends={file}");
    let elsewhere = gateway.put_to(&path, &[], "id,name\n1,c\n").await;
    elsewhere.problem(400, "mend it there");
    let path = "/v1/pipelines/flights/files/b.csv?mends=first";
    gateway.put_to(path, &[], CSV).await.problem(404, "UUID");
}
