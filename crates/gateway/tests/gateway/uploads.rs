//! `PUT /v1/pipelines/{p}/files/{name}`.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt;
use serde_json::json;
use simbdp_api::wire::rest::FileState;
use uuid::Uuid;

use crate::support::{Answer, CSV, Running, World, content_digest, gzip, sha256};

const QUEUE: &str = "ingest.flights";

fn id(answer: &Answer) -> Uuid {
    answer.json()["id"].as_str().unwrap().parse().unwrap()
}

/// Nothing of a refused upload is left, and nothing is queued.
fn assert_nothing(world: &World) {
    assert_eq!(world.staged("incoming"), Vec::<String>::new());
    assert_eq!(world.staged("staged"), Vec::<String>::new());
    assert!(world.publisher.queue(QUEUE).is_empty());
    assert!(world.ledger.claims().is_empty());
}

#[tokio::test]
async fn a_file_is_staged_queued_and_entered() {
    let world = World::new();
    let gateway = world.start();
    let digest = content_digest(CSV.as_bytes());
    let path = "/v1/pipelines/flights/files/a.csv";
    let answer = gateway
        .put_to(path, &[("content-digest", &digest)], CSV)
        .await;
    assert_eq!(answer.status, 202);
    let id = id(&answer);
    let location = format!("/v1/files/{id}");
    assert_eq!(answer.header("location"), location);
    assert_eq!(
        answer.json(),
        json!({"id": id, "duplicate": false, "sha256": sha256(CSV.as_bytes()), "bytes": CSV.len(), "location": location})
    );
    let works = world.publisher.works(QUEUE);
    assert_eq!(works.len(), 1);
    let work = &works[0];
    assert_eq!((work.id, work.lines, work.size), (id, 3, CSV.len() as u64));
    assert_eq!((work.name.as_str(), work.user.as_str()), ("a.csv", "ann"));
    assert_eq!(work.replica, "http://gateway-0.test:8081");
    assert_eq!(world.publisher.queue(QUEUE)[0].id, id.to_string());
    assert_eq!(world.ledger.record(id).unwrap().state, FileState::Queued);
    let content = gateway
        .inside("GET", &format!("/internal/files/{id}/content"), "")
        .await;
    assert_eq!(content.body, CSV.as_bytes());
    assert_eq!(content.header("content-length"), CSV.len().to_string());
}

#[tokio::test]
async fn versions_leave_room_for_every_line() {
    let world = World::new();
    let gateway = world.start();
    let many = format!("id,name\n{}", "1,a\n".repeat(100_000));
    gateway.put("a.csv", many).await;
    gateway.put("b.csv", CSV).await;
    let works = world.publisher.works(QUEUE);
    assert_eq!(works[0].lines, 100_001);
    assert!(works[1].version >= works[0].version + 100_001);
}

#[tokio::test]
async fn compressed_files_are_measured_uncompressed() {
    let world = World::new();
    world.pipeline(crate::support::files(
        "flights",
        json!({"maxFileSize": 100_000}),
    ));
    let gateway = world.start();
    let content = format!("id,name\n{}", "1,a\n".repeat(20_000));
    let answer = gateway
        .put("a.csv.gz", gzip(content.as_bytes()).await)
        .await;
    assert_eq!(answer.status, 202);
    assert_eq!(world.publisher.works(QUEUE)[0].lines, 20_001);
}

#[tokio::test]
async fn names_and_formats_that_do_not_do_are_refused() {
    let world = World::new();
    let constraints = json!({"formats": ["csv"], "compression": ["none"], "namePattern": "[a-z]+\\.(csv|ndjson|csv\\.gz)"});
    world.pipeline(crate::support::files("flights", constraints));
    let gateway = world.start();
    for (name, status, part) in [
        (
            "..%2F..%2Fetc%2Fpasswd.csv",
            400,
            "not the name of a file but a path",
        ),
        (
            "../../etc/passwd.csv",
            400,
            "not the name of a file but a path",
        ),
        ("sub/a.csv", 400, "path"),
        ("a%00.csv", 400, "control character"),
        ("a%0A.csv", 400, "control character"),
        (".hidden.csv", 400, "hidden"),
        ("a.xlsx", 400, ".csv"),
        ("a", 400, ".csv"),
        ("a.csv.zip", 400, "zip"),
        ("a.csv.gz.gz", 400, "twice"),
        ("a.ndjson", 422, "csv"),
        ("a.csv.gz", 422, "compression"),
        ("A1.csv", 422, "[a-z]+"),
        (&format!("{}.csv", "a".repeat(300)), 400, "255"),
    ] {
        let answer = gateway.put(name, CSV).await;
        answer.problem(status, part);
    }
    assert_nothing(&world);
}

