//! Values as JSON, for answers of the REST API. Timestamps are RFC 3339 in UTC, blobs base64,
//! decimals strings, so that no reader rounds them; integers are numbers.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Number, Value as Json};

use crate::value::Value;

/// A value as JSON.
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Int(number) => Json::from(*number),
        Value::Bigint(number) => Json::from(*number),
        // By way of the text: 0.1 as a float is not 0.1 as a double.
        Value::Float(number) => number_or_null(number.to_string().parse().ok()),
        Value::Double(number) => number_or_null(Some(*number)),
        Value::Boolean(truth) => Json::from(*truth),
        Value::List(elements) => elements.iter().map(to_json).collect(),
        Value::Map(entries) => {
            let entry = |(key, value): &(Value, Value)| (to_text(key), to_json(value));
            Json::Object(entries.iter().map(entry).collect::<Map<_, _>>())
        }
        Value::Text(_)
        | Value::Decimal(_)
        | Value::Timestamp(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Uuid(_)
        | Value::Blob(_) => Json::String(to_text(value)),
    }
}

/// A value that may be null as JSON.
pub fn option_to_json(value: Option<&Value>) -> Json {
    value.map_or(Json::Null, to_json)
}

fn number_or_null(number: Option<f64>) -> Json {
    number
        .and_then(Number::from_f64)
        .map_or(Json::Null, Json::Number)
}

/// A value as [`Value::parse`] reads it: text as it is, lists and maps as JSON.
pub fn to_text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Bigint(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Timestamp(millis) => timestamp(*millis),
        Value::Date(date) => date.to_string(),
        Value::Time(time) => time.to_string(),
        Value::Uuid(uuid) => uuid.to_string(),
        Value::Blob(bytes) => STANDARD.encode(bytes),
        Value::List(_) | Value::Map(_) => to_json(value).to_string(),
    }
}

fn timestamp(millis: i64) -> String {
    let mut text = String::new();
    match DateTime::from_timestamp_millis(millis) {
        Some(at) => text.push_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        // Beyond the years that the calendar knows: written by someone else, shown as it is stored.
        None => {
            let _ = write!(text, "{millis}");
        }
    }
    text
}
