//! A batch of rows, flat: the values of all rows in one vector, their texts in one string. Decoding fills it
//! and writing reads it without an allocation for each row; cleared, it is filled again.

use std::fmt;

use crate::row::Row;
use crate::value::{Value, ValueRef};

/// Bounds of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BatchLimits {
    /// Most rows.
    pub rows: usize,
    /// Bytes of memory from which on it is full.
    pub bytes: usize,
}

impl BatchLimits {
    const NONE: Self = Self {
        rows: usize::MAX,
        bytes: usize::MAX,
    };
}

/// A value within a batch. What does not fit lies elsewhere in the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell {
    Null,
    Int(i32),
    Bigint(i64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    Timestamp(i64),
    /// In [`Rows::texts`].
    Text {
        start: usize,
        length: u32,
    },
    /// In [`Rows::others`].
    Other(usize),
}

/// Where something ends in each part of a batch.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    cells: usize,
    texts: usize,
    others: usize,
    heap: usize,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    version: i64,
    end: Ends,
}

/// Rows of one table. A row that was opened and neither closed nor discarded is no part of it.
#[derive(Clone)]
pub struct Rows {
    heads: Vec<Head>,
    cells: Vec<Cell>,
    texts: String,
    others: Vec<Value>,
    /// Bytes that `others` hold elsewhere.
    heap: usize,
    limits: BatchLimits,
}

impl Default for Rows {
    fn default() -> Self {
        Self::bounded(BatchLimits::NONE)
    }
}

impl Rows {
    /// An empty batch that is full from `limits` on.
    pub fn bounded(limits: BatchLimits) -> Self {
        Self {
            heads: Vec::new(),
            cells: Vec::new(),
            texts: String::new(),
            others: Vec::new(),
            heap: 0,
            limits,
        }
    }

    /// An empty batch with the same bounds, and room for as much as is in this one.
    pub fn another(&self) -> Self {
        Self {
            heads: Vec::with_capacity(self.heads.len()),
            cells: Vec::with_capacity(self.cells.len()),
            texts: String::with_capacity(self.texts.len()),
            others: Vec::with_capacity(self.others.len()),
            heap: 0,
            limits: self.limits,
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Bytes of memory that the rows take.
    #[inline]
    pub fn memory(&self) -> usize {
        size_of_val(self.heads.as_slice())
            + size_of_val(self.cells.as_slice())
            + self.texts.len()
            + size_of_val(self.others.as_slice())
            + self.heap
    }

    /// Whether it has reached its bounds.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len() >= self.limits.rows || self.memory() >= self.limits.bytes
    }

    /// The row at a position, from 0.
    pub fn get(&self, index: usize) -> Option<RowRef<'_>> {
        (index < self.len()).then(|| self.row(index))
    }

    /// The rows, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RowRef<'_>> + Clone {
        (0..self.len()).map(|index| self.row(index))
    }

    #[inline]
    fn row(&self, index: usize) -> RowRef<'_> {
        let Head { version, end } = self.heads[index];
        let start = match index.checked_sub(1) {
            Some(before) => self.heads[before].end.cells,
            None => 0,
        };
        RowRef {
            version,
            cells: &self.cells[start..end.cells],
            rows: self,
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        let mut open = self.open(row.values.len());
        for (place, value) in row.values.into_iter().enumerate() {
            if let Some(value) = value {
                open.set(place, value);
            }
        }
        self.close(row.version);
    }

    /// Takes the rows from a position on out of the batch.
    pub fn split_off(&mut self, at: usize) -> Self {
        let rest = self.iter().skip(at).map(Row::from).collect();
        self.truncate(at);
        rest
    }

    /// Forgets all rows but the first ones.
    pub fn truncate(&mut self, rows: usize) {
        self.heads.truncate(rows);
        let end = self.heads.last().map_or(Ends::default(), |head| head.end);
        self.cells.truncate(end.cells);
        self.texts.truncate(end.texts);
        self.others.truncate(end.others);
        self.heap = end.heap;
    }

    /// Forgets all rows; their memory serves the next ones.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Opens the next row, of `width` nulls.
    #[inline]
    pub(crate) fn open(&mut self, width: usize) -> OpenRow<'_> {
        let start = self.cells.len();
        self.cells.resize(start + width, Cell::Null);
        OpenRow {
            cells: &mut self.cells[start..],
            texts: &mut self.texts,
            others: &mut self.others,
            heap: &mut self.heap,
        }
    }

    /// Makes the open row a part of the batch.
    #[inline]
    pub(crate) fn close(&mut self, version: i64) {
        let end = Ends {
            cells: self.cells.len(),
            texts: self.texts.len(),
            others: self.others.len(),
            heap: self.heap,
        };
        self.heads.push(Head { version, end });
    }

    /// Forgets the open row.
    pub(crate) fn discard(&mut self) {
        self.truncate(self.len());
    }
}

