//! Encodes values and rows as the native protocol wants them [pure]: once, when they are written.

use std::ops::Range;

use scylla::frame::response::result::{ColumnType as CqlType, NativeType};
use scylla::routing::partitioner::{Murmur3Partitioner, Partitioner};
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::value::SerializeValue;
use scylla::serialize::writers::{CellWriter, RowWriter};
use scylla::value::CqlTimestamp;
use simbdp_api::column_type::{ColumnType, ScalarType};
use simbdp_record::{RowRef, Rows, Value, ValueRef};

use crate::declaration::{LONGEST_KEY, Shape, mismatch};

/// What a cell costs a member beside its value: timestamp, TTL, time of deletion.
const CELL_OVERHEAD: usize = 20;
/// What a row costs beside its cells.
const ROW_OVERHEAD: usize = 24;
/// What an element of a collection costs beside its value: it is a cell with a path.
const ELEMENT_OVERHEAD: usize = 36;

/// Length of a null in the protocol.
const NULL: i32 = -1;

/// A table's shape, and what its rows cost.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub shape: Shape,
    /// What a row costs beside its values.
    overhead: usize,
}

impl Layout {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            overhead: ROW_OVERHEAD + shape.cells().count() * CELL_OVERHEAD,
            shape,
        }
    }
}

/// A sequence of values as the protocol has them: each with its length before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells(Vec<u8>);

const INT: ColumnType = ColumnType::Scalar(ScalarType::Int);
const TEXT: ColumnType = ColumnType::Scalar(ScalarType::Text);
const BOOLEAN: ColumnType = ColumnType::Scalar(ScalarType::Boolean);
const BIGINT: ColumnType = ColumnType::Scalar(ScalarType::Bigint);
const DOUBLE: ColumnType = ColumnType::Scalar(ScalarType::Double);
const TIMESTAMP: ColumnType = ColumnType::Scalar(ScalarType::Timestamp);
const UUID: ColumnType = ColumnType::Scalar(ScalarType::Uuid);

impl Cells {
    /// Appends a value.
    pub(crate) fn push(&mut self, column_type: ColumnType, value: &Value) -> Result<(), String> {
        if self.push_common(column_type, Some(value.into())) {
            return Ok(());
        }
        put(column_type, value, &mut self.0)
    }

    /// Appends a value of a common type, without the driver's tests of what the column's type may be; tells
    /// whether it is one.
    #[inline]
    fn push_common(&mut self, column_type: ColumnType, value: Option<ValueRef<'_>>) -> bool {
        match value {
            None => self.0.extend_from_slice(&NULL.to_be_bytes()),
            Some(ValueRef::Int(v)) if column_type == INT => self.push_4(v.to_be_bytes()),
            Some(ValueRef::Text(v)) if column_type == TEXT => self.push_bytes(v.as_bytes()),
            Some(ValueRef::Boolean(v)) if column_type == BOOLEAN => {
                self.push_bytes(&[u8::from(v)]);
            }
            Some(ValueRef::Bigint(v)) if column_type == BIGINT => self.push_8(v.to_be_bytes()),
            Some(ValueRef::Double(v)) if column_type == DOUBLE => self.push_8(v.to_be_bytes()),
            Some(ValueRef::Timestamp(v)) if column_type == TIMESTAMP => {
                self.push_8(v.to_be_bytes());
            }
            Some(ValueRef::Other(Value::Uuid(v))) if column_type == UUID => {
                self.push_bytes(v.as_bytes());
            }
            _ => return false,
        }
        true
    }

    #[inline]
    fn push_4(&mut self, bytes: [u8; 4]) {
        let value = u64::from(u32::from_be_bytes(bytes));
        self.0.extend_from_slice(&(4 << 32 | value).to_be_bytes());
    }

    #[inline]
    fn push_8(&mut self, bytes: [u8; 8]) {
        let value = u128::from(u64::from_be_bytes(bytes));
        let [_, _, _, _, cell @ ..] = (8 << 64 | value).to_be_bytes();
        self.0.extend_from_slice(&cell);
    }

    #[inline]
    fn push_bytes(&mut self, bytes: &[u8]) {
        // Values are shorter than the longest record, and that is shorter than the protocol's limit.
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        if let Some(short) = short(bytes) {
            let cell =
                u128::from(u32::from_le_bytes(length.to_be_bytes())) | u128::from(short) << 32;
            let end = self.0.len() + size_of::<i32>() + bytes.len();
            let [cell @ .., _, _, _, _] = cell.to_le_bytes();
            self.0.extend_from_slice(&cell);
            self.0.truncate(end);
        } else {
            self.0.extend_from_slice(&length.to_be_bytes());
            self.0.extend_from_slice(bytes);
        }
    }

    /// All of them, to be sent.
    pub(crate) fn values(&self) -> Values<'_> {
        Values(&self.0)
    }
}

/// Up to eight bytes, the first one lowest: so few are copied faster than the call of a copy takes.
#[inline]
fn short(bytes: &[u8]) -> Option<u64> {
    let length = bytes.len();
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(_), Some(_)) if length > 8 => None,
        (Some(head), Some(tail)) => {
            let [head, tail] = [*head, *tail].map(|half| u64::from(u32::from_le_bytes(half)));
            Some(head | tail << (8 * (length - 4)))
        }
        _ => {
            let byte = |at: usize| u64::from(*bytes.get(at).unwrap_or(&0)) << (8 * at);
            Some(byte(0) | byte(1) | byte(2))
        }
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
    /// Where each value of the row starts, and where the last one ends.
    places: Vec<usize>,
    /// The partition keys of all rows as they are hashed, one behind the other, and where each ends.
    keys: Vec<u8>,
    ends: Vec<usize>,
    encoded: EncodedRows,
}

