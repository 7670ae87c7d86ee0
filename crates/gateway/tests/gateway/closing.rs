//! A pipeline that is closed, and a replica that is to go, while requests are under way.

use std::time::Duration;

use serde_json::{Value, json};
use simbdp_broker::queue::PublishError;
use simbdp_gateway::sweeper;

use crate::support::{CSV, Running, World, files, messages, on_demand};

/// What a replica tells the operator of a pipeline: generation, requests in flight, files that wait.
async fn told(gateway: &Running, pipeline: &str) -> (u64, u64, u64) {
    let state = gateway.inside("GET", "/internal/state", "").await.json();
    let pipelines = state["pipelines"].as_array().unwrap();
    let found = pipelines.iter().find(|one| one["name"] == pipeline);
    let number = |key: &str| found.unwrap()[key].as_u64().unwrap();
    (
        number("generation"),
        number("inFlight"),
        number("unpublished"),
    )
}

async fn until_in_flight(gateway: &Running, pipeline: &str) {
    while gateway.gateway.flights.of(pipeline) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_upload_under_way_is_refused_when_its_pipeline_closes_and_counts_until_then() {
    let world = World::new();
    let gateway = world.start();
    let (chunks, body) = on_demand();
    chunks.unbounded_send("id,name\n").unwrap();
    let uploading = {
        let gateway = gateway.clone();
        tokio::spawn(async move { gateway.put("a.csv", body).await })
    };
    until_in_flight(&gateway, "flights").await;
    assert_eq!(told(&gateway, "flights").await, (4, 1, 0));
    world.close(files("flights", json!({})));
    gateway.gateway.config.reload();
    assert_eq!(told(&gateway, "flights").await, (5, 1, 0));
    chunks.unbounded_send("1,a\n").unwrap();
    drop(chunks);
    let answer = uploading.await.unwrap();
    answer.problem(503, "takes nothing new: the pipeline is being deleted");
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(told(&gateway, "flights").await, (5, 0, 0));
    assert!(world.staged("staged").is_empty() && world.staged("incoming").is_empty());
    assert!(world.publisher.queue("ingest.flights").is_empty());
}

#[tokio::test]
async fn a_file_that_is_claimed_when_its_pipeline_closes_is_taken_back_with_claim_and_count() {
    let world = World::new();
    let limited = || files("flights", json!({"maxFiles": {"count": 9, "per": "Day"}}));
    world.pipeline(limited());
    let gateway = world.start();
    let config = gateway.gateway.config.clone();
    world.close(limited());
    *world.ledger.after_claim.lock().unwrap() = Some(Box::new(move || config.reload()));
    let answer = gateway.put("a.csv", CSV).await;
    answer.problem(503, "takes nothing new");
    assert!(world.staged("staged").is_empty(), "nothing is left of it");
    assert!(world.ledger.claims().is_empty());
    assert_eq!(world.ledger.count("flights"), 0);
    assert!(world.publisher.queue("ingest.flights").is_empty());
}

#[tokio::test]
async fn messages_under_way_are_refused_when_their_pipeline_closes() {
    let world = World::new();
    let gateway = world.start();
    let (chunks, body) = on_demand();
    let posting = {
        let gateway = gateway.clone();
        tokio::spawn(async move { gateway.post("application/json", &[], body).await })
    };
    until_in_flight(&gateway, "planes").await;
    world.close(messages("planes"));
    gateway.gateway.config.reload();
    assert_eq!(told(&gateway, "planes").await, (5, 1, 0));
    chunks.unbounded_send(r#"{"id":1,"name":"a"}"#).unwrap();
    drop(chunks);
    let answer = posting.await.unwrap();
    answer.problem(503, "takes nothing new");
    assert_eq!(told(&gateway, "planes").await, (5, 0, 0));
    assert!(world.publisher.queue("ingest.planes").is_empty());
}

#[tokio::test]
async fn a_file_that_the_queue_has_not_confirmed_counts_until_it_has() {
    let world = World::new();
    let gateway = world.start();
    world
        .publisher
        .fail(PublishError::Unavailable("refused".into()));
    gateway.put("a.csv", CSV).await.problem(503, "is staged as");
    world.close(files("flights", Value::Object(Default::default())));
    gateway.gateway.config.reload();
    assert_eq!(told(&gateway, "flights").await, (5, 0, 1));
    world.publisher.heal();
    // Due again at the next round: the upload has given it to the sweeper.
    assert_eq!(sweeper::round(&gateway.gateway).await.published, 1);
    assert_eq!(told(&gateway, "flights").await, (5, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_to_go_takes_no_more_files_until_it_is_told_no_longer() {
    let world = World::new();
    let gateway = world.start();
    let (chunks, body) = on_demand();
    let uploading = {
        let gateway = gateway.clone();
        tokio::spawn(async move { gateway.put("a.csv", body).await })
    };
    while gateway.gateway.staging.index().receiving() == 0 {
        tokio::task::yield_now().await;
    }
    let left = async || {
        let answer = gateway.inside("POST", "/internal/drain", "").await.json();
        (
            answer["stagedFiles"].as_u64().unwrap(),
            answer["receiving"].as_u64().unwrap(),
        )
    };
    assert_eq!(left().await, (0, 1));
    let refused = gateway.put("b.csv", "id,name\n9,z\n").await;
    refused.problem(503, "is being taken away");
    assert!(!refused.header("retry-after").is_empty());
    let message = r#"{"id":1,"name":"a"}"#;
    let posted = gateway.post("application/json", &[], message).await;
    assert_eq!(posted.status, 202, "messages leave nothing here");
    assert_eq!(gateway.get("/readyz").await.status, 503);
    chunks.unbounded_send(CSV).unwrap();
    drop(chunks);
    assert_eq!(uploading.await.unwrap().status, 202, "it was begun before");
    assert_eq!(left().await, (1, 0));
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(gateway.get("/readyz").await.status, 200);
    let taken = gateway.put("b.csv", "id,name\n9,z\n").await;
    assert_eq!(taken.status, 202);
}
