//! The hybrid clock that gives records their versions: microseconds now, never backwards, also over
//! restarts. What may have been given out is always below a high-water mark on the staging volume,
//! which is moved ahead by blocks, so that it is written about once a second at most.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;

use crate::staging::durable;

/// How far ahead versions are reserved, in microseconds.
pub const BLOCK: i64 = 1_000_000;

/// The clock without a clock: pure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Core {
    /// Last version given out.
    last: i64,
    /// Versions up to this one may be given out without another write.
    reserved: i64,
}

/// Versions that are about to be given out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grant {
    /// First of the versions.
    pub base: i64,
    /// Mark to be made durable before they are used.
    pub reserve: Option<i64>,
    last: i64,
}

impl Core {
    /// A clock whose earlier life gave out nothing above `high_water`.
    pub fn resume(high_water: i64) -> Self {
        Self {
            last: high_water,
            reserved: high_water,
        }
    }

    /// What `ticks` versions at `now` would be. Nothing is given out before [`Core::commit`].
    pub fn plan(&self, now: i64, ticks: u64) -> Grant {
        let ticks = i64::try_from(ticks.max(1)).unwrap_or(i64::MAX);
        let base = now.max(self.last.saturating_add(1));
        let last = base.saturating_add(ticks - 1);
        Grant {
            base,
            reserve: (last > self.reserved).then(|| last.saturating_add(BLOCK)),
            last,
        }
    }

    /// Gives a grant out, once its mark is durable.
    pub fn commit(&mut self, grant: Grant) -> i64 {
        self.last = grant.last;
        self.reserved = grant.reserve.unwrap_or(self.reserved);
        grant.base
    }
}

/// The clock of this replica.
pub struct HybridClock {
    core: Mutex<Core>,
    path: PathBuf,
}

impl HybridClock {
    /// Opens the clock whose mark lies in `directory`.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join("clock");
        let high_water = match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{} does not hold a number", path.display()),
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(Self {
            core: Mutex::new(Core::resume(high_water)),
            path,
        })
    }

    /// Gives out `ticks` successive versions (at least one) and returns the first.
    pub async fn reserve(&self, ticks: u64) -> io::Result<i64> {
        let mut core = self.core.lock().await;
        let grant = core.plan(now_micros(), ticks);
        if let Some(mark) = grant.reserve {
            durable::replace(&self.path, mark.to_string().into_bytes()).await?;
        }
        Ok(core.commit(grant))
    }
}

/// Microseconds since 1970.
pub fn now_micros() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
}

/// Milliseconds since 1970.
pub fn now_millis() -> i64 {
    now_micros() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_time_and_never_repeats() {
        let mut core = Core::resume(0);
        let first = core.plan(1_000, 3);
        assert_eq!((first.base, first.reserve), (1_000, Some(1_002 + BLOCK)));
        assert_eq!(core.commit(first), 1_000);
        let same_instant = core.plan(1_000, 1);
        assert_eq!((same_instant.base, same_instant.reserve), (1_003, None));
        core.commit(same_instant);
        assert_eq!(core.plan(500, 1).base, 1_004, "the time went backwards");
        assert_eq!(core.plan(9_000, 1).base, 9_000);
    }

    #[test]
    fn reserves_again_once_the_block_is_used_up() {
        let mut core = Core::resume(0);
        core.commit(core.plan(10, 1));
        assert_eq!(core.plan(10 + BLOCK, 1).reserve, None);
        assert_eq!(core.plan(11 + BLOCK, 1).reserve, Some(11 + BLOCK + BLOCK));
        assert_eq!(
            core.plan(10, u64::MAX).base,
            11,
            "absurd counts do not overflow"
        );
    }

    #[test]
    fn a_grant_that_was_not_committed_is_given_out_again() {
        let core = Core::resume(41);
        assert_eq!(core.plan(0, 5).base, 42);
        assert_eq!(core.plan(0, 5).base, 42);
    }

    #[tokio::test]
    async fn starts_above_its_earlier_life() {
        let directory = tempfile::tempdir().unwrap();
        let clock = HybridClock::open(directory.path()).unwrap();
        let base = clock.reserve(60_000_000).await.unwrap();
        let again = HybridClock::open(directory.path()).unwrap();
        assert!(again.reserve(1).await.unwrap() >= base + 60_000_000);
    }

    #[tokio::test]
    async fn a_broken_mark_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("clock"), "soon").unwrap();
        assert!(HybridClock::open(directory.path()).is_err());
    }
}
