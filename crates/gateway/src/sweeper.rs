//! Finishes what requests could not: publishes files that a crash or an outage left staged, enters
//! ledger rows that could not be written, releases claims of files that were taken back, gives files up
//! whose pipeline was deleted together with its backlog, and drops the bytes of files that have ended. Each round is bounded; after failures the rounds become rarer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use simbdp_api::wire::rest::{FileRecord, FileState};
use simbdp_api::wire::work::FileWork;
use simbdp_broker::queue::PublishError;
use simbdp_coredms::ledger::{Outcome, Taken};
use simbdp_coredms::store::StoreError;
use uuid::Uuid;

use crate::gateway::Gateway;
use crate::intake::{self, Recount};
use crate::staging::Entry;

/// Files looked at in one round.
const ROUND: usize = 64;
/// Time between rounds while all goes well.
const INTERVAL: Duration = Duration::from_secs(5);
/// Time between rounds while there is more to do.
const BREATH: Duration = Duration::from_millis(100);
/// Longest time between rounds.
const LONGEST: Duration = Duration::from_secs(60);
/// Time until a file that is well is looked at again.
const PAUSE: Duration = Duration::from_secs(30);

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Swept {
    /// Files published again.
    pub published: usize,
    /// Files dropped.
    pub dropped: usize,
    /// Whether there is more to do.
    pub full: bool,
    /// Whether a server did not answer, so that not all was done.
    pub failed: bool,
}

/// Sweeps until the gateway shuts down.
pub async fn run(gateway: Arc<Gateway>) {
    let mut wait = Duration::ZERO;
    loop {
        let pause = async {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // Only while all goes well: an outage must not turn each request into a round.
                () = gateway.unswept.notified(), if wait <= INTERVAL => {}
            }
        };
        if gateway.shutdown.run_until_cancelled(pause).await.is_none() {
            return;
        }
        let Some(swept) = gateway.shutdown.run_until_cancelled(round(&gateway)).await else {
            return;
        };
        if swept.published + swept.dropped > 0 {
            tracing::info!(
                published = swept.published,
                dropped = swept.dropped,
                "swept"
            );
        }
        wait = match swept {
            Swept { failed: true, .. } => (wait * 2).clamp(INTERVAL, LONGEST),
            Swept { full: true, .. } => BREATH,
            _ => INTERVAL,
        };
    }
}

/// One round.
pub async fn round(gateway: &Gateway) -> Swept {
    let mut swept = Swept::default();
    let undone = gateway.staging.index().undone(ROUND);
    for work in undone {
        if !intake::release(gateway, &work).await {
            swept.failed = true;
            break;
        }
    }
    let mut down = Down {
        ledger: swept.failed,
        broker: false,
    };
    let due = gateway.staging.index().due(Instant::now(), PAUSE, ROUND);
    swept.full = due.len() == ROUND;
    for entry in due {
        let step = sweep(gateway, entry, &mut down).await;
        swept.published += usize::from(step.published);
        swept.dropped += usize::from(step.dropped);
    }
    swept.failed |= down.ledger || down.broker;
    let retention = gateway.settings.limits.rejects_retention;
    if let Err(error) = gateway.staging.prune_rejects(retention, ROUND).await {
        tracing::warn!(%error, "cannot remove old reject files");
    }
    swept
}

#[derive(Default)]
struct Step {
    published: bool,
    dropped: bool,
}

/// Servers that did not answer in this round, and are not asked again in it.
struct Down {
    ledger: bool,
    broker: bool,
}

/// One file: publish, enter, look whether it has ended.
async fn sweep(gateway: &Gateway, entry: Entry, down: &mut Down) -> Step {
    let mut step = Step::default();
    let id = entry.work.id;
    if is_former(gateway, &entry) || homeless(gateway, &entry) {
        match gateway.ask(give_up(gateway, &entry.work)).await {
            Ok(()) => step.dropped = forget(gateway, id).await,
            Err(error) => {
                tracing::warn!(%error, file = %id, "cannot give up a file whose pipeline is gone");
                down.ledger = true;
            }
        }
        return step;
    }
    if !entry.published {
        if let Some(begins) = intake::held_until(gateway, &entry.work.pipeline) {
            hold(gateway, &entry, begins, down).await;
            return step;
        }
        if !entry.counted && !may_be_queued(gateway, &entry, down, &mut step).await {
            return step;
        }
        step.published = !down.broker && publish(gateway, &entry, down).await;
        if !step.published {
            if down.broker {
                // Due again at the next round, which the back-off times.
                gateway
                    .staging
                    .index()
                    .update(id, |entry| entry.due = Instant::now());
            }
            return step;
        }
    }
    if down.ledger {
        return step;
    }
    let entered = entry.entered || intake::enter(gateway, &entry.work).await;
    let noted = entered && (entry.noted || intake::note_queued(gateway, id).await);
    if !noted {
        down.ledger = true;
        return step;
    }
    match gateway.ask(gateway.backends.ledger.file(id)).await {
        Ok(Some(record)) => step.dropped = settle(gateway, &record).await,
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%error, file = %id, "cannot look up a staged file in the ledger");
            down.ledger = true;
        }
    }
    step
}

