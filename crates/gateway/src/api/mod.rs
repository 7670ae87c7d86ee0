//! The HTTP APIs: routes, and what every request goes through.
//!
//! A request is given an id, measured, kept from taking the process down by a panic, and its errors are
//! rendered as problem details; under `/v1` it is authenticated and takes its share of the rate. Then a
//! handler extracts, validates, acts and answers.

pub mod body;
pub mod caller;
pub mod dead_letters;
pub mod files;
pub mod health;
pub mod internal;
pub mod linger;
pub mod messages;
pub mod pipelines;
pub mod replay;
pub mod tables;
pub mod upload;

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post, put};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{
    MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer,
};

use crate::gateway::Gateway;
use crate::problem;

/// Shared by all handlers.
pub type App = Arc<Gateway>;

/// The public API.
pub fn public(gateway: App) -> Router {
    let v1 = Router::new()
        .route("/pipelines", get(pipelines::list))
        .route(
            "/pipelines/{pipeline}/constraints",
            get(pipelines::constraints),
        )
        .route("/pipelines/{pipeline}/messages", post(messages::post))
        .route(
            "/pipelines/{pipeline}/dead-letters",
            get(dead_letters::list),
        )
        .route(
            "/pipelines/{pipeline}/dead-letters/redrive",
            post(dead_letters::redrive),
        )
        .route(
            "/pipelines/{pipeline}/dead-letters/purge",
            post(dead_letters::purge),
        )
        // The rest of the path, so that a name with a slash in it is refused by what is wrong with it.
        .route("/pipelines/{pipeline}/files/{*name}", put(upload::put))
        .route("/files", get(files::list))
        .route("/files/{id}", get(files::one))
        .route(
            "/files/{id}/rejects",
            get(files::rejects).put(replay::put_rejects),
        )
        .route("/files/{id}/replay", post(replay::post))
        .route("/tables", get(tables::list))
        .route("/tables/{table}", get(tables::one))
        .route("/tables/{table}/rows", get(tables::rows))
        .layer(from_fn_with_state(
            Arc::clone(&gateway),
            caller::authenticate,
        ));
    let router = Router::new()
        .nest("/v1", v1)
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz));
    finish(router, gateway)
}

/// The internal API, for the operator, ingest apps and other replicas.
pub fn internal(gateway: App) -> Router {
    let router = Router::new()
        .route("/internal/state", get(internal::state))
        .route("/internal/drain", post(internal::drain))
        .route(
            "/internal/files/{id}/content",
            get(internal::content).delete(internal::drop_content),
        )
        .route(
            "/internal/files/{id}/rejects",
            get(internal::rejects).put(internal::put_rejects),
        )
        .route("/internal/files/{id}/replay", post(replay::internal))
        .layer(from_fn_with_state(Arc::clone(&gateway), caller::internal));
    finish(router, gateway)
}

/// What all routers share. The layer added last sees a request first.
pub(crate) fn finish(router: Router<App>, gateway: App) -> Router {
    router
        .fallback(problem::no_route)
        .method_not_allowed_fallback(|| async { axum::http::StatusCode::METHOD_NOT_ALLOWED })
        .layer(CatchPanicLayer::custom(problem::after_panic))
        .layer(from_fn(problem::render))
        .layer(from_fn_with_state(Arc::clone(&gateway), observe))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(from_fn(linger::linger))
        .with_state(gateway)
}

/// Middleware: counts and logs the answer.
async fn observe(State(gateway): State<App>, request: Request, next: Next) -> Response {
    let started = std::time::Instant::now();
    let method = request.method().clone();
    let id = request.extensions().get::<RequestId>().cloned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    // Only methods and routes that are served become labels: others are without number.
    let known = route.is_some() && response.status() != axum::http::StatusCode::METHOD_NOT_ALLOWED;
    let route = route.unwrap_or_else(|| "unmatched".to_owned());
    let label = if known { method.as_str() } else { "other" };
    let status = response.status().as_u16();
    gateway.metrics.request(label, &route, status);
    let id = id.as_ref().and_then(|id| id.header_value().to_str().ok());
    let ms = started.elapsed().as_millis() as u64;
    if status >= 500 {
        tracing::warn!(%method, route, status, ms, request_id = id, "answered");
    } else {
        tracing::debug!(%method, route, status, ms, request_id = id, "answered");
    }
    response
}
