//! One attempt at a file: the program runs once, with the file's path as its last argument. Exit code 0 is success.

use std::collections::BTreeMap;
use std::time::Duration;

use simbdp_api::app::AppOutput;
use simbdp_api::wire::work::FileWork;
use simbdp_launcher::wire::{Exit, Order};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::fetch::Fetched;
use super::files::OwnFiles;
use super::logs::{Logs, printable};
use super::output::{Flood, log};
use super::protocol::report;
use super::rows::{self, Printed, RowsError};
use super::run::{Budget, Ended, Run, Stdin, Stop};
use crate::file::FileReport;
use crate::rejects::{RejectWriter, rejects};
use crate::shutdown::Stopping;

/// Bytes that a program may print for people about one file.
const LOGS: u64 = 16 << 20;
/// Bytes of rows that it may print, as a multiple of the largest file.
const ROWS: u64 = 16;
/// Characters of a file's name that the program is told.
const NAME: usize = 255;

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// The runner stops.
    #[error(transparent)]
    Stopping(#[from] Stopping),
    /// The program has nothing to do with it.
    #[error("{0}")]
    Transient(String),
    /// The program failed.
    #[error("{0}")]
    App(String),
}

impl From<RowsError> for AttemptError {
    fn from(error: RowsError) -> Self {
        match error {
            RowsError::Stopping(stopping) => stopping.into(),
            RowsError::Closed(closed) => Self::Transient(closed.to_string()),
            RowsError::Fault(reason) => Self::App(reason),
        }
    }
}

impl OwnFiles {
    /// Runs the program once.
    pub async fn attempt(
        &self,
        work: &FileWork,
        fetched: &Fetched,
        number: u32,
    ) -> Result<FileReport, AttemptError> {
        let order = order(work, fetched, number);
        let run = self.launchers.start(&order, Stdin::Empty).await;
        let run = run.map_err(|error| AttemptError::Transient(error.to_string()))?;
        let logs = Logs::new(format!("file {}", work.id));
        let done = match self.app.output {
            AppOutput::Rows => self.rows(work, run, &logs).await,
            AppOutput::None => self.no_rows(run, &logs).await,
        };
        let last_lines = logs.last_lines();
        done.map_err(|error| match error {
            AttemptError::App(reason) => AttemptError::App(format!("{reason}; {last_lines}")),
            other => other,
        })
    }

    fn time(&self) -> Budget {
        Budget::new(Duration::from_secs(u64::from(self.app.timeout_seconds)))
    }

    /// The program prints rows.
    async fn rows(
        &self,
        work: &FileWork,
        run: Run,
        logs: &Logs,
    ) -> Result<FileReport, AttemptError> {
        let (rejects, reject_file) = rejects();
        let (printed, put) = tokio::join!(
            self.write_rows(work, run, logs, rejects),
            reject_file.put(&*self.files.staging, work),
        );
        match (printed, put) {
            (Ok(printed), Ok(())) => Ok(FileReport {
                accepted: printed.accepted,
                rejected: printed.rejected,
                ..FileReport::default()
            }),
            (Ok(_) | Err(AttemptError::Transient(_)), Err(error)) => {
                Err(AttemptError::Transient(error.to_string()))
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn write_rows(
        &self,
        work: &FileWork,
        mut run: Run,
        logs: &Logs,
        mut rejects: RejectWriter,
    ) -> Result<Printed, AttemptError> {
        let (stop, gone) = (Stop::default(), CancellationToken::new());
        let (sender, chunks) = mpsc::channel(1);
        let most = self.max_file_size.saturating_mul(ROWS);
        let (ended, (), printed, _) = tokio::join!(
            run.control.supervise(&stop, &gone),
            rows::pump(run.output, sender, self.time(), most, &stop, &gone),
            rows::write(&self.files, work, chunks, &mut rejects),
            guarded(
                log(run.error, "stderr", logs, Flood::Fault(LOGS), &gone),
                &stop
            ),
        );
        // What it printed may be fine up to where it failed: the reject file is of a whole run alone.
        let result = match (printed, verdict(ended, &stop)) {
            (Err(error @ (RowsError::Stopping(_) | RowsError::Closed(_))), _) => Err(error.into()),
            (_, Err(reason)) => Err(AttemptError::App(reason)),
            (Err(error), Ok(())) => Err(error.into()),
            (Ok(printed), Ok(())) => rejects
                .flush()
                .await
                .map(|()| printed)
                .map_err(|closed| AttemptError::Transient(closed.to_string())),
        };
        if result.is_err() {
            rejects.abort().await;
        }
        result
    }

    /// The program writes by itself; its last line may say how many rows.
    async fn no_rows(&self, mut run: Run, logs: &Logs) -> Result<FileReport, AttemptError> {
        let (stop, gone) = (Stop::default(), CancellationToken::new());
        let time = self.time();
        let (ended, (), last, _) = tokio::join!(
            run.control.supervise(&stop, &gone),
            in_time(time, &stop, &gone),
            guarded(
                log(run.output, "stdout", logs, Flood::Fault(LOGS), &gone),
                &stop
            ),
            guarded(
                log(run.error, "stderr", logs, Flood::Fault(LOGS), &gone),
                &stop
            ),
        );
        verdict(ended, &stop).map_err(AttemptError::App)?;
        let last = last.unwrap_or_default();
        report(&last.bytes).map_err(AttemptError::App)
    }
}

/// What the program is started with.
fn order(work: &FileWork, fetched: &Fetched, number: u32) -> Order {
    let name: String = printable(work.name.as_bytes()).chars().take(NAME).collect();
    let environment = [
        ("SIMBDP_FILE_ID", work.id.to_string()),
        ("SIMBDP_FILE_NAME", name),
        ("SIMBDP_FILE_FORMAT", work.format.to_string()),
        ("SIMBDP_FILE_LINES", work.lines.to_string()),
        ("SIMBDP_FILE_VERSION", work.version.to_string()),
        ("SIMBDP_ATTEMPT", number.to_string()),
    ];
    Order::Run {
        arguments: vec![fetched.path().display().to_string()],
        environment: BTreeMap::from(environment.map(|(name, value)| (name.to_owned(), value))),
    }
}

/// Whether a run succeeded, or how it failed.
fn verdict(ended: Ended, stop: &Stop) -> Result<(), String> {
    match (stop.reason(), ended) {
        (Some(reason), _) => Err(reason.clone()),
        (None, Ended::Exit(Exit::Code(0))) => Ok(()),
        (None, ended) => Err(ended.to_string()),
    }
}

async fn in_time(mut time: Budget, stop: &Stop, gone: &CancellationToken) {
    if let Err(reason) = time.spend(gone.cancelled()).await {
        stop.because(reason);
    }
}

/// A fault of the program ends it.
pub async fn guarded<T>(call: impl Future<Output = Result<T, String>>, stop: &Stop) -> Option<T> {
    match call.await {
        Ok(value) => Some(value),
        Err(reason) => {
            stop.because(reason);
            None
        }
    }
}
