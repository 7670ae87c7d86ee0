//! The batch app: takes one file after the other from the queue. The order of its steps is the promise:
//! rows written, ledger row written, totals, one log line, acknowledgement, staged content dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use simbdp_api::names::PipelineName;
use simbdp_api::wire::rest::FileState;
use simbdp_api::wire::work::FileWork;
use simbdp_broker::Delivery;
use simbdp_broker::queue::Consumer;
use simbdp_coredms::Ledger;
use simbdp_coredms::ledger::{Outcome, Taken};

use crate::dead_letter::{Condemned, DeadLetters};
use crate::file::FileReport;
use crate::metrics::Metrics;
use crate::replay;
use crate::retry::Retry;
use crate::shutdown::{Shutdown, Stopping};
use crate::source;
use crate::staging_client::Staging;
use crate::suspects::{self, Suspects, Verdict};
use crate::totals::Counted;

/// How long dropping the staged content may hold up the next file. The gateway sweeps what is left.
const DISCARD: Duration = Duration::from_secs(5);

/// What brings one file to its end: the built-in app, or the tenant's own program.
pub trait FileApp: Send + Sync {
    /// Ingests the file, as often as it takes. A fault of the file is no error.
    fn ingest<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<FileReport, Stopping>>;
}

/// The batch app of one pipeline.
pub struct BatchApp {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The ledger of the tenant.
    pub ledger: Arc<dyn Ledger>,
    /// What ingests a file.
    pub files: Box<dyn FileApp>,
    /// Where its content is.
    pub staging: Arc<dyn Staging>,
    /// Where messages go that name no file.
    pub dead_letters: DeadLetters,
    /// Files that came back often.
    pub suspects: Suspects,
    /// What is repeated.
    pub retry: Retry,
    /// What is measured.
    pub metrics: Metrics,
    /// Running totals.
    pub totals: Counted,
    /// When to stop.
    pub shutdown: Shutdown,
}

impl BatchApp {
    /// Ingests files until the app is to stop. The consumer's prefetch is 1.
    pub async fn run(mut self, mut consumer: Box<dyn Consumer>) {
        let shutdown = self.shutdown.clone();
        loop {
            let next = tokio::select! {
                biased;
                () = shutdown.stopping() => break,
                next = source::next(&mut *consumer) => next,
            };
            let Some(delivery) = next else { continue };
            self.metrics.holding(1);
            let handled = tokio::select! {
                biased;
                handled = self.handle(&delivery) => handled,
                () = shutdown.expired() => Err(Stopping),
            };
            match handled {
                Ok(work) => {
                    source::ack(&mut *consumer, &[delivery.tag]).await;
                    self.discard(work).await;
                }
                Err(Stopping) => {
                    self.take_back_attempt(&delivery).await;
                    source::hand_back(&mut *consumer, &[delivery.tag]).await;
                }
            }
            self.metrics.holding(0);
        }
        source::stop(&mut *consumer).await;
        self.totals.flush().await;
    }

    /// Everything up to the acknowledgement; returns the file whose staged content may go. That of a failed
    /// one stays for a person to look at, for as long as the gateway keeps it.
    async fn handle(&mut self, delivery: &Delivery) -> Result<Option<FileWork>, Stopping> {
        let work = match source::files::work(delivery, &self.pipeline) {
            Ok(work) => work,
            Err(reason) => {
                self.dead_letters
                    .publish(vec![Condemned {
                        delivery,
                        reason,
                        attempts: delivery.returns + 1,
                    }])
                    .await?;
                self.totals.add(0, 1);
                self.metrics.rejected(1);
                self.totals.flush().await;
                return Ok(None);
            }
        };
        let take = || self.ledger.take(&work, self.totals.instance());
        let of_no_more_use = match self.retry.whatever_fails("take", take).await? {
            Taken::Ingest => self.ingest(delivery, &work).await?,
            Taken::Ended(state) => {
                tracing::info!(file = %work.id, name = work.name, ?state, "the file had ended already");
                // The gateway knows whether one that is done has rows left to replay.
                state == FileState::Duplicate
            }
        };
        Ok(of_no_more_use.then_some(work))
    }

    /// Whether it ended the file, and its content is of no more use: no row of it is left to replay.
    async fn ingest(&mut self, delivery: &Delivery, work: &FileWork) -> Result<bool, Stopping> {
        let start = Instant::now();
        let id = work.id.to_string();
        let suspect = suspects::is_suspect(delivery);
        let verdict = if suspect {
            self.suspects.record(&id).await?
        } else {
            Verdict::Try
        };
        let report = match verdict {
            Verdict::Try => self.files.ingest(work).await?,
            Verdict::Condemned => FileReport {
                error: Some(format!(
                    "{}; some of its rows may be in the table",
                    self.suspects.condemnation()
                )),
                ..FileReport::default()
            },
        };
        fail::fail_point!("after-write");
        let ended = self.end(work, &report, start.elapsed()).await?;
        if suspect {
            self.suspects.forget(&id).await?;
        }
        fail::fail_point!("after-ledger");
        Ok(ended)
    }

    async fn end(
        &mut self,
        work: &FileWork,
        report: &FileReport,
        took: Duration,
    ) -> Result<bool, Stopping> {
        let outcome = outcome(work, report, took);
        let ended = || self.ledger.ended(work.id, &outcome);
        let ours = self.retry.whatever_fails("ended", ended).await?;
        if ours {
            // What an earlier attempt counted is counted.
            let before = work
                .replay
                .map_or((0, 0), |before| (before.accepted, before.rejected));
            let rejected = outcome.rejected.saturating_sub(before.1);
            let accepted = outcome.accepted.saturating_sub(before.0);
            self.totals.add(accepted, rejected);
            self.metrics.rejected(rejected);
            self.metrics.file_ended(outcome.state);
        }
        self.totals.flush().await;
        tracing::info!(
            file = %work.id,
            name = work.name,
            result = ?outcome.state,
            bytes = work.size,
            rows = outcome.accepted,
            rejected = outcome.rejected,
            replay = work.replay.map(|replay| replay.number),
            seconds = outcome.seconds,
            error = outcome.error,
            first = ours,
            "file ended"
        );
        Ok(ours && outcome.state == FileState::Done && outcome.rejected == 0)
    }

    /// An orderly end says nothing against the file.
    async fn take_back_attempt(&self, delivery: &Delivery) {
        if !suspects::is_suspect(delivery) {
            return;
        }
        if let Ok(work) = source::files::work(delivery, &self.pipeline) {
            self.suspects.take_back(&work.id.to_string()).await;
        }
    }

    async fn discard(&self, work: Option<FileWork>) {
        let Some(work) = work else { return };
        match tokio::time::timeout(DISCARD, self.staging.discard(&work)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, file = %work.id, "the staged content stays for now")
            }
            Err(_) => {
                tracing::warn!(error = "no answer in time", file = %work.id, "the staged content stays for now")
            }
        }
    }
}

fn outcome(work: &FileWork, report: &FileReport, took: Duration) -> Outcome {
    let (accepted, rejected) = replay::sums(work, report);
    Outcome {
        state: if report.error.is_some() {
            FileState::Failed
        } else {
            FileState::Done
        },
        accepted,
        rejected,
        seconds: took.as_secs_f64(),
        rejects: (rejected > 0 && !report.unlisted)
            .then(|| format!("/v1/files/{}/rejects", work.id)),
        error: report.error.clone(),
        duplicate_of: None,
    }
}
