//! From a stream of bytes to a queued file: receive → stage → claim → count → enter → publish.
//!
//! Every step leaves what the sweeper can go on with after a crash:
//!
//! | after | there is | the sweeper |
//! |---|---|---|
//! | receive | a part | clears it at start: nothing was acknowledged |
//! | stage | a manifest | enters and publishes it; ingest drops it as Duplicate if its content is another's |
//! | claim, count, enter | the same and a claim | the same |
//! | publish | a confirm | enters it as Queued, drops the bytes once it has ended |
//!
//! A file is never undone once another upload may have been told that it is its duplicate: such an
//! answer is given only when the first one is in the ledger, or staged here for good.

mod count;
mod publish;

use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use bytes::Bytes;
use futures::Stream;
use simbdp_api::pipeline::{Compression, Format};
use simbdp_api::wire::config::BatchConstraints;
use simbdp_api::wire::rest::UploadResult;
use simbdp_api::wire::work::FileWork;
use simbdp_coredms::ledger::Claim;
use simbdp_coredms::store::StoreError;
use simbdp_record::FileName;
use uuid::Uuid;

use crate::api::pipelines::find_open;
use crate::clock::now_millis;
use crate::gateway::Gateway;
use crate::pipeline::Pipeline;
use crate::problem::Refusal;
use crate::receive::{self, Bounds, ReceiveError, Received, Room};
use crate::staging::{Entry, Part, Slot};
use crate::sweeper;
pub use count::{Recount, recount};
pub use publish::{held_until, publish, publish_work};

/// Scope of the ledger's count of the whole tenant's files.
const WHOLE_TENANT: &str = "*";

/// An upload that may be received.
pub struct Upload {
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// What its files conform to.
    pub constraints: BatchConstraints,
    /// Name that the client gave; it tells format and compression.
    pub name: FileName,
    /// SHA-256 that the client promises.
    pub digest: Option<[u8; 32]>,
    /// Whether the same bytes are taken again.
    pub force: bool,
    /// User who uploads.
    pub user: String,
    /// The file that it mends.
    pub mends: Option<Mends>,
}

/// An upload that mends another file, whose identity its records have.
#[derive(Clone, Copy, Debug)]
pub struct Mends {
    /// That file.
    pub id: Uuid,
    /// Whether single rows of it come in, rather than all of it.
    pub rows: bool,
}

impl Upload {
    /// Compression of the bytes that come in. Single rows come in as they are, whatever their file was.
    fn compression(&self) -> Compression {
        match self.mends {
            Some(Mends { rows: true, .. }) => Compression::None,
            _ => self.name.compression(),
        }
    }
}

/// Receives an upload and queues it.
pub async fn accept<S>(gateway: &Gateway, upload: Upload, body: S) -> Result<UploadResult, Refusal>
where
    S: Stream<Item = Result<Bytes, BoxError>> + Unpin,
{
    let pipeline = upload.pipeline.config.pipeline.to_string();
    let outcome = receive_and_queue(gateway, upload, body).await;
    let label = match &outcome {
        Ok(result) if result.duplicate => "duplicate",
        Ok(_) => "accepted",
        Err(_) => "rejected",
    };
    gateway.metrics.file(&pipeline, label);
    outcome
}

async fn receive_and_queue<S>(
    gateway: &Gateway,
    upload: Upload,
    body: S,
) -> Result<UploadResult, Refusal>
where
    S: Stream<Item = Result<Bytes, BoxError>> + Unpin,
{
    let _room = gateway.uploads.try_acquire().map_err(|_| {
        let most = gateway.settings.limits.max_uploads;
        Refusal::unavailable(
            "too-many-uploads",
            format!("this replica receives {most} uploads already, and no more at a time"),
            Duration::from_secs(5),
        )
    })?;
    let slot = admit(gateway)?;
    gateway.drain.check()?;
    let id = Uuid::now_v7();
    let (part, received) = receive_part(gateway, &upload, id, body).await?;
    still_open(gateway, &upload)?;
    let work = Arc::new(describe(gateway, &upload, id, &received).await?);
    gateway.metrics.uploaded(&work.pipeline, received.bytes);
    // From here two uploads of the same bytes come one after the other.
    let _content = gateway.content_lock(&received.sha256).lock().await;
    gateway
        .staging
        .stage(part, Arc::clone(&work), slot)
        .await
        .map_err(|error| Refusal::storage(&error))?;
    let held = Held(gateway, work.id);
    let outcome = queue(gateway, &upload, &work).await;
    drop(held);
    log(&work, &outcome);
    if outcome.is_err() {
        gateway.unswept.notify_one();
    }
    let (id, duplicate) = outcome?;
    let waits = gateway
        .staging
        .index()
        .get(id)
        .is_some_and(|entry| !entry.published);
    let held_until = waits.then(|| held_until(gateway, &work.pipeline)).flatten();
    Ok(UploadResult {
        id,
        duplicate,
        sha256: work.sha256.clone(),
        bytes: work.size,
        location: format!("/v1/files/{id}"),
        held_until,
    })
}

