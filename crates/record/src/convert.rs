//! Converts the text of a field to a value. Every refusal says what would be right.
//!
//! - Numbers: decimal digits; floats also with exponent; neither `NaN` nor infinities. No blanks around.
//! - Booleans: `true` and `false` in any case, `1` and `0`.
//! - Decimals: at most 1,024 characters, exponent within ±1,024, so that none takes long to write out.
//! - Times: see [`crate::time`]; a timestamp without zone is UTC.
//! - Blobs: base64, standard alphabet, with or without padding. Lists and maps: JSON.

use std::str::FromStr as _;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bigdecimal::BigDecimal;
use simbdp_api::column_type::{ColumnType, ScalarType};
use uuid::Uuid;

use crate::rows::{Cell, OpenRow};
use crate::schema::{ColumnSchema, FirstTry};
use crate::time::{TimeFault, TimeFormat, iso_date, iso_time, iso_timestamp};
use crate::value::Value;
use crate::{MAX_FIELD_BYTES, MAX_KEY_BYTES, digits, object};

const MAX_DECIMAL: usize = 1_024;
/// Texts that commonly stand for 'no value', for a hint.
const LIKELY_NULLS: [&str; 10] = [
    "na", "n/a", "null", "nil", "none", "nan", "-", "\\n", "?", ".",
];

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A field of a record, and what it is first read as.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) record: &'a str,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Where the record was added to the batch.
    pub(crate) added: usize,
    /// Whether there is a NUL in the record.
    pub(crate) has_nul: bool,
}

impl Field<'_> {
    /// Reads a field as what it is most likely to be; tells whether it is.
    ///
    /// The value is written straight to its place: values that are handed back by way of results are copied
    /// through memory so soon after they were written that the processor stalls on each.
    #[inline(always)]
    pub(crate) fn read_as(self, likely: FirstTry, column: &ColumnSchema, cell: &mut Cell) -> bool {
        let Self {
            record, start, end, ..
        } = self;
        let short = || digits::short(record.as_bytes(), start, end);
        match likely {
            FirstTry::Int => {
                let long = || long(record, start, end).and_then(|number| number.try_into().ok());
                let Some(number) = short().or_else(long) else {
                    return false;
                };
                *cell = Cell::Int(number);
            }
            FirstTry::Bigint => {
                let Some(number) = short().map(i64::from).or_else(|| long(record, start, end))
                else {
                    return false;
                };
                *cell = Cell::Bigint(number);
            }
            FirstTry::Double => {
                let Some(number) = double(record, start, end) else {
                    return false;
                };
                *cell = Cell::Double(number);
            }
            FirstTry::Text {
                may_be_null,
                shortest,
                longest,
            } => {
                let length = end - start;
                if self.has_nul
                    || length < usize::from(shortest)
                    || length > longest as usize
                    || (may_be_null && column.is_null_text(&record[start..end]))
                {
                    return false;
                }
                *cell = Cell::Text {
                    start: self.added + start,
                    length: length as u32,
                };
            }
            FirstTry::Timestamp => {
                let Some(millis) = timestamp(record, start, end) else {
                    return false;
                };
                *cell = Cell::Timestamp(millis);
            }
            FirstTry::Nothing => return false,
        }
        true
    }
}

/// A number with too many digits for a short one.
#[inline(never)]
fn long(record: &str, start: usize, end: usize) -> Option<i64> {
    record[start..end].parse().ok()
}

#[inline(never)]
fn double(record: &str, start: usize, end: usize) -> Option<f64> {
    let number: f64 = record[start..end].parse().ok()?;
    (number.is_finite() && end - start <= MAX_FIELD_BYTES).then_some(number)
}

#[inline(never)]
fn timestamp(record: &str, start: usize, end: usize) -> Option<i64> {
    iso_timestamp(&record.as_bytes()[start..end]).ok()
}

/// Reads a CSV field as whatever it may be, and sets the value of `place`; null is left as it is.
#[inline(never)]
pub(crate) fn any_field(
    column: &ColumnSchema,
    text: &str,
    row: &mut OpenRow<'_>,
    place: usize,
) -> Result<(), String> {
    if (text.is_empty() && !column.is_text()) || column.is_null_text(text) {
        return null(column);
    }
    row.set(place, checked_value(column, text)?);
    Ok(())
}

