//! `fetchdata`: selects the files of a directory that conform to a pipeline's constraints, and uploads them.

mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use simbdp_api::tenant::Role;
use simbdp_api::wire::rest::{FileRecord, FileState, PipelineConstraints};
use uuid::Uuid;

use crate::args::{ConnectionArgs, Fetchdata, Output};
use crate::client::Gateway;
use crate::connect;
use crate::error::{Again, CliError};
use crate::ledger;
use crate::local_check::{Checker, Conforming};
use crate::output::{Grid, cell, print};
use crate::upload::{self, Wishes};

/// What became of one file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Fetched {
    file: String,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    /// Its part of the exit code.
    #[serde(skip)]
    code: u8,
    /// When what is left to do with it may be tried again; nothing is left where nothing failed.
    #[serde(skip)]
    again: Again,
}

impl Fetched {
    fn new(path: &Path, result: &'static str) -> Self {
        Self {
            file: path.display().to_string(),
            result,
            id: None,
            accepted: None,
            rejected: None,
            reasons: Vec::new(),
            code: 0,
            again: Again::Never,
        }
    }

    fn not_conforming(path: &Path, reasons: Vec<String>) -> Self {
        Self {
            reasons,
            code: 1,
            ..Self::new(path, "does not conform")
        }
    }

    /// The upload did not succeed.
    fn not_uploaded(path: &Path, error: &CliError) -> Self {
        let result = match error {
            CliError::Unreachable { .. } => "not sent",
            _ => "refused",
        };
        let mut fetched = Self::new(path, result);
        fetched.failed(error.to_string(), error);
        fetched
    }

    fn failed(&mut self, reason: String, error: &CliError) {
        self.reasons.push(reason);
        self.code = error.exit_code();
        self.again = error.again();
    }

    /// What the ledger says of its end.
    fn ended(&mut self, record: FileRecord, hint: &str) {
        self.result = match record.state {
            FileState::Done => "done",
            FileState::Duplicate => "duplicate",
            _ => "failed",
        };
        self.accepted = record.accepted;
        self.rejected = record.rejected;
        self.reasons.extend(record.error);
        if let Some(rejected) = record.rejected.filter(|rejected| *rejected > 0) {
            self.reasons.push(format!(
                "{rejected} rows are quarantined; `{hint} ledger {} --rejects` shows them",
                record.id
            ));
        }
        let fine = self.result != "failed" && record.rejected.unwrap_or_default() == 0;
        self.code = u8::from(!fine);
        self.again = Again::Never;
    }
}

/// Runs the verb. The exit code is that of the worst file.
pub async fn run(
    connection: &ConnectionArgs,
    output: Output,
    verb: Fetchdata,
) -> Result<ExitCode, CliError> {
    let gateway = connect::gateway(connection, Role::Writer).await?;
    let pipeline = constraints(&gateway, &verb.pipeline).await?;
    let job = Job {
        gateway,
        checker: Checker::new(&pipeline)?,
        hint: connection.hint(),
        verb,
    };
    if job.verb.watch {
        return watch::watch(job, output).await;
    }
    let results = job.all(list(&job.verb.directory)?).await;
    print(output, &results, &grid(&results))?;
    Ok(exit_code(results.iter().map(|result| result.code)))
}

async fn constraints(gateway: &Gateway, pipeline: &str) -> Result<PipelineConstraints, CliError> {
    gateway
        .get(&format!("/v1/pipelines/{pipeline}/constraints"), &[])
        .await
}

/// Refused credentials tell more than a gateway that is away, and that more than a bad file.
fn exit_code(codes: impl Iterator<Item = u8>) -> ExitCode {
    ExitCode::from(codes.max().unwrap_or_default())
}

struct Job {
    gateway: Gateway,
    checker: Checker,
    verb: Fetchdata,
    /// How to call this program on the same gateway.
    hint: String,
}

/// Why the files that are left are not tried.
struct Stop {
    reason: &'static str,
    code: u8,
}