/// Whether the pipeline still takes work: since the upload began it may have been closed, or deleted and
/// made anew.
fn still_open(gateway: &Gateway, upload: &Upload) -> Result<(), Refusal> {
    let name = &upload.pipeline.name;
    let now = find_open(gateway, name)?;
    match now.config.is_another(upload.pipeline.config.uid.as_deref()) {
        false => Ok(()),
        true => Err(Refusal::unavailable(
            "pipeline-closed",
            format!(
                "pipeline `{name}` was deleted and made anew during the upload; nothing of it was kept, send it again"
            ),
            Duration::from_secs(1),
        )),
    }
}

fn log(work: &FileWork, outcome: &Result<(Uuid, bool), Refusal>) {
    let (file, pipeline) = (work.id, &work.pipeline);
    let (bytes, lines) = (work.size, work.lines);
    match outcome {
        Ok((_, false)) => tracing::info!(%file, pipeline, bytes, lines, "a file is queued"),
        Ok((first, true)) => {
            tracing::info!(%file, pipeline, bytes, %first, "a file is a duplicate")
        }
        Err(refusal) => {
            let status = refusal.status().as_u16();
            tracing::warn!(%file, pipeline, bytes, status, "a file is not queued");
        }
    }
}

/// Keeps the sweeper from a file while its upload is at work with it.
pub struct Held<'a>(pub &'a Gateway, pub Uuid);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0
            .staging
            .index()
            .update(self.1, |entry| entry.held = false);
    }
}

fn admit(gateway: &Gateway) -> Result<Slot, Refusal> {
    let limit = gateway.settings.limits.staged_files;
    gateway.staging.admit(limit).ok_or_else(|| {
        Refusal::too_many(
            "staged-files",
            format!(
                "{} files wait on this replica, which is the tenant's share of staged files; try again when some are ingested",
                limit.unwrap_or_default()
            ),
            Duration::from_secs(10),
        )
    })
}

async fn receive_part<S>(
    gateway: &Gateway,
    upload: &Upload,
    id: Uuid,
    body: S,
) -> Result<(Part, Received), Refusal>
where
    S: Stream<Item = Result<Bytes, BoxError>> + Unpin,
{
    let storage = |error: std::io::Error| Refusal::storage(&error);
    let mut part = gateway.staging.create_part(id).await.map_err(storage)?;
    let file = part.take_file().map_err(storage)?;
    let bounds = Bounds {
        max_size: upload.constraints.max_file_size,
        patience: gateway.settings.limits.patience(),
        room: Some(Room {
            staging: &gateway.staging,
            reserve: gateway.settings.limits.reserve,
        }),
    };
    let received = receive::receive(body, file, upload.compression(), bounds)
        .await
        .map_err(refuse_received)?;
    check(upload, &received)?;
    Ok((part, received))
}

fn refuse_received(error: ReceiveError) -> Refusal {
    let text = error.to_string();
    match error {
        ReceiveError::Cut(_) => {
            Refusal::bad_request("the upload ended before its end; nothing of it was kept")
        }
        ReceiveError::Slow(_) => Refusal::new(
            axum::http::StatusCode::REQUEST_TIMEOUT,
            "stalled",
            "The request stalled",
            format!("{text}; nothing of the upload was kept"),
        ),
        ReceiveError::TooLarge { .. } => Refusal::too_large(format!(
            "{text}, which is the pipeline's limit (maxFileSize)"
        )),
        ReceiveError::Damaged { .. } => Refusal::invalid(text),
        ReceiveError::Staging(error) => Refusal::storage(&error),
    }
}

