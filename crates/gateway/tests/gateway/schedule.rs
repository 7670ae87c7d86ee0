//! Schedules: staged files wait for their window, over restarts, and go when it begins.

use std::time::{Duration, Instant};

use chrono::{Datelike, Utc};
use serde_json::{Value, json};
use simbdp_api::wire::rest::FileState;
use simbdp_gateway::sweeper;
use uuid::Uuid;

use crate::support::{Answer, CSV, Running, World, files};

const QUEUE: &str = "ingest.flights";

fn id(answer: &Answer) -> Uuid {
    answer.json()["id"].as_str().unwrap().parse().unwrap()
}

/// A pipeline whose windows are a minute in half a year.
fn later() -> Value {
    let month = (Utc::now().month0() + 6) % 12 + 1;
    let schedule = json!({"cron": format!("0 0 1 {month} *"), "seconds": 60});
    files("flights", json!({"schedule": schedule}))
}

/// The same pipeline, whose window is open.
fn now() -> Value {
    let schedule = json!({"cron": "* * * * *", "seconds": 3_600});
    files("flights", json!({"schedule": schedule}))
}

/// A round in which every file is due.
async fn sweep(gateway: &Running) -> sweeper::Swept {
    let ids: Vec<_> = {
        let mut index = gateway.gateway.staging.index();
        let due = index.due(
            Instant::now() + Duration::from_secs(3_600),
            Duration::ZERO,
            100,
        );
        due.iter().map(|entry| entry.work.id).collect()
    };
    for id in ids {
        let mut index = gateway.gateway.staging.index();
        index.update(id, |entry| entry.due = Instant::now());
    }
    sweeper::round(&gateway.gateway).await
}

#[tokio::test]
async fn a_file_waits_for_its_window_and_says_until_when() {
    let world = World::new();
    world.pipeline(later());
    let gateway = world.start();
    let answer = gateway.put("a.csv", CSV).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let until = answer.json()["heldUntil"].clone();
    assert!(
        until.as_str().unwrap().ends_with("-01T00:00:00Z"),
        "{until}"
    );
    let file = id(&answer);
    let told = gateway.get(&format!("/v1/files/{file}")).await.json();
    assert_eq!(
        (&told["state"], &told["heldUntil"]),
        (&json!("Staged"), &until)
    );
    let listed = gateway.get("/v1/files?state=Staged").await.json();
    assert_eq!(listed["files"][0]["heldUntil"], until);
    let constraints = gateway
        .get("/v1/pipelines/flights/constraints")
        .await
        .json();
    assert_eq!(constraints["batch"]["schedule"]["seconds"], 60);
    let again = gateway.put("a.csv", CSV).await;
    assert_eq!((again.status.as_u16(), id(&again)), (200, file));
    for _ in 0..3 {
        let swept = sweep(&gateway).await;
        assert_eq!((swept.published, swept.failed), (0, false));
    }
    assert!(world.publisher.works(QUEUE).is_empty());
    // What was held before a restart is held after it, and goes when the window begins.
    let restarted = world.start();
    assert_eq!(sweep(&restarted).await.published, 0);
    world.pipeline(now());
    restarted.gateway.config.reload();
    assert_eq!(sweep(&restarted).await.published, 1);
    assert_eq!(sweep(&restarted).await.published, 0);
    assert_eq!(world.publisher.works(QUEUE).len(), 1);
    assert_eq!(world.ledger.record(file).unwrap().state, FileState::Queued);
    let told = gateway.get(&format!("/v1/files/{file}")).await.json();
    assert_eq!(told.get("heldUntil"), None);
}

#[tokio::test]
async fn in_its_window_a_file_goes_at_once() {
    let world = World::new();
    world.pipeline(now());
    let gateway = world.start();
    let answer = gateway.put("a.csv", CSV).await;
    assert_eq!(answer.json().get("heldUntil"), None);
    assert_eq!(world.publisher.works(QUEUE).len(), 1);
}

#[tokio::test]
async fn what_is_held_is_entered_in_the_ledger_once_that_answers() {
    let world = World::new();
    world.pipeline(later());
    let gateway = world.start();
    world.ledger.set_down(true);
    let file = id(&gateway.put("a.csv", CSV).await);
    assert!(sweep(&gateway).await.failed);
    world.ledger.set_down(false);
    assert!(!sweep(&gateway).await.failed);
    assert_eq!(world.ledger.record(file).unwrap().state, FileState::Staged);
    assert!(world.publisher.works(QUEUE).is_empty());
}

#[tokio::test]
async fn a_pipeline_that_is_deleted_waits_for_no_window() {
    let world = World::new();
    world.pipeline(later());
    let gateway = world.start();
    gateway.put("a.csv", CSV).await;
    world.close(later());
    gateway.gateway.config.reload();
    assert_eq!(sweep(&gateway).await.published, 1);
}

#[tokio::test]
async fn a_schedule_that_cannot_be_kept_is_no_configuration() {
    let world = World::new();
    let schedule = json!({"cron": "0 2 * *", "seconds": 60});
    world.pipeline(files("trains", json!({"schedule": schedule})));
    let gateway = world.start();
    let answer = gateway.get("/v1/pipelines/trains/constraints").await;
    answer.problem(404, "there are: flights, planes");
}
