//! `fetchdata`: selects the files of a directory that conform to a pipeline's constraints, and uploads them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use simbdp_api::tenant::Role;
use simbdp_api::wire::rest::{FileState, PipelineConstraints};
use uuid::Uuid;

use crate::args::{ConnectionArgs, Fetchdata, Output};
use crate::client::Gateway;
use crate::connect;
use crate::error::CliError;
use crate::local_check::{Checker, Conforming};
use crate::output::{Grid, cell, print};
use crate::upload;

/// How often --watch looks at the directory.
const LOOK: Duration = Duration::from_millis(500);

/// What became of one file.
#[derive(Serialize)]
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
}

impl Fetched {
    fn new(path: &Path, result: &'static str, reasons: Vec<String>) -> Self {
        Self {
            file: path.display().to_string(),
            result,
            id: None,
            accepted: None,
            rejected: None,
            reasons,
        }
    }

    fn is_fine(&self) -> bool {
        matches!(self.result, "conforms" | "uploaded" | "duplicate" | "done")
    }
}

/// Runs the verb: exit code 1 when a file does not conform, was refused or failed.
pub async fn run(
    connection: &ConnectionArgs,
    output: Output,
    verb: Fetchdata,
) -> Result<ExitCode, CliError> {
    let gateway = connect::gateway(connection, Role::Writer).await?;
    let pipeline: PipelineConstraints = gateway
        .get(&format!("/v1/pipelines/{}/constraints", verb.pipeline), &[])
        .await?;
    let job = Job {
        gateway,
        checker: Checker::new(&pipeline)?,
        verb,
    };
    if job.verb.watch {
        return job.watch(output).await;
    }
    let mut results = Vec::new();
    for path in list(&job.verb.directory)? {
        results.push(job.fetch(&path).await?);
    }
    if job.verb.wait {
        for result in &mut results {
            job.wait(result).await?;
        }
    }
    print(output, &results, &grid(&results))?;
    Ok(if results.iter().all(Fetched::is_fine) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

struct Job {
    gateway: Gateway,
    checker: Checker,
    verb: Fetchdata,
}

impl Job {
    async fn fetch(&self, path: &Path) -> Result<Fetched, CliError> {
        let file = match self.checker.check(path).await {
            Ok(file) => file,
            Err(bad) => return Ok(Fetched::new(&bad.path, "does not conform", bad.reasons)),
        };
        if self.verb.dry_run {
            return Ok(Fetched::new(path, "conforms", Vec::new()));
        }
        self.upload(&file).await
    }

    async fn upload(&self, file: &Conforming) -> Result<Fetched, CliError> {
        let bar = progress(file);
        let answer = upload::upload(
            &self.gateway,
            &self.verb.pipeline,
            file,
            self.verb.force,
            &bar,
        )
        .await;
        bar.finish_and_clear();
        match answer {
            Ok(done) => {
                let mut result = Fetched::new(
                    &file.path,
                    if done.duplicate {
                        "duplicate"
                    } else {
                        "uploaded"
                    },
                    Vec::new(),
                );
                result.id = Some(done.id);
                Ok(result)
            }
            // What is wrong with one file is no reason to leave the others.
            Err(CliError::Problem(problem)) if !matches!(problem.status, 401 | 403) => {
                Ok(Fetched::new(&file.path, "refused", vec![problem.detail]))
            }
            Err(error @ CliError::File { .. }) => {
                Ok(Fetched::new(&file.path, "refused", vec![error.to_string()]))
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for the end of an uploaded file.
    async fn wait(&self, result: &mut Fetched) -> Result<(), CliError> {
        let Some(id) = result.id else { return Ok(()) };
        let bar =
            ProgressBar::new_spinner().with_message(format!("{}: waiting for ingest", result.file));
        bar.enable_steady_tick(Duration::from_millis(200));
        let record = upload::ended(&self.gateway, id).await?;
        bar.finish_and_clear();
        result.result = match record.state {
            FileState::Done => "done",
            FileState::Duplicate => "duplicate",
            _ => "failed",
        };
        result.accepted = record.accepted;
        result.rejected = record.rejected;
        result.reasons.extend(record.error);
        Ok(())
    }

    /// Takes each file once it has not changed for a while, until interrupted. A changed file is taken again.
    async fn watch(&self, output: Output) -> Result<ExitCode, CliError> {
        let mut seen: HashMap<PathBuf, Watched> = HashMap::new();
        let mut all_fine = true;
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        loop {
            for path in list(&self.verb.directory)? {
                let Some(state) = state_of(&path) else {
                    continue;
                };
                let watched = seen
                    .entry(path.clone())
                    .or_insert_with(|| Watched::new(state));
                if !watched.is_due(state, self.verb.settle) {
                    continue;
                }
                let mut result = self.fetch(&path).await?;
                if self.verb.wait {
                    self.wait(&mut result).await?;
                }
                all_fine &= result.is_fine();
                print(output, &result, &grid(std::slice::from_ref(&result)))?;
            }
            tokio::select! {
                _ = &mut interrupted => {
                    return Ok(if all_fine { ExitCode::SUCCESS } else { ExitCode::from(1) });
                }
                () = tokio::time::sleep(LOOK) => (),
            }
        }
    }
}

/// Size and time of change: a file that keeps both is taken for stable.
type FileStamp = (u64, SystemTime);

fn state_of(path: &Path) -> Option<FileStamp> {
    let metadata = path.metadata().ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// A file that --watch knows.
struct Watched {
    stamp: FileStamp,
    since: Instant,
    taken: bool,
}

impl Watched {
    fn new(stamp: FileStamp) -> Self {
        Self {
            stamp,
            since: Instant::now(),
            taken: false,
        }
    }

    /// Whether it is stable and not taken yet; it is then.
    fn is_due(&mut self, stamp: FileStamp, settle: Duration) -> bool {
        if self.stamp != stamp {
            *self = Self::new(stamp);
        }
        let due = !self.taken && self.since.elapsed() >= settle;
        self.taken |= due;
        due
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
    fn a_file_is_due_once_it_is_stable_and_again_when_it_changed() {
        let at = SystemTime::UNIX_EPOCH;
        let mut watched = Watched::new((1, at));
        assert!(!watched.is_due((1, at), Duration::from_secs(3600)));
        assert!(
            !watched.is_due((2, at), Duration::from_secs(3600)),
            "it grows"
        );
        assert!(watched.is_due((2, at), Duration::ZERO));
        assert!(!watched.is_due((2, at), Duration::ZERO), "taken once");
        assert!(
            watched.is_due((3, at), Duration::ZERO),
            "changed: taken again"
        );
    }

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