fn check(upload: &Upload, received: &Received) -> Result<(), Refusal> {
    if let Some(digest) = upload.digest
        && digest != received.sha256
    {
        return Err(Refusal::new(
            axum::http::StatusCode::BAD_REQUEST,
            "checksum-mismatch",
            "The checksum does not match",
            format!(
                "Content-Digest promises SHA-256 {}, but the bytes received have {}; upload the file again",
                hex::encode(digest),
                hex::encode(received.sha256)
            ),
        ));
    }
    if received.content_bytes == 0 {
        return Err(Refusal::invalid(match upload.name.format() {
            Format::Csv => "the file is empty; a CSV file has a header line and then records",
            Format::Ndjson => "the file is empty; an NDJSON file has one JSON object a line",
        }));
    }
    Ok(())
}

async fn describe(
    gateway: &Gateway,
    upload: &Upload,
    id: Uuid,
    received: &Received,
) -> Result<FileWork, Refusal> {
    let version = gateway
        .clock
        .reserve(received.lines)
        .await
        .map_err(|error| Refusal::storage(&error))?;
    Ok(FileWork {
        id,
        pipeline: upload.pipeline.config.pipeline.to_string(),
        pipeline_uid: upload.pipeline.config.uid.clone(),
        name: upload.name.as_str().to_owned(),
        format: upload.name.format(),
        compression: upload.compression(),
        size: received.bytes,
        lines: received.lines,
        sha256: hex::encode(received.sha256),
        version,
        user: upload.user.clone(),
        replica: gateway.settings.replica.clone(),
        force: upload.force,
        accepted_at: now_millis(),
        mends: upload.mends.map(|mends| mends.id),
        mended_rows: upload.mends.is_some_and(|mends| mends.rows),
        replay: None,
    })
}

/// Claims, counts, enters and publishes a staged file. The file's id, or that of the first with the
/// same bytes and `true`.
async fn queue(
    gateway: &Gateway,
    upload: &Upload,
    work: &Arc<FileWork>,
) -> Result<(Uuid, bool), Refusal> {
    let limits = [
        (work.pipeline.as_str(), upload.constraints.max_files),
        (WHOLE_TENANT, upload.constraints.tenant_max_files),
    ];
    let must_count = limits.iter().any(|(_, limit)| limit.is_some());
    let claimed = claim(gateway, work).await;
    let reachable = match claimed {
        Ok(Claim::TakenBy(first)) => return duplicate(gateway, work, first).await,
        Ok(Claim::Granted) => true,
        Err(error) if must_count => return Err(count::uncountable(gateway, work, &error).await),
        Err(error) => {
            tracing::warn!(%error, file = %work.id, "the ledger cannot be asked; the manifest is the record");
            false
        }
    };
    if !reachable && !work.force {
        let twin = gateway.staging.index().twin(work);
        if let Some(first) = twin {
            return duplicate_here(gateway, work, first).await;
        }
    }
    fail::fail_point!("after-claim", |_| Err(Refusal::internal()));
    let counted = count::count(gateway, work, &limits).await?;
    gateway
        .staging
        .index()
        .update(work.id, |entry| entry.counted = true);
    // The last moment: once it is in the ledger, others may be told that they are its duplicates.
    if let Err(refusal) = still_open(gateway, upload) {
        count::uncount(gateway, work, &counted).await;
        take_back(gateway, work).await;
        return Err(refusal);
    }
    if reachable {
        enter(gateway, work).await;
    }
    fail::fail_point!("after-staged", |_| Err(Refusal::internal()));
    let queued = publish(gateway, work).await?;
    fail::fail_point!("after-confirm", |_| Err(Refusal::internal()));
    if queued && reachable {
        note_queued(gateway, work.id).await;
    }
    Ok((work.id, false))
}

/// Claims a content. From a file that was staged here for a former pipeline of the name it passes on.
async fn claim(gateway: &Gateway, work: &FileWork) -> Result<Claim, StoreError> {
    let ledger = &gateway.backends.ledger;
    let claim = gateway.ask(ledger.claim(work)).await?;
    let Claim::TakenBy(first) = claim else {
        return Ok(claim);
    };
    let former = gateway
        .staging
        .index()
        .get(first)
        .filter(|entry| sweeper::is_former(gateway, entry))
        .map(|entry| Arc::clone(&entry.work));
    let Some(former) = former else {
        return Ok(claim);
    };
    gateway.ask(sweeper::give_up(gateway, &former)).await?;
    gateway.ask(ledger.claim(work)).await
}

