//! Encodes values and rows as the native protocol wants them [pure]: once, when they are written.

use std::ops::Range;

use scylla::frame::response::result::{ColumnType as CqlType, NativeType};
use scylla::routing::Token;
use scylla::routing::partitioner::{Murmur3Partitioner, Partitioner, PartitionerHasher};
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::value::SerializeValue;
use scylla::serialize::writers::{CellWriter, RowWriter};
use scylla::value::CqlTimestamp;
use simbdp_api::column_type::{ColumnType, ScalarType};
use simbdp_record::{RowRef, Rows, Value, ValueRef};

/// What a cell costs a member beside its value: timestamp, TTL, time of deletion.
const CELL_OVERHEAD: usize = 20;
/// What a row costs beside its cells.
const ROW_OVERHEAD: usize = 24;
/// What an element of a collection costs beside its value: it is a cell with a path.
const ELEMENT_OVERHEAD: usize = 36;
/// Longest value of a key column.
const LONGEST_KEY: usize = 65_535;

/// Length of a null in the protocol.
const NULL: i32 = -1;

/// Columns of a table in the order of [`simbdp_record::Row::values`].
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub columns: Vec<(String, ColumnType)>,
    /// Places of the partition key's columns, in the key's order.
    pub partition: Vec<usize>,
    /// Places of the clustering columns.
    pub clustering: Vec<usize>,
    /// For each column, what part of the key it is.
    parts: Vec<Part>,
}

/// What part of the key a column is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    /// This column of the partition key.
    Partition(usize),
    Clustering,
    None,
}

impl Layout {
    pub(crate) fn new(
        columns: Vec<(String, ColumnType)>,
        partition: &[String],
        clustering: &[String],
    ) -> Self {
        let places = |names: &[String]| -> Vec<usize> {
            names
                .iter()
                .filter_map(|name| columns.iter().position(|(column, _)| column == name))
                .collect()
        };
        let (partition, clustering) = (places(partition), places(clustering));
        let part = |place| match partition.iter().position(|other| *other == place) {
            Some(at) => Part::Partition(at),
            None if clustering.contains(&place) => Part::Clustering,
            None => Part::None,
        };
        Self {
            parts: (0..columns.len()).map(part).collect(),
            partition,
            clustering,
            columns,
        }
    }
}

/// A sequence of values as the protocol has them: each with its length before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells(Vec<u8>);

impl Cells {
    /// Appends a value and returns its place, without the length.
    #[inline]
    pub(crate) fn push(
        &mut self,
        column_type: ColumnType,
        value: Option<ValueRef<'_>>,
    ) -> Result<Range<usize>, String> {
        let start = self.0.len() + size_of::<i32>();
        match (column_type, value) {
            (_, None) => self.0.extend_from_slice(&NULL.to_be_bytes()),
            (ColumnType::Scalar(scalar), Some(value)) if self.push_common(scalar, value) => {}
            (_, Some(ValueRef::Other(value))) => put(column_type, value, &mut self.0)?,
            (_, Some(value)) => put(column_type, &value.into(), &mut self.0)?,
        }
        Ok(start..self.0.len())
    }

    /// Appends a value of a common type, without the driver's tests of what the column's type may be.
    #[inline]
    fn push_common(&mut self, scalar: ScalarType, value: ValueRef<'_>) -> bool {
        match (scalar, value) {
            (ScalarType::Int, ValueRef::Int(v)) => self.push_raw(&v.to_be_bytes()),
            (ScalarType::Text, ValueRef::Text(v)) => self.push_raw(v.as_bytes()),
            (ScalarType::Bigint, ValueRef::Bigint(v)) => self.push_raw(&v.to_be_bytes()),
            (ScalarType::Double, ValueRef::Double(v)) => self.push_raw(&v.to_be_bytes()),
            (ScalarType::Timestamp, ValueRef::Timestamp(v)) => self.push_raw(&v.to_be_bytes()),
            (ScalarType::Boolean, ValueRef::Boolean(v)) => self.push_raw(&[u8::from(v)]),
            (ScalarType::Uuid, ValueRef::Other(Value::Uuid(v))) => self.push_raw(v.as_bytes()),
            _ => return false,
        }
        true
    }

    #[inline]
    fn push_raw(&mut self, bytes: &[u8]) {
        // Values are shorter than the longest record, and that is shorter than the protocol's limit.
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// All of them, to be sent.
    pub(crate) fn values(&self) -> Values<'_> {
        Values(&self.0)
    }
}

