//! Windows of time in which files are queued: they begin by a cron expression in UTC and have one length. Pure.

use std::fmt;

use chrono::{DateTime, Duration, Utc};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use simbdp_api::wire::config::Schedule;

/// Why there are no such windows.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// Not an expression of cron.
    #[error(
        "`{cron}` is not a cron expression of five fields ({reason}); write for example `0 2 * * *` for 02:00 UTC each day"
    )]
    Cron {
        /// What is declared.
        cron: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No window ever begins.
    #[error("`{0}` never comes, such as a 30th of February: choose a day that there is")]
    Never(String),
}

/// Windows of one pipeline.
#[derive(Clone)]
pub struct Windows {
    begins: Cron,
    length: Duration,
}

impl fmt::Debug for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Windows")
            .field("begins", &self.begins.as_str())
            .field("length", &self.length)
            .finish()
    }
}

impl Windows {
    /// Checks a declaration.
    pub fn new(schedule: &Schedule) -> Result<Self, ScheduleError> {
        let cron = schedule.cron.as_str();
        let wrong = |reason: String| ScheduleError::Cron {
            cron: cron.to_owned(),
            reason,
        };
        let fields = cron.split_whitespace().count();
        if fields != 5 || cron.contains('@') {
            return Err(wrong(format!("it has {fields} fields")));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let begins = parser.parse(cron).map_err(|e| wrong(e.to_string()))?;
        match begins.find_next_occurrence(&DateTime::UNIX_EPOCH, true) {
            Ok(_) => Ok(Self {
                begins,
                length: Duration::seconds(schedule.seconds.into()),
            }),
            Err(CronError::TimeSearchLimitExceeded) => Err(ScheduleError::Never(cron.to_owned())),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// Until when the window lasts that `at` lies in; [`None`] where it lies in none.
    pub fn open_until(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let begun = self.begins.find_previous_occurrence(&at, true).ok()?;
        let ends = begun + self.length;
        (at < ends).then_some(ends)
    }

    /// When the next window begins, where `at` lies in none.
    pub fn held_until(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.open_until(at) {
            Some(_) => None,
            None => self.begins.find_next_occurrence(&at, false).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(cron: &str, seconds: u32) -> Result<Windows, ScheduleError> {
        Windows::new(&Schedule {
            cron: cron.into(),
            seconds,
        })
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_begins_on_the_minute_and_ends_before_its_length_is_over() {
        let nights = windows("0 2 * * *", 2 * 3_600).unwrap();
        let held = |text| nights.held_until(at(text));
        assert_eq!(
            held("2026-03-01T01:59:59Z"),
            Some(at("2026-03-01T02:00:00Z"))
        );
        assert_eq!(held("2026-03-01T02:00:00Z"), None);
        assert_eq!(held("2026-03-01T03:59:59.999Z"), None);
        assert_eq!(
            held("2026-03-01T04:00:00Z"),
            Some(at("2026-03-02T02:00:00Z"))
        );
        let open = nights.open_until(at("2026-03-01T03:00:00Z"));
        assert_eq!(open, Some(at("2026-03-01T04:00:00Z")));
    }

    #[test]
    fn windows_reach_over_midnight_and_into_each_other() {
        let weekend = windows("30 22 * * 5", 4 * 3_600).unwrap();
        assert!(
            weekend.open_until(at("2026-03-07T02:29:00Z")).is_some(),
            "a Saturday"
        );
        assert_eq!(
            weekend.held_until(at("2026-03-07T02:30:00Z")),
            Some(at("2026-03-13T22:30:00Z"))
        );
        let always = windows("* * * * *", 3_600).unwrap();
        assert_eq!(always.held_until(at("2026-03-07T02:30:59Z")), None);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_what_would_be_right() {
        for cron in [
            "",
            "@daily",
            "0 2 * *",
            "0 0 2 * * *",
            "60 2 * * *",
            "0 2 * * FUNDAY",
            "0 25 * * *",
        ] {
            let error = windows(cron, 60).unwrap_err().to_string();
            assert!(error.contains("0 2 * * *"), "{error}");
        }
        for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            let error = windows(never, 60).unwrap_err();
            assert_eq!(error, ScheduleError::Never(never.into()));
        }
    }
}
