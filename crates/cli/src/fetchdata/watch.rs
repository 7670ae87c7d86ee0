//! `fetchdata --watch`: goes on with new and changed files until interrupted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use super::{Job, exit_code, grid, list};
use crate::args::Output;
use crate::error::CliError;
use crate::output::print;

/// How often the directory is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Takes each file once it has not changed for a while, until interrupted. A changed file is taken again.
pub(super) async fn watch(job: Job, output: Output) -> Result<ExitCode, CliError> {
    let mut seen: HashMap<PathBuf, Watched> = HashMap::new();
    let mut codes = Vec::new();
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        for path in list(&job.verb.directory)? {
            let Some(state) = state_of(&path) else {
                continue;
            };
            let watched = seen
                .entry(path.clone())
                .or_insert_with(|| Watched::new(state));
            if !watched.is_due(state, job.verb.settle) {
                continue;
            }
            let mut result = job.fetch(&path).await;
            if job.verb.wait {
                job.wait(&mut result).await;
            }
            codes.push(result.code);
            print(output, &result, &grid(std::slice::from_ref(&result)))?;
        }
        tokio::select! {
            _ = &mut interrupted => return Ok(exit_code(codes.into_iter())),
            () = tokio::time::sleep(LOOK) => (),
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
}
