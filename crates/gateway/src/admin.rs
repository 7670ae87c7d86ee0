//! The admin port: health, readiness, metrics; and, in builds with the feature `failpoints` alone, the
//! switches of the points at which the kill tests stop the process.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::api::{self, App, health};
use crate::problem::Refusal;

/// Routes of the admin port.
pub fn router(gateway: App) -> Router {
    let router = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics));
    #[cfg(feature = "failpoints")]
    let router = router.route(
        "/failpoints/{name}",
        axum::routing::put(failpoints::set).delete(failpoints::clear),
    );
    api::finish(router, Arc::clone(&gateway))
}

async fn metrics(State(gateway): State<App>) -> Result<Response, Refusal> {
    let staged = gateway.staging.index().open();
    let text = gateway.metrics.encode(staged).map_err(|error| {
        tracing::error!(%error, "cannot write the metrics");
        Refusal::internal()
    })?;
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media)], text).into_response())
}

/// `PUT /failpoints/{name}` with an action of the `fail` crate, or `abort`, as body; `DELETE` switches it off.
#[cfg(feature = "failpoints")]
pub mod failpoints {
    use axum::extract::Path;
    use axum::http::StatusCode;

    use crate::problem::Refusal;

    /// Switches a failpoint on.
    pub async fn set(Path(name): Path<String>, action: String) -> Result<StatusCode, Refusal> {
        let set = match action.trim() {
            // A process that is killed runs no destructor and answers nobody.
            "abort" => fail::cfg_callback(name, || std::process::abort()),
            action => fail::cfg(name, action),
        };
        set.map(|()| StatusCode::NO_CONTENT).map_err(|reason| {
            Refusal::bad_request(format!("not an action of a failpoint: {reason}"))
        })
    }

    /// Switches a failpoint off.
    pub async fn clear(Path(name): Path<String>) -> StatusCode {
        fail::remove(name);
        StatusCode::NO_CONTENT
    }
}
