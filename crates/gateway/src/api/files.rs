//! `GET /v1/files`, `GET /v1/files/{id}`, `GET /v1/files/{id}/rejects`.

use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use simbdp_api::wire::rest::{FilePage, FileRecord, FileState};
use simbdp_coredms::ledger::FileQuery;
use simbdp_coredms::store::StoreError;
use tokio::fs::File;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::App;
use crate::gateway::Gateway;
use crate::intake;
use crate::problem::Refusal;
use crate::query;

/// Query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    pipeline: Option<String>,
    state: Option<String>,
    limit: Option<String>,
    page: Option<String>,
}

/// Files of the ledger, newest first.
pub async fn list(
    State(gateway): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<FilePage>, Refusal> {
    let limit = query.limit.as_deref().map(query::limit).transpose();
    let query = FileQuery {
        pipeline: query.pipeline,
        state: query.state.as_deref().map(state).transpose()?,
        limit: limit.map_err(Refusal::bad_request)?.unwrap_or(100),
        page: query.page,
    };
    let page = gateway.ask(gateway.backends.ledger.files(&query)).await;
    let mut page = page.map_err(|error| refuse(&error))?;
    for record in &mut page.files {
        hold(&gateway, record);
    }
    Ok(Json(page))
}

fn state(text: &str) -> Result<FileState, Refusal> {
    let states = [
        FileState::Staged,
        FileState::Queued,
        FileState::Ingesting,
        FileState::Done,
        FileState::Failed,
        FileState::Duplicate,
    ];
    states
        .into_iter()
        .find(|state| format!("{state:?}").eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            Refusal::bad_request(format!(
                "`{text}` is not a state; there are Staged, Queued, Ingesting, Done, Failed and Duplicate"
            ))
        })
}

/// One file. While the ledger has no row of it yet, what is staged here is told.
pub async fn one(
    State(gateway): State<App>,
    Path(id): Path<String>,
) -> Result<Json<FileRecord>, Refusal> {
    find(&gateway, file_id(&id)?).await.map(Json)
}

/// Tells until when a file waits for its pipeline's window.
fn hold(gateway: &Gateway, record: &mut FileRecord) {
    if record.state == FileState::Staged {
        record.held_until = intake::held_until(gateway, &record.pipeline);
    }
}

async fn find(gateway: &Gateway, id: Uuid) -> Result<FileRecord, Refusal> {
    let asked = gateway.ask(gateway.backends.ledger.file(id)).await;
    if let Ok(Some(mut record)) = asked {
        hold(gateway, &mut record);
        return Ok(record);
    }
    let staged = gateway.staging.index().get(id).map(|entry| {
        let state = match (entry.ended, entry.published) {
            (Some(ended), _) => ended,
            (None, true) => FileState::Queued,
            (None, false) => FileState::Staged,
        };
        from_manifest(&entry.work, state)
    });
    match (staged, asked) {
        (Some(mut record), _) => {
            hold(gateway, &mut record);
            Ok(record)
        }
        (None, Err(error)) => Err(refuse(&error)),
        (None, Ok(_)) => Err(Refusal::not_found(format!("there is no file {id}"))),
    }
}

fn from_manifest(work: &simbdp_api::wire::work::FileWork, state: FileState) -> FileRecord {
    let accepted_at = chrono::DateTime::from_timestamp_millis(work.accepted_at).unwrap_or_default();
    FileRecord {
        id: work.id,
        pipeline: work.pipeline.clone(),
        name: work.name.clone(),
        state,
        format: work.format,
        compression: work.compression,
        bytes: work.size,
        sha256: work.sha256.clone(),
        user: work.user.clone(),
        accepted_at,
        updated_at: accepted_at,
        accepted: None,
        rejected: None,
        seconds: None,
        rejects: None,
        error: None,
        duplicate_of: None,
        replays: work.replay.map(|replay| replay.number),
        mends: work.mends,
        held_until: None,
    }
}

/// The quarantined rows of a file: from here, or from the replica that has them.
pub async fn rejects(
    State(gateway): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = file_id(&id)?;
    let found = find(&gateway, id).await;
    // A replay has written them all: what an earlier attempt quarantined is history.
    let none = found
        .as_ref()
        .is_ok_and(|record| record.rejected == Some(0));
    match gateway.staging.rejects(id).await {
        Ok(file) if !none => return ndjson(file).await,
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Refusal::storage(&error));
        }
        _ => {}
    }
    let record = found?;
    if record.rejects.is_none() && record.rejected.is_none_or(|rejected| rejected == 0) {
        return Err(Refusal::not_found(format!(
            "no row of file {id} is quarantined; it is {:?}",
            record.state
        )));
    }
    from_peers(&gateway, id).await
}

async fn ndjson(file: File) -> Result<Response, Refusal> {
    let length = file
        .metadata()
        .await
        .map_err(|error| Refusal::storage(&error))?
        .len();
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}

/// Asks the other replicas one after the other.
async fn from_peers(gateway: &Gateway, id: Uuid) -> Result<Response, Refusal> {
    let config = gateway.config.current();
    let token = config
        .internal_token
        .as_deref()
        .ok_or_else(Refusal::internal)?;
    let mut silent = false;
    for peer in &gateway.settings.peers {
        let url = format!("{peer}/internal/files/{id}/rejects");
        match gateway.http.get(url).bearer_auth(token).send().await {
            Ok(answer) if answer.status() == StatusCode::OK => {
                let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
                return Ok((headers, Body::from_stream(answer.bytes_stream())).into_response());
            }
            Ok(answer) => silent |= answer.status() != StatusCode::NOT_FOUND,
            Err(error) => {
                tracing::warn!(%error, peer, "a replica cannot be asked for a reject file");
                silent = true;
            }
        }
    }
    Err(match silent {
        true => Refusal::unavailable(
            "replica-unreachable",
            "the replica that has the quarantined rows does not answer",
            Duration::from_secs(5),
        ),
        false => Refusal::not_found(format!(
            "the quarantined rows of file {id} are not kept any more"
        )),
    })
}

/// An id in a path.
pub fn file_id(text: &str) -> Result<Uuid, Refusal> {
    Uuid::try_parse(text).map_err(|_| {
        Refusal::not_found(format!("there is no file `{text}`: a file's id is a UUID"))
    })
}

/// What a client is told when the database does not serve.
pub fn refuse(error: &StoreError) -> Refusal {
    match error {
        StoreError::BadQuery(reason) => Refusal::bad_request(reason.clone()),
        StoreError::Transient(reason) => {
            tracing::warn!(error = reason, "the database does not serve");
            Refusal::unavailable(
                "database-unreachable",
                "the database does not answer; what is accepted is queued meanwhile",
                Duration::from_secs(5),
            )
        }
        StoreError::Permanent(reason) => {
            tracing::error!(error = reason, "the database refuses");
            Refusal::internal()
        }
    }
}
