//! Health, readiness and metrics over HTTP. Not ready while a custom resource definition is missing, which
//! the answer names.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::error::ApiError;

/// How often the definitions are looked for.
const PERIOD: Duration = Duration::from_secs(10);

/// Why the operator is not ready, if it is not.
#[derive(Debug)]
pub struct Health {
    problem: Mutex<Option<String>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            problem: Mutex::new(Some("the API server was not asked yet".to_owned())),
        }
    }
}

impl Health {
    fn set(&self, problem: Option<String>) {
        let mut current = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != problem {
            match &problem {
                Some(problem) => tracing::warn!(error = problem, "not ready"),
                None => tracing::info!("ready"),
            }
        }
        *current = problem;
    }

    /// Why the operator is not ready.
    pub fn problem(&self) -> Option<String> {
        self.problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Looks for the definitions until `shutdown`, and again and again, for somebody may delete one.
    pub async fn follow(&self, client: Client, shutdown: CancellationToken) {
        let mut period = tokio::time::interval(PERIOD);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = period.tick() => self.set(missing_definitions(&client).await),
            }
        }
    }

    /// Waits until the operator is ready.
    pub async fn ready(&self, client: &Client) {
        let mut period = tokio::time::interval(Duration::from_secs(1));
        loop {
            period.tick().await;
            let problem = missing_definitions(client).await;
            let ready = problem.is_none();
            self.set(problem);
            if ready {
                return;
            }
        }
    }
}

/// What is missing of this project's group, by discovery: needs no rights.
async fn missing_definitions(client: &Client) -> Option<String> {
    let version = format!("{}/{}", simbdp_api::GROUP, simbdp_api::VERSION);
    let served = match client
        .list_api_group_resources(&version)
        .await
        .map_err(ApiError)
    {
        Ok(list) => list
            .resources
            .into_iter()
            .map(|resource| resource.name)
            .collect(),
        Err(error) if error.code() == Some(404) => Vec::new(),
        Err(error) => return Some(error.to_string()),
    };
    missing(&served)
}

fn missing(served: &[String]) -> Option<String> {
    let wanted = simbdp_api::custom_resource_definitions();
    let names: Vec<_> = wanted
        .into_iter()
        .filter(|definition| !served.contains(&definition.spec.names.plural))
        .filter_map(|definition| definition.metadata.name)
        .collect();
    match names.is_empty() {
        true => None,
        false => Some(format!(
            "CustomResourceDefinition {} is missing: install the chart simbdp-crds",
            names.join(", ")
        )),
    }
}

#[derive(Clone)]
struct Served {
    ctx: Arc<Context>,
    health: Arc<Health>,
}

/// `/healthz`, `/readyz` and `/metrics`.
pub fn router(ctx: Arc<Context>, health: Arc<Health>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Served { ctx, health })
}

async fn readyz(State(served): State<Served>) -> Response {
    match served.health.problem() {
        None => "ok\n".into_response(),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")).into_response(),
    }
}

async fn metrics(State(served): State<Served>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match served.ctx.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn a_missing_definition_is_named() {
        let served = ["brokers", "coredms", "tenants"].map(str::to_owned);
        let problem = missing(&served).unwrap();
        assert!(
            problem.contains("ingestpipelines.simbdp.dev")
                && !problem.contains("tenants.simbdp.dev")
        );
        let all = ["brokers", "coredms", "tenants", "ingestpipelines"].map(str::to_owned);
        assert_eq!(missing(&all), None);
    }
}