/// Whether a file was staged for a former pipeline of the same name: as [`homeless`], and beyond doubt.
pub fn is_former(gateway: &Gateway, entry: &Entry) -> bool {
    let config = gateway.config.current();
    let pipeline = config.pipelines.get(entry.work.pipeline.as_str());
    let uid = entry.work.pipeline_uid.as_deref();
    entry.ended.is_none() && pipeline.is_some_and(|pipeline| pipeline.config.is_another(uid))
}

/// Whether a file's pipeline has been gone for so long that it does not come back: a deletion ends only
/// when the backlog is ingested, or was to be discarded.
fn homeless(gateway: &Gateway, entry: &Entry) -> bool {
    let config = gateway.config.current();
    let gone = entry.ended.is_none()
        && config.complete
        && !config.pipelines.contains_key(entry.work.pipeline.as_str());
    let since = gone.then(|| entry.homeless.unwrap_or_else(Instant::now));
    gateway
        .staging
        .index()
        .update(entry.work.id, |entry| entry.homeless = since);
    since.is_some_and(|since| since.elapsed() >= gateway.settings.limits.homeless)
}

/// Enters in the ledger that nobody will ingest a file. One that has ended stays as it is.
pub async fn give_up(gateway: &Gateway, work: &FileWork) -> Result<(), StoreError> {
    let ledger = &gateway.backends.ledger;
    if let Taken::Ended(_) = ledger.take(work, &gateway.settings.replica).await? {
        return Ok(());
    }
    let outcome = Outcome {
        state: FileState::Failed,
        accepted: 0,
        rejected: 0,
        seconds: 0.0,
        rejects: None,
        error: Some("its pipeline was deleted, and its backlog discarded".to_owned()),
        duplicate_of: None,
    };
    ledger.ended(work.id, &outcome).await.map(drop)
}

/// Counts a file that an earlier life left uncounted; takes one too many back.
async fn may_be_queued(gateway: &Gateway, entry: &Entry, down: &mut Down, step: &mut Step) -> bool {
    let work = &entry.work;
    match intake::recount(gateway, work, down.ledger).await {
        Recount::Counted => {
            let counted = |entry: &mut Entry| entry.counted = true;
            gateway.staging.index().update(work.id, counted);
            true
        }
        Recount::TooMany => {
            tracing::warn!(file = %work.id, pipeline = work.pipeline, "a file that nobody was told is accepted is one too many: it goes");
            intake::take_back(gateway, work).await;
            step.dropped = true;
            false
        }
        Recount::Unknown => {
            down.ledger = true;
            false
        }
    }
}

/// A file that waits for its pipeline's window: it is looked at again when that begins, and before, since the schedule
/// may change.
async fn hold(gateway: &Gateway, entry: &Entry, begins: DateTime<Utc>, down: &mut Down) {
    if !entry.entered && !down.ledger {
        down.ledger = !intake::enter(gateway, &entry.work).await;
    }
    let wait = (begins - Utc::now()).to_std().unwrap_or_default();
    let due = Instant::now() + wait.min(PAUSE);
    gateway
        .staging
        .index()
        .update(entry.work.id, |entry| entry.due = due);
}

async fn publish(gateway: &Gateway, entry: &Entry, down: &mut Down) -> bool {
    match intake::publish_work(gateway, &entry.work).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, file = %entry.work.id, "a staged file cannot be queued yet");
            // A queue that is full or missing is one pipeline's trouble.
            down.broker |= matches!(error, PublishError::Unavailable(_));
            false
        }
    }
}

/// Drops the bytes of a file that has ended: at once when they are of no more use; those of one that failed, or has
/// quarantined rows, later, so that it can be replayed.
async fn settle(gateway: &Gateway, record: &FileRecord) -> bool {
    let keep = match record.state {
        FileState::Done if record.rejected == Some(0) => Duration::ZERO,
        FileState::Duplicate => Duration::ZERO,
        FileState::Done | FileState::Failed => gateway.settings.limits.failed_retention,
        FileState::Staged | FileState::Queued | FileState::Ingesting => return false,
    };
    let age = (Utc::now() - record.updated_at)
        .to_std()
        .unwrap_or_default();
    if age < keep {
        let ended = Some(record.state);
        gateway
            .staging
            .index()
            .update(record.id, |entry| entry.ended = ended);
        return false;
    }
    forget(gateway, record.id).await
}

async fn forget(gateway: &Gateway, id: Uuid) -> bool {
    match gateway.staging.forget(id).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, file = %id, "cannot drop a file that has ended");
            false
        }
    }
}