/// Converts the text of any type, or says why not.
fn checked_value(column: &ColumnSchema, text: &str) -> Result<Value, String> {
    let value = value(column.column_type(), column.time_format.as_ref(), text)?;
    if column.key() {
        check_key(column, &value)?;
    }
    Ok(value)
}

/// Null for a column, which a required one refuses.
pub(crate) fn null(column: &ColumnSchema) -> Result<(), String> {
    if column.key() {
        Err("is in the primary key and must have a value".to_owned())
    } else if column.required() {
        Err("is required and must have a value".to_owned())
    } else {
        Ok(())
    }
}

/// What the database demands of values in a key.
pub(crate) fn check_key(column: &ColumnSchema, value: &Value) -> Result<(), String> {
    let bytes = match value {
        Value::Text(text) => text.len(),
        Value::Blob(blob) => blob.len(),
        _ => return Ok(()),
    };
    if bytes == 0 && column.sole_partition() {
        return Err("is the partition key and must not be empty".to_owned());
    }
    if bytes > MAX_KEY_BYTES {
        return Err(format!(
            "has {bytes} bytes, but a column of the primary key takes at most {MAX_KEY_BYTES}"
        ));
    }
    Ok(())
}

/// Converts a text to a value of a type.
pub(crate) fn value(
    column_type: ColumnType,
    time_format: Option<&TimeFormat>,
    text: &str,
) -> Result<Value, String> {
    if text.len() > MAX_FIELD_BYTES {
        return Err(too_long(text.len()));
    }
    match column_type {
        ColumnType::Scalar(kind) => scalar(kind, time_format, text),
        ColumnType::List(_) | ColumnType::Map(_, _) => {
            object::collection_from_text(column_type, text)
        }
    }
}

pub(crate) fn too_long(bytes: usize) -> String {
    format!("has {bytes} bytes, but a field takes at most {MAX_FIELD_BYTES} (1 MiB)")
}

/// Converts a text to a single value.
pub(crate) fn scalar(
    kind: ScalarType,
    time_format: Option<&TimeFormat>,
    text: &str,
) -> Result<Value, String> {
    match kind {
        ScalarType::Text => plain_text(text).map(Value::Text),
        ScalarType::Int => text.parse().map(Value::Int).map_err(|_| not_integer(kind, text)),
        ScalarType::Bigint => text.parse().map(Value::Bigint).map_err(|_| not_integer(kind, text)),
        ScalarType::Float => match text.parse::<f32>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(not_float(kind, text)),
        },
        ScalarType::Double => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Double(number)),
            _ => Err(not_float(kind, text)),
        },
        ScalarType::Decimal => decimal(text).map(Value::Decimal),
        ScalarType::Boolean => boolean(text).map(Value::Boolean),
        ScalarType::Timestamp | ScalarType::Date | ScalarType::Time => {
            point_in_time(kind, time_format, text).map_err(|fault| not_time(kind, time_format, text, fault))
        }
        ScalarType::Uuid => Uuid::try_parse(text).map(Value::Uuid).map_err(|_| {
            refused(text, "a uuid: write 32 hexadecimal digits as 8-4-4-4-12, e.g. 67e55044-10b1-426f-9247-bb680e5fe0c8")
        }),
        ScalarType::Blob => BASE64.decode(text).map(Value::Blob).map_err(|_| {
            refused(text, "base64: write bytes in the alphabet A-Z a-z 0-9 + /, e.g. aGVsbG8=")
        }),
    }
}

/// A text without NUL, which no client could read back safely.
pub(crate) fn plain_text(text: &str) -> Result<String, String> {
    match memchr::memchr(0, text.as_bytes()) {
        None => Ok(text.to_owned()),
        Some(at) => Err(format!(
            "has a NUL byte at position {}: remove it, or use the type blob with base64",
            at + 1
        )),
    }
}

fn point_in_time(
    kind: ScalarType,
    format: Option<&TimeFormat>,
    text: &str,
) -> Result<Value, TimeFault> {
    match (format, kind) {
        (Some(format), _) => format.read(kind, text),
        (None, ScalarType::Date) => iso_date(text).map(Value::Date),
        (None, ScalarType::Time) => iso_time(text).map(Value::Time),
        (None, _) => iso_timestamp(text.as_bytes()).map(Value::Timestamp),
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(true),
        "0" => Ok(false),
        _ if text.eq_ignore_ascii_case("true") => Ok(true),
        _ if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(refused(text, "a boolean: write true, false, 1 or 0")),
    }
}

