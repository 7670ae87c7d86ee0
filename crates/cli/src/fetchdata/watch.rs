//! `fetchdata --watch`: goes on with new and changed files until interrupted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use super::{Fetched, Job, exit_code, grid, list};
use crate::args::Output;
use crate::error::{Again, CliError};
use crate::output::Series;
use crate::signals;

/// How often the directory is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often a request is repeated at once; after that the file has its turn in a later round.
const RETRIES: usize = 2;
/// Wait before the second try of a file, doubled for each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Longest wait before a further try, where the gateway does not ask for more.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// Takes each file once it has not changed for a while, until interrupted. A changed file is taken again, and
/// one that could not be taken for a reason that is not its own is tried in later rounds.
pub(super) async fn watch(mut job: Job, output: Output) -> Result<ExitCode, CliError> {
    job.gateway = job.gateway.retries(RETRIES);
    let mut watch = Watch {
        job,
        shown: Series::new(output),
        files: BTreeMap::new(),
        pause: Pause::default(),
    };
    let mut interrupted = pin!(signals::interrupted());
    loop {
        tokio::select! {
            biased;
            // What is in hand is dropped: the gateway keeps nothing of half a file.
            ended = &mut interrupted => {
                ended?;
                break;
            }
            round = watch.round() => {
                if let Some(refused) = round? {
                    return Ok(refused);
                }
            }
        }
    }
    Ok(exit_code(watch.files.values().map(|file| file.code)))
}

struct Watch {
    job: Job,
    shown: Series,
    files: BTreeMap<PathBuf, Watched>,
    pause: Pause,
}

impl Watch {
    /// Looks at the directory and takes what is due. An exit code when no round can go better.
    async fn round(&mut self) -> Result<Option<ExitCode>, CliError> {
        let now = Instant::now();
        for path in list(&self.job.verb.directory)? {
            if let Some(stamp) = stamp_of(&path) {
                let watched = self.files.entry(path);
                watched
                    .or_insert_with(|| Watched::new(stamp, now))
                    .saw(stamp, now);
            }
        }
        for path in self.due(now) {
            let result = self.take(&path).await;
            self.shown
                .show(&result, &grid(std::slice::from_ref(&result)))?;
            match result.code {
                4 => return Ok(Some(ExitCode::from(4))),
                _ if self.pause.is_over(Instant::now()) => (),
                _ => break,
            }
        }
        tokio::time::sleep(LOOK).await;
        Ok(None)
    }

    /// The files whose turn it is. Those that failed come last, so that none keeps the others from their turn.
    fn due(&self, now: Instant) -> Vec<PathBuf> {
        if !self.pause.is_over(now) {
            return Vec::new();
        }
        let settle = self.job.verb.settle;
        let mut due: Vec<_> = self
            .files
            .iter()
            .filter(|(_, file)| file.is_due(now, settle))
            .collect();
        due.sort_by_key(|(_, file)| file.failures);
        due.into_iter().map(|(path, _)| path.clone()).collect()
    }

    async fn take(&mut self, path: &Path) -> Fetched {
        let known = self.files.get_mut(path);
        let uploaded = known.and_then(|file| {
            // So that an interrupted turn counts as failed.
            file.code = 1;
            file.uploaded
        });
        let mut result = match uploaded {
            // Only its end is not known yet.
            Some(id) => Fetched {
                id: Some(id),
                ..Fetched::new(path, "uploaded")
            },
            None => self.job.fetch(path).await,
        };
        if self.job.verb.wait {
            self.job.wait(&mut result).await;
        }
        let now = Instant::now();
        let of_gateway = self.pause.after(result.again, now);
        if let Some(file) = self.files.get_mut(path) {
            file.took(&result, of_gateway, now);
            if let Some(at) = file.again_at {
                let seconds = at.saturating_duration_since(now).as_secs_f64().ceil();
                result.reasons.push(format!("tried again in {seconds} s"));
                if result.id.is_none() {
                    result.result = "postponed";
                }
            }
        }
        result
    }
}

/// Doubles with each failure.
fn delay(failures: u32) -> Duration {
    let factor = 1u32 << failures.saturating_sub(1).min(16);
    FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY)
}

/// Silence towards a gateway that cannot take any file now.
#[derive(Debug, Default)]
struct Pause {
    until: Option<Instant>,
    failures: u32,
}

impl Pause {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    /// Takes notice of how a file's turn ended; the end of the pause when that was the gateway's doing.
    fn after(&mut self, again: Again, now: Instant) -> Option<Instant> {
        let wait = match again {
            Again::Soon => delay(self.failures + 1),
            Again::After(asked) => asked,
            Again::Never | Again::Later => {
                *self = Self::default();
                return None;
            }
        };
        self.failures += 1;
        self.until = Some(now + wait);
        self.until
    }
}

