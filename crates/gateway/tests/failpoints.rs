//! Crashes at the very points: `cargo test -p simbdp-gateway --features failpoints --test failpoints`.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "gateway/support/mod.rs"]
mod support;

use axum::body::Body;
use axum::http::Request;
use fail::FailScenario;
use serde_json::json;
use simbdp_broker::Message;
use simbdp_gateway::sweeper;
use support::{CSV, Running, WRITER, World, ask, files};

const FILES: &str = "ingest.flights";
const MESSAGES: &str = "ingest.planes";

async fn switch(gateway: &Running, method: &str, name: &str, action: &str) -> u16 {
    let request = Request::builder()
        .method(method)
        .uri(format!("/failpoints/{name}"))
        .body(Body::from(action.to_owned()))
        .unwrap();
    ask(&gateway.admin, request).await.status.as_u16()
}

#[tokio::test]
async fn staged_but_not_published_is_published_once_after_the_crash() {
    let scenario = FailScenario::setup();
    let world = World::new();
    {
        let gateway = world.start();
        assert_eq!(switch(&gateway, "PUT", "after-staged", "return").await, 204);
        gateway.put("a.csv", CSV).await.problem(500, "internal");
        assert_eq!(switch(&gateway, "DELETE", "after-staged", "").await, 204);
    }
    assert!(world.publisher.works(FILES).is_empty());
    let restarted = world.start();
    assert_eq!(sweeper::round(&restarted.gateway).await.published, 1);
    let again = restarted.put("a.csv", CSV).await;
    assert_eq!(
        (again.status.as_u16(), &again.json()["duplicate"]),
        (200, &true.into())
    );
    let works = world.publisher.works(FILES);
    assert_eq!(works.len(), 1);
    assert_eq!(again.json()["id"], works[0].id.to_string());
    scenario.teardown();
}

#[tokio::test]
async fn confirmed_but_not_answered_is_not_doubled_by_the_retry() {
    let scenario = FailScenario::setup();
    let world = World::new();
    let message = r#"{"id":1,"name":"a"}"#;
    let key = [("idempotency-key", "k")];
    let gateway = world.start();
    assert_eq!(
        switch(&gateway, "PUT", "after-confirm", "return").await,
        204
    );
    gateway.put("a.csv", CSV).await.problem(500, "internal");
    gateway
        .post("application/json", &key, message)
        .await
        .problem(500, "internal");
    switch(&gateway, "DELETE", "after-confirm", "").await;
    let again = gateway.post("application/json", &key, message).await;
    assert_eq!(again.status, 202);
    let queue = world.publisher.queue(MESSAGES);
    assert_eq!(queue[0], queue[1], "the same record again");
    let restarted = world.start();
    assert_eq!(sweeper::round(&restarted.gateway).await.published, 0);
    assert_eq!(restarted.put("a.csv", CSV).await.status, 200);
    assert_eq!(world.publisher.works(FILES).len(), 1);
    let after = restarted.post("application/json", &key, message).await;
    assert_eq!(after.status, 202);
    let queue = world.publisher.queue(MESSAGES);
    assert_eq!(
        queue[0].id, queue[2].id,
        "after a restart the identity is the same still"
    );
    scenario.teardown();
}

#[tokio::test]
async fn what_is_no_action_is_refused() {
    let scenario = FailScenario::setup();
    let gateway = World::new().start();
    assert_eq!(
        switch(&gateway, "PUT", "after-confirm", "explode").await,
        400
    );
    scenario.teardown();
}

/// A file that is staged and not yet counted when the process dies was promised to nobody: it is counted before it is
/// queued, and goes where it is one too many.
#[tokio::test]
async fn staged_but_not_counted_is_counted_before_it_is_queued() {
    let scenario = FailScenario::setup();
    let world = World::new();
    let limit = json!({"maxFiles": {"count": 2, "per": "Day"}});
    world.pipeline(files("flights", limit));
    {
        let gateway = world.start();
        assert_eq!(gateway.put("a.csv", CSV).await.status, 202);
        assert_eq!(switch(&gateway, "PUT", "after-claim", "return").await, 204);
        for (name, body) in [("b.csv", "id,name\n3,c\n"), ("c.csv", "id,name\n4,d\n")] {
            gateway.put(name, body).await.problem(500, "internal");
        }
        assert_eq!(switch(&gateway, "DELETE", "after-claim", "").await, 204);
    }
    assert_eq!(world.ledger.count("flights"), 1);
    let restarted = world.start();
    // The ledger is away: whether they may be queued cannot be said.
    world.ledger.set_down(true);
    let swept = sweeper::round(&restarted.gateway).await;
    assert_eq!((swept.published, swept.failed), (0, true));
    world.ledger.set_down(false);
    let restarted = world.start();
    let swept = sweeper::round(&restarted.gateway).await;
    assert_eq!((swept.published, swept.dropped), (1, 1));
    assert_eq!(world.ledger.count("flights"), 2);
    assert_eq!(world.publisher.works(FILES).len(), 2);
    let third = restarted.put("d.csv", "id,name\n5,e\n").await;
    third.problem(429, "takes 2 files per day");
    scenario.teardown();
}

#[tokio::test]
async fn redriven_but_not_removed_shows_once_more_and_is_lost_never() {
    let scenario = FailScenario::setup();
    let world = World::new();
    let gateway = world.start();
    let letter = Message {
        id: "planes/ann/k:0".into(),
        body: r#"{"id":1,"name":"a"}"#.into(),
        headers: Vec::new(),
    };
    world.dead_letters.put("ingest.planes.dead", letter);
    let redrive = async || {
        let request = Request::post("/v1/pipelines/planes/dead-letters/redrive");
        let request = request.header("authorization", WRITER);
        ask(
            &gateway.public,
            request.body(r#"{"all":true}"#.into()).unwrap(),
        )
        .await
    };
    assert_eq!(
        switch(&gateway, "PUT", "after-redrive", "return").await,
        204
    );
    redrive().await.problem(500, "internal");
    switch(&gateway, "DELETE", "after-redrive", "").await;
    assert_eq!(redrive().await.json()["moved"], 1);
    let queue = world.publisher.queue(MESSAGES);
    assert_eq!(queue.len(), 2);
    assert_eq!(queue[0], queue[1], "the same record again");
    assert!(world.publisher.queue("ingest.planes.dead").is_empty());
    scenario.teardown();
}