#[tokio::test]
async fn too_large_files_are_refused_at_the_limit() {
    let world = World::new();
    world.pipeline(crate::support::files(
        "flights",
        json!({"maxFileSize": 1000}),
    ));
    let gateway = world.start();
    let large = "x".repeat(1001);
    let path = "/v1/pipelines/flights/files/a.csv";
    let announced = gateway
        .put_to(path, &[("content-length", "1001")], large.clone())
        .await;
    announced.problem(413, "at most 1000");
    gateway
        .put("a.csv", large)
        .await
        .problem(413, "larger than 1000 bytes");
    let bomb = gzip(&vec![b'0'; 10_000_000]).await;
    let refused = gateway.put("a.csv.gz", bomb).await;
    refused.problem(413, "1000 bytes");
    assert_nothing(&world);
    assert_eq!(gateway.put("a.csv", "x".repeat(1000)).await.status, 202);
}

#[tokio::test]
async fn damaged_content_is_refused() {
    let world = World::new();
    let gateway = world.start();
    let whole = gzip(CSV.repeat(100).as_bytes()).await;
    let truncated = whole[..whole.len() / 2].to_vec();
    gateway
        .put("a.csv.gz", truncated)
        .await
        .problem(422, "truncated");
    let trailing = [whole.as_slice(), b"garbage"].concat();
    gateway
        .put("a.csv.gz", trailing)
        .await
        .problem(422, "not sound gzip");
    gateway
        .put("a.csv.zst", CSV)
        .await
        .problem(422, "not sound zstd");
    gateway.put("a.csv", "").await.problem(422, "header line");
    gateway
        .put("a.ndjson", "")
        .await
        .problem(422, "one JSON object a line");
    gateway
        .put("a.csv.gz", gzip(b"").await)
        .await
        .problem(422, "the file is empty");
    assert_nothing(&world);
}

#[tokio::test]
async fn a_checksum_that_does_not_match_is_refused() {
    let world = World::new();
    let gateway = world.start();
    let path = "/v1/pipelines/flights/files/a.csv";
    let wrong = content_digest(b"something else");
    let answer = gateway
        .put_to(path, &[("content-digest", &wrong)], CSV)
        .await;
    answer.problem(400, &sha256(CSV.as_bytes()));
    let odd = gateway
        .put_to(path, &[("content-digest", "md5=:AAAA:")], CSV)
        .await;
    odd.problem(400, "RFC 9530");
    let coded = gateway
        .put_to(path, &[("content-encoding", "gzip")], CSV)
        .await;
    coded.problem(415, "flights.csv.gz");
    assert_nothing(&world);
}

#[tokio::test]
async fn files_for_the_wrong_pipeline_are_refused() {
    let world = World::new();
    let mut closed = crate::support::files("closed", json!({}));
    closed["closed"] = json!("the tenant is being deleted");
    world.pipeline(closed);
    let gateway = world.start();
    let to = |pipeline: &str| format!("/v1/pipelines/{pipeline}/files/a.csv");
    gateway
        .put_to(&to("nope"), &[], CSV)
        .await
        .problem(404, "there are: closed, flights, planes");
    gateway
        .put_to(&to("planes"), &[], CSV)
        .await
        .problem(409, "POST /v1/pipelines/planes/messages");
    gateway
        .put_to(&to("closed"), &[], CSV)
        .await
        .problem(503, "the tenant is being deleted");
    assert_nothing(&world);
}

