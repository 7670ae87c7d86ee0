//! What a crash or an outage leaves, and how it ends.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use chrono::Utc;
use serde_json::json;
use simbdp_api::wire::rest::FileState;
use simbdp_broker::queue::PublishError;
use simbdp_gateway::sweeper;
use uuid::Uuid;

use crate::support::{Answer, CSV, WRITER, World, ask, sha256};

const QUEUE: &str = "ingest.flights";

fn id(answer: &Answer) -> Uuid {
    answer.json()["id"].as_str().unwrap().parse().unwrap()
}

fn unavailable() -> PublishError {
    PublishError::Unavailable("connection refused".into())
}

#[tokio::test]
async fn a_file_staged_before_a_crash_is_published_once_after_it() {
    let world = World::new();
    {
        let gateway = world.start();
        world.publisher.fail(unavailable());
        gateway.put("a.csv", CSV).await.problem(503, "is staged as");
    }
    // The process is gone; the manifest is what is left of it.
    world.publisher.heal();
    let restarted = world.start();
    let swept = sweeper::round(&restarted.gateway).await;
    assert_eq!((swept.published, swept.failed), (1, false));
    let works = world.publisher.works(QUEUE);
    assert_eq!(works.len(), 1);
    assert_eq!(
        world.ledger.record(works[0].id).unwrap().state,
        FileState::Queued
    );
    assert_eq!(sweeper::round(&restarted.gateway).await.published, 0);
    sweeper::round(&world.start().gateway).await;
    assert_eq!(
        world.publisher.works(QUEUE).len(),
        1,
        "the hint survives a restart"
    );
    let again = restarted.put("a.csv", CSV).await;
    assert_eq!((again.status.as_u16(), id(&again)), (200, works[0].id));
}

#[tokio::test]
async fn half_an_upload_is_cleared_at_start() {
    let world = World::new();
    world.start();
    let part = world.staging().join("incoming/half.part");
    std::fs::write(&part, b"id,na").unwrap();
    let restarted = world.start();
    assert!(!part.exists());
    assert!(!sweeper::round(&restarted.gateway).await.failed);
    assert!(world.publisher.works(QUEUE).is_empty());
}

#[tokio::test]
async fn an_upload_during_an_outage_of_the_broker_is_kept_and_not_doubled() {
    let world = World::new();
    let gateway = world.start();
    for (error, status) in [
        (unavailable(), 503),
        (PublishError::NoQueue(QUEUE.into()), 503),
        (PublishError::Full, 429),
    ] {
        world.publisher.fail(error);
        let answer = gateway.put("a.csv", CSV).await;
        answer.problem(status, "is staged as");
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(
        world.staged("staged").len(),
        2,
        "data and manifest of one file"
    );
    world.publisher.heal();
    let healed = gateway.put("a.csv", CSV).await;
    assert_eq!(
        (healed.status.as_u16(), &healed.json()["duplicate"]),
        (200, &json!(true))
    );
    let works = world.publisher.works(QUEUE);
    assert_eq!((works.len(), works[0].id), (1, id(&healed)));
}

#[tokio::test]
async fn a_lost_confirm_publishes_the_same_file_again() {
    let world = World::new();
    let gateway = world.start();
    world
        .publisher
        .lost_confirm
        .store(true, std::sync::atomic::Ordering::SeqCst);
    world.publisher.fail(unavailable());
    gateway.put("a.csv", CSV).await.problem(503, "is staged as");
    world.publisher.heal();
    sweeper::round(&gateway.gateway).await;
    let works = world.publisher.works(QUEUE);
    assert_eq!(works.len(), 2);
    assert_eq!(works[0], works[1], "ingest takes it once by its id");
}

#[tokio::test]
async fn without_a_ledger_the_manifest_is_the_record() {
    let world = World::new();
    let gateway = world.start();
    world.ledger.set_down(true);
    let answer = gateway.put("a.csv", CSV).await;
    assert_eq!(answer.status, 202);
    let first = id(&answer);
    let again = gateway.put("b.csv", CSV).await;
    assert_eq!((again.status.as_u16(), id(&again)), (200, first));
    let told = gateway.get(&format!("/v1/files/{first}")).await;
    assert_eq!(told.json()["state"], "Queued");
    assert!(sweeper::round(&gateway.gateway).await.failed);
    assert!(world.ledger.record(first).is_none());
    world.ledger.set_down(false);
    let restarted = world.start();
    assert!(!sweeper::round(&restarted.gateway).await.failed);
    assert_eq!(world.ledger.record(first).unwrap().state, FileState::Queued);
    assert_eq!(world.publisher.works(QUEUE).len(), 1);
}

#[tokio::test]
async fn a_file_that_ended_is_dropped_and_one_that_can_be_replayed_later() {
    let mut world = World::new();
    world.limits.failed_retention = Duration::from_secs(3600);
    let gateway = world.start();
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(id(&gateway.put("a.csv", format!("id,name\n{n},a\n")).await));
    }
    let now = Utc::now();
    world.ledger.end_with(ids[0], FileState::Done, now, 0);
    world.ledger.end_with(ids[4], FileState::Done, now, 1);
    world.ledger.end(ids[1], FileState::Duplicate, now);
    world.ledger.end(ids[2], FileState::Failed, now);
    let swept = sweeper::round(&gateway.gateway).await;
    assert_eq!(swept.dropped, 2);
    let left: Vec<_> = world
        .staged("staged")
        .into_iter()
        .filter(|name| name.ends_with(".data"))
        .collect();
    let mut expected: Vec<_> = ids[2..].iter().map(|id| format!("{id}.data")).collect();
    expected.sort();
    assert_eq!(left, expected);
    let state = gateway.inside("GET", "/internal/state", "").await.json();
    assert_eq!(state["stagedFiles"], 1, "what has ended is not waiting");
    world
        .ledger
        .end(ids[2], FileState::Failed, now - chrono::Duration::hours(2));
    let restarted = world.start();
    assert_eq!(sweeper::round(&restarted.gateway).await.dropped, 1);
}