/// Answers that the bytes are another file's, once that one is known to stay.
async fn duplicate(
    gateway: &Gateway,
    work: &FileWork,
    first: Uuid,
) -> Result<(Uuid, bool), Refusal> {
    let here = gateway.staging.index().get(first).is_some();
    if here {
        return duplicate_here(gateway, work, first).await;
    }
    let known = gateway.ask(gateway.backends.ledger.file(first)).await;
    discard(gateway, work).await;
    match known {
        Ok(Some(_)) => Ok((first, true)),
        // Claimed by an upload that is still under way at another replica, or whose row is not written yet.
        Ok(None) | Err(_) => Err(in_progress(first)),
    }
}

fn in_progress(first: Uuid) -> Refusal {
    Refusal::unavailable(
        "upload-in-progress",
        format!(
            "the same bytes are being uploaded now as file {first}; send them again to learn what became of it"
        ),
        Duration::from_secs(2),
    )
}

/// As [`duplicate`], where the first file is staged on this replica: it is published now if it still waits.
async fn duplicate_here(
    gateway: &Gateway,
    work: &FileWork,
    first: Uuid,
) -> Result<(Uuid, bool), Refusal> {
    discard(gateway, work).await;
    let waiting = gateway
        .staging
        .index()
        .get(first)
        .filter(|entry| !entry.published)
        .map(|entry| (Arc::clone(&entry.work), entry.counted));
    if let Some((waiting, counted)) = waiting {
        // An earlier life may have died before it was counted: the sweeper finds out whether it stays.
        if !counted && recount(gateway, &waiting, false).await != Recount::Counted {
            gateway.unswept.notify_one();
            return Err(in_progress(first));
        }
        let counted = |entry: &mut Entry| entry.counted = true;
        gateway.staging.index().update(first, counted);
        publish(gateway, &waiting).await?;
    }
    Ok((first, true))
}

/// Drops a staged file that is nobody's: it holds no claim.
async fn discard(gateway: &Gateway, work: &FileWork) {
    if let Err(error) = gateway.staging.forget(work.id).await {
        tracing::error!(%error, file = %work.id, "cannot drop a duplicate; ingest will find that it is one");
    }
}

/// Takes a staged file back; the sweeper releases its claim if it cannot be released now.
pub async fn take_back(gateway: &Gateway, work: &FileWork) {
    if let Err(error) = gateway.staging.take_back(work.id).await {
        tracing::error!(%error, file = %work.id, "cannot take a file back; it will be ingested");
        return;
    }
    release(gateway, work).await;
}

/// Releases the claim of a file that was taken back, and forgets it; false when the ledger did not answer.
pub async fn release(gateway: &Gateway, work: &FileWork) -> bool {
    if let Err(error) = gateway.ask(gateway.backends.ledger.release(work)).await {
        tracing::warn!(%error, file = %work.id, "the claim of a file taken back is not released yet");
        return false;
    }
    if let Err(error) = gateway.staging.released(work.id).await {
        tracing::warn!(%error, file = %work.id, "cannot forget a file taken back");
    }
    true
}

/// Enters a staged file in the ledger; false when the ledger did not answer.
pub async fn enter(gateway: &Gateway, work: &FileWork) -> bool {
    match gateway.ask(gateway.backends.ledger.staged(work)).await {
        Ok(()) => {
            gateway
                .staging
                .index()
                .update(work.id, |entry| entry.entered = true);
            true
        }
        Err(error) => {
            tracing::warn!(%error, file = %work.id, "cannot enter a file in the ledger yet");
            false
        }
    }
}

/// Tells the ledger that a file is queued; false when the ledger did not answer.
pub async fn note_queued(gateway: &Gateway, id: Uuid) -> bool {
    match gateway.ask(gateway.backends.ledger.queued(id)).await {
        Ok(()) => {
            gateway
                .staging
                .index()
                .update(id, |entry| entry.noted = true);
            true
        }
        Err(error) => {
            tracing::warn!(%error, file = %id, "cannot note in the ledger yet that a file is queued");
            false
        }
    }
}
