//! Reads instants, dates and times of day: ISO 8601 by hand, because most records have some and the
//! general parser costs ten times as much; other notations by strftime formats, validated once.

use std::fmt::Write as _;

use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDate, NaiveTime, Timelike as _};
use simbdp_api::column_type::ScalarType;

use crate::instant;
use crate::value::Value;

/// A `timeFormat` that does not do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TimeFormatError {
    /// Not a format.
    #[error("`{0}` is not a strftime format; write for example %d/%m/%Y %H:%M:%S")]
    Syntax(String),
    /// Names of time zones are ambiguous, and not read.
    #[error("`{0}` has %Z, but names of time zones are ambiguous: use %z (+0100) or %:z (+01:00)")]
    ZoneName(String),
    /// What it tells is not enough for a value.
    #[error("`{format}` does not tell a whole {wanted}; write for example {example}")]
    NotEnough {
        /// The format.
        format: String,
        /// The type of the column.
        wanted: &'static str,
        /// A format that would do.
        example: &'static str,
    },
}

/// Why a text is no time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TimeFault {
    /// Written otherwise.
    Notation,
    /// Written right, but there is no such day or time.
    Impossible,
}

const MILLIS_PER_DAY: i64 = 86_400_000;
const EPOCH_DAYS_FROM_CE: i32 = 719_163;

fn digits<const N: usize>(bytes: &[u8], at: usize) -> Option<u32> {
    let digits: &[u8; N] = bytes.get(at..at + N)?.first_chunk()?;
    let mut number = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u32::from(digit);
    }
    Some(number)
}

/// `YYYY-MM-DD`.
pub(crate) fn iso_date(text: &str) -> Result<NaiveDate, TimeFault> {
    if text.len() != 10 {
        return Err(TimeFault::Notation);
    }
    date_at_start(text.as_bytes())
}

