//! Who may ask, how much, and what every error looks like.

use std::num::NonZeroU32;

use axum::body::Body;
use axum::http::Request;
use base64::Engine;

use crate::support::{READER, WRITER, World, ask};

fn get(path: &str, authorization: &str) -> Request<Body> {
    let request = Request::get(path);
    let request = match authorization.is_empty() {
        true => request,
        false => request.header("authorization", authorization),
    };
    request.body(Body::empty()).unwrap()
}

fn basic(pair: &str) -> String {
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}

#[tokio::test]
async fn credentials_are_needed_and_those_of_another_tenant_do_not_do() {
    let world = World::new();
    let gateway = world.start();
    for authorization in [
        "",
        "Bearer carl-token-of-another-tenant",
        "Bearer internal-secret",
        &basic("ann:wrong"),
        &basic("carl:carl-password"),
        "Negotiate abc",
    ] {
        let answer = ask(&gateway.public, get("/v1/pipelines", authorization)).await;
        answer.problem(401, "a user of this tenant");
        let schemes: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(schemes.len(), 2, "{authorization}");
    }
    for authorization in [
        WRITER,
        READER,
        &basic("ann:ann-password"),
        &basic("bob:bob-password"),
    ] {
        let answer = ask(&gateway.public, get("/v1/pipelines", authorization)).await;
        assert_eq!(answer.status, 200, "{authorization}");
    }
}

#[tokio::test]
async fn every_route_of_the_api_needs_credentials() {
    let world = World::new();
    let gateway = world.start();
    for (method, path) in [
        ("GET", "/v1/pipelines"),
        ("GET", "/v1/pipelines/flights/constraints"),
        ("POST", "/v1/pipelines/planes/messages"),
        ("PUT", "/v1/pipelines/flights/files/a.csv"),
        ("GET", "/v1/files"),
        ("GET", "/v1/files/x"),
        ("GET", "/v1/files/x/rejects"),
        ("GET", "/v1/tables"),
        ("GET", "/v1/tables/flights"),
        ("GET", "/v1/tables/flights/rows"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        ask(&gateway.public, request)
            .await
            .problem(401, "Authorization");
    }
    for (method, path) in [
        ("GET", "/internal/state"),
        ("GET", "/internal/files/x/content"),
        ("DELETE", "/internal/files/x/content"),
        ("POST", "/internal/drain"),
        ("GET", "/internal/files/x/rejects"),
        ("PUT", "/internal/files/x/rejects"),
    ] {
        for authorization in ["", WRITER, "Bearer internal-secre"] {
            let mut request = Request::builder().method(method).uri(path);
            if !authorization.is_empty() {
                request = request.header("authorization", authorization);
            }
            let request = request.body(Body::empty()).unwrap();
            ask(&gateway.internal, request)
                .await
                .problem(401, "own programs");
        }
    }
}

#[tokio::test]
async fn the_rate_is_limited_for_users_and_not_spent_by_strangers() {
    let mut world = World::new();
    world.limits.requests_per_second = NonZeroU32::new(2);
    let gateway = world.start();
    for _ in 0..10 {
        let stranger = ask(&gateway.public, get("/v1/pipelines", "Bearer x")).await;
        assert_eq!(stranger.status, 401);
    }
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(gateway.get("/v1/pipelines").await);
    }
    assert_eq!(answers[0].status, 200);
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    refused.problem(429, "2 requests per second");
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(
        gateway.get("/healthz").await.status,
        200,
        "probes are not limited"
    );
}

#[tokio::test]
async fn every_error_is_a_problem_with_a_request_id() {
    let world = World::new();
    let gateway = world.start();
    for (method, path, status, part) in [
        ("GET", "/nowhere", 404, "nothing is served at `/nowhere`"),
        ("GET", "/v1/nowhere", 404, "nothing is served"),
        ("DELETE", "/v1/pipelines", 405, "Allow"),
        (
            "GET",
            "/v1/pipelines/nope/constraints",
            404,
            "there is no pipeline `nope`",
        ),
        ("GET", "/v1/files?colour=red", 400, "colour"),
        ("PUT", "/v1/pipelines/flights/files/%FF.csv", 400, "UTF-8"),
        (
            "PUT",
            "/v1/pipelines/flights/files/a.csv?force=maybe",
            400,
            "force",
        ),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", WRITER)
            .body(Body::empty())
            .unwrap();
        let answer = ask(&gateway.public, request).await;
        let problem = answer.problem(status, part);
        assert!(
            path.starts_with(problem["instance"].as_str().unwrap()),
            "{path}"
        );
        assert!(!answer.header("x-request-id").is_empty());
        if status == 405 {
            assert!(
                answer.header("allow").contains("GET"),
                "{}",
                answer.header("allow")
            );
        }
    }
    let request = Request::get("/healthz")
        .header("x-request-id", "mine")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        ask(&gateway.public, request).await.header("x-request-id"),
        "mine"
    );
}

#[tokio::test]
async fn ready_while_the_database_is_down_but_not_without_users() {
    let world = World::new();
    std::fs::remove_file(world.root.path().join("users/users.json")).unwrap();
    let gateway = world.start();
    world.ledger.set_down(true);
    let answer = gateway.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json()["notReady"][0],
        "the users' file is missing or broken"
    );
    gateway
        .get("/v1/pipelines")
        .await
        .problem(503, "not known yet");
    let gateway = {
        World {
            root: world.root,
            ..World::new()
        }
    };
    gateway.write("users/users.json", r#"{"users":[]}"#);
    let gateway = gateway.start();
    for router in [&gateway.public, &gateway.admin] {
        let answer = ask(router, get("/readyz", "")).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["ready"]),
            (200, &true.into())
        );
    }
    gateway.gateway.shutdown.cancel();
    assert_eq!(gateway.get("/readyz").await.status, 503);
    assert_eq!(gateway.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn metrics_name_routes_and_pipelines_but_no_files() {
    let world = World::new();
    let gateway = world.start();
    gateway.put("secret-name.csv", crate::support::CSV).await;
    gateway
        .post("application/json", &[], r#"{"id":1,"name":"a"}"#)
        .await;
    gateway.get("/v1/wp-login.php").await;
    let text = ask(&gateway.admin, get("/metrics", "")).await;
    let text = String::from_utf8(text.body).unwrap();
    for part in [
        r#"simbdp_gateway_requests_total{method="PUT",route="/v1/pipelines/{pipeline}/files/{*name}",status="202"} 1"#,
        r#"simbdp_gateway_records_total{pipeline="planes",outcome="accepted"} 1"#,
        r#"simbdp_gateway_files_total{pipeline="flights",outcome="accepted"} 1"#,
        "simbdp_gateway_staged_files 1",
        "simbdp_gateway_publish_seconds_count 2",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    assert!(
        !text.contains("secret-name") && !text.contains("wp-login"),
        "{text}"
    );
}
