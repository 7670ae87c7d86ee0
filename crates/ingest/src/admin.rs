//! The admin port: liveness, readiness that says what is missing, metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use simbdp_broker::Publisher;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use crate::metrics::Metrics;
use crate::own::launchers::Launchers;
use crate::shutdown::Shutdown;

/// What readiness depends on; filled in while the app starts. Clones share one state.
#[derive(Clone, Default)]
pub struct Readiness {
    table: Arc<AtomicBool>,
    broker: Arc<OnceCell<Queue>>,
    launchers: Arc<OnceCell<Arc<Launchers>>>,
}

struct Queue {
    name: String,
    publisher: Arc<dyn Publisher>,
}

/// How long a scrape waits for the broker.
const ASKING: Duration = Duration::from_secs(1);

impl Readiness {
    /// The table's statements are prepared.
    pub fn table_prepared(&self) {
        self.table.store(true, Ordering::Release);
    }

    /// The broker can be asked about the app's queue from now on. A second call changes nothing.
    pub fn broker_connected(&self, publisher: Arc<dyn Publisher>, queue: String) {
        let _ = self.broker.set(Queue {
            name: queue,
            publisher,
        });
    }

    /// The tenant's own program must be there as well. A second call changes nothing.
    pub fn needs_program(&self, launchers: Arc<Launchers>) {
        let _ = self.launchers.set(launchers);
    }

    /// Messages that wait in the app's queue; [`None`] while the broker does not tell.
    pub async fn backlog(&self) -> Option<u64> {
        let queue = self.broker.get()?;
        let depth = queue.publisher.depth(&queue.name);
        tokio::time::timeout(ASKING, depth).await.ok()?.ok()
    }

    /// What is missing; [`None`] when the app works.
    pub async fn missing(&self) -> Option<&'static str> {
        if !self.table.load(Ordering::Acquire) {
            return Some("the table is not prepared: the database has not answered yet");
        }
        match self.broker.get() {
            None => Some("the broker has not answered yet"),
            Some(queue) if !queue.publisher.ready().await => Some("the broker does not answer"),
            Some(_) => match self.launchers.get() {
                Some(launchers) if !launchers.present().await => {
                    Some("the container `app` is not there")
                }
                _ => None,
            },
        }
    }
}

#[derive(Clone)]
struct Admin {
    readiness: Readiness,
    metrics: Metrics,
}

/// Routes of the admin port.
pub fn routes(readiness: Readiness, metrics: Metrics) -> Router {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
        .with_state(Admin { readiness, metrics });
    #[cfg(feature = "failpoints")]
    let router = router.merge(crate::failpoints::routes());
    router
}

/// Serves the admin port until the grace of `shutdown` is over.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move { shutdown.expired().await })
        .await
}

async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    match admin.readiness.missing().await {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
    }
}

async fn text(State(admin): State<Admin>) -> impl IntoResponse {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    admin.metrics.waiting(admin.readiness.backlog().await);
    match admin.metrics.text() {
        Ok(text) => Ok(([(header::CONTENT_TYPE, TYPE)], text)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}