/// Values that are sent together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'a>(&'a [u8]);

impl SerializeRow for Values<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter,
    ) -> Result<(), SerializationError> {
        let mut rest = self.0;
        while let Some((length, tail)) = rest.split_first_chunk() {
            let cell = writer.make_cell_writer();
            match usize::try_from(i32::from_be_bytes(*length)) {
                Ok(length) => {
                    let (bytes, tail) = tail.split_at(length);
                    cell.set_value(bytes).map_err(SerializationError::new)?;
                    rest = tail;
                }
                Err(_) => {
                    cell.set_null();
                    rest = tail;
                }
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A row among [`EncodedRows`].
#[derive(Clone, Debug)]
pub(crate) struct EncodedRow {
    /// Where its values are.
    pub values: Range<usize>,
    /// Token of its partition.
    pub token: i64,
    /// Bytes as a member counts them against its limits on batches.
    pub cost: usize,
}

/// Rows that are ready to be sent.
#[derive(Clone, Debug, Default)]
pub struct EncodedRows {
    cells: Cells,
    pub(crate) rows: Vec<EncodedRow>,
}

impl EncodedRows {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of their values, each with its length, as they are sent.
    pub fn bytes(&self) -> usize {
        self.cells.0.len()
    }

    /// The values of one row.
    pub(crate) fn values(&self, row: usize) -> Values<'_> {
        Values(&self.cells.0[self.rows[row].values.clone()])
    }
}

/// Encodes one row after the other.
pub(crate) struct Encoding<'a> {
    layout: &'a Layout,
    /// Where the columns of the partition key are in the row.
    partition: Vec<Range<usize>>,
    encoded: EncodedRows,
}

impl<'a> Encoding<'a> {
    /// Makes room for all of `rows`.
    pub(crate) fn new(layout: &'a Layout, rows: &Rows) -> Self {
        Self {
            layout,
            partition: vec![0..0; layout.partition.len()],
            encoded: EncodedRows {
                // A row takes less as it is sent than in its batch.
                cells: Cells(Vec::with_capacity(rows.memory())),
                rows: Vec::with_capacity(rows.len()),
            },
        }
    }

    /// Encodes a row with its version as timestamp and, where there is one, its TTL in seconds. The error
    /// names the column; after it nothing more can be encoded.
    pub(crate) fn row(&mut self, row: RowRef<'_>, ttl: Option<i32>) -> Result<(), String> {
        let Layout { columns, parts, .. } = self.layout;
        let (cells, values) = (&mut self.encoded.cells, row.values());
        if values.len() != columns.len() {
            return Err(format!(
                "the row has {} values and the table {} columns",
                values.len(),
                columns.len()
            ));
        }
        let start = cells.0.len();
        let mut cost = ROW_OVERHEAD;
        for (((name, column_type), part), value) in columns.iter().zip(parts).zip(values) {
            let at = cells
                .push(*column_type, value)
                .map_err(|reason| format!("column `{name}`: {reason}"))?;
            if *part != Part::None {
                key(name, value, at.len())?;
            }
            match part {
                Part::Partition(part) => self.partition[*part] = at,
                Part::Clustering => cost += at.len(),
                Part::None => {
                    cost += at.len() + CELL_OVERHEAD + elements(value) * ELEMENT_OVERHEAD;
                }
            }
        }
        let token = token(&cells.0, &self.partition)?;
        cells.push_raw(&row.version.to_be_bytes());
        if let Some(ttl) = ttl {
            cells.push_raw(&ttl.to_be_bytes());
        }
        self.encoded.rows.push(EncodedRow {
            values: start..cells.0.len(),
            token,
            cost,
        });
        Ok(())
    }

    pub(crate) fn finish(self) -> EncodedRows {
        self.encoded
    }
}

fn key(name: &str, value: Option<ValueRef<'_>>, length: usize) -> Result<(), String> {
    if value.is_none() {
        return Err(format!("column `{name}` is part of the key and is null"));
    }
    if length > LONGEST_KEY {
        return Err(format!(
            "column `{name}` is part of the key and has {length} bytes; at most {LONGEST_KEY} are possible"
        ));
    }
    Ok(())
}

fn elements(value: Option<ValueRef<'_>>) -> usize {
    match value {
        Some(ValueRef::Other(Value::List(values))) => values.len(),
        Some(ValueRef::Other(Value::Map(pairs))) => pairs.len(),
        _ => 0,
    }
}

/// The token of a partition: of the only value as it is, of several each with its length and a zero byte.
fn token(cells: &[u8], partition: &[Range<usize>]) -> Result<i64, String> {
    let mut hasher = Murmur3Partitioner.build_hasher();
    if let [only] = partition {
        if only.is_empty() {
            return Err("the only column of the partition key is empty".to_owned());
        }
        hasher.write(&cells[only.clone()]);
    } else {
        for part in partition {
            let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
            hasher.write(&length.to_be_bytes());
            hasher.write(&cells[part.clone()]);
            hasher.write(&[0]);
        }
        let length: usize = partition.iter().map(|part| part.len() + 3).sum();
        if length > LONGEST_KEY {
            return Err(format!(
                "the partition key has {length} bytes; at most {LONGEST_KEY} are possible"
            ));
        }
    }
    let token: Token = hasher.finish();
    Ok(token.value())
}

fn put(column_type: ColumnType, value: &Value, to: &mut Vec<u8>) -> Result<(), String> {
    match (column_type, value) {
        (ColumnType::Scalar(scalar), value) => put_scalar(scalar, value, CellWriter::new(to)),
        (ColumnType::List(element), Value::List(values)) => {
            let mut builder = CellWriter::new(to).into_value_builder();
            builder.append_bytes(&count(values.len())?);
            for value in values {
                put_scalar(element, value, builder.make_sub_writer())?;
            }
            builder.finish().map(|_| ()).map_err(|e| e.to_string())
        }
        (ColumnType::Map(key, element), Value::Map(pairs)) => {
            let mut builder = CellWriter::new(to).into_value_builder();
            builder.append_bytes(&count(pairs.len())?);
            for (name, value) in pairs {
                put_scalar(key, name, builder.make_sub_writer())?;
                put_scalar(element, value, builder.make_sub_writer())?;
            }
            builder.finish().map(|_| ()).map_err(|e| e.to_string())
        }
        (wanted, value) => Err(mismatch(&wanted.to_string(), value)),
    }
}

fn count(elements: usize) -> Result<[u8; 4], String> {
    i32::try_from(elements)
        .map(i32::to_be_bytes)
        .map_err(|_| "it has too many elements".to_owned())
}

fn put_scalar(scalar: ScalarType, value: &Value, cell: CellWriter) -> Result<(), String> {
    let native = |native| CqlType::Native(native);
    let put = match (scalar, value) {
        (ScalarType::Text, Value::Text(v)) => v.serialize(&native(NativeType::Text), cell),
        (ScalarType::Int, Value::Int(v)) => v.serialize(&native(NativeType::Int), cell),
        (ScalarType::Bigint, Value::Bigint(v)) => v.serialize(&native(NativeType::BigInt), cell),
        (ScalarType::Float, Value::Float(v)) => v.serialize(&native(NativeType::Float), cell),
        (ScalarType::Double, Value::Double(v)) => v.serialize(&native(NativeType::Double), cell),
        (ScalarType::Decimal, Value::Decimal(v)) => v.serialize(&native(NativeType::Decimal), cell),
        (ScalarType::Boolean, Value::Boolean(v)) => v.serialize(&native(NativeType::Boolean), cell),
        (ScalarType::Timestamp, Value::Timestamp(v)) => {
            CqlTimestamp(*v).serialize(&native(NativeType::Timestamp), cell)
        }
        (ScalarType::Date, Value::Date(v)) => v.serialize(&native(NativeType::Date), cell),
        (ScalarType::Time, Value::Time(v)) => v.serialize(&native(NativeType::Time), cell),
        (ScalarType::Uuid, Value::Uuid(v)) => v.serialize(&native(NativeType::Uuid), cell),
        (ScalarType::Blob, Value::Blob(v)) => v.serialize(&native(NativeType::Blob), cell),
        (wanted, value) => return Err(mismatch(wanted.name(), value)),
    };
    put.map(|_| ()).map_err(|error| error.to_string())
}

fn mismatch(wanted: &str, value: &Value) -> String {
    let is = match value {
        Value::Text(_) => "a text",
        Value::Int(_) => "an int",
        Value::Bigint(_) => "a bigint",
        Value::Float(_) => "a float",
        Value::Double(_) => "a double",
        Value::Decimal(_) => "a decimal",
        Value::Boolean(_) => "a boolean",
        Value::Timestamp(_) => "a timestamp",
        Value::Date(_) => "a date",
        Value::Time(_) => "a time",
        Value::Uuid(_) => "a uuid",
        Value::Blob(_) => "a blob",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    };
    format!("the value is {is} and the column is of type {wanted}")
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
