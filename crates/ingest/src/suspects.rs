//! Suspects: deliveries that came back so often that they may be what kills the app. Coming back
//! alone never condemns, since roll-outs hand back healthy work too; only attempts do that were
//! recorded before the try and never ended in an orderly way.

use std::sync::Arc;
use std::time::Duration;

use simbdp_broker::Delivery;
use simbdp_coredms::Ledger;

use crate::metrics::Metrics;
use crate::retry::Retry;
use crate::shutdown::Stopping;

/// Returns from which on a delivery is tried alone.
pub const SUSPECT_RETURNS: u32 = 3;
/// How long an app that stops tries to take back a recorded attempt.
const PATIENCE: Duration = Duration::from_secs(2);

/// What becomes of a suspect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Try it: the attempt is recorded.
    Try,
    /// It had all its attempts and the app never survived one.
    Condemned,
}

/// Attempts at suspects of one pipeline.
#[derive(Clone)]
pub struct Suspects {
    ledger: Arc<dyn Ledger>,
    pipeline: String,
    max_attempts: u32,
    retry: Retry,
    metrics: Metrics,
}

/// Whether a delivery is to be tried alone.
pub fn is_suspect(delivery: &Delivery) -> bool {
    delivery.returns >= SUSPECT_RETURNS
}

impl Suspects {
    /// Attempts are recorded in `ledger`; a suspect has `max_attempts` of them.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        pipeline: &str,
        max_attempts: u32,
        retry: Retry,
        metrics: Metrics,
    ) -> Self {
        Self {
            ledger,
            pipeline: pipeline.to_owned(),
            max_attempts,
            retry,
            metrics,
        }
    }

    /// Attempts that a suspect has.
    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// Why a suspect is condemned, for its owner.
    pub fn condemnation(&self) -> String {
        format!(
            "the ingest app ended without result at each of {} attempts with this alone: \
             look into its log and its memory limit",
            self.max_attempts
        )
    }

    /// Records one more attempt before it is made.
    pub async fn record(&self, id: &str) -> Result<Verdict, Stopping> {
        self.metrics.suspected();
        let attempt = || self.ledger.attempt(&self.pipeline, id);
        let attempts = self.retry.whatever_fails("attempt", attempt).await?;
        tracing::warn!(message = id, attempts, "a suspect is tried alone");
        if attempts <= self.max_attempts {
            return Ok(Verdict::Try);
        }
        self.metrics.condemned();
        Ok(Verdict::Condemned)
    }

    /// Forgets the attempts of a suspect that was written or condemned.
    pub async fn forget(&self, id: &str) -> Result<(), Stopping> {
        let forget = || self.ledger.forget_attempts(&self.pipeline, id);
        self.retry.whatever_fails("forget", forget).await
    }

    /// Takes back the attempt of a suspect that is handed back in an orderly way: it did not kill the app.
    pub async fn take_back(&self, id: &str) {
        let forget = self.ledger.forget_attempts(&self.pipeline, id);
        match tokio::time::timeout(PATIENCE, forget).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, message = id, "an attempt is not taken back"),
            Err(_) => tracing::warn!(
                error = "no answer in time",
                message = id,
                "an attempt is not taken back"
            ),
        }
    }
}
