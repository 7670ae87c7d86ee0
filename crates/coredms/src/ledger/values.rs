//! What ledgers of every engine have in common [pure]: names of states, numbers, periods of counts.

use serde::Serialize;
use serde::de::DeserializeOwned;
use simbdp_api::pipeline::Period;
use simbdp_api::wire::rest::FileState;
use simbdp_api::wire::work::FileWork;

use crate::store::StoreError;

const HOUR_MILLIS: i64 = 3_600_000;
const DAY_SECONDS: i32 = 86_400;
/// Seconds that attempts at a message are remembered after the last one.
pub(crate) const ATTEMPTS_SECONDS: i32 = 30 * DAY_SECONDS;
/// Most files of a page.
pub(crate) const LARGEST_PAGE: u32 = 1_000;
/// Changes of a counter that are remembered beside its number: more than come between a time-out and the look
/// after it.
pub(crate) const MARKS: usize = 32;

/// The name of a unit variant as JSON has it: the ledger speaks like the API.
pub(crate) fn name(variant: impl Serialize) -> Result<String, StoreError> {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        other => Err(StoreError::Permanent(format!("not a name: {other:?}"))),
    }
}

/// The variant of a name.
pub(crate) fn named<T: DeserializeOwned>(name: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).map_err(|error| {
        StoreError::Permanent(format!(
            "the ledger has a value that this version does not know: {error}"
        ))
    })
}

/// A number of the database as one that counts.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A number that counts as one of the database.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether a claim counts, by its holder's state: it is in the ledger, and what it holds will show or shows.
pub(crate) fn holds(holder: Option<FileState>) -> bool {
    match holder {
        None | Some(FileState::Failed | FileState::Duplicate) => false,
        Some(FileState::Staged | FileState::Queued | FileState::Ingesting | FileState::Done) => {
            true
        }
    }
}

/// Whether a file has ended in this state.
pub(crate) fn is_end(state: FileState) -> bool {
    match state {
        FileState::Done | FileState::Failed | FileState::Duplicate => true,
        FileState::Staged | FileState::Queued | FileState::Ingesting => false,
    }
}

/// How often a file was replayed, with the attempt that the work asks for.
pub(crate) fn attempt(work: &FileWork) -> Option<i32> {
    let replay = work.replay.as_ref()?;
    Some(i32::try_from(replay.number).unwrap_or(i32::MAX))
}

/// Key of the period that a time lies in, and how many seconds it is worth keeping.
pub(crate) fn period(per: Period, at_millis: i64) -> (String, i32) {
    match per {
        Period::Hour => (
            format!("hour-{}", at_millis.div_euclid(HOUR_MILLIS)),
            2 * DAY_SECONDS,
        ),
        Period::Day => (
            format!("day-{}", at_millis.div_euclid(24 * HOUR_MILLIS)),
            3 * DAY_SECONDS,
        ),
    }
}

/// A page of files that no listing has given out.
pub(crate) fn bad_page(page: &str) -> StoreError {
    StoreError::BadQuery(format!(
        "`{page}` is not a page of files: pass the nextPage of the page before"
    ))
}

#[cfg(test)]
mod tests {
    use super::{name, named, period};
    use simbdp_api::pipeline::{Format, Period};
    use simbdp_api::wire::rest::FileState;

    #[test]
    fn periods_are_in_utc() {
        let (last, _) = period(Period::Day, 86_399_999);
        let (next, _) = period(Period::Day, 86_400_000);
        assert_eq!((last.as_str(), next.as_str()), ("day-0", "day-1"));
        assert_eq!(period(Period::Hour, 3_600_000).0, "hour-1");
        assert_eq!(period(Period::Hour, -1).0, "hour--1");
    }

    #[test]
    fn states_are_named_as_in_the_api() {
        assert_eq!(name(FileState::Ingesting).unwrap(), "Ingesting");
        assert_eq!(name(Format::Ndjson).unwrap(), "ndjson");
        assert_eq!(named::<FileState>("Done").unwrap(), FileState::Done);
        assert!(named::<FileState>("Lost").is_err());
    }
}
