//! Encodes rows as documents [pure, but for the clock that their lives are counted by].
//!
//! Text is a string, int an int32, bigint an int64, float and double a double, decimal a Decimal128, timestamp a
//! date, date a date at midnight UTC, time an int64 of nanoseconds, uuid and blob binary of subtype 4 and 0. A list
//! is an array. A map is a document where its keys are of type text, else an array of documents `{k, v}`.

use std::collections::HashSet;
use std::ops::Range;

use chrono::{NaiveDate, NaiveTime, Timelike};
use mongodb::bson::spec::{BinarySubtype, ElementType};
use simbdp_api::column_type::{ColumnType, ScalarType};
use simbdp_api::pipeline::TableSpec;
use simbdp_record::{RowRef, Rows, Value, ValueRef};

use super::bson::{Places, Writer};
use super::{EXPIRY, ID, VERSION};
use crate::declaration::{LONGEST_KEY, Shape, mismatch, ttl};
use crate::lifetime::{Life, end_millis, life, now_micros};
use crate::store::StoreError;

/// Most bytes of a document (<https://www.mongodb.com/docs/manual/reference/limits/>).
const LARGEST_DOCUMENT: usize = 16 << 20;
const MILLIS_OF_DAY: i64 = 86_400_000;
const NANOS_OF_SECOND: i64 = 1_000_000_000;

/// A row among [`EncodedRows`].
#[derive(Clone, Debug)]
pub(crate) struct EncodedRow {
    /// Where its document is.
    pub document: Range<usize>,
    /// Type of its `_id`, and where its value is.
    pub id: (ElementType, Range<usize>),
    pub version: i64,
}

/// Rows that are ready to be sent.
#[derive(Debug, Default)]
pub(crate) struct EncodedRows {
    pub bytes: Vec<u8>,
    pub rows: Vec<EncodedRow>,
}

/// Turns rows of one table into documents.
#[derive(Clone, Debug)]
pub(crate) struct RowEncoder {
    pub shape: Shape,
    /// Places of the key's columns, in its order.
    pub key: Vec<usize>,
    cells: Vec<usize>,
    ttl: Option<i64>,
}

impl RowEncoder {
    pub(crate) fn new(table: &TableSpec) -> Result<Self, StoreError> {
        let shape = Shape::declared(table);
        let key = [shape.partition.as_slice(), shape.clustering.as_slice()].concat();
        Ok(Self {
            cells: shape.cells().collect(),
            ttl: ttl(table)?,
            shape,
            key,
        })
    }

    /// Encodes rows; those whose time is already over are left out. The error names the column.
    pub(crate) fn encode(&self, rows: &Rows) -> Result<EncodedRows, StoreError> {
        let now = now_micros();
        // A document repeats the names of its columns.
        let names: usize = self.shape.columns.iter().map(|(name, _)| name.len()).sum();
        let mut writer = Writer::with_capacity(rows.memory() + rows.len() * (names + 64));
        let mut encoded = Vec::with_capacity(rows.len());
        let mut values = Vec::with_capacity(self.shape.columns.len());
        for row in rows.iter() {
            if life(self.ttl, row.version, now) == Life::Over {
                continue;
            }
            values.clear();
            values.extend(row.values());
            encoded.push(
                self.row(row, &values, now, &mut writer)
                    .map_err(StoreError::Permanent)?,
            );
        }
        Ok(EncodedRows {
            bytes: writer.bytes,
            rows: encoded,
        })
    }

