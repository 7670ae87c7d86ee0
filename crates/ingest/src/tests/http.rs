//! The admin port and the client of the gateway's internal API, over real sockets.

use std::sync::{Arc, Mutex};

use crate::admin::{self, Readiness};
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::staging_client::{Staging, StagingClient, StagingError};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, put};
use futures::stream::{self, StreamExt, TryStreamExt};
use simbdp_api::pipeline::Compression;
use tokio::net::TcpListener;

use super::fakes::Queue;
use super::rig::{message, work};

#[derive(Clone, Default)]
struct Gateway {
    rejects: Arc<Mutex<Vec<u8>>>,
    requests: Arc<Mutex<Vec<String>>>,
    status: Arc<Mutex<Option<StatusCode>>>,
}

impl Gateway {
    fn check(&self, what: &str, headers: &HeaderMap) -> Result<(), StatusCode> {
        let bearer = headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        self.requests
            .lock()
            .unwrap()
            .push(format!("{what} {}", bearer.unwrap_or_default()));
        self.status.lock().unwrap().map_or(Ok(()), Err)
    }
}

async fn gateway() -> (Gateway, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let gateway = Gateway::default();
    async fn content(
        State(gateway): State<Gateway>,
        Path(id): Path<String>,
        headers: HeaderMap,
    ) -> Result<Vec<u8>, StatusCode> {
        gateway.check(&format!("GET {id}"), &headers)?;
        Ok(b"id,name\n1,a\n".to_vec())
    }
    async fn discard(State(gateway): State<Gateway>, headers: HeaderMap) -> StatusCode {
        gateway
            .check("DELETE", &headers)
            .err()
            .unwrap_or(StatusCode::NO_CONTENT)
    }
    async fn rejects(
        State(gateway): State<Gateway>,
        headers: HeaderMap,
        body: Bytes,
    ) -> StatusCode {
        let refused = gateway.check("PUT", &headers).err();
        gateway.rejects.lock().unwrap().extend_from_slice(&body);
        refused.unwrap_or(StatusCode::NO_CONTENT)
    }
    let routes = Router::new()
        .route("/internal/files/{id}/content", get(content).delete(discard))
        .route("/internal/files/{id}/rejects", put(rejects))
        .with_state(gateway.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (gateway, format!("http://{address}"))
}

#[tokio::test]
async fn content_and_rejects_go_over_the_internal_api_with_its_token() {
    let (gateway, url) = gateway().await;
    let client = StagingClient::new("secret".into(), "127.0.0.1".into()).unwrap();
    let mut work = work(b"", Compression::None);
    work.replica = url;
    let content: Vec<_> = client
        .content(&work)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(content.concat(), b"id,name\n1,a\n");
    let rows = stream::iter([Ok("{}\n".into()), Ok("{}\n".into())]).boxed();
    client.put_rejects(&work, rows).await.unwrap();
    assert_eq!(*gateway.rejects.lock().unwrap(), b"{}\n{}\n");
    client.discard(&work).await.unwrap();
    assert_eq!(
        *gateway.requests.lock().unwrap(),
        [
            format!("GET {} Bearer secret", work.id),
            "PUT Bearer secret".to_owned(),
            "DELETE Bearer secret".to_owned()
        ]
    );
}

#[tokio::test]
async fn a_reject_file_that_breaks_off_is_never_whole() {
    let (gateway, url) = gateway().await;
    let client = StagingClient::new("secret".into(), "127.0.0.1".into()).unwrap();
    let mut work = work(b"", Compression::None);
    work.replica = url;
    let rows = stream::iter([Ok("{}\n".into()), Err(std::io::Error::other("interrupted"))]).boxed();
    let put = client.put_rejects(&work, rows).await;
    assert!(matches!(put, Err(StagingError::Transient(_))), "{put:?}");
    assert!(gateway.rejects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn answers_are_transient_but_gone_is_not() {
    let (gateway, url) = gateway().await;
    let client = StagingClient::new("secret".into(), "127.0.0.1".into()).unwrap();
    let mut work = work(b"", Compression::None);
    work.replica = url;
    for status in [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::UNAUTHORIZED,
        StatusCode::TOO_MANY_REQUESTS,
    ] {
        *gateway.status.lock().unwrap() = Some(status);
        let error = client.content(&work).await.err().unwrap();
        assert!(
            matches!(&error, StagingError::Transient(reason) if reason.contains(status.as_str()))
        );
        assert!(!error.to_string().contains("secret"));
    }
    *gateway.status.lock().unwrap() = Some(StatusCode::NOT_FOUND);
    assert!(matches!(
        client.content(&work).await.err(),
        Some(StagingError::Permanent(_))
    ));
    assert_eq!(client.discard(&work).await, Ok(()));
    work.replica = "http://127.0.0.1:1".into();
    assert!(matches!(
        client.content(&work).await.err(),
        Some(StagingError::Transient(_))
    ));
}

#[tokio::test]
async fn the_token_goes_to_no_foreign_host() {
    let (gateway, url) = gateway().await;
    let client =
        StagingClient::new("secret".into(), ".gateway-replicas.tenant-t.svc".into()).unwrap();
    for replica in [
        url.as_str(),
        "http://gateway-0.gateway-replicas.tenant-t.svc.evil.example",
        "not a url",
    ] {
        let mut work = work(b"", Compression::None);
        work.replica = replica.to_owned();
        assert!(
            matches!(
                client.content(&work).await.err(),
                Some(StagingError::Permanent(_))
            ),
            "{replica}"
        );
    }
    assert!(gateway.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (readiness, metrics, shutdown) = (
        Readiness::default(),
        Metrics::new("t", "p"),
        Shutdown::new(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = admin::routes(readiness.clone(), metrics.clone());
    let server = tokio::spawn(admin::serve(listener, routes, shutdown.clone()));
    let client = reqwest::Client::new();
    let get = async |path: &str| {
        let response = client.get(format!("{url}{path}")).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(get("/healthz").await.0, 200);
    let (status, text) = get("/readyz").await;
    assert!(status == 503 && text.contains("database"), "{text}");
    readiness.table_prepared();
    let (status, text) = get("/readyz").await;
    assert!(status == 503 && text.contains("broker"), "{text}");
    let (_, text) = get("/metrics").await;
    assert!(text.contains("} NaN"), "the backlog is not known: {text}");
    let queue = Queue::default();
    queue.put(message("a:0", "{}", 0), 0);
    readiness.broker_connected(Arc::new(queue), "ingest.p".to_owned());
    assert_eq!(get("/readyz").await.0, 200);
    metrics.wrote(7, 1, std::time::Duration::from_millis(3));
    let (_, text) = get("/metrics").await;
    assert!(
        text.contains("simbdp_ingest_rows_total{tenant=\"t\",pipeline=\"p\"} 7"),
        "{text}"
    );
    let waiting = "simbdp_ingest_backlog{tenant=\"t\",pipeline=\"p\"} 1.0";
    assert!(text.contains(waiting), "{text}");
    drop(client);
    shutdown.expire();
    server.await.unwrap().unwrap();
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn failpoints_are_set_and_cleared_over_the_admin_port() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let shutdown = Shutdown::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/failpoints/test-point",
        listener.local_addr().unwrap()
    );
    let routes = admin::routes(Readiness::default(), Metrics::new("t", "p"));
    tokio::spawn(admin::serve(listener, routes, shutdown.clone()));
    let client = reqwest::Client::new();
    let put = async |action: &'static str| {
        client
            .put(&url)
            .body(action)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(put("print(here)").await, 204);
    assert_eq!(put("3*off->abort").await, 204);
    assert_eq!(put("nonsense").await, 400);
    assert_eq!(put("xyz->abort").await, 400);
    assert_eq!(
        client.delete(&url).send().await.unwrap().status().as_u16(),
        204
    );
    shutdown.expire();
}
