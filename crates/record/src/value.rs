//! Typed values of the engine-neutral column types.

use bigdecimal::BigDecimal;
use chrono::{NaiveDate, NaiveTime};
use simbdp_api::column_type::ColumnType;
use uuid::Uuid;

/// A value of a column. Null is [`None`] of an `Option<Value>`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// UTF-8 text.
    Text(String),
    /// 32-bit integer.
    Int(i32),
    /// 64-bit integer.
    Bigint(i64),
    /// 32-bit float, finite.
    Float(f32),
    /// 64-bit float, finite.
    Double(f64),
    /// Decimal of any precision.
    Decimal(BigDecimal),
    /// Truth value.
    Boolean(bool),
    /// Milliseconds since 1970, UTC.
    Timestamp(i64),
    /// Calendar date.
    Date(NaiveDate),
    /// Time of day.
    Time(NaiveTime),
    /// UUID.
    Uuid(Uuid),
    /// Bytes.
    Blob(Vec<u8>),
    /// Values of one type.
    List(Vec<Value>),
    /// Values by key, in the order of the input.
    Map(Vec<(Value, Value)>),
}

/// A value where it lies in a batch of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// 32-bit integer.
    Int(i32),
    /// 64-bit integer.
    Bigint(i64),
    /// 32-bit float, finite.
    Float(f32),
    /// 64-bit float, finite.
    Double(f64),
    /// Truth value.
    Boolean(bool),
    /// Milliseconds since 1970, UTC.
    Timestamp(i64),
    /// A value of any other type.
    Other(&'a Value),
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(text),
            Value::Int(number) => Self::Int(*number),
            Value::Bigint(number) => Self::Bigint(*number),
            Value::Float(number) => Self::Float(*number),
            Value::Double(number) => Self::Double(*number),
            Value::Boolean(truth) => Self::Boolean(*truth),
            Value::Timestamp(millis) => Self::Timestamp(*millis),
            other => Self::Other(other),
        }
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Text(text) => Self::Text(text.to_owned()),
            ValueRef::Int(number) => Self::Int(number),
            ValueRef::Bigint(number) => Self::Bigint(number),
            ValueRef::Float(number) => Self::Float(number),
            ValueRef::Double(number) => Self::Double(number),
            ValueRef::Boolean(truth) => Self::Boolean(truth),
            ValueRef::Timestamp(millis) => Self::Timestamp(millis),
            ValueRef::Other(value) => value.clone(),
        }
    }
}

/// A text that is no value of the type: what is wrong and what would be right.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub String);

impl Value {
    /// Reads a value as it is written in a CSV field or a query parameter: lists and maps as JSON,
    /// blobs as base64, times in ISO 8601 (UTC where a timestamp names no zone).
    pub fn parse(column_type: ColumnType, text: &str) -> Result<Self, ValueError> {
        crate::convert::value(column_type, None, text).map_err(ValueError)
    }
}