#[tokio::test]
async fn a_file_whose_pipeline_was_deleted_with_its_backlog_is_given_up() {
    let mut world = World::new();
    world.limits.homeless = Duration::ZERO;
    let gateway = world.start();
    let file = id(&gateway.put("a.csv", CSV).await);
    world.remove_pipeline("flights");
    // A file that cannot be read may be the pipeline's: nothing is given up for it.
    world.write("pipelines/other.json", "{");
    gateway.gateway.config.reload();
    assert_eq!(sweeper::round(&gateway.gateway).await.dropped, 0);
    world.remove_pipeline("other");
    let restarted = world.start();
    assert_eq!(sweeper::round(&restarted.gateway).await.dropped, 1);
    let record = world.ledger.record(file).unwrap();
    assert_eq!(record.state, FileState::Failed);
    assert!(record.error.unwrap().contains("pipeline was deleted"));
    assert!(world.staged("staged").is_empty());
}

/// The pipeline of files, as the IngestPipeline of a UID.
fn flights(uid: &str) -> serde_json::Value {
    let mut config = crate::support::files("flights", json!({}));
    config["uid"] = json!(uid);
    config
}

#[tokio::test]
async fn files_of_a_former_pipeline_of_the_name_are_given_up_at_once() {
    let world = World::new();
    world.pipeline(flights("first"));
    let gateway = world.start();
    let queued = id(&gateway.put("a.csv", CSV).await);
    world.publisher.fail(unavailable());
    let waiting = "id,name\n3,c\n";
    gateway
        .put("b.csv", waiting)
        .await
        .problem(503, "is staged as");
    world.publisher.heal();
    world.pipeline(flights("second"));
    let restarted = world.start();
    assert_eq!(sweeper::round(&restarted.gateway).await.dropped, 2);
    let record = world.ledger.record(queued).unwrap();
    assert_eq!(record.state, FileState::Failed);
    assert!(record.error.unwrap().contains("pipeline was deleted"));
    assert!(world.staged("staged").is_empty());
    assert_eq!(
        world.publisher.works(QUEUE).len(),
        1,
        "what waited for the former one is not published to this one"
    );
    for content in [CSV, waiting] {
        assert_eq!(restarted.put("a.csv", content).await.status, 202);
    }
}

#[tokio::test]
async fn the_same_bytes_are_no_duplicate_of_a_former_pipeline_s_file() {
    let world = World::new();
    world.pipeline(flights("first"));
    let gateway = world.start();
    let former = id(&gateway.put("a.csv", CSV).await);
    world.pipeline(flights("second"));
    gateway.gateway.config.reload();
    let again = gateway.put("a.csv", CSV).await;
    assert_eq!(again.status, 202);
    let works = world.publisher.works(QUEUE);
    assert_eq!(works[1].id, id(&again));
    assert_eq!(works[1].pipeline_uid.as_deref(), Some("second"));
    let record = world.ledger.record(former).unwrap();
    assert_eq!(record.state, FileState::Failed);
    sweeper::round(&gateway.gateway).await;
    let kept = world.ledger.record(works[1].id).unwrap();
    assert_eq!(kept.state, FileState::Queued, "the new one stays");
}

