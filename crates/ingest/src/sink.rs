//! The sink: rows into the table, each batch again until it is written. A row that the database
//! refuses for good is singled out, so that it never condemns its neighbours.

use std::sync::Arc;
use std::time::Instant;

use simbdp_coredms::store::{StoreError, Table};
use simbdp_record::Rows;

use crate::metrics::Metrics;
use crate::retry::{GaveUp, Retry};
use crate::shutdown::Stopping;

/// Writes rows to one table.
#[derive(Clone)]
pub struct Sink {
    table: Arc<dyn Table>,
    retry: Retry,
    metrics: Metrics,
}

/// A row that the database refuses for good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// Position in the batch, from 0.
    pub index: usize,
    /// Its version.
    pub version: i64,
    /// What the database said.
    pub reason: String,
}

impl Sink {
    /// A sink into `table`.
    pub fn new(table: Arc<dyn Table>, retry: Retry, metrics: Metrics) -> Self {
        Self {
            table,
            retry,
            metrics,
        }
    }

    /// Writes every row that the database takes; returns those that it refuses, by position. On
    /// return all others are durable. Repeating is harmless: each row carries its version.
    pub async fn write(&self, rows: Rows) -> Result<Vec<Refused>, Stopping> {
        let mut refused = Vec::new();
        let mut parts = vec![(0, rows)];
        while let Some((first, mut rows)) = parts.pop() {
            if rows.is_empty() {
                continue;
            }
            let error = match self.write_together(&rows).await {
                Ok(()) => continue,
                Err(GaveUp::Stopping(stopping)) => return Err(stopping),
                Err(GaveUp::Permanent(error)) => error,
            };
            if rows.len() > 1 {
                let middle = rows.len() / 2;
                let second = rows.split_off(middle);
                parts.push((first + middle, second));
                parts.push((first, rows));
            } else {
                refused.extend(rows.iter().map(|row| Refused {
                    index: first,
                    version: row.version,
                    reason: error.to_string(),
                }));
            }
        }
        Ok(refused)
    }

    async fn write_together(&self, rows: &Rows) -> Result<(), GaveUp<StoreError>> {
        let transient = |error: &StoreError| matches!(error, StoreError::Transient(_));
        let write = || async {
            let start = Instant::now();
            let report = self.table.write(rows).await?;
            self.metrics
                .wrote(rows.len(), report.batches, start.elapsed());
            Ok(())
        };
        self.retry.until_stopped("write", transient, write).await
    }
}