fn date_at_start(bytes: &[u8]) -> Result<NaiveDate, TimeFault> {
    let parts = || {
        let year = digits::<4>(bytes, 0)?;
        let month = digits::<2>(bytes, 5)?;
        let day = digits::<2>(bytes, 8)?;
        (bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-')).then_some((year, month, day))
    };
    let (year, month, day) = parts().ok_or(TimeFault::Notation)?;
    NaiveDate::from_ymd_opt(year as i32, month, day).ok_or(TimeFault::Impossible)
}

/// Nanoseconds from a point and up to nine digits of a second, and how many bytes that are; none if there is
/// no point.
fn optional_fraction(bytes: &[u8]) -> Result<(u32, usize), TimeFault> {
    let [b'.' | b',', digits @ ..] = bytes else {
        return Ok((0, 0));
    };
    let (nanos, count) = fraction(digits).ok_or(TimeFault::Notation)?;
    Ok((nanos, 1 + count))
}

/// Nanoseconds from up to nine digits of a second, and how many there are.
fn fraction(bytes: &[u8]) -> Option<(u32, usize)> {
    let count = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let digits = bytes.get(..count)?;
    let number = digits
        .iter()
        .try_fold(0_u32, |number, digit| {
            number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
        })
        .filter(|_| (1..=9).contains(&count))?;
    Some((number * 10_u32.pow(9 - count as u32), count))
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.f` with up to nine digits; seconds since midnight, nanoseconds, and
/// how many bytes were read.
fn time_at(bytes: &[u8], start: usize) -> Result<(u32, u32, usize), TimeFault> {
    let hour = digits::<2>(bytes, start).ok_or(TimeFault::Notation)?;
    let minute = digits::<2>(bytes, start + 3).ok_or(TimeFault::Notation)?;
    if bytes.get(start + 2) != Some(&b':') {
        return Err(TimeFault::Notation);
    }
    let mut end = start + 5;
    let mut second = 0;
    let mut nanos = 0;
    if bytes.get(end) == Some(&b':') {
        second = digits::<2>(bytes, end + 1).ok_or(TimeFault::Notation)?;
        end += 3;
        let (fraction, read) = optional_fraction(&bytes[end..])?;
        nanos = fraction;
        end += read;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err(TimeFault::Impossible);
    }
    Ok((hour * 3_600 + minute * 60 + second, nanos, end - start))
}

/// `HH:MM[:SS[.f]]`.
pub(crate) fn iso_time(text: &str) -> Result<NaiveTime, TimeFault> {
    let (seconds, nanos, read) = time_at(text.as_bytes(), 0)?;
    if read != text.len() {
        return Err(TimeFault::Notation);
    }
    NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos).ok_or(TimeFault::Impossible)
}

/// Seconds east of UTC: nothing (UTC), `Z`, `+HH`, `+HHMM` or `+HH:MM`.
fn zone(bytes: &[u8]) -> Result<i64, TimeFault> {
    let sign = match bytes {
        [] | [b'Z' | b'z'] => return Ok(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return Err(TimeFault::Notation),
    };
    let hours = digits::<2>(bytes, 1).ok_or(TimeFault::Notation)?;
    let minutes = match bytes.len() {
        3 => Some(0),
        5 => digits::<2>(bytes, 3),
        6 if bytes[3] == b':' => digits::<2>(bytes, 4),
        _ => None,
    }
    .ok_or(TimeFault::Notation)?;
    if hours > 23 || minutes > 59 {
        return Err(TimeFault::Impossible);
    }
    Ok(sign * i64::from(hours * 3_600 + minutes * 60))
}

/// RFC 3339, or ISO 8601 date and time without zone, which is UTC. Milliseconds since 1970; what is
/// finer is cut off.
pub(crate) fn iso_timestamp(bytes: &[u8]) -> Result<i64, TimeFault> {
    let Some(seconds) = instant::seconds(bytes) else {
        return any_iso_timestamp(bytes);
    };
    let rest = &bytes[instant::LENGTH..];
    if rest == b"Z" {
        return Ok(seconds * 1_000);
    }
    let (nanos, read) = optional_fraction(rest)?;
    let offset = zone(&rest[read..])?;
    Ok((seconds - offset) * 1_000 + i64::from(nanos / 1_000_000))
}

fn any_iso_timestamp(bytes: &[u8]) -> Result<i64, TimeFault> {
    let date = date_at_start(bytes)?;
    if !matches!(bytes.get(10), Some(b'T' | b't' | b' ')) {
        return Err(TimeFault::Notation);
    }
    let (seconds, nanos, read) = time_at(bytes, 11)?;
    let offset = zone(&bytes[11 + read..])?;
    Ok(days_since_epoch(date) * MILLIS_PER_DAY
        + (i64::from(seconds) - offset) * 1_000
        + i64::from(nanos / 1_000_000))
}

fn days_since_epoch(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce() - EPOCH_DAYS_FROM_CE)
}

/// What a strftime format tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tells {
    Instant,
    DateAndTime,
    Date,
    Time,
}

/// A strftime format, validated for a type.
#[derive(Clone, Debug)]
pub(crate) struct TimeFormat {
    text: String,
    items: Vec<Item<'static>>,
    tells: Tells,
}

impl TimeFormat {
    /// Validates a format: a sample written in it must be read back from it.
    pub(crate) fn new(scalar: ScalarType, format: &str) -> Result<Self, TimeFormatError> {
        let items = StrftimeItems::new(format)
            .parse_to_owned()
            .map_err(|_| TimeFormatError::Syntax(format.to_owned()))?;
        let (choices, example): (&[Tells], _) = match scalar {
            ScalarType::Date => (&[Tells::Date], "%d/%m/%Y"),
            ScalarType::Time => (&[Tells::Time], "%H:%M:%S"),
            _ => (
                &[Tells::Instant, Tells::DateAndTime, Tells::Date],
                "%d/%m/%Y %H:%M:%S",
            ),
        };
        let not_enough = || TimeFormatError::NotEnough {
            format: format.to_owned(),
            wanted: scalar.name(),
            example,
        };
        if format.replace("%%", "").contains("%Z") {
            return Err(TimeFormatError::ZoneName(format.to_owned()));
        }
        let sample = sample(4, 5).ok_or_else(not_enough)?;
        let written = write(&items, sample).ok_or_else(not_enough)?;
        for &tells in choices {
            let candidate = Self {
                text: format.to_owned(),
                items: items.clone(),
                tells,
            };
            if candidate.reads_back(scalar, sample, &written) {
                return Ok(candidate);
            }
        }
        Err(not_enough())
    }

    fn reads_back(&self, scalar: ScalarType, sample: DateTime<FixedOffset>, written: &str) -> bool {
        match self.read(scalar, written) {
            Ok(Value::Date(date)) => date == sample.date_naive(),
            Ok(Value::Time(time)) => {
                (time.hour(), time.minute()) == (sample.hour(), sample.minute())
            }
            // A format with hours but no minutes must not be read as a date with the hours dropped.
            Ok(Value::Timestamp(millis)) if self.tells == Tells::Date => {
                millis == days_since_epoch(sample.date_naive()) * MILLIS_PER_DAY
                    && midnight().and_then(|at| write(&self.items, at)).as_deref() == Some(written)
            }
            Ok(Value::Timestamp(millis)) => millis / 60_000 == sample.timestamp_millis() / 60_000,
            _ => false,
        }
    }

    /// The format, as declared.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Reads a text into a value of the type that the format was validated for.
    pub(crate) fn read(&self, scalar: ScalarType, text: &str) -> Result<Value, TimeFault> {
        use chrono::format::ParseErrorKind::{Impossible, OutOfRange};
        let fault = |error: chrono::ParseError| match error.kind() {
            OutOfRange | Impossible => TimeFault::Impossible,
            _ => TimeFault::Notation,
        };
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.items.iter()).map_err(fault)?;
        match (scalar, self.tells) {
            (ScalarType::Date, _) => parsed.to_naive_date().map(Value::Date),
            (ScalarType::Time, _) => parsed.to_naive_time().map(Value::Time),
            (_, Tells::Instant) => parsed
                .to_datetime()
                .map(|at| Value::Timestamp(at.timestamp_millis())),
            (_, Tells::DateAndTime) => parsed
                .to_naive_datetime_with_offset(0)
                .map(|at| Value::Timestamp(at.and_utc().timestamp_millis())),
            (_, Tells::Date | Tells::Time) => parsed
                .to_naive_date()
                .map(|date| Value::Timestamp(days_since_epoch(date) * MILLIS_PER_DAY)),
        }
        .map_err(fault)
    }
}

fn sample(hour: u32, minute: u32) -> Option<DateTime<FixedOffset>> {
    let at = NaiveDate::from_ymd_opt(2013, 2, 3)?.and_hms_milli_opt(hour, minute, 6, 0)?;
    Some(DateTime::from_naive_utc_and_offset(
        at,
        FixedOffset::east_opt(0)?,
    ))
}

fn midnight() -> Option<DateTime<FixedOffset>> {
    let at = NaiveDate::from_ymd_opt(2013, 2, 3)?.and_hms_opt(0, 0, 0)?;
    Some(DateTime::from_naive_utc_and_offset(
        at,
        FixedOffset::east_opt(0)?,
    ))
}

fn write(items: &[Item<'static>], at: DateTime<FixedOffset>) -> Option<String> {
    let mut text = String::new();
    write!(text, "{}", at.format_with_items(items.iter())).ok()?;
    Some(text)
}