#[tokio::test]
async fn the_same_bytes_are_one_file() {
    let world = World::new();
    let gateway = world.start();
    let first = id(&gateway.put("a.csv", CSV).await);
    let again = gateway.put("b.csv", CSV).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["duplicate"], true);
    assert_eq!(id(&again), first);
    assert_eq!(again.header("location"), format!("/v1/files/{first}"));
    assert_eq!(world.publisher.works(QUEUE).len(), 1);
    assert_eq!(
        world.staged("staged").len(),
        3,
        "data, manifest and hint of the first"
    );
    let path = "/v1/pipelines/flights/files/a.csv?force=true";
    let forced = gateway.put_to(path, &[], CSV).await;
    assert_eq!(forced.status, 202);
    assert_ne!(id(&forced), first);
    assert!(world.publisher.works(QUEUE)[1].force);
}

#[tokio::test]
async fn a_failed_file_may_come_again() {
    let world = World::new();
    let gateway = world.start();
    let first = id(&gateway.put("a.csv", CSV).await);
    world
        .ledger
        .end(first, FileState::Failed, chrono::Utc::now());
    let again = gateway.put("a.csv", CSV).await;
    assert_eq!(again.status, 202);
    assert_ne!(id(&again), first);
}

async fn at_once(gateway: &Running, uploads: usize) -> Vec<Answer> {
    let uploads = (0..uploads).map(|n| {
        let gateway = gateway.clone();
        tokio::spawn(async move { gateway.put(&format!("f{n}.csv"), CSV).await })
    });
    let mut answers = Vec::new();
    for upload in uploads.collect::<Vec<_>>() {
        answers.push(upload.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_bytes_many_times_at_once_are_one_file() {
    for ledger_down in [false, true] {
        let world = World::new();
        let gateway = world.start();
        world.ledger.set_down(ledger_down);
        let answers = at_once(&gateway, 8).await;
        let accepted = answers.iter().filter(|answer| answer.status == 202).count();
        let duplicates = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!((accepted, duplicates), (1, 7), "ledger down: {ledger_down}");
        let first = id(answers.iter().find(|answer| answer.status == 202).unwrap());
        assert!(answers.iter().all(|answer| id(answer) == first));
        assert_eq!(world.publisher.works(QUEUE).len(), 1);
        assert!(world.staged("incoming").is_empty());
    }
}

#[tokio::test]
async fn a_first_upload_elsewhere_that_is_not_entered_yet_is_no_answer_yet() {
    let world = World::new();
    let gateway = world.start();
    let elsewhere = Uuid::now_v7();
    world
        .ledger
        .claim_for("flights", &sha256(CSV.as_bytes()), elsewhere);
    let answer = gateway.put("a.csv", CSV).await;
    answer.problem(503, &elsewhere.to_string());
    assert!(world.staged("staged").is_empty() && world.publisher.works(QUEUE).is_empty());
}

#[tokio::test]
async fn the_number_of_files_is_limited() {
    let world = World::new();
    let constraints = json!({
        "maxFiles": {"count": 2, "per": "Day"},
        "tenantMaxFiles": {"count": 3, "per": "Hour"},
    });
    world.pipeline(crate::support::files("flights", constraints.clone()));
    world.pipeline(crate::support::files("weather", constraints));
    let gateway = world.start();
    let to = |pipeline: &str, n: i32| {
        let gateway = gateway.clone();
        let path = format!("/v1/pipelines/{pipeline}/files/a.csv");
        async move {
            gateway
                .put_to(&path, &[], format!("id,name\n{n},a\n"))
                .await
        }
    };
    assert_eq!(to("flights", 1).await.status, 202);
    assert_eq!(
        to("flights", 1).await.status,
        200,
        "a duplicate does not count"
    );
    assert_eq!(to("flights", 2).await.status, 202);
    let third = to("flights", 3).await;
    third.problem(
        429,
        "pipeline `flights` takes 2 files per day (maxFiles); the next day begins at 20",
    );
    assert!(third.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(
        to("flights", 2).await.status,
        200,
        "a file that was taken may be sent again"
    );
    assert_eq!(to("weather", 4).await.status, 202);
    let fourth = to("weather", 5).await;
    fourth.problem(429, "the tenant takes 3 files per hour");
    assert_eq!(
        world.ledger.count("weather"),
        1,
        "what was counted for nothing is taken back"
    );
    assert_eq!(
        world.ledger.claims().len(),
        3,
        "refused files hold no claim"
    );
    assert_eq!(world.staged("staged").len(), 9);
}

#[tokio::test]
async fn without_a_count_nothing_is_taken_where_files_are_limited() {
    let world = World::new();
    world.pipeline(crate::support::files(
        "flights",
        json!({"maxFiles": {"count": 2, "per": "Day"}}),
    ));
    let gateway = world.start();
    world.ledger.counting_down.store(true, Ordering::SeqCst);
    let answer = gateway.put("a.csv", CSV).await;
    answer.problem(503, "maxFiles");
    assert!(!answer.header("retry-after").is_empty());
    assert_nothing(&world);
    world.ledger.set_down(true);
    gateway.put("a.csv", CSV).await.problem(503, "maxFiles");
    assert!(world.publisher.works(QUEUE).is_empty());
}

#[tokio::test]
async fn staged_files_are_limited() {
    let mut world = World::new();
    world.limits.staged_files = Some(1);
    let gateway = world.start();
    let first = id(&gateway.put("a.csv", CSV).await);
    gateway
        .put("b.csv", "id,name\n3,c\n")
        .await
        .problem(429, "1 files wait");
    gateway
        .inside("DELETE", &format!("/internal/files/{first}/content"), "")
        .await;
    assert_eq!(gateway.put("b.csv", "id,name\n3,c\n").await.status, 202);
}

#[tokio::test]
async fn uploads_at_a_time_are_limited() {
    let mut world = World::new();
    world.limits.max_uploads = 0;
    let gateway = world.start();
    gateway
        .put("a.csv", CSV)
        .await
        .problem(503, "no more at a time");
}

#[tokio::test]
async fn a_reader_may_not_upload() {
    let world = World::new();
    let gateway = world.start();
    let request = axum::http::Request::put("/v1/pipelines/flights/files/a.csv")
        .header("authorization", crate::support::READER)
        .body(CSV.into())
        .unwrap();
    let answer = crate::support::ask(&gateway.public, request).await;
    answer.problem(
        403,
        "user `bob` has the role Reader; writing needs the role Writer",
    );
    assert_nothing(&world);
}

#[tokio::test]
async fn uploads_leave_room_for_reject_files_and_old_reject_files_make_room() {
    let mut world = World::new();
    let gateway = world.start();
    let path = || format!("/internal/files/{}/rejects", Uuid::now_v7());
    assert_eq!(gateway.inside("PUT", &path(), "{}\n").await.status, 204);
    world.limits.reserve = u64::MAX;
    let full = world.start();
    full.put("a.csv", CSV).await.problem(507, "no space");
    assert_nothing(&world);
    assert!(world.staged("rejects").is_empty(), "they went first");
    assert_eq!(full.inside("PUT", &path(), "{}\n").await.status, 204);
    assert_eq!(world.staged("rejects").len(), 1, "the reserve is for these");
}

/// A body whose chunks come with a pause before each.
fn slow(chunks: Vec<&'static str>, pause: Duration) -> Body {
    let chunks = futures::stream::iter(chunks).then(move |chunk| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, io::Error>(chunk)
    });
    Body::from_stream(chunks)
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_trickles_is_cut() {
    let world = World::new();
    let gateway = world.start();
    let mut chunks = vec!["id,name\n"];
    chunks.resize(100, "1,a\n");
    let answer = gateway
        .put("a.csv", slow(chunks, Duration::from_secs(29)))
        .await;
    answer.problem(408, "fewer than 1024 bytes a second");
    assert_nothing(&world);
}

#[tokio::test(start_paused = true)]
async fn a_reject_file_comes_as_slowly_as_its_file_is_ingested() {
    let world = World::new();
    let gateway = world.start();
    let path = format!("/internal/files/{}/rejects", Uuid::now_v7());
    let rows = slow(vec!["{}\n", "{}\n"], Duration::from_secs(20 * 60));
    assert_eq!(gateway.inside("PUT", &path, rows).await.status, 204);
    assert_eq!(
        gateway.inside("GET", &path, "").await.body,
        b"{}\n{}\n",
        "all of it is there"
    );
    let dead = slow(vec!["{}\n"], Duration::from_secs(2 * 60 * 60));
    let answer = gateway.inside("PUT", &path, dead).await;
    answer.problem(400, "no byte came in");
}
