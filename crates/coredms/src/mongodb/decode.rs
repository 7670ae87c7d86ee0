//! Decodes documents as they were encoded [pure].

use chrono::{DateTime, NaiveTime};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{RawBsonRef, RawDocument};
use simbdp_api::column_type::{ColumnType, ScalarType};
use simbdp_record::Value;
use uuid::Uuid;

use super::ID;
use crate::declaration::Shape;

const NANOS_OF_SECOND: i64 = 1_000_000_000;

/// The values of a document in the order of the columns; fields of no column are left out. The error names the
/// column that cannot be read.
pub(crate) fn row(shape: &Shape, document: &RawDocument) -> Result<Vec<Option<Value>>, String> {
    let mut values = vec![None; shape.columns.len()];
    let mut set = |name: &str, raw: RawBsonRef<'_>| -> Result<(), String> {
        let place = shape.columns.iter().position(|(column, _)| column == name);
        let Some(place) = place else {
            return Ok(());
        };
        values[place] = value(shape.columns[place].1, raw)
            .map_err(|reason| format!("column `{name}`: {reason}"))?;
        Ok(())
    };
    let sole_key = match (shape.partition.as_slice(), shape.clustering.is_empty()) {
        ([only], true) => Some(shape.columns[*only].0.as_str()),
        _ => None,
    };
    for element in document {
        let (name, raw) = element.map_err(|error| error.to_string())?;
        match (name.as_str(), sole_key, raw) {
            (ID, Some(column), raw) => set(column, raw)?,
            (ID, None, RawBsonRef::Document(key)) => {
                for element in key {
                    let (name, raw) = element.map_err(|error| error.to_string())?;
                    set(name.as_str(), raw)?;
                }
            }
            (name, _, raw) => set(name, raw)?,
        }
    }
    Ok(values)
}

/// A value of a column; [`None`] for null.
fn value(column_type: ColumnType, raw: RawBsonRef<'_>) -> Result<Option<Value>, String> {
    if raw == RawBsonRef::Null {
        return Ok(None);
    }
    Ok(Some(match (column_type, raw) {
        (ColumnType::Scalar(kind), raw) => scalar(kind, raw)?,
        (ColumnType::List(element), RawBsonRef::Array(array)) => {
            let values: Result<_, String> = array
                .into_iter()
                .map(|raw| scalar(element, raw.map_err(|error| error.to_string())?))
                .collect();
            Value::List(values?)
        }
        (ColumnType::Map(ScalarType::Text, element), RawBsonRef::Document(document)) => {
            let mut pairs = Vec::new();
            for field in document {
                let (name, raw) = field.map_err(|error| error.to_string())?;
                pairs.push((Value::Text(name.as_str().to_owned()), scalar(element, raw)?));
            }
            Value::Map(pairs)
        }
        (ColumnType::Map(key, element), RawBsonRef::Array(array)) => {
            let mut pairs = Vec::new();
            for raw in array {
                pairs.push(pair(key, element, raw.map_err(|error| error.to_string())?)?);
            }
            Value::Map(pairs)
        }
        (wanted, _) => return Err(format!("it holds no {wanted}")),
    }))
}

fn pair(
    key: ScalarType,
    element: ScalarType,
    raw: RawBsonRef<'_>,
) -> Result<(Value, Value), String> {
    let strange = || "it holds no pair of key and value".to_owned();
    let document = raw.as_document().ok_or_else(strange)?;
    let field = |name: &str| document.get(name).ok().flatten().ok_or_else(strange);
    Ok((scalar(key, field("k")?)?, scalar(element, field("v")?)?))
}

fn scalar(kind: ScalarType, raw: RawBsonRef<'_>) -> Result<Value, String> {
    let decoded = match (kind, raw) {
        (ScalarType::Text, RawBsonRef::String(v)) => Some(Value::Text(v.to_owned())),
        (ScalarType::Int, RawBsonRef::Int32(v)) => Some(Value::Int(v)),
        (ScalarType::Bigint, RawBsonRef::Int64(v)) => Some(Value::Bigint(v)),
        // It was a float when it was written, unless another program wrote it.
        (ScalarType::Float, RawBsonRef::Double(v)) => Some(Value::Float(v as f32)),
        (ScalarType::Double, RawBsonRef::Double(v)) => Some(Value::Double(v)),
        (ScalarType::Decimal, RawBsonRef::Decimal128(v)) => {
            Some(Value::Decimal(super::decimal::decode(v.bytes())?))
        }
        (ScalarType::Boolean, RawBsonRef::Boolean(v)) => Some(Value::Boolean(v)),
        (ScalarType::Timestamp, RawBsonRef::DateTime(v)) => {
            Some(Value::Timestamp(v.timestamp_millis()))
        }
        (ScalarType::Date, RawBsonRef::DateTime(v)) => {
            DateTime::from_timestamp_millis(v.timestamp_millis())
                .map(|at| Value::Date(at.date_naive()))
        }
        (ScalarType::Time, RawBsonRef::Int64(v)) => time(v).map(Value::Time),
        (ScalarType::Uuid, RawBsonRef::Binary(v)) if v.subtype == BinarySubtype::Uuid => {
            Uuid::from_slice(v.bytes).ok().map(Value::Uuid)
        }
        (ScalarType::Blob, RawBsonRef::Binary(v)) => Some(Value::Blob(v.bytes.to_vec())),
        _ => None,
    };
    decoded.ok_or_else(|| format!("it holds no {}", kind.name()))
}

fn time(nanos: i64) -> Option<NaiveTime> {
    let seconds = u32::try_from(nanos.div_euclid(NANOS_OF_SECOND)).ok()?;
    let rest = u32::try_from(nanos.rem_euclid(NANOS_OF_SECOND)).ok()?;
    NaiveTime::from_num_seconds_from_midnight_opt(seconds, rest)
}
