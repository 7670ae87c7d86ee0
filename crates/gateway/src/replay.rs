//! Replay: a file that has ended is ingested once more from the bytes that are staged here, with the same identities and
//! versions. check → note durably → open in the ledger → publish.
//!
//! What a crash leaves: after the note, a file that the sweeper publishes and ingest finds to have ended; after the ledger,
//! one that the sweeper publishes and ingest takes.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use simbdp_api::wire::rest::{FileRecord, FileState, Replayed};
use simbdp_api::wire::work::{FileWork, Replay};
use simbdp_coredms::ledger::Claim;
use uuid::Uuid;

use crate::api::files;
use crate::api::pipelines::find_open;
use crate::gateway::Gateway;
use crate::intake::{self, Held};
use crate::problem::Refusal;

/// What is replayed of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Asked {
    /// The file.
    pub id: Uuid,
    /// Only its quarantined rows.
    pub rejects: bool,
}

/// 409: the file is not in the state for it.
fn conflict(detail: impl Into<String>) -> Refusal {
    Refusal::new(
        StatusCode::CONFLICT,
        "not-replayable",
        "The file cannot be replayed",
        detail,
    )
}

/// 410: what it takes is not kept any more.
pub fn gone(detail: impl Into<String>) -> Refusal {
    Refusal::new(
        StatusCode::GONE,
        "bytes-gone",
        "The bytes are not kept any more",
        detail,
    )
}

/// Why the bytes of a file are not there.
pub fn bytes_gone(gateway: &Gateway, id: Uuid) -> Refusal {
    const DAY: u64 = 24 * 60 * 60;
    let days = gateway.settings.limits.failed_retention.as_secs() / DAY;
    gone(format!(
        "the bytes of file {id} are not kept any more: those of a file that failed, or has quarantined rows, are for {days} days, and for less when the staging volume is full; upload it again, or mend its quarantined rows (`simbdp replay {id} --rejects --file FILE`)"
    ))
}

/// Whether a file may be replayed, by its ledger entry.
pub fn check(record: &FileRecord, asked: Asked) -> Result<(), Refusal> {
    let id = record.id;
    Err(conflict(match record.state {
        FileState::Staged | FileState::Queued | FileState::Ingesting => format!(
            "file {id} is {:?}: it is being ingested, replay it once it has ended",
            record.state
        ),
        FileState::Duplicate => format!(
            "file {id} is a duplicate of {}: replay that one",
            record.duplicate_of.unwrap_or_default()
        ),
        FileState::Done if record.rejected.unwrap_or_default() == 0 => {
            format!("every row of file {id} is written: there is nothing to replay")
        }
        FileState::Failed if asked.rejects => format!(
            "file {id} failed as a whole: replay all of it, without rejects, once the cause is mended"
        ),
        FileState::Done | FileState::Failed => return Ok(()),
    }))
}

/// Replays a file that is staged here; [`None`] where its bytes are not.
pub async fn here(gateway: &Gateway, asked: Asked) -> Result<Option<Replayed>, Refusal> {
    let Some(staged) = staged(gateway, asked.id) else {
        return Ok(None);
    };
    let _flight = gateway.flights.begin(&staged.pipeline);
    // One replay of a file at a time.
    let _turn = gateway.content_lock(&lock_key(&staged)).lock().await;
    let Some(staged) = self::staged(gateway, asked.id) else {
        return Ok(None);
    };
    let pipeline = find_open(gateway, &staged.pipeline)?;
    if pipeline.config.is_another(staged.pipeline_uid.as_deref()) {
        return Err(conflict(format!(
            "file {} was uploaded for a former pipeline `{}`, which was deleted: upload it again",
            asked.id, staged.pipeline
        )));
    }
    let record = recorded(gateway, asked.id).await?;
    check(&record, asked)?;
    if asked.rejects {
        check_rejects(gateway, asked.id).await?;
    }
    check_claim(gateway, &staged).await?;
    let number = record.replays.unwrap_or_default().saturating_add(1);
    let work = Arc::new(FileWork {
        replay: Some(Replay {
            number,
            rejects: asked.rejects,
            accepted: record.accepted.unwrap_or_default(),
            rejected: record.rejected.unwrap_or_default(),
        }),
        ..FileWork::clone(&staged)
    });
    start(gateway, &work, record.state).await.map(Some)
}

