//! `POST /v1/pipelines/{p}/messages`: extract → validate → publish → answer.
//!
//! Each record is judged by itself: those that conform are published, the faults of the others are
//! listed. 202 says that every record that conforms is confirmed by the queue; when none conforms it is
//! 422. When the queue does not confirm all of them, the answer says which are missing, and the same
//! request with the same `Idempotency-Key` sends them again without doubling the others.

use std::ops::Range;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use simbdp_api::wire::config::Mode;
use simbdp_api::wire::rest::{Fault, MessagesResult};
use simbdp_api::wire::work::headers;
use simbdp_broker::queue::{HeaderValue, Message, PublishError};
use simbdp_record::message;
use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use super::caller::Writer;
use super::{App, body, pipelines};
use crate::auth::Caller;
use crate::gateway::Gateway;
use crate::idempotency::{IdempotencyError, Key, check_key};
use crate::pipeline::Pipeline;
use crate::problem::Refusal;

/// Longest wait for room for a body.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// Takes records for a stream pipeline.
pub async fn post(
    State(gateway): State<App>,
    Writer(caller): Writer,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<MessagesResult>), Refusal> {
    let _flight = gateway.flights.begin(&name);
    let pipeline = pipelines::find_open(&gateway, &name)?;
    let limit = message_limit(&pipeline)?;
    let media = media(&headers)?;
    let key = idempotency_key(&headers)?;
    let limits = &gateway.settings.limits;
    let _room = room(&gateway, &headers).await?;
    let body = body::read(body, limits.max_body, limits.patience()).await?;
    let records = split(&body, media, limits.max_records)?;
    let judged = judge(&pipeline, &body, &records, limit, media).await?;
    gateway.metrics.records(&name, 0, judged.rejected);
    if judged.accepted.is_empty() {
        let detail = "no record conforms to the pipeline; `errors` says what is wrong with each";
        return Err(Refusal::invalid(detail).with_errors(judged.faults));
    }
    let identity = identify(&gateway, &caller, &pipeline, key, &body, records.len()).await?;
    let messages = messages(&body, &records, &judged.accepted, &identity);
    // It may have been closed while the body came in.
    pipelines::find_open(&gateway, &name)?;
    let results = gateway.publish(&pipeline.config.pipeline, messages).await;
    fail::fail_point!("after-confirm", |_| Err(Refusal::internal()));
    answer(&gateway, &pipeline, judged, identity.source, &results)
}

fn message_limit(pipeline: &Pipeline) -> Result<usize, Refusal> {
    match &pipeline.config.mode {
        Mode::Stream(stream) => Ok(usize::try_from(stream.max_message_size).unwrap_or(usize::MAX)),
        Mode::Batch(_) => Err(Refusal::new(
            StatusCode::CONFLICT,
            "wrong-mode",
            "The pipeline takes files",
            format!(
                "pipeline `{0}` takes files: use PUT /v1/pipelines/{0}/files/{{name}}",
                pipeline.name
            ),
        )),
    }
}

/// Waits until the body may be held, as large as it is announced or may be.
async fn room<'a>(
    gateway: &'a Gateway,
    headers: &HeaderMap,
) -> Result<SemaphorePermit<'a>, Refusal> {
    let limits = &gateway.settings.limits;
    let announced = body::content_length(headers).and_then(|length| usize::try_from(length).ok());
    let bytes = announced.unwrap_or(limits.max_body).min(limits.max_body);
    let units = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
    match tokio::time::timeout(ROOM_WAIT, gateway.bodies.acquire_many(units)).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Refusal::unavailable(
            "too-many-requests",
            "this replica holds as many messages already as it may; try again",
            Duration::from_secs(1),
        )),
    }
}

/// One record, or one a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Media {
    Json,
    Ndjson,
}

