//! One staged file into the table: content, decoding and writing at the same time, joined by bounded
//! channels, so that a slow table slows the transfer and memory does not depend on the file's size.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use simbdp_api::pipeline::TableSpec;
use simbdp_api::wire::work::FileWork;
use simbdp_record::{BatchLimits, Only, Rows};
use tokio::sync::mpsc;

use crate::batch::FileApp;
use crate::content::Content;
use crate::decode::{FileDecoder, RowDecoder, Unfinished};
use crate::locate::{LocateError, RefusedRows};
use crate::metrics::Metrics;
use crate::rejects::{RejectWriter, RejectsClosed, rejects};
use crate::replay;
use crate::retry::{GaveUp, Retry};
use crate::shutdown::Stopping;
use crate::sink::{Refused, Sink};
use crate::staging_client::{Staging, StagingError};

/// Transfers of a file whose checksum differs before the file is given up.
pub(crate) const MAX_MISMATCHES: u32 = 3;

/// Bounds of the work on one file.
#[derive(Clone, Copy, Debug)]
pub struct FileLimits {
    /// Bounds of a batch of rows.
    pub batch: BatchLimits,
    /// Batches that are written at the same time.
    pub writes: usize,
}

/// What became of a file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FileReport {
    /// Rows written.
    pub accepted: u64,
    /// Rows quarantined.
    pub rejected: u64,
    /// Whether the rows that were quarantined are in no reject file: the tenant's own program has only counted them.
    pub unlisted: bool,
    /// Why it stopped before its end.
    pub error: Option<String>,
    /// Whether only rows were looked at that had been quarantined before.
    pub partial: bool,
}

/// Ingests files into one table.
pub struct FileIngest {
    /// The table's declaration.
    pub table: TableSpec,
    /// How rows are read.
    pub rows: RowDecoder,
    /// Where they are written.
    pub sink: Sink,
    /// Where content and quarantined rows are.
    pub staging: Arc<dyn Staging>,
    /// What is repeated.
    pub retry: Retry,
    /// What is measured.
    pub metrics: Metrics,
    /// Bounds.
    pub limits: FileLimits,
}

/// Why one pass over a file came to nothing.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Stopping(#[from] Stopping),
    #[error("{0}")]
    Transient(String),
    #[error("the checksum of the content is {found}, it was {expected} when it was uploaded")]
    Mismatch { found: String, expected: String },
    #[error("{0}")]
    Permanent(String),
    #[error(transparent)]
    RejectsClosed(#[from] RejectsClosed),
}

impl PassError {
    fn transient_if(self, transient: bool) -> Self {
        if transient {
            Self::Transient(self.to_string())
        } else {
            Self::Permanent(self.to_string())
        }
    }
}

impl From<LocateError> for PassError {
    fn from(error: LocateError) -> Self {
        match error {
            LocateError::Rejects(closed) => closed.into(),
            LocateError::Content(error) => Self::Transient(error.to_string()),
            LocateError::Schema(error) => Self::Permanent(error.to_string()),
        }
    }
}

impl From<StagingError> for PassError {
    fn from(error: StagingError) -> Self {
        match error {
            StagingError::Transient(reason) => Self::Transient(reason),
            StagingError::Permanent(reason) => Self::Permanent(reason),
        }
    }
}

impl FileApp for FileIngest {
    /// Writes the file's rows. Passes are repeated from the file's start after a transient failure: each
    /// row carries its version, so repeating is harmless, and only the last pass is counted.
    fn ingest<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<FileReport, Stopping>> {
        Box::pin(async move {
            let mismatches = AtomicU32::new(0);
            let mismatches = &mismatches;
            let pass = || async move {
                match self.pass(work).await {
                    Err(error @ PassError::Mismatch { .. }) => {
                        let before = mismatches.fetch_add(1, Ordering::Relaxed);
                        Err(error.transient_if(before + 1 < MAX_MISMATCHES))
                    }
                    other => other,
                }
            };
            let transient = |error: &PassError| {
                matches!(error, PassError::Transient(_) | PassError::RejectsClosed(_))
            };
            let report = self.retry.until_stopped("file", transient, pass).await;
            match report {
                Ok(report) => Ok(report),
                Err(
                    GaveUp::Stopping(stopping) | GaveUp::Permanent(PassError::Stopping(stopping)),
                ) => Err(stopping),
                Err(GaveUp::Permanent(error)) => Ok(FileReport {
                    error: Some(error.to_string()),
                    ..FileReport::default()
                }),
            }
        })
    }
}