fn staged(gateway: &Gateway, id: Uuid) -> Option<Arc<FileWork>> {
    let index = gateway.staging.index();
    index
        .get(id)
        .filter(|entry| !entry.held)
        .map(|entry| Arc::clone(&entry.work))
}

fn lock_key(work: &FileWork) -> [u8; 32] {
    let mut key = [0; 32];
    // What is no SHA-256 shares a lock, which is harmless.
    let _ = hex::decode_to_slice(&work.sha256, &mut key);
    key
}

async fn recorded(gateway: &Gateway, id: Uuid) -> Result<FileRecord, Refusal> {
    let asked = gateway.ask(gateway.backends.ledger.file(id)).await;
    let record = asked.map_err(|error| files::refuse(&error))?;
    record.ok_or_else(|| {
        conflict(format!(
            "file {id} is being ingested for the first time: replay it once it has ended"
        ))
    })
}

async fn check_rejects(gateway: &Gateway, id: Uuid) -> Result<(), Refusal> {
    match gateway.staging.rejects(id).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(gone(format!(
            "the quarantined rows of file {id} are not kept any more: replay all of it, without rejects"
        ))),
        Err(error) => Err(Refusal::storage(&error)),
    }
}

/// The same bytes may have come in as another file since this one failed: they are that one's then.
async fn check_claim(gateway: &Gateway, work: &FileWork) -> Result<(), Refusal> {
    let claimed = gateway.ask(gateway.backends.ledger.claim(work)).await;
    match claimed.map_err(|error| files::refuse(&error))? {
        Claim::Granted => Ok(()),
        Claim::TakenBy(other) => Err(conflict(format!(
            "the same bytes were uploaded as file {other} since: see what became of that one"
        ))),
    }
}

async fn start(
    gateway: &Gateway,
    work: &Arc<FileWork>,
    from: FileState,
) -> Result<Replayed, Refusal> {
    let id = work.id;
    let reopened = gateway.staging.reopen(Arc::clone(work)).await;
    reopened.map_err(|error| Refusal::storage(&error))?;
    let held = Held(gateway, id);
    fail::fail_point!("after-reopen", |_| Err(Refusal::internal()));
    let opened = gateway
        .ask(gateway.backends.ledger.replay(work, from))
        .await;
    if !opened.map_err(|error| files::refuse(&error))? {
        return Err(conflict(format!(
            "file {id} is not {from:?} any more: look at it again"
        )));
    }
    let message = id.to_string();
    let ledger = &gateway.backends.ledger;
    let forgotten = ledger.forget_attempts(&work.pipeline, &message);
    if let Err(error) = gateway.ask(forgotten).await {
        tracing::warn!(%error, file = %id, "attempts of a file that is replayed are not forgotten");
    }
    let queued = intake::publish(gateway, work).await?;
    if queued {
        intake::note_queued(gateway, id).await;
    }
    drop(held);
    let replay = work.replay.map(|replay| replay.number);
    tracing::info!(file = %id, pipeline = work.pipeline, replay, queued, "a file is replayed");
    Ok(Replayed {
        id,
        replays: replay.unwrap_or_default(),
        held_until: (!queued)
            .then(|| intake::held_until(gateway, &work.pipeline))
            .flatten(),
        location: format!("/v1/files/{id}"),
    })
}

/// What a client is told when the replica that may have the bytes does not answer.
pub fn silent() -> Refusal {
    Refusal::unavailable(
        "replica-unreachable",
        "the replica that has the bytes of the file does not answer",
        Duration::from_secs(5),
    )
}
