//! `/healthz`: the process lives. `/readyz`: it can take requests, or what keeps it from that. The
//! database may be down meanwhile: the queue and the staging volume buffer its outages.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::App;
use crate::gateway::Gateway;
use crate::problem::Report;

/// Answer of `/readyz`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Whether requests can be taken.
    pub ready: bool,
    /// What keeps them from being taken.
    pub not_ready: Vec<String>,
}

/// The process lives.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests can be taken.
pub async fn readyz(
    State(gateway): State<App>,
) -> (StatusCode, Extension<Report>, Json<Readiness>) {
    let not_ready = obstacles(&gateway).await;
    let status = match not_ready.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let readiness = Readiness {
        ready: not_ready.is_empty(),
        not_ready,
    };
    (status, Extension(Report), Json(readiness))
}

async fn obstacles(gateway: &Gateway) -> Vec<String> {
    let mut obstacles = Vec::new();
    if gateway.shutdown.is_cancelled() {
        obstacles.push("the gateway shuts down".to_owned());
    }
    if gateway.drain.is_on() {
        obstacles.push("the replica is being taken away".to_owned());
    }
    let config = gateway.config.current();
    if config.users.is_none() {
        obstacles.push("the users' file is missing or broken".to_owned());
    }
    if config.internal_token.is_none() {
        obstacles.push("the internal token is missing".to_owned());
    }
    if !gateway.staging.writable().await {
        obstacles.push("the staging volume cannot be written".to_owned());
    }
    obstacles
}