impl FileIngest {
    async fn pass(&self, work: &FileWork) -> Result<FileReport, PassError> {
        let only = replay::only(&*self.staging, work).await?;
        let content = self.open(work).await?;
        let (rejects, reject_file) = rejects();
        let (report, put) = tokio::join!(
            self.write_file(work, content, only, rejects),
            reject_file.put(&*self.staging, work),
        );
        match (report, put) {
            (Ok(report), Ok(())) => Ok(report),
            (Ok(_) | Err(PassError::RejectsClosed(_)), Err(error)) => Err(error.into()),
            (Err(error), _) => Err(error),
        }
    }

    async fn open(&self, work: &FileWork) -> Result<Content, PassError> {
        let bytes = self.staging.content(work).await?;
        Ok(Content::new(bytes, work.compression, self.metrics.clone()))
    }

    async fn write_file(
        &self,
        work: &FileWork,
        content: Content,
        only: Option<Only>,
        mut rejects: RejectWriter,
    ) -> Result<FileReport, PassError> {
        let written = match self.write_rows(work, content, only, &mut rejects).await {
            Ok(report) => rejects
                .flush()
                .await
                .map(|()| report)
                .map_err(PassError::from),
            Err(error) => Err(error),
        };
        if written.is_err() {
            rejects.abort().await;
        }
        written
    }

    /// A fault of the file itself is no error of the pass.
    async fn write_rows(
        &self,
        work: &FileWork,
        mut content: Content,
        only: Option<Only>,
        rejects: &mut RejectWriter,
    ) -> Result<FileReport, PassError> {
        let (batches, decoded) = mpsc::channel(1);
        let partial = only.is_some();
        let decoder = FileDecoder::new(&self.rows, work, only, self.limits.batch);
        let (read, written) = tokio::join!(
            decoder.run(&mut content, batches, rejects),
            self.write_batches(work, decoded),
        );
        let (accepted, refused) = written?;
        let fault = match read {
            Ok(()) => None,
            Err(Unfinished::Fault(fault)) => Some(fault),
            Err(Unfinished::Transfer(reason)) => return Err(PassError::Transient(reason)),
            Err(Unfinished::Closed) => return Err(RejectsClosed.into()),
        };
        verify(content, work).await?;
        let rejected = rejects.rows() + refused.count();
        let error = fault.or(refused.fault());
        if refused.count() > 0 {
            let content = self.open(work).await?;
            refused.reject(content, &self.table, work, rejects).await?;
        }
        Ok(FileReport {
            accepted,
            rejected,
            error,
            partial,
            ..FileReport::default()
        })
    }

    /// Writes batches, several at a time; returns how many rows are written, and which are refused.
    pub(crate) async fn write_batches(
        &self,
        work: &FileWork,
        mut batches: mpsc::Receiver<Rows>,
    ) -> Result<(u64, RefusedRows), Stopping> {
        let mut accepted = 0;
        let mut all_refused = RefusedRows::default();
        let mut written = stream::poll_fn(move |context| batches.poll_recv(context))
            .map(|rows| self.write_batch(rows))
            .buffer_unordered(self.limits.writes);
        while let Some(result) = written.next().await {
            let (rows, refused) = result?;
            fail::fail_point!("mid-file");
            accepted += rows;
            for row in refused {
                all_refused.add(work, row);
            }
        }
        Ok((accepted, all_refused))
    }

    async fn write_batch(&self, rows: Rows) -> Result<(u64, Vec<Refused>), Stopping> {
        let count = rows.len() as u64;
        let refused = self.sink.write(rows).await?;
        Ok((count - refused.len() as u64, refused))
    }
}

/// Compares what came with what was uploaded: only then a fault is the file's own.
async fn verify(content: Content, work: &FileWork) -> Result<(), PassError> {
    match content.finish().await {
        Ok(transferred) if transferred.sha256 == work.sha256 => Ok(()),
        Ok(transferred) => Err(PassError::Mismatch {
            found: transferred.sha256,
            expected: work.sha256.clone(),
        }),
        Err(error) => Err(PassError::Transient(error.to_string())),
    }
}
