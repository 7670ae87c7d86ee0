//! Who takes what is published is woken, once, and nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use simbdp_api::wire::wake::ROUTE;
use simbdp_gateway::wake::{self, Operator};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::{Running, World};

const JSON: &str = "application/json";
const RECORD: &str = r#"{"id":1,"name":"a"}"#;

/// An operator that tells of each call, and answers the first ones so, then with 204.
async fn operator(answers: Vec<StatusCode>) -> (String, mpsc::UnboundedReceiver<String>) {
    let (told, calls) = mpsc::unbounded_channel();
    let count = Arc::new(AtomicUsize::new(0));
    let answer = move |Path((namespace, pipeline)): Path<(String, String)>, headers: HeaderMap| {
        let token = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
        told.send(format!("{namespace} {pipeline} {token}"))
            .unwrap();
        let nth = count.fetch_add(1, Ordering::SeqCst);
        let answer = answers.get(nth).copied();
        async move { answer.unwrap_or(StatusCode::NO_CONTENT) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route(ROUTE, post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, calls)
}

/// A gateway with this operator, calling it.
fn gateway(world: &mut World, url: String) -> Running {
    std::fs::create_dir(world.root.path().join("operator")).unwrap();
    world.write("operator/token", "gateway-token\n");
    world.operator = Some(Operator {
        url,
        directory: world.root.path().join("operator"),
    });
    let running = world.start();
    tokio::spawn(wake::run(Arc::clone(&running.gateway)));
    running
}

async fn woken(running: &Running, outcome: &str) -> u64 {
    let text = running.gateway.metrics.encode(0).unwrap();
    let name = format!("simbdp_gateway_wakes_total{{outcome=\"{outcome}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}

async fn until_woken(running: &Running, outcome: &str) {
    let done = async {
        while woken(running, outcome).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), done)
        .await
        .unwrap();
}

#[tokio::test]
async fn many_posts_wake_the_pipeline_once_with_the_gateway_s_own_token() {
    let (url, mut calls) = operator(vec![]).await;
    let mut world = World::new();
    let running = gateway(&mut world, url);
    for _ in 0..20 {
        assert_eq!(running.post(JSON, &[], RECORD).await.status, 202);
    }
    assert_eq!(
        calls.recv().await.unwrap(),
        "tenant-x planes Bearer gateway-token"
    );
    until_woken(&running, "done").await;
    assert_eq!(running.post(JSON, &[], RECORD).await.status, 202);
    let file = running.put("a.csv", crate::support::CSV).await;
    assert_eq!(file.status, 202);
    assert_eq!(
        calls.recv().await.unwrap(),
        "tenant-x flights Bearer gateway-token"
    );
    assert!(calls.is_empty());
}

#[tokio::test]
async fn an_operator_that_never_answers_delays_no_post() {
    // Connections are accepted by the kernel, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut world = World::new();
    let running = gateway(&mut world, url);
    for _ in 0..3 {
        let post = running.post(JSON, &[], RECORD);
        let answer = tokio::time::timeout(Duration::from_secs(1), post).await;
        assert_eq!(answer.unwrap().status, 202);
    }
    assert_eq!(woken(&running, "failed").await, 0, "it is still waited for");
}

#[tokio::test]
async fn an_operator_that_fails_is_called_again_and_one_that_refuses_is_not() {
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    let (url, mut calls) = operator(vec![busy]).await;
    let mut world = World::new();
    let running = gateway(&mut world, url);
    assert_eq!(running.post(JSON, &[], RECORD).await.status, 202);
    until_woken(&running, "done").await;
    assert!(calls.recv().await.is_some() && calls.recv().await.is_some());

    let (url, mut calls) = operator(vec![StatusCode::FORBIDDEN]).await;
    let mut world = World::new();
    let running = gateway(&mut world, url);
    assert_eq!(running.post(JSON, &[], RECORD).await.status, 202);
    until_woken(&running, "failed").await;
    assert!(calls.recv().await.is_some());
    assert!(calls.is_empty());
}

#[tokio::test]
async fn the_operator_is_told_how_long_a_pipeline_has_been_quiet() {
    let world = World::new();
    let running = world.start();
    let quiet = async |running: &Running| {
        let state = running.inside("GET", "/internal/state", "").await.json();
        let pipelines = state["pipelines"].as_array().unwrap();
        let planes = pipelines.iter().find(|one| one["name"] == "planes");
        planes.unwrap()["quietSeconds"].as_u64()
    };
    assert_eq!(quiet(&running).await, None);
    assert_eq!(running.post(JSON, &[], RECORD).await.status, 202);
    assert_eq!(quiet(&running).await, Some(0));
}
