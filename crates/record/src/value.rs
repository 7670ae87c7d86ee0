//! Typed values of the engine-neutral column types.

use bigdecimal::BigDecimal;
use chrono::{NaiveDate, NaiveTime};
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
