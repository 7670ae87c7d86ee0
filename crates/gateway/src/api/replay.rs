//! `POST /v1/files/{id}/replay`, `PUT /v1/files/{id}/rejects`: extract → validate → act → answer.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use simbdp_api::wire::rest::{FileRecord, FileState, Problem, Replayed};
use simbdp_record::FileName;
use uuid::Uuid;

use super::caller::Writer;
use super::{App, body, files, pipelines, upload};
use crate::gateway::Gateway;
use crate::intake::{Mends, Upload};
use crate::problem::Refusal;
use crate::replay::{self, Asked};

/// Query of a replay.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayQuery {
    /// Whether only quarantined rows are written.
    #[serde(default)]
    rejects: bool,
}

/// Ingests a file once more, from the bytes that a replica keeps.
pub async fn post(
    State(gateway): State<App>,
    Writer(caller): Writer,
    Path(id): Path<String>,
    Query(query): Query<ReplayQuery>,
) -> Result<(StatusCode, Json<Replayed>), Refusal> {
    let asked = Asked {
        id: files::file_id(&id)?,
        rejects: query.rejects,
    };
    let record = ended(&gateway, asked.id).await?;
    replay::check(&record, asked)?;
    tracing::info!(file = %asked.id, rejects = asked.rejects, user = %caller.name, "a replay is asked for");
    let replayed = match own(&gateway, asked).await? {
        Some(replayed) => replayed,
        None => of_peers(&gateway, asked).await?,
    };
    Ok((StatusCode::ACCEPTED, Json(replayed)))
}

/// The same, asked for by another replica: 404 where the bytes are not here.
pub async fn internal(
    State(gateway): State<App>,
    Path(id): Path<String>,
    Query(query): Query<ReplayQuery>,
) -> Result<(StatusCode, Json<Replayed>), Refusal> {
    let id = files::file_id(&id)?;
    let rejects = query.rejects;
    let replayed = own(&gateway, Asked { id, rejects }).await?;
    let replayed =
        replayed.ok_or_else(|| Refusal::not_found(format!("nothing of file {id} is here")))?;
    Ok((StatusCode::ACCEPTED, Json(replayed)))
}

/// In a task of its own: when the client goes away, what was begun is finished.
async fn own(gateway: &App, asked: Asked) -> Result<Option<Replayed>, Refusal> {
    let replica = Arc::clone(gateway);
    let task = gateway
        .tasks
        .spawn(async move { replay::here(&replica, asked).await });
    task.await.map_err(|error| {
        tracing::error!(%error, "a replay failed");
        Refusal::internal()
    })?
}

async fn ended(gateway: &Gateway, id: Uuid) -> Result<FileRecord, Refusal> {
    let asked = gateway.ask(gateway.backends.ledger.file(id)).await;
    let record = asked.map_err(|error| files::refuse(&error))?;
    record.ok_or_else(|| Refusal::not_found(format!("there is no file {id} in the ledger")))
}

/// Asks the other replicas one after the other.
async fn of_peers(gateway: &Gateway, asked: Asked) -> Result<Replayed, Refusal> {
    let config = gateway.config.current();
    let token = config
        .internal_token
        .as_deref()
        .ok_or_else(Refusal::internal)?;
    let Asked { id, rejects } = asked;
    let mut silent = false;
    for peer in &gateway.settings.peers {
        let url = format!("{peer}/internal/files/{id}/replay?rejects={rejects}");
        let answer = match gateway.http.post(url).bearer_auth(token).send().await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%error, peer, "a replica cannot be asked for a replay");
                silent = true;
                continue;
            }
        };
        match answer.status() {
            StatusCode::NOT_FOUND => {}
            StatusCode::ACCEPTED => {
                let replayed = answer.json().await;
                return replayed.map_err(|_| replay::silent());
            }
            status => return Err(passed_on(status, answer).await),
        }
    }
    Err(match silent {
        true => replay::silent(),
        false => replay::bytes_gone(gateway, id),
    })
}

/// What another replica refused, in its words.
async fn passed_on(status: StatusCode, answer: reqwest::Response) -> Refusal {
    let wait = answer
        .headers()
        .get(axum::http::header::RETRY_AFTER)
        .and_then(|after| after.to_str().ok()?.parse().ok())
        .map(std::time::Duration::from_secs);
    let detail = match answer.json::<Problem>().await {
        Ok(problem) => problem.detail,
        Err(_) => return replay::silent(),
    };
    let refusal = Refusal::new(
        status,
        "not-replayable",
        "The file cannot be replayed",
        detail,
    );
    match wait {
        Some(wait) => refusal.retry_after(wait),
        None => refusal,
    }
}

/// Takes mended rows of a file: they become a file of their own, whose records have the identity of the rows that they mend.
pub async fn put_rejects(
    State(gateway): State<App>,
    Writer(caller): Writer,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let id = files::file_id(&id)?;
    let record = mended(&gateway, id).await?;
    let flight = gateway.flights.begin(&record.pipeline);
    let pipeline = pipelines::find_open(&gateway, &record.pipeline)?;
    if pipeline.config.app.is_some() {
        return Err(not_mendable(format!(
            "pipeline `{}` has a program of its own, which reads whole files: mend the file (`simbdp replay {id} --file FILE`), or the program and replay the file as it is (`simbdp replay {id}`)",
            record.pipeline
        )));
    }
    let rules = pipeline.rules.as_ref().ok_or_else(Refusal::internal)?;
    let constraints = rules.constraints().clone();
    upload::check_headers(&headers, constraints.max_file_size)?;
    let name = FileName::parse(&record.name).map_err(|error| {
        Refusal::invalid(format!(
            "the name of file {id} is not one any more: {error}"
        ))
    })?;
    let upload = Upload {
        constraints,
        name,
        digest: body::content_digest(&headers)?,
        force: false,
        user: caller.name.to_string(),
        pipeline,
        mends: Some(Mends { id, rows: true }),
    };
    upload::receive(gateway, upload, flight, body).await
}

/// The ledger entry of a file that may be mended. Rows of a file that mends another have that one's identity, and mend it.
pub async fn mended(gateway: &Gateway, id: Uuid) -> Result<FileRecord, Refusal> {
    let record = ended(gateway, id).await?;
    let detail = match (record.state, record.mends) {
        (FileState::Done | FileState::Failed, None) => return Ok(record),
        (FileState::Done | FileState::Failed, Some(first)) => {
            format!("file {id} mends file {first}: mend that one")
        }
        (state, _) => format!("file {id} is {state:?}: mend it once it has ended"),
    };
    Err(not_mendable(detail))
}

/// 409: rows of the file cannot be mended.
fn not_mendable(detail: String) -> Refusal {
    Refusal::new(
        StatusCode::CONFLICT,
        "not-mendable",
        "The file cannot be mended",
        detail,
    )
}
