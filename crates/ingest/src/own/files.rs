//! Files through the tenant's own program: fetched once, then tried until it succeeds or has had its attempts.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::BoxFuture;
use simbdp_api::wire::config::AppConfig;
use simbdp_api::wire::work::FileWork;

use super::attempt::AttemptError;
use super::fetch::{FetchError, Fetched, fetch};
use super::launchers::Launchers;
use super::{pause, pauses};
use crate::batch::FileApp;
use crate::file::{FileIngest, FileReport, MAX_MISMATCHES};
use crate::retry::GaveUp;
use crate::shutdown::{Shutdown, Stopping};

/// Ingests files by the tenant's own program.
pub struct OwnFiles {
    /// What writes the rows that it prints.
    pub files: FileIngest,
    /// What starts it.
    pub launchers: Arc<Launchers>,
    /// What the pipeline says of it.
    pub app: AppConfig,
    /// Attempts that it has.
    pub max_attempts: u32,
    /// Where it finds its file.
    pub directory: PathBuf,
    /// Largest file, uncompressed, in bytes.
    pub max_file_size: u64,
    /// When to stop.
    pub shutdown: Shutdown,
}

impl FileApp for OwnFiles {
    fn ingest<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<FileReport, Stopping>> {
        Box::pin(async move {
            let fetched = match self.fetch(work).await {
                Ok(fetched) => fetched,
                Err(GaveUp::Stopping(stopping)) => return Err(stopping),
                Err(GaveUp::Permanent(error)) => return Ok(failed(error.to_string())),
            };
            let mut pauses = pauses();
            let mut attempt = 1;
            loop {
                match self.attempt(work, &fetched, attempt).await {
                    Ok(report) => return Ok(report),
                    Err(AttemptError::Stopping(stopping)) => return Err(stopping),
                    Err(AttemptError::Transient(error)) => {
                        tracing::warn!(file = %work.id, error, "the app is tried again");
                        self.files.metrics.retried("app");
                    }
                    Err(AttemptError::App(error)) => {
                        tracing::warn!(file = %work.id, error, attempt, "the app failed");
                        self.files.metrics.program_failed();
                        if attempt >= self.max_attempts {
                            return Ok(failed(format!(
                                "the app failed at attempt {attempt} of {}: {error}; some of its rows may be in the table",
                                self.max_attempts
                            )));
                        }
                        attempt += 1;
                    }
                }
                pause(&mut pauses, &self.shutdown).await?;
            }
        })
    }
}

impl OwnFiles {
    async fn fetch(&self, work: &FileWork) -> Result<Fetched, GaveUp<FetchError>> {
        let mismatches = AtomicU32::new(0);
        let mismatches = &mismatches;
        let transient = |error: &FetchError| matches!(error, FetchError::Transient(_));
        let call = || async move {
            match self.fetch_once(work).await {
                Err(error @ FetchError::Mismatch { .. }) => {
                    let before = mismatches.fetch_add(1, Ordering::Relaxed);
                    Err(match before + 1 < MAX_MISMATCHES {
                        true => FetchError::Transient(error.to_string()),
                        false => error,
                    })
                }
                other => other,
            }
        };
        let retry = &self.files.retry;
        retry.until_stopped("fetch", transient, call).await
    }

    async fn fetch_once(&self, work: &FileWork) -> Result<Fetched, FetchError> {
        let (staging, metrics) = (&*self.files.staging, &self.files.metrics);
        fetch(staging, metrics, &self.directory, self.max_file_size, work).await
    }
}

fn failed(error: String) -> FileReport {
    FileReport {
        error: Some(error),
        ..FileReport::default()
    }
}