    fn row(
        &self,
        row: RowRef<'_>,
        values: &[Option<ValueRef<'_>>],
        now: i64,
        writer: &mut Writer,
    ) -> Result<EncodedRow, String> {
        let columns = self.shape.columns.len();
        if values.len() != columns {
            return Err(format!(
                "the row has {} values and the table {columns} columns",
                values.len()
            ));
        }
        let start = writer.start();
        let id = self.id(values, writer)?;
        writer.int64(VERSION, row.version);
        if let Some(ttl) = self.ttl {
            writer.date(EXPIRY, end_millis(ttl, row.version, now));
        }
        for place in &self.cells {
            let (name, column_type) = &self.shape.columns[*place];
            match values[*place] {
                Some(value) => put(writer, name, *column_type, value)
                    .map_err(|reason| format!("column `{name}`: {reason}"))?,
                // As a null, not as an absent field: what was there before must not show through.
                None => writer.null(name),
            }
        }
        writer.close(start);
        let bytes = writer.bytes.len() - start;
        if bytes > LARGEST_DOCUMENT {
            return Err(format!(
                "the row takes {bytes} bytes and a document of MongoDB has at most {LARGEST_DOCUMENT}"
            ));
        }
        Ok(EncodedRow {
            document: start..writer.bytes.len(),
            id,
            version: row.version,
        })
    }

    /// Writes the element `_id`; returns its type and where its value is.
    fn id(
        &self,
        values: &[Option<ValueRef<'_>>],
        writer: &mut Writer,
    ) -> Result<(ElementType, Range<usize>), String> {
        let value = |place: usize| {
            values[place].ok_or_else(|| {
                let name = &self.shape.columns[place].0;
                format!("column `{name}` is part of the key and is null")
            })
        };
        let head = writer.bytes.len();
        if let [only] = self.key.as_slice() {
            self.key_value(writer, ID, *only, value(*only)?)?;
        } else {
            let document = writer.open(ElementType::EmbeddedDocument, ID);
            for place in &self.key {
                let name = &self.shape.columns[*place].0;
                self.key_value(writer, name, *place, value(*place)?)?;
            }
            writer.close(document);
        }
        let kind = ElementType::from(writer.bytes[head]).unwrap_or(ElementType::Null);
        Ok((kind, head + 1 + ID.len() + 1..writer.bytes.len()))
    }

    /// Writes a value of a key column in the one form that equal values have.
    pub(crate) fn key_value(
        &self,
        writer: &mut Writer,
        element: &str,
        place: usize,
        value: ValueRef<'_>,
    ) -> Result<(), String> {
        let (name, column_type) = &self.shape.columns[place];
        let fault = |reason: String| format!("column `{name}`: {reason}");
        let length = match value {
            ValueRef::Text(text) => text.len(),
            ValueRef::Other(Value::Blob(bytes)) => bytes.len(),
            _ => 1,
        };
        if length > LONGEST_KEY {
            return Err(format!(
                "column `{name}` is part of the key and has {length} bytes; at most {LONGEST_KEY} are possible"
            ));
        }
        if length == 0 && self.shape.partition == [place] {
            return Err("the only column of the partition key is empty".to_owned());
        }
        match (column_type, value) {
            (ColumnType::Scalar(ScalarType::Decimal), ValueRef::Other(Value::Decimal(number))) => {
                writer.decimal(element, &number.normalized()).map_err(fault)
            }
            // Of the two zeros, the positive one.
            (ColumnType::Scalar(ScalarType::Float), ValueRef::Float(number)) => {
                writer.double(element, f64::from(number) + 0.0);
                Ok(())
            }
            (ColumnType::Scalar(ScalarType::Double), ValueRef::Double(number)) => {
                writer.double(element, number + 0.0);
                Ok(())
            }
            (column_type, value) => put(writer, element, *column_type, value).map_err(fault),
        }
    }
}

/// Writes a value of a column.
fn put(
    writer: &mut Writer,
    name: &str,
    column_type: ColumnType,
    value: ValueRef<'_>,
) -> Result<(), String> {
    match (column_type, value) {
        (ColumnType::Scalar(scalar), value) => put_scalar(writer, name, scalar, value),
        (ColumnType::List(element), ValueRef::Other(Value::List(values))) => {
            let list = writer.open(ElementType::Array, name);
            let mut places = Places::default();
            for value in values {
                put_scalar(writer, places.next(), element, value.into())?;
            }
            writer.close(list);
            Ok(())
        }
        (ColumnType::Map(ScalarType::Text, element), ValueRef::Other(Value::Map(pairs))) => {
            put_document(writer, name, element, pairs)
        }
        (ColumnType::Map(key, element), ValueRef::Other(Value::Map(pairs))) => {
            let list = writer.open(ElementType::Array, name);
            let mut places = Places::default();
            for (k, v) in pairs {
                let pair = writer.open(ElementType::EmbeddedDocument, places.next());
                put_scalar(writer, "k", key, k.into())?;
                put_scalar(writer, "v", element, v.into())?;
                writer.close(pair);
            }
            writer.close(list);
            Ok(())
        }
        (wanted, value) => Err(mismatch(&wanted.to_string(), &value.into())),
    }
}

/// A map with keys of type text. Dots, dollars and empty keys are fine in a document that is written whole; a zero
/// byte is not, in any. Of equal keys the last counts: a field must not be there twice.
fn put_document(
    writer: &mut Writer,
    name: &str,
    element: ScalarType,
    pairs: &[(Value, Value)],
) -> Result<(), String> {
    let document = writer.open(ElementType::EmbeddedDocument, name);
    let mut seen = HashSet::with_capacity(pairs.len());
    let mut kept: Vec<bool> = Vec::with_capacity(pairs.len());
    for (key, _) in pairs.iter().rev() {
        let Value::Text(key) = key else {
            return Err(mismatch("text", key));
        };
        if key.contains('\0') {
            return Err("a key of the map has a zero byte in it, which no field of MongoDB can be named with".to_owned());
        }
        kept.push(seen.insert(key.as_str()));
    }
    for ((key, value), kept) in pairs.iter().zip(kept.into_iter().rev()) {
        if let (Value::Text(key), true) = (key, kept) {
            put_scalar(writer, key, element, value.into())?;
        }
    }
    writer.close(document);
    Ok(())
}

#[inline]
fn put_scalar(
    writer: &mut Writer,
    name: &str,
    scalar: ScalarType,
    value: ValueRef<'_>,
) -> Result<(), String> {
    match (scalar, value) {
        (ScalarType::Text, ValueRef::Text(v)) => writer.text(name, v),
        (ScalarType::Int, ValueRef::Int(v)) => writer.int32(name, v),
        (ScalarType::Bigint, ValueRef::Bigint(v)) => writer.int64(name, v),
        (ScalarType::Float, ValueRef::Float(v)) => writer.double(name, v.into()),
        (ScalarType::Double, ValueRef::Double(v)) => writer.double(name, v),
        (ScalarType::Boolean, ValueRef::Boolean(v)) => writer.boolean(name, v),
        (ScalarType::Timestamp, ValueRef::Timestamp(v)) => writer.date(name, v),
        (scalar, ValueRef::Other(value)) => return put_other(writer, name, scalar, value),
        (wanted, value) => return Err(mismatch(wanted.name(), &value.into())),
    }
    Ok(())
}

fn put_other(
    writer: &mut Writer,
    name: &str,
    scalar: ScalarType,
    value: &Value,
) -> Result<(), String> {
    match (scalar, value) {
        (ScalarType::Decimal, Value::Decimal(v)) => writer.decimal(name, v)?,
        (ScalarType::Date, Value::Date(v)) => writer.date(name, millis(*v)),
        (ScalarType::Time, Value::Time(v)) => writer.int64(name, nanos(*v)),
        (ScalarType::Uuid, Value::Uuid(v)) => {
            writer.binary(name, BinarySubtype::Uuid, v.as_bytes());
        }
        (ScalarType::Blob, Value::Blob(v)) => writer.binary(name, BinarySubtype::Generic, v),
        (wanted, value) => return Err(mismatch(wanted.name(), value)),
    }
    Ok(())
}

/// Midnight UTC in milliseconds since 1970.
fn millis(date: NaiveDate) -> i64 {
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    days * MILLIS_OF_DAY
}

/// Nanoseconds since midnight.
fn nanos(time: NaiveTime) -> i64 {
    i64::from(time.num_seconds_from_midnight()) * NANOS_OF_SECOND + i64::from(time.nanosecond())
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
