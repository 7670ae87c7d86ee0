//! `GET /v1/pipelines/{p}/dead-letters`, `POST …/redrive`, `POST …/purge`: extract → validate → act → answer.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use simbdp_api::wire::dead_letters::{DeadLetterList, MOST_LISTED, Moved, Selection};

use super::caller::Writer;
use super::{App, body, pipelines};
use crate::auth::Caller;
use crate::dead_letters::{self, Move};
use crate::gateway::Gateway;
use crate::pipeline::Pipeline;
use crate::problem::Refusal;

/// Letters of an answer, where the request does not say.
const LISTED: u32 = 100;
/// Largest selection, in bytes: a thousand ids of 255 bytes, escaped.
const LARGEST_SELECTION: usize = 1 << 20;

/// Query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    limit: Option<String>,
    id: Option<String>,
}

/// Letters from the front of the queue.
pub async fn list(
    State(gateway): State<App>,
    Path(pipeline): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<DeadLetterList>, Refusal> {
    let pipeline = pipelines::find(&gateway, &pipeline)?;
    let limit = limit(query.limit.as_deref())?;
    let listed = dead_letters::list(&gateway, &pipeline, limit, query.id.as_deref()).await;
    listed.map(Json)
}

fn limit(text: Option<&str>) -> Result<u32, Refusal> {
    let Some(text) = text else {
        return Ok(LISTED);
    };
    text.parse()
        .ok()
        .filter(|limit| (1..=MOST_LISTED).contains(limit))
        .ok_or_else(|| {
            Refusal::bad_request(format!(
                "`limit={text}` is not a number from 1 to {MOST_LISTED}"
            ))
        })
}

/// Puts letters back to the work queue.
pub async fn redrive(
    State(gateway): State<App>,
    Writer(caller): Writer,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Moved>, Refusal> {
    let flight = gateway.flights.begin(&name);
    let pipeline = pipelines::find_open(&gateway, &name)?;
    let selection = selection(&gateway, body).await?;
    let moved = finished(&gateway, pipeline, Move::Redrive, selection, caller).await;
    drop(flight);
    moved.map(Json)
}

/// Removes letters for good.
pub async fn purge(
    State(gateway): State<App>,
    Writer(caller): Writer,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Moved>, Refusal> {
    let pipeline = pipelines::find(&gateway, &name)?;
    let selection = selection(&gateway, body).await?;
    let moved = finished(&gateway, pipeline, Move::Purge, selection, caller).await;
    moved.map(Json)
}

/// In a task of its own: when the client goes away, what was begun is finished.
async fn finished(
    gateway: &App,
    pipeline: Arc<Pipeline>,
    how: Move,
    selection: Selection,
    caller: Caller,
) -> Result<Moved, Refusal> {
    let own = Arc::clone(gateway);
    let task = gateway.tasks.spawn(async move {
        dead_letters::shift(&own, &pipeline, how, selection, &caller.name).await
    });
    task.await.map_err(|error| {
        tracing::error!(%error, "moving dead letters failed");
        Refusal::internal()
    })?
}

async fn selection(gateway: &Gateway, body: Body) -> Result<Selection, Refusal> {
    let body = body::read(body, LARGEST_SELECTION, gateway.settings.limits.patience()).await?;
    serde_json::from_slice(&body).map_err(|error| {
        Refusal::bad_request(format!(
            "the selection is not valid: {error}; send for example {{\"all\": true}} or {{\"ids\": [\"…\"]}}"
        ))
    })
}
