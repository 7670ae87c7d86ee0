//! `PUT /v1/pipelines/{p}/files/{name}`: extract → validate → receive and queue → answer.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use simbdp_api::wire::rest::UploadResult;
use simbdp_record::FileName;

use super::caller::Writer;
use super::{App, body, files, pipelines, replay};
use crate::flights::Flight;
use crate::intake::{self, Mends, Upload};
use crate::pipeline::Pipeline;
use crate::problem::Refusal;

/// Query of an upload.
#[derive(Debug, Default, Deserialize)]
pub struct UploadQuery {
    /// Whether bytes that were uploaded before are taken again.
    #[serde(default)]
    force: bool,
    /// The file that this one mends: its records get that one's identity.
    mends: Option<String>,
}

/// Takes a file for a batch pipeline.
pub async fn put(
    State(gateway): State<App>,
    Writer(caller): Writer,
    Path((pipeline, name)): Path<(String, String)>,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let flight = gateway.flights.begin(&pipeline);
    let pipeline = pipelines::find_open(&gateway, &pipeline)?;
    let name = check_name(&pipeline, &name)?;
    let rules = pipeline.rules.as_ref().ok_or_else(Refusal::internal)?;
    let constraints = rules.constraints().clone();
    check_headers(&headers, constraints.max_file_size)?;
    let mends = mends(&gateway, &pipeline, query.mends.as_deref()).await?;
    let upload = Upload {
        constraints,
        name,
        digest: body::content_digest(&headers)?,
        force: query.force,
        user: caller.name.to_string(),
        pipeline,
        mends,
    };
    receive(gateway, upload, flight, body).await
}

/// Receives an upload and answers.
pub async fn receive(
    gateway: App,
    upload: Upload,
    flight: Flight,
    body: Body,
) -> Result<Response, Refusal> {
    // A task of its own: when the client goes away, what was begun is still finished or undone.
    let tasks = gateway.tasks.clone();
    let task = tasks.spawn(async move {
        let _flight = flight;
        intake::accept(&gateway, upload, body::stream(body)).await
    });
    let result = task.await.map_err(|error| {
        tracing::error!(%error, "an upload failed");
        Refusal::internal()
    })??;
    Ok(answer(result))
}

/// The file that an upload mends, which must have ended.
async fn mends(
    gateway: &App,
    pipeline: &Pipeline,
    id: Option<&str>,
) -> Result<Option<Mends>, Refusal> {
    let Some(id) = id else {
        return Ok(None);
    };
    let record = replay::mended(gateway, files::file_id(id)?).await?;
    if record.pipeline != *pipeline.name {
        return Err(Refusal::bad_request(format!(
            "file {id} was uploaded to pipeline `{}`: mend it there",
            record.pipeline
        )));
    }
    let rows = false;
    Ok(Some(Mends {
        id: record.id,
        rows,
    }))
}

fn check_name(pipeline: &Pipeline, name: &str) -> Result<FileName, Refusal> {
    let Some(rules) = &pipeline.rules else {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "wrong-mode",
            "The pipeline takes messages",
            format!(
                "pipeline `{0}` takes messages: use POST /v1/pipelines/{0}/messages",
                pipeline.name
            ),
        ));
    };
    let name = FileName::parse(name).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let violations = rules.check_name(&name);
    if violations.is_empty() {
        return Ok(name);
    }
    let reasons: Vec<_> = violations.iter().map(ToString::to_string).collect();
    Err(Refusal::invalid(reasons.join("; ")))
}

/// What the headers tell before anything comes in.
pub fn check_headers(headers: &HeaderMap, max_file_size: u64) -> Result<(), Refusal> {
    body::refuse_encoding(
        headers,
        "send the bytes of the file as they are, and tell its compression by its name, for example flights.csv.gz",
    )?;
    match body::content_length(headers) {
        Some(length) if length > max_file_size => Err(Refusal::too_large(format!(
            "the file has {length} bytes, but this pipeline takes at most {max_file_size} (maxFileSize)"
        ))),
        _ => Ok(()),
    }
}

fn answer(result: UploadResult) -> Response {
    let status = match result.duplicate {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    let location = HeaderValue::from_str(&result.location);
    let mut response = (status, Json(result)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
