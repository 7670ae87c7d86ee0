//! Wakes a pipeline at once [IO] when its gateway publishes after a pause: authenticate → may it? → coalesce → 0 → 1. Any
//! operator does it, whether it leads or not. See `simbdp_api::wire::wake`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use moka::future::Cache;
use sha2::{Digest, Sha256};
use simbdp_api::labels;
use simbdp_api::names::{PipelineName, TenantName, tenant_objects};
use simbdp_api::wire::wake::{AUDIENCE, ROUTE};
use tokio::sync::Semaphore;

use super::scale::{MANAGER, Scaled, scale};
use super::workload::{paused, replicas};
use crate::apply::{Applier, ApplyError};
use crate::context::Context;
use crate::error::ApiError;

/// How long a token that was found good is believed.
const BELIEVED: Duration = Duration::from_secs(60);
/// Calls for one pipeline within this time are one.
const COALESCED: Duration = Duration::from_secs(1);
/// Longest time for one call.
const PATIENCE: Duration = Duration::from_secs(5);
/// Reviews of tokens that are asked for at a time: whoever sends bad ones does not load the API server.
const REVIEWS: usize = 8;
/// Somebody else writes the same Deployment: look again, but not for ever.
const TRIES: usize = 4;
/// Most tokens and pipelines that are remembered.
const CAPACITY: u64 = 10_000;

/// Why a pipeline is not woken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No token, or none that is good.
    #[error("send the token of a gateway's ServiceAccount for the audience {AUDIENCE}")]
    Unknown,
    /// It is not this pipeline's gateway.
    #[error(
        "{account} may not wake pipelines in {namespace}: only the gateway of that namespace may"
    )]
    Forbidden {
        /// Who asks.
        account: String,
        /// Where.
        namespace: String,
    },
    /// There is nothing to wake.
    #[error("there is no ingest app of pipeline {0}")]
    NoPipeline(String),
    /// None is to run.
    #[error("{0}")]
    Paused(String),
    /// It cannot be done now.
    #[error("{0}")]
    Unavailable(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::NoPipeline(_) => StatusCode::NOT_FOUND,
            Self::Paused(_) => StatusCode::CONFLICT,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn outcome(&self) -> &'static str {
        match self {
            Self::Unknown => "unauthenticated",
            Self::Forbidden { .. } => "forbidden",
            Self::NoPipeline(_) => "no_pipeline",
            Self::Paused(_) => "paused",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status(), format!("{self}\n")).into_response()
    }
}