fn media(headers: &HeaderMap) -> Result<Media, Refusal> {
    body::refuse_encoding(headers, "send messages uncompressed")?;
    let wrong = || {
        Refusal::unsupported_media_type(
            "send one JSON object as application/json, or one a line as application/x-ndjson",
        )
    };
    let value = headers.get(header::CONTENT_TYPE).ok_or_else(wrong)?;
    let mime: mime::Mime = value
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(wrong)?;
    if mime
        .get_param(mime::CHARSET)
        .is_some_and(|charset| charset != mime::UTF_8)
    {
        return Err(wrong());
    }
    match mime.essence_str() {
        "application/json" => Ok(Media::Json),
        "application/x-ndjson" | "application/ndjson" => Ok(Media::Ndjson),
        _ => Err(wrong()),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    match check_key(&text) {
        Ok(key) => Ok(Some(key.to_owned())),
        Err(reason) => Err(Refusal::bad_request(reason)),
    }
}

/// Where each record lies in the body.
fn split(body: &Bytes, media: Media, most: usize) -> Result<Vec<Range<usize>>, Refusal> {
    let place = |record: &[u8]| {
        let start = record.as_ptr() as usize - body.as_ptr() as usize;
        start..start + record.len()
    };
    let records: Vec<_> = match media {
        Media::Json => vec![place(body.trim_ascii())],
        Media::Ndjson => message::records(body)
            .take(most + 1)
            .map(|(_, line)| place(line.trim_ascii()))
            .collect(),
    };
    if records.len() > most {
        return Err(Refusal::too_large(format!(
            "one request takes at most {most} records; send the others in further requests"
        )));
    }
    if records.iter().all(Range::is_empty) {
        return Err(Refusal::invalid(
            "the body has no record: send a JSON object",
        ));
    }
    Ok(records)
}

struct Judged {
    /// Indices of the records that conform.
    accepted: Vec<usize>,
    rejected: u64,
    faults: Vec<Fault>,
}

async fn judge(
    pipeline: &Pipeline,
    body: &Bytes,
    records: &[Range<usize>],
    limit: usize,
    media: Media,
) -> Result<Judged, Refusal> {
    let mut judged = Judged {
        accepted: Vec::with_capacity(records.len()),
        rejected: 0,
        faults: Vec::new(),
    };
    for (index, place) in records.iter().enumerate() {
        // Work without waiting: let others have the thread in between.
        tokio::task::consume_budget().await;
        let record = &body[place.clone()];
        let faults = if record.len() > limit {
            let reason = format!(
                "has {} bytes, but a message of this pipeline has at most {limit} (maxMessageSize)",
                record.len()
            );
            if media == Media::Json {
                return Err(Refusal::too_large(format!("the message {reason}")));
            }
            vec![Fault {
                record: Some(index as u64),
                column: None,
                reason,
            }]
        } else {
            pipeline.faults(index as u64, record)
        };
        if faults.is_empty() {
            judged.accepted.push(index);
        } else {
            judged.rejected += 1;
            judged.faults.extend(faults);
        }
    }
    Ok(judged)
}

struct Identity {
    source: String,
    version: i64,
}

/// Source id and version of the first record; both are the earlier ones when a request comes again.
async fn identify(
    gateway: &Gateway,
    caller: &Caller,
    pipeline: &Pipeline,
    key: Option<String>,
    body: &Bytes,
    records: usize,
) -> Result<Identity, Refusal> {
    let version = gateway.clock.reserve(records as u64);
    let Some(key) = key else {
        return Ok(Identity {
            source: Uuid::now_v7().to_string(),
            version: version.await.map_err(|error| Refusal::storage(&error))?,
        });
    };
    let key = Key {
        user: caller.name.clone(),
        pipeline: pipeline.name.clone(),
        key: key.into(),
    };
    let source = key.source();
    let digest = Sha256::digest(body).into();
    match gateway.idempotency.version(key, digest, version).await {
        Ok(version) => Ok(Identity { source, version }),
        Err(error @ IdempotencyError::OtherBody) => Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "The Idempotency-Key is in use",
            error.to_string(),
        )),
        Err(IdempotencyError::Clock(error)) => Err(Refusal::storage(&error)),
    }
}

