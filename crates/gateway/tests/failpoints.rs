//! Crashes at the very points: `cargo test -p simbdp-gateway --features failpoints --test failpoints`.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use axum::body::Body;
use axum::http::Request;
use fail::FailScenario;
use simbdp_gateway::sweeper;
use support::{CSV, Running, World, ask};

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
