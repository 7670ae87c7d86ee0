//! The internal API: see `simbdp_api::wire::internal`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use simbdp_api::pipeline::Compression;
use simbdp_api::wire::internal::{DrainState, GatewayState, LoadedPipeline};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::{App, body, files};
use crate::pace::Patience;
use crate::pipeline::Pipeline;
use crate::problem::Refusal;
use crate::receive::{self, Bounds, ReceiveError, Room};

/// Longest wait for one server's answer about the state.
const LOOK: Duration = Duration::from_secs(3);
/// Totals asked for at a time.
const LOOKS: usize = 8;

/// What the operator shows in status.
pub async fn state(State(gateway): State<App>) -> Json<GatewayState> {
    let config = gateway.config.current();
    let coredms = within(gateway.backends.store.ready());
    let broker = within(gateway.backends.publisher.ready());
    let (coredms, broker) = tokio::join!(coredms, broker);
    let loaded: Vec<_> = config
        .pipelines
        .values()
        .map(|pipeline| load(Arc::clone(&gateway), Arc::clone(pipeline), coredms))
        .collect();
    let pipelines = futures::stream::iter(loaded)
        .buffered(LOOKS)
        .collect()
        .await;
    let staged_files = gateway.staging.index().open();
    Json(GatewayState {
        pipelines,
        staged_files,
        coredms,
        broker,
    })
}

/// Takes no more uploads for a while, and says what is left here.
pub async fn drain(State(gateway): State<App>) -> Json<DrainState> {
    gateway.drain.renew();
    let index = gateway.staging.index();
    Json(DrainState {
        staged_files: index.open(),
        receiving: index.receiving(),
    })
}

async fn within(question: impl Future<Output = bool>) -> bool {
    tokio::time::timeout(LOOK, question).await.unwrap_or(false)
}

async fn load(gateway: App, pipeline: Arc<Pipeline>, coredms: bool) -> LoadedPipeline {
    let question = gateway.backends.ledger.totals(&pipeline.name);
    let totals = match coredms {
        true => tokio::time::timeout(LOOK, question).await.ok(),
        false => None,
    };
    let totals = totals.and_then(Result::ok);
    // Counted after the configuration was read: a request that is not counted here sees that or a later one.
    let in_flight = gateway.flights.of(&pipeline.name);
    let unpublished = gateway.staging.index().unpublished(&pipeline.name);
    LoadedPipeline {
        name: pipeline.name.to_string(),
        generation: pipeline.config.generation,
        rows: totals.map(|totals| totals.rows),
        rejected: totals.map(|totals| totals.rejected),
        in_flight,
        unpublished,
        quiet_seconds: gateway
            .wake
            .quiet(&pipeline.config.pipeline)
            .map(|quiet| quiet.as_secs()),
    }
}

/// A staged file's bytes.
pub async fn content(
    State(gateway): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = files::file_id(&id)?;
    stream(
        gateway.staging.content(id).await,
        id,
        "application/octet-stream",
    )
    .await
}

/// A file's quarantined rows.
pub async fn rejects(
    State(gateway): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = files::file_id(&id)?;
    stream(
        gateway.staging.rejects(id).await,
        id,
        "application/x-ndjson",
    )
    .await
}

async fn stream(
    file: io::Result<tokio::fs::File>,
    id: Uuid,
    media: &'static str,
) -> Result<Response, Refusal> {
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Refusal::not_found(format!("nothing of file {id} is here")),
        _ => Refusal::storage(&error),
    })?;
    let length = file
        .metadata()
        .await
        .map_err(|error| Refusal::storage(&error))?
        .len();
    let headers = [
        (header::CONTENT_TYPE, media.to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    Ok((
        headers,
        Body::from_stream(ReaderStream::with_capacity(file, 64 * 1024)),
    )
        .into_response())
}

/// Drops the bytes of a file that has ended.
pub async fn drop_content(
    State(gateway): State<App>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    let id = files::file_id(&id)?;
    gateway
        .staging
        .forget(id)
        .await
        .map_err(|error| Refusal::storage(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a file's quarantined rows; durable on 204.
pub async fn put_rejects(
    State(gateway): State<App>,
    Path(id): Path<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let id = files::file_id(&id)?;
    let storage = |error: io::Error| Refusal::storage(&error);
    // A name of its own, so that a repetition does not meet the one that it replaces.
    let mut part = gateway
        .staging
        .create_part(Uuid::now_v7())
        .await
        .map_err(storage)?;
    let file = part.take_file().map_err(storage)?;
    let bounds = Bounds {
        max_size: u64::MAX,
        // Rows come as ingest finds them: for a good file seldom, for as long as it is ingested.
        patience: Patience {
            stall: gateway.settings.limits.rejects_stall,
            min_rate: 0,
        },
        room: Some(Room {
            staging: &gateway.staging,
            reserve: 0,
        }),
    };
    receive::receive(body::stream(body), file, Compression::None, bounds)
        .await
        .map_err(|error| match error {
            ReceiveError::Staging(error) => Refusal::storage(&error),
            other => Refusal::bad_request(other.to_string()),
        })?;
    gateway
        .staging
        .put_rejects(part, id)
        .await
        .map_err(storage)?;
    Ok(StatusCode::NO_CONTENT)
}