impl FromIterator<Row> for Rows {
    fn from_iter<T: IntoIterator<Item = Row>>(rows: T) -> Self {
        let mut batch = Self::default();
        rows.into_iter().for_each(|row| batch.push(row));
        batch
    }
}

impl<const N: usize> From<[Row; N]> for Rows {
    fn from(rows: [Row; N]) -> Self {
        rows.into_iter().collect()
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Row::from)).finish()
    }
}

/// A row of a batch.
#[derive(Clone, Copy)]
pub struct RowRef<'a> {
    /// Version: microseconds since 1970.
    pub version: i64,
    cells: &'a [Cell],
    rows: &'a Rows,
}

impl<'a> RowRef<'a> {
    /// The values, as in [`Row::values`].
    #[inline]
    pub fn values(self) -> impl ExactSizeIterator<Item = Option<ValueRef<'a>>> {
        let rows = self.rows;
        self.cells.iter().map(move |cell| match *cell {
            Cell::Null => None,
            Cell::Int(number) => Some(ValueRef::Int(number)),
            Cell::Bigint(number) => Some(ValueRef::Bigint(number)),
            Cell::Float(number) => Some(ValueRef::Float(number)),
            Cell::Double(number) => Some(ValueRef::Double(number)),
            Cell::Boolean(truth) => Some(ValueRef::Boolean(truth)),
            Cell::Timestamp(millis) => Some(ValueRef::Timestamp(millis)),
            Cell::Text { start, length } => {
                Some(ValueRef::Text(&rows.texts[start..start + length as usize]))
            }
            Cell::Other(index) => Some(ValueRef::from(&rows.others[index])),
        })
    }
}

impl From<RowRef<'_>> for Row {
    fn from(row: RowRef<'_>) -> Self {
        Self {
            values: row.values().map(|value| value.map(Value::from)).collect(),
            version: row.version,
        }
    }
}

/// A row that is being read: null where nothing is set.
pub(crate) struct OpenRow<'a> {
    pub(crate) cells: &'a mut [Cell],
    texts: &'a mut String,
    others: &'a mut Vec<Value>,
    heap: &'a mut usize,
}

impl OpenRow<'_> {
    /// Sets the value at a place.
    pub(crate) fn set(&mut self, place: usize, value: Value) {
        self.cells[place] = match value {
            Value::Int(number) => Cell::Int(number),
            Value::Bigint(number) => Cell::Bigint(number),
            Value::Float(number) => Cell::Float(number),
            Value::Double(number) => Cell::Double(number),
            Value::Boolean(truth) => Cell::Boolean(truth),
            Value::Timestamp(millis) => Cell::Timestamp(millis),
            Value::Text(text) => match u32::try_from(text.len()) {
                Ok(length) => Cell::Text {
                    start: self.add(&text),
                    length,
                },
                Err(_) => self.other(Value::Text(text)),
            },
            value => self.other(value),
        };
    }

    /// Counts places from behind the first `count` values on.
    pub(crate) fn skip(&mut self, count: usize) {
        let cells = std::mem::take(&mut self.cells);
        self.cells = &mut cells[count..];
    }

    /// Adds a text for cells to point into; returns where it starts.
    #[inline]
    pub(crate) fn add(&mut self, text: &str) -> usize {
        let start = self.texts.len();
        self.texts.push_str(text);
        start
    }

    fn other(&mut self, value: Value) -> Cell {
        *self.heap += heap(&value);
        self.others.push(value);
        Cell::Other(self.others.len() - 1)
    }
}

