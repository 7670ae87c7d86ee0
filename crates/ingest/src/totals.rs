//! Running totals of this app instance, overwritten in the database where the gateway sums them up.

use std::sync::Arc;
use std::time::Duration;

use simbdp_coredms::Ledger;
use simbdp_coredms::ledger::Totals;
use uuid::Uuid;

/// How often totals are written at most while messages flow.
pub const PERIOD: Duration = Duration::from_secs(1);

/// A write of totals takes at most this long; the next one carries the same figures.
const PATIENCE: Duration = Duration::from_secs(2);

/// Counts rows of one process and writes the sums.
pub struct Counted {
    ledger: Arc<dyn Ledger>,
    pipeline: String,
    instance: String,
    totals: Totals,
    written: Totals,
}

impl Counted {
    /// Nothing counted yet, under a new instance id.
    pub fn new(ledger: Arc<dyn Ledger>, pipeline: &str) -> Self {
        Self {
            ledger,
            pipeline: pipeline.to_owned(),
            instance: Uuid::new_v4().to_string(),
            totals: Totals::default(),
            written: Totals::default(),
        }
    }

    /// Id of this process in the ledger.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Adds what was acknowledged.
    pub fn add(&mut self, rows: u64, rejected: u64) {
        self.totals.rows += rows;
        self.totals.rejected += rejected;
    }

    /// Writes the totals if they changed. A failure is logged only: totals are repeated with the next change.
    pub async fn flush(&mut self) {
        if self.totals == self.written {
            return;
        }
        let totals = self.totals;
        let put = self
            .ledger
            .put_totals(&self.pipeline, &self.instance, totals);
        match tokio::time::timeout(PATIENCE, put).await {
            Ok(Ok(())) => self.written = totals,
            Ok(Err(error)) => {
                tracing::warn!(%error, "totals are not written, the next ones will be")
            }
            Err(_) => tracing::warn!(
                error = "no answer in time",
                "totals are not written, the next ones will be"
            ),
        }
    }
}