impl From<ApplyError> for Refusal {
    fn from(error: ApplyError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What came of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Woken {
    /// An ingest app starts.
    Now,
    /// One runs already.
    Before,
}

/// Wakes pipelines.
#[derive(Clone)]
pub struct Waker {
    ctx: Arc<Context>,
    /// User names by the digest of their tokens.
    accounts: Cache<[u8; 32], String>,
    /// What came of the last call for a pipeline.
    woken: Cache<(TenantName, PipelineName), Woken>,
    reviews: Arc<Semaphore>,
}

impl Waker {
    /// In the name of this operator.
    pub fn new(ctx: Arc<Context>) -> Self {
        Self {
            ctx,
            accounts: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(BELIEVED)
                .build(),
            woken: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(COALESCED)
                .build(),
            reviews: Arc::new(Semaphore::new(REVIEWS)),
        }
    }

    /// The API for gateways.
    pub fn router(self) -> Router {
        Router::new().route(ROUTE, post(answer)).with_state(self)
    }

    /// Wakes a pipeline for whoever has this token.
    pub async fn wake(
        &self,
        token: Option<&str>,
        namespace: &str,
        pipeline: &str,
    ) -> Result<Woken, Refusal> {
        let account = self.account(token.ok_or(Refusal::Unknown)?).await?;
        let tenant = TenantName::from_namespace(namespace)
            .filter(|tenant| account == gateway_account(tenant))
            .ok_or_else(|| Refusal::Forbidden {
                account,
                namespace: namespace.to_owned(),
            })?;
        let pipeline =
            PipelineName::new(pipeline).map_err(|error| Refusal::NoPipeline(error.name))?;
        let work = start(&self.ctx.client, &tenant, &pipeline);
        self.woken
            .try_get_with((tenant.clone(), pipeline.clone()), work)
            .await
            .map_err(Arc::unwrap_or_clone)
    }

    /// Whose a token is.
    async fn account(&self, token: &str) -> Result<String, Refusal> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let review = async {
            let _one = self.reviews.acquire().await;
            review(&self.ctx.client, token).await
        };
        self.accounts
            .try_get_with(digest, review)
            .await
            .map_err(Arc::unwrap_or_clone)
    }
}

/// User name of the ServiceAccount of a tenant's gateway.
fn gateway_account(tenant: &TenantName) -> String {
    let (namespace, name) = (tenant.namespace(), tenant_objects::GATEWAY);
    format!("system:serviceaccount:{namespace}:{name}")
}

async fn answer(
    State(waker): State<Waker>,
    Path((namespace, pipeline)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let waking = waker.wake(bearer, &namespace, &pipeline);
    let woken = tokio::time::timeout(PATIENCE, waking)
        .await
        .unwrap_or_else(|_| Err(Refusal::Unavailable("the API server is slow".to_owned())));
    match &woken {
        Ok(Woken::Now) => {
            waker.ctx.metrics.woken("woken");
            tracing::info!(namespace, pipeline, "woken by the gateway");
        }
        Ok(Woken::Before) => waker.ctx.metrics.woken("awake"),
        Err(refusal) => {
            waker.ctx.metrics.woken(refusal.outcome());
            tracing::warn!(namespace, pipeline, error = %refusal, "not woken");
        }
    }
    woken.map(|_| StatusCode::NO_CONTENT)
}

/// Asks the API server whose a token is, and whether it is for this audience.
async fn review(client: &Client, token: &str) -> Result<String, Refusal> {
    let api: Api<TokenReview> = Api::all(client.clone());
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: Some(vec![AUDIENCE.to_owned()]),
        },
        ..TokenReview::default()
    };
    let answer = api
        .create(&PostParams::default(), &review)
        .await
        .map_err(|error| Refusal::Unavailable(ApiError(error).to_string()))?;
    let status = answer.status.unwrap_or_default();
    let good = status.authenticated == Some(true)
        && status
            .audiences
            .is_some_and(|audiences| audiences.iter().any(|audience| audience == AUDIENCE));
    let account = status.user.and_then(|user| user.username);
    account.filter(|_| good).ok_or(Refusal::Unknown)
}

/// Starts an ingest app where none is to run; whoever starts more at the same moment is not undone.
async fn start(
    client: &Client,
    tenant: &TenantName,
    pipeline: &PipelineName,
) -> Result<Woken, Refusal> {
    let (namespace, workload) = (tenant.namespace(), pipeline.ingest_workload());
    let missing = || Refusal::NoPipeline(pipeline.to_string());
    let applier = Applier::new(client, MANAGER);
    for _ in 0..TRIES {
        let ingest = applier
            .get::<Deployment>(Some(&namespace), &workload)
            .await?
            .filter(|ingest| is_ingest_of(ingest, pipeline))
            .ok_or_else(missing)?;
        if replicas(&ingest) > 0 {
            return Ok(Woken::Before);
        }
        if let Some(why) = paused(&ingest) {
            return Err(Refusal::Paused(why.clone()));
        }
        let version = ingest.resource_version();
        match scale(client, &namespace, &workload, 1, version.as_deref()).await? {
            Scaled::Done => return Ok(Woken::Now),
            Scaled::Changed => {}
            Scaled::Gone => return Err(missing()),
        }
    }
    Err(Refusal::Unavailable(format!(
        "Deployment {workload} changes all the time"
    )))
}

fn is_ingest_of(ingest: &Deployment, pipeline: &PipelineName) -> bool {
    let of = ingest.labels().get(labels::PIPELINE).map(String::as_str);
    of == Some(pipeline.as_str()) && ingest.metadata.deletion_timestamp.is_none()
}