fn decimal(text: &str) -> Result<BigDecimal, String> {
    let fault = || refused(text, "a decimal: write digits, e.g. 1234.50");
    // The parser also takes underscores, and takes quadratic time.
    if text.len() > MAX_DECIMAL {
        return Err(format!(
            "has {} characters, but a decimal takes at most {MAX_DECIMAL}",
            text.len()
        ));
    }
    let allowed = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E');
    if !text.bytes().all(allowed) || !text.bytes().any(|b| b.is_ascii_digit()) {
        return Err(fault());
    }
    let number = BigDecimal::from_str(text).map_err(|_| fault())?;
    if number.fractional_digit_count().unsigned_abs() > MAX_DECIMAL as u64 {
        return Err(refused(
            text,
            "a decimal with an exponent between -1024 and 1024",
        ));
    }
    Ok(number)
}

/// `text` as it is shown in a reason: at most 64 characters, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 64;
    let mut shown: String = text.chars().take(MOST).flat_map(escaped).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let (escape, plain) = if c.is_control() {
        (Some(c.escape_default()), None)
    } else {
        (None, Some(c))
    };
    escape.into_iter().flatten().chain(plain)
}

/// `text` is not what is wanted; hints at blanks and at texts that likely mean null.
pub(crate) fn refused(text: &str, wanted: &str) -> String {
    let trimmed = text.trim();
    let hint = if LIKELY_NULLS.contains(&trimmed.to_lowercase().as_str()) {
        "; if it means that there is no value, name it in nullValues"
    } else if trimmed.len() != text.len() {
        "; there are blanks around it"
    } else {
        ""
    };
    format!("`{}` is not {wanted}{hint}", shown(text))
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn not_integer(kind: ScalarType, text: &str) -> String {
    let (range, wider) = match kind {
        ScalarType::Int => (format!("{} to {}", i32::MIN, i32::MAX), "bigint"),
        _ => (format!("{} to {}", i64::MIN, i64::MAX), "decimal"),
    };
    if is_whole(text) {
        let wider = if kind == ScalarType::Int && text.parse::<i64>().is_err() {
            "decimal"
        } else {
            wider
        };
        return format!(
            "`{}` does not fit {} ({range}); use {wider}",
            shown(text),
            kind.name()
        );
    }
    if text.parse::<f64>().is_ok_and(f64::is_finite) {
        return format!(
            "`{}` is not a whole number; write it without point and exponent, or use double or decimal",
            shown(text)
        );
    }
    refused(
        text,
        &format!("an {}: write a whole number, e.g. 42", kind.name())
            .replace("an bigint", "a bigint"),
    )
}

fn not_float(kind: ScalarType, text: &str) -> String {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => format!(
            "`{}` does not fit float (up to 3.4e38); use double",
            shown(text)
        ),
        Ok(number) if number.is_infinite() && text.bytes().any(|b| b.is_ascii_digit()) => {
            format!(
                "`{}` does not fit {} (up to {}); use decimal",
                shown(text),
                kind.name(),
                if kind == ScalarType::Float {
                    "3.4e38"
                } else {
                    "1.8e308"
                }
            )
        }
        _ => refused(
            text,
            &format!(
                "a finite {}: write a number, e.g. -1.5 or 2e10",
                kind.name()
            ),
        ),
    }
}

fn not_time(kind: ScalarType, format: Option<&TimeFormat>, text: &str, fault: TimeFault) -> String {
    if let Some(format) = format {
        let kind = match fault {
            TimeFault::Notation => format!("a {}", kind.name()),
            TimeFault::Impossible => format!("a possible {}", kind.name()),
        };
        let wanted = format!("{kind} in the column's timeFormat `{}`", format.text());
        return refused(text, &wanted);
    }
    if fault == TimeFault::Impossible {
        let what = match kind {
            ScalarType::Date => "day of the calendar",
            ScalarType::Time => "time of day",
            _ => "date and time",
        };
        return format!(
            "`{}` is written right, but there is no such {what}",
            shown(text)
        );
    }
    let wanted = match kind {
        ScalarType::Date => "a date: write YYYY-MM-DD, or declare a timeFormat",
        ScalarType::Time => {
            "a time: write HH:MM:SS, with up to nine digits of a second, or declare a timeFormat"
        }
        _ => {
            "a timestamp: write it as 2013-01-01T05:00:00Z or with an offset such as +01:00 (without: UTC), or declare a timeFormat"
        }
    };
    refused(text, wanted)
}