impl Job {
    /// Every file once: what fails with one is no reason to leave the others, unless it would fail with all.
    async fn all(&self, files: Vec<PathBuf>) -> Vec<Fetched> {
        let mut results = Vec::with_capacity(files.len());
        let mut stop: Option<Stop> = None;
        for path in files {
            let result = match &stop {
                None => self.fetch(&path).await,
                Some(stop) => Fetched {
                    reasons: vec![stop.reason.to_owned()],
                    code: stop.code,
                    ..Fetched::new(&path, "not tried")
                },
            };
            if stop.is_none() {
                stop = self.stop_after(&result).await;
            }
            results.push(result);
        }
        if self.verb.wait {
            self.wait_for_all(&mut results, stop).await;
        }
        results
    }

    async fn wait_for_all(&self, results: &mut [Fetched], mut stop: Option<Stop>) {
        for result in results.iter_mut().filter(|result| result.id.is_some()) {
            match &stop {
                None => {
                    self.wait(result).await;
                    stop = self.stop_after(result).await;
                }
                Some(stop) => {
                    result
                        .reasons
                        .push(format!("not waited for: {}", stop.reason));
                    result.code = stop.code;
                }
            }
        }
    }

    async fn stop_after(&self, result: &Fetched) -> Option<Stop> {
        let reason = match result.code {
            4 => "the gateway refuses the credentials",
            // It may be about this one file, for example a proxy's limit.
            3 if constraints(&self.gateway, &self.verb.pipeline)
                .await
                .is_err() =>
            {
                "the gateway cannot be reached"
            }
            _ => return None,
        };
        Some(Stop {
            reason,
            code: result.code,
        })
    }

    async fn fetch(&self, path: &Path) -> Fetched {
        match self.checker.check(path).await {
            Err(bad) => Fetched::not_conforming(&bad.path, bad.reasons),
            Ok(_) if self.verb.dry_run => Fetched::new(path, "conforms"),
            Ok(file) => self.upload(&file).await,
        }
    }

    async fn upload(&self, file: &Conforming) -> Fetched {
        let bar = progress(file);
        let pipeline = &self.verb.pipeline;
        let wishes = Wishes {
            force: self.verb.force,
            mends: None,
        };
        let answer = upload::upload(&self.gateway, pipeline, file, wishes, &bar).await;
        bar.finish_and_clear();
        match answer {
            Ok(done) => {
                let result = if done.duplicate {
                    "duplicate"
                } else {
                    "uploaded"
                };
                Fetched {
                    id: Some(done.id),
                    reasons: done.held_until.map(ledger::held).into_iter().collect(),
                    ..Fetched::new(&file.path, result)
                }
            }
            Err(error) => Fetched::not_uploaded(&file.path, &error),
        }
    }

    /// Waits for the end of an uploaded file.
    async fn wait(&self, result: &mut Fetched) {
        let Some(id) = result.id else { return };
        let bar =
            ProgressBar::new_spinner().with_message(format!("{}: waiting for ingest", result.file));
        bar.enable_steady_tick(Duration::from_millis(200));
        let answer = upload::ended(&self.gateway, id).await;
        bar.finish_and_clear();
        match answer {
            Ok(record) => result.ended(record, &self.hint),
            Err(error) => result.failed(format!("what became of it is not known: {error}"), &error),
        }
    }
}

/// The files of a directory by name, without hidden ones and subdirectories.
fn list(directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = |source| CliError::File {
        path: directory.to_owned(),
        source,
    };
    if directory.is_file() {
        return Ok(vec![directory.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn progress(file: &Conforming) -> ProgressBar {
    let template = "{msg:30} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(file.size)
        .with_style(style)
        .with_message(file.name.as_str().to_owned())
}

fn grid(results: &[Fetched]) -> Grid {
    let mut grid = Grid::new(["file", "result", "id", "accepted", "rejected", "reasons"]);
    grid.rows = results
        .iter()
        .map(|r| {
            vec![
                r.file.clone(),
                r.result.to_owned(),
                cell(r.id),
                cell(r.accepted),
                cell(r.rejected),
                r.reasons.join("; "),
            ]
        })
        .collect();
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_files_and_directories_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", ".hidden.csv"] {
            std::fs::write(directory.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(directory.path().join("sub.csv")).unwrap();
        let names: Vec<_> = list(directory.path())
            .unwrap()
            .iter()
            .map(|p| p.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["a.csv", "b.csv"]);
    }
}