/// Size and time of change: a file that keeps both is taken for stable.
type Stamp = (u64, SystemTime);

fn stamp_of(path: &Path) -> Option<Stamp> {
    let metadata = path.metadata().ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// A file that is known.
#[derive(Debug)]
struct Watched {
    stamp: Stamp,
    since: Instant,
    /// Nothing is left to do before it changes.
    settled: bool,
    /// Its id, once it is uploaded.
    uploaded: Option<Uuid>,
    failures: u32,
    again_at: Option<Instant>,
    /// Its part of the exit code.
    code: u8,
}

impl Watched {
    fn new(stamp: Stamp, now: Instant) -> Self {
        Self {
            stamp,
            since: now,
            settled: false,
            uploaded: None,
            failures: 0,
            again_at: None,
            code: 0,
        }
    }

    /// A changed file is a new one.
    fn saw(&mut self, stamp: Stamp, now: Instant) {
        if self.stamp != stamp {
            *self = Self::new(stamp, now);
        }
    }

    fn is_due(&self, now: Instant, settle: Duration) -> bool {
        let stable = now.saturating_duration_since(self.since) >= settle;
        !self.settled && stable && self.again_at.is_none_or(|at| now >= at)
    }

    fn took(&mut self, result: &Fetched, of_gateway: Option<Instant>, now: Instant) {
        self.code = result.code;
        self.uploaded = result.id;
        self.settled = result.again == Again::Never;
        self.again_at = None;
        if !self.settled {
            self.failures += 1;
            self.again_at = Some(of_gateway.unwrap_or(now + delay(self.failures)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(2);
    const SECOND: Duration = Duration::from_secs(1);

    fn stamp(size: u64) -> Stamp {
        (size, SystemTime::UNIX_EPOCH)
    }

    fn result(again: Again) -> Fetched {
        Fetched {
            again,
            code: u8::from(again != Again::Never),
            ..Fetched::new(Path::new("a.csv"), "uploaded")
        }
    }

    #[test]
    fn a_file_is_due_once_it_is_stable_and_again_when_it_changed() {
        let start = Instant::now();
        let mut file = Watched::new(stamp(1), start);
        assert!(!file.is_due(start + SECOND, SETTLE));
        file.saw(stamp(2), start + SECOND);
        assert!(!file.is_due(start + 2 * SECOND, SETTLE), "it grew");
        file.saw(stamp(2), start + 3 * SECOND);
        assert!(file.is_due(start + 3 * SECOND, SETTLE));
        file.took(&result(Again::Never), None, start + 3 * SECOND);
        assert!(!file.is_due(start + 900 * SECOND, SETTLE), "taken once");
        file.saw(stamp(3), start + 900 * SECOND);
        assert!(file.is_due(start + 902 * SECOND, SETTLE), "it changed");
    }

    #[test]
    fn what_may_go_well_later_is_due_later() {
        let start = Instant::now();
        let mut file = Watched::new(stamp(1), start);
        file.took(&result(Again::Later), None, start);
        assert!(!file.is_due(start, Duration::ZERO));
        assert!(file.is_due(start + delay(1), Duration::ZERO));
        file.took(&result(Again::Later), None, start);
        assert!(!file.is_due(start + delay(1), Duration::ZERO));
        assert!(file.is_due(start + delay(2), Duration::ZERO));
        let asked = start + 3_000 * SECOND;
        file.took(&result(Again::After(SECOND)), Some(asked), start);
        assert!(!file.is_due(asked - SECOND, Duration::ZERO));
        assert!(file.is_due(asked, Duration::ZERO));
        file.took(&result(Again::Never), None, asked);
        assert_eq!((file.code, file.again_at), (0, None));
    }

    #[test]
    fn a_gateway_that_is_away_is_left_alone_for_longer_and_longer() {
        let start = Instant::now();
        let mut pause = Pause::default();
        assert!(pause.is_over(start));
        assert_eq!(pause.after(Again::Soon, start), Some(start + SECOND));
        assert_eq!(pause.after(Again::Soon, start), Some(start + 2 * SECOND));
        assert!(!pause.is_over(start + SECOND));
        let asked = Duration::from_secs(7_200);
        assert_eq!(pause.after(Again::After(asked), start), Some(start + asked));
        assert_eq!(pause.after(Again::Later, start), None, "it answers");
        assert!(pause.is_over(start));
        assert_eq!(pause.after(Again::Soon, start), Some(start + SECOND));
        assert_eq!(delay(u32::MAX), LONGEST_DELAY);
    }
}