fn messages(
    body: &Bytes,
    records: &[Range<usize>],
    accepted: &[usize],
    identity: &Identity,
) -> Vec<Message> {
    let message = |&index: &usize| {
        let ordinal = i64::try_from(index).unwrap_or(i64::MAX);
        Message {
            id: format!("{}:{ordinal}", identity.source),
            body: body.slice(records[index].clone()),
            headers: vec![
                (
                    headers::VERSION.to_owned(),
                    HeaderValue::Long(identity.version.saturating_add(ordinal)),
                ),
                (
                    headers::SOURCE.to_owned(),
                    HeaderValue::Text(identity.source.clone()),
                ),
                (headers::ORDINAL.to_owned(), HeaderValue::Long(ordinal)),
            ],
        }
    };
    accepted.iter().map(message).collect()
}

fn answer(
    gateway: &Gateway,
    pipeline: &Pipeline,
    judged: Judged,
    source: String,
    results: &[Result<(), PublishError>],
) -> Result<(StatusCode, Json<MessagesResult>), Refusal> {
    let confirmed = results.iter().filter(|result| result.is_ok()).count() as u64;
    gateway.metrics.records(&pipeline.name, confirmed, 0);
    let mut unconfirmed = judged
        .accepted
        .iter()
        .enumerate()
        .filter_map(|(at, &index)| {
            let error = match results.get(at) {
                Some(Ok(())) => return None,
                Some(Err(error)) => error.clone(),
                None => PublishError::Unavailable("no answer".into()),
            };
            Some((index, error))
        });
    let Some(first) = unconfirmed.next() else {
        let result = MessagesResult {
            source,
            accepted: confirmed,
            rejected: judged.rejected,
            errors: judged.faults,
        };
        return Ok((StatusCode::ACCEPTED, Json(result)));
    };
    let missing: Vec<_> = std::iter::once(first).chain(unconfirmed).collect();
    Err(not_confirmed(
        pipeline, &judged, &source, confirmed, &missing,
    ))
}

fn not_confirmed(
    pipeline: &Pipeline,
    judged: &Judged,
    source: &str,
    confirmed: u64,
    missing: &[(usize, PublishError)],
) -> Refusal {
    let errors: Vec<_> = missing
        .iter()
        .map(|(index, error)| Fault {
            record: Some(*index as u64),
            column: None,
            reason: match error {
                PublishError::Full => "not accepted: the queue is full".to_owned(),
                PublishError::NoQueue(_) => "not accepted: the queue is not there yet".to_owned(),
                PublishError::Unavailable(_) => {
                    "not confirmed: the broker did not answer".to_owned()
                }
            },
        })
        .chain(judged.faults.iter().cloned())
        .collect();
    if let Some((_, error)) = missing.first() {
        tracing::warn!(%error, pipeline = %pipeline.name, missing = missing.len(), "the queue did not confirm all messages");
    }
    let detail = format!(
        "{confirmed} of {} records are accepted, under the source `{source}`; `errors` names the others. Send the same request again: with the same Idempotency-Key nothing is doubled",
        judged.accepted.len()
    );
    let unknown = missing
        .iter()
        .any(|(_, error)| matches!(error, PublishError::Unavailable(_)));
    let full = missing
        .iter()
        .any(|(_, error)| *error == PublishError::Full);
    match (unknown, full) {
        (true, _) => Refusal::unavailable("broker-unreachable", detail, Duration::from_secs(2)),
        (false, true) => Refusal::too_many("queue-full", detail, Duration::from_secs(5)),
        (false, false) => Refusal::unavailable("no-queue", detail, Duration::from_secs(10)),
    }
    .with_errors(errors)
}