#[tokio::test]
async fn a_file_from_before_uids_were_noted_is_kept() {
    let world = World::new();
    let gateway = world.start();
    let file = id(&gateway.put("a.csv", CSV).await);
    world.pipeline(flights("first"));
    let restarted = world.start();
    assert_eq!(sweeper::round(&restarted.gateway).await.dropped, 0);
    assert_eq!(world.ledger.record(file).unwrap().state, FileState::Queued);
}

#[tokio::test]
async fn a_claim_that_could_not_be_released_is_released_later() {
    let world = World::new();
    world.pipeline(crate::support::files(
        "flights",
        json!({"maxFiles": {"count": 2, "per": "Day"}}),
    ));
    let gateway = world.start();
    world.ledger.set_down(true);
    gateway.put("a.csv", CSV).await.problem(503, "maxFiles");
    let left = world.staged("staged");
    assert!(left.len() == 1 && left[0].ends_with(".undo"), "{left:?}");
    let held: Uuid = left[0].trim_end_matches(".undo").parse().unwrap();
    world.ledger.set_down(false);
    world
        .ledger
        .claim_for("flights", &sha256(CSV.as_bytes()), held);
    let restarted = world.start();
    assert!(!sweeper::round(&restarted.gateway).await.failed);
    assert!(world.ledger.claims().is_empty() && world.staged("staged").is_empty());
    assert_eq!(restarted.put("a.csv", CSV).await.status, 202);
}

#[tokio::test]
async fn many_files_are_published_in_bounded_rounds() {
    let world = World::new();
    let gateway = world.start();
    world.publisher.fail(unavailable());
    for n in 0..70 {
        gateway
            .put("a.csv", format!("id,name\n{n},a\n"))
            .await
            .problem(503, "staged");
    }
    world.publisher.heal();
    let restarted = world.start();
    let first = sweeper::round(&restarted.gateway).await;
    assert!(first.full && first.published == 64);
    let second = sweeper::round(&restarted.gateway).await;
    assert!(!second.full && second.published == 6);
    let mut ids: Vec<_> = world
        .publisher
        .works(QUEUE)
        .iter()
        .map(|work| work.id)
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 70);
}

#[tokio::test]
async fn an_upload_that_is_cut_leaves_nothing() {
    let world = World::new();
    let gateway = world.start();
    let chunks = [
        Ok(CSV.as_bytes().to_vec()),
        Err(std::io::Error::other("reset by peer")),
    ];
    let body = Body::from_stream(futures::stream::iter(chunks));
    gateway
        .put("a.csv", body)
        .await
        .problem(400, "ended before its end");
    assert!(world.staged("incoming").is_empty() && world.staged("staged").is_empty());
    assert!(world.ledger.claims().is_empty());
    assert_eq!(gateway.put("a.csv", CSV).await.status, 202);
}

#[tokio::test]
async fn an_upload_whose_client_is_gone_is_finished() {
    let world = World::new();
    let gateway = world.start();
    let request = Request::put("/v1/pipelines/flights/files/a.csv")
        .header("authorization", WRITER)
        .body(Body::from(CSV))
        .unwrap();
    // Dropped as soon as the upload's own task exists: nobody waits for the answer.
    {
        let asking = ask(&gateway.public, request);
        tokio::pin!(asking);
        while gateway.gateway.tasks.is_empty() {
            assert!(futures::poll!(&mut asking).is_pending());
            tokio::task::yield_now().await;
        }
    }
    gateway.gateway.tasks.close();
    gateway.gateway.tasks.wait().await;
    assert_eq!(world.publisher.works(QUEUE).len(), 1);
    assert!(world.staged("incoming").is_empty());
}

#[tokio::test]
async fn a_full_disk_or_a_broken_volume_is_an_error_and_not_ready() {
    let world = World::new();
    let gateway = world.start();
    std::fs::remove_dir_all(world.staging().join("incoming")).unwrap();
    gateway.put("a.csv", CSV).await.problem(500, "internal");
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(
        ready.json()["notReady"][0],
        "the staging volume cannot be written"
    );
}