impl<'a> Encoding<'a> {
    /// Makes room for all of `rows`.
    pub(crate) fn new(layout: &'a Layout, rows: &Rows) -> Self {
        Self {
            layout,
            places: vec![0; layout.shape.columns.len() + 1],
            keys: Vec::new(),
            ends: Vec::with_capacity(rows.len()),
            encoded: EncodedRows {
                // A row seldom takes more as it is sent than in its batch.
                cells: Cells(Vec::with_capacity(rows.memory())),
                rows: Vec::with_capacity(rows.len()),
            },
        }
    }

    /// Encodes a row with its version as timestamp and, where there is one, its TTL in seconds. The error
    /// names the column; after it nothing more can be encoded.
    pub(crate) fn row(&mut self, row: RowRef<'_>, ttl: Option<i32>) -> Result<(), String> {
        let columns = self.layout.shape.columns.len();
        if row.values().len() != columns {
            return Err(format!(
                "the row has {} values and the table {columns} columns",
                row.values().len(),
            ));
        }
        let start = self.encoded.cells.0.len();
        let elements = self.values(row)?;
        let partition = self.partition()?;
        let values = self.places[columns] - start - columns * size_of::<i32>();
        let cells = &mut self.encoded.cells;
        cells.push_8(row.version.to_be_bytes());
        if let Some(ttl) = ttl {
            cells.push_4(ttl.to_be_bytes());
        }
        self.encoded.rows.push(EncodedRow {
            values: start..cells.0.len(),
            token: 0,
            cost: self.layout.overhead + values - partition + elements * ELEMENT_OVERHEAD,
        });
        Ok(())
    }

    /// Appends the values of a row; returns how many elements its collections have.
    #[inline(never)]
    fn values(&mut self, row: RowRef<'_>) -> Result<usize, String> {
        let cells = &mut self.encoded.cells;
        let mut all_elements = 0;
        let columns = self.layout.shape.columns.iter().zip(row.values());
        for ((column, value), place) in columns.zip(&mut self.places) {
            *place = cells.0.len();
            if !cells.push_common(column.1, value) {
                all_elements += push_other(cells, column, value)?;
            }
        }
        if let Some(end) = self.places.last_mut() {
            *end = cells.0.len();
        }
        Ok(all_elements)
    }

    /// Keeps the row's partition key; returns how many bytes its values have.
    fn partition(&mut self) -> Result<usize, String> {
        let Shape {
            partition,
            clustering,
            ..
        } = &self.layout.shape;
        if let Some(place) = clustering.iter().find(|place| !self.fits_key(**place)) {
            return Err(self.key_fault(*place));
        }
        let start = self.keys.len();
        for place in partition {
            if !self.fits_key(*place) {
                return Err(self.key_fault(*place));
            }
            let value = self.places[*place] + size_of::<i32>()..self.places[place + 1];
            let cells = &self.encoded.cells.0;
            if partition.len() == 1 {
                self.keys.extend_from_slice(&cells[value]);
            } else {
                // Of several values each has its length in two bytes before it and a zero byte behind it.
                self.keys
                    .extend_from_slice(&cells[value.start - 2..value.end]);
                self.keys.push(0);
            }
        }
        let length = self.keys.len() - start;
        if length == 0 {
            return Err("the only column of the partition key is empty".to_owned());
        }
        if length > LONGEST_KEY {
            return Err(format!(
                "the partition key has {length} bytes; at most {LONGEST_KEY} are possible"
            ));
        }
        self.ends.push(self.keys.len());
        Ok(if partition.len() == 1 {
            length
        } else {
            length - partition.len() * 3
        })
    }

    /// Whether a value may be in a key.
    #[inline]
    fn fits_key(&self, place: usize) -> bool {
        let (start, end) = (self.places[place], self.places[place + 1]);
        let length = end - start - size_of::<i32>();
        (1..=LONGEST_KEY).contains(&length)
            || (length == 0 && self.encoded.cells.0[start..end] != NULL.to_be_bytes())
    }

    #[cold]
    fn key_fault(&self, place: usize) -> String {
        let name = &self.layout.shape.columns[place].0;
        match self.places[place + 1] - self.places[place] - size_of::<i32>() {
            0 => format!("column `{name}` is part of the key and is null"),
            length => format!(
                "column `{name}` is part of the key and has {length} bytes; at most {LONGEST_KEY} are possible"
            ),
        }
    }

    /// All rows. Their tokens come now: keys are not read back as soon as they are written, which would make
    /// the processor wait.
    pub(crate) fn finish(mut self) -> EncodedRows {
        let mut start = 0;
        for (row, &end) in self.encoded.rows.iter_mut().zip(&self.ends) {
            row.token = Murmur3Partitioner.hash_one(&self.keys[start..end]).value();
            start = end;
        }
        self.encoded
    }
}

/// Appends a value of any type, or says that it is not the column's; returns how many elements it has.
#[inline(never)]
fn push_other(
    cells: &mut Cells,
    (name, column_type): &(String, ColumnType),
    value: Option<ValueRef<'_>>,
) -> Result<usize, String> {
    let mut put = |value: &Value| {
        put(*column_type, value, &mut cells.0)
            .map_err(|reason| format!("column `{name}`: {reason}"))?;
        Ok(elements(value))
    };
    match value {
        Some(ValueRef::Other(value)) => put(value),
        Some(value) => put(&value.into()),
        None => Ok(0),
    }
}

fn elements(value: &Value) -> usize {
    match value {
        Value::List(values) => values.len(),
        Value::Map(pairs) => pairs.len(),
        _ => 0,
    }
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

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