/// Bytes that a value holds beside itself; of a decimal, whose length is bounded, none are counted.
fn heap(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        Value::List(values) => {
            size_of_val(values.as_slice()) + values.iter().map(heap).sum::<usize>()
        }
        Value::Map(pairs) => {
            let pair = |(key, value): &(Value, Value)| heap(key) + heap(value);
            size_of_val(pairs.as_slice()) + pairs.iter().map(pair).sum::<usize>()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{BatchLimits, Cell, Rows};
    use crate::row::Row;
    use crate::value::Value;

    fn row(n: i32) -> Row {
        let tags = vec![Value::Text(format!("tag {n}")), Value::Text("x".into())];
        Row {
            values: vec![
                Some(Value::Int(n)),
                None,
                Some(Value::Text(format!("row {n}"))),
                Some(Value::List(tags)),
                Some(Value::Text(String::new())),
            ],
            version: i64::from(n),
        }
    }

    fn batch(rows: impl IntoIterator<Item = i32>) -> Rows {
        rows.into_iter().map(row).collect()
    }

    fn read(rows: &Rows) -> Vec<Row> {
        rows.iter().map(Row::from).collect()
    }

    #[test]
    fn what_goes_in_comes_out() {
        let every_type = Row {
            values: vec![
                Some(Value::Bigint(i64::MIN)),
                Some(Value::Float(0.1)),
                Some(Value::Double(-0.1)),
                Some(Value::Boolean(true)),
                Some(Value::Timestamp(-1)),
                Some(Value::Uuid(uuid::Uuid::from_u128(7))),
                Some(Value::Blob(vec![0, 255])),
                Some(Value::Map(vec![(Value::Int(1), Value::Boolean(false))])),
                Some(Value::Decimal(12.into())),
            ],
            version: -1,
        };
        let empty = Row {
            values: Vec::new(),
            version: 0,
        };
        let rows = [row(1), every_type, empty, row(2)];
        assert_eq!(read(&Rows::from(rows.clone())), rows);
        assert_eq!(size_of::<Cell>(), 16);
    }

    #[test]
    fn a_batch_is_split_anywhere() {
        for at in 0..=5 {
            let mut first = batch(0..5);
            let second = first.split_off(at);
            assert_eq!(read(&first), read(&batch(0..at as i32)));
            assert_eq!(read(&second), read(&batch(at as i32..5)));
        }
        assert!(batch(0..2).split_off(3).is_empty());
    }

    #[test]
    fn a_discarded_row_leaves_nothing_behind() {
        let mut rows = batch(0..3);
        let memory = rows.memory();
        let mut open = rows.open(5);
        for (place, value) in row(7).values.into_iter().enumerate() {
            value.into_iter().for_each(|value| open.set(place, value));
        }
        rows.discard();
        assert_eq!(rows.memory(), memory);
        rows.push(row(3));
        assert_eq!(read(&rows), read(&batch(0..4)));
    }

    #[test]
    fn a_batch_is_full_by_rows_or_by_bytes() {
        let full = |rows, bytes| {
            let mut batch = Rows::bounded(BatchLimits { rows, bytes });
            (0..10).find(|n| {
                batch.push(row(*n));
                batch.is_full()
            })
        };
        assert_eq!(full(3, usize::MAX), Some(2));
        assert_eq!(full(usize::MAX, batch(0..4).memory()), Some(3));
        assert_eq!(full(usize::MAX, usize::MAX), None);
        let mut batch = batch(0..4);
        batch.clear();
        assert_eq!((batch.len(), batch.memory()), (0, 0));
    }
}
