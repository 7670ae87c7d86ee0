//! The engine-neutral types of columns.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A type that is not a collection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ScalarType {
    /// UTF-8 text.
    Text,
    /// 32-bit signed integer.
    Int,
    /// 64-bit signed integer.
    Bigint,
    /// 32-bit IEEE 754.
    Float,
    /// 64-bit IEEE 754.
    Double,
    /// Decimal number of any precision.
    Decimal,
    /// `true` or `false`.
    Boolean,
    /// Instant, millisecond precision, UTC.
    Timestamp,
    /// Calendar date without time zone.
    Date,
    /// Time of day, nanosecond precision.
    Time,
    /// UUID of any version.
    Uuid,
    /// Bytes; base64 in CSV and JSON.
    Blob,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ColumnType {
    /// A single value.
    Scalar(ScalarType),
    /// Ordered values of one type.
    List(ScalarType),
    /// Values by key.
    Map(ScalarType, ScalarType),
}

/// A text that names no column type.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "unknown column type `{0}`; known are text, int, bigint, float, double, decimal, boolean, timestamp, date, time, uuid, blob, list<T> and map<T,T>"
)]
pub struct UnknownColumnType(pub String);

const SCALARS: [(&str, ScalarType); 12] = [
    ("text", ScalarType::Text),
    ("int", ScalarType::Int),
    ("bigint", ScalarType::Bigint),
    ("float", ScalarType::Float),
    ("double", ScalarType::Double),
    ("decimal", ScalarType::Decimal),
    ("boolean", ScalarType::Boolean),
    ("timestamp", ScalarType::Timestamp),
    ("date", ScalarType::Date),
    ("time", ScalarType::Time),
    ("uuid", ScalarType::Uuid),
    ("blob", ScalarType::Blob),
];

impl ScalarType {
    /// The name in specs, which is also CQL's.
    pub fn name(self) -> &'static str {
        SCALARS
            .iter()
            .find(|(_, scalar)| *scalar == self)
            .map_or("text", |(name, _)| name)
    }
}

impl FromStr for ScalarType {
    type Err = UnknownColumnType;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        SCALARS
            .iter()
            .find(|(name, _)| *name == text.trim())
            .map(|(_, scalar)| *scalar)
            .ok_or_else(|| UnknownColumnType(text.to_owned()))
    }
}

impl FromStr for ColumnType {
    type Err = UnknownColumnType;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = |prefix: &str| {
            text.strip_prefix(prefix)
                .and_then(|rest| rest.strip_suffix('>'))
        };
        if let Some(element) = inner("list<") {
            return Ok(Self::List(element.parse()?));
        }
        if let Some((key, value)) = inner("map<").and_then(|pair| pair.split_once(',')) {
            return Ok(Self::Map(key.parse()?, value.parse()?));
        }
        text.parse().map(Self::Scalar)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => f.write_str(scalar.name()),
            Self::List(element) => write!(f, "list<{}>", element.name()),
            Self::Map(key, value) => write!(f, "map<{},{}>", key.name(), value.name()),
        }
    }
}

impl Serialize for ColumnType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ColumnType {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ColumnType".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let scalars = SCALARS.map(|(name, _)| name).join("|");
        json_schema!({
            "type": "string",
            "maxLength": 24,
            "pattern": format!("^({scalars}|list<({scalars})>|map<({scalars}), ?({scalars})>)$"),
        })
    }
}
