//! Decodes CSV (RFC 4180) with a header line that names the table's fields, in any order.
//!
//! Framing finds the records; those with quotation marks are cut into fields by `csv-core`, the others,
//! which are most, at their commas where they lie.

mod commas;
mod framer;
mod header;

use std::ops::Range;

use simbdp_api::pipeline::Format;

use crate::MAX_RECORD_BYTES;
use crate::convert::csv_field;
use crate::decoder::{Decoded, Emitter, FileFault, Totals};
use crate::framing::Bom;
use crate::object::Faults;
use crate::row::RowFault;
use crate::schema::ColumnSchema;
use crate::value::Value;

use framer::{Framer, Record};

pub(crate) struct CsvDecoder {
    bom: Bom,
    framer: Framer,
    records: Records,
}

impl std::fmt::Debug for CsvDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvDecoder")
            .field("totals", &self.totals())
            .finish_non_exhaustive()
    }
}

impl CsvDecoder {
    pub(crate) fn new(emitter: Emitter) -> Self {
        Self {
            bom: Bom::default(),
            framer: Framer::new(),
            records: Records {
                emitter,
                order: None,
                in_order: false,
                splitter: Splitter::default(),
                faults: Faults::default(),
            },
        }
    }

    pub(crate) fn push(
        &mut self,
        chunk: &[u8],
        sink: &mut impl FnMut(Decoded),
    ) -> Result<(), FileFault> {
        let (held_back, chunk) = self.bom.strip(chunk);
        for part in [held_back, chunk] {
            let mut at = 0;
            while let Some(record) = self.framer.next(part, &mut at) {
                self.records.record(&record, sink)?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self, sink: &mut impl FnMut(Decoded)) -> Result<(), FileFault> {
        let held_back = self.bom.finish();
        if !held_back.is_empty() {
            self.framer.next(held_back, &mut 0);
        }
        match self.framer.finish() {
            Ok(Some(record)) => self.records.record(&record, sink)?,
            Ok(None) => {}
            Err(open) => return Err(self.records.unbalanced(&open)),
        }
        if self.records.order.is_none() {
            return Err(FileFault::Empty(Format::Csv));
        }
        Ok(())
    }

    pub(crate) fn totals(&self) -> Totals {
        self.records.emitter.totals
    }
}

struct Records {
    emitter: Emitter,
    /// For each field of a record the index of its column; absent until the header is read.
    order: Option<Vec<usize>>,
    /// Whether the fields come in the order of the columns, as in most files.
    in_order: bool,
    splitter: Splitter,
    faults: Faults,
}

impl Records {
    #[inline]
    fn record(
        &mut self,
        record: &Record<'_>,
        sink: &mut impl FnMut(Decoded),
    ) -> Result<(), FileFault> {
        let Some(order) = &self.order else {
            let order = header::read(&self.emitter.schema, record, &mut self.splitter)?;
            self.in_order = order.is_sorted();
            self.order = Some(order);
            return Ok(());
        };
        let mut values = self.emitter.values();
        let start = values.len();
        let mut row = RowBuilder {
            columns: self.emitter.schema.columns(),
            order,
            values: &mut values,
            faults: &mut self.faults,
            fields: 0,
        };
        let read = match check(record) {
            Ok(text) => {
                self.splitter
                    .split(text, record.quoted_on.is_some(), |record, field| {
                        row.field(record, field)
                    });
                row.end()
            }
            Err(reason) => {
                let column = invalid_field(record, &mut self.splitter)
                    .and_then(|index| order.get(index))
                    .map(|&column| self.emitter.schema.columns()[column].source().to_owned());
                Err(vec![RowFault { column, reason }])
            }
        };
        sink(match read {
            Ok(()) if self.in_order => self.emitter.row(values),
            Ok(()) => self.emitter.row(arranged(values, start, order)),
            Err(faults) => self.emitter.rejected(record.line, record.raw, faults),
        });
        Ok(())
    }

    /// The fault of a file that ends within a quoted field.
    fn unbalanced(&mut self, open: &Record<'_>) -> FileFault {
        let fields = if open.too_long {
            0
        } else {
            self.splitter.count(open.raw)
        };
        let index = self
            .order
            .as_ref()
            .zip(fields.checked_sub(1))
            .and_then(|(order, last)| order.get(last));
        FileFault::UnbalancedQuote {
            line: open.quoted_on.unwrap_or(open.line),
            column: index.map(|&column| self.emitter.schema.columns()[column].source().to_owned()),
        }
    }
}

/// The values of a record, from `start` on in the order of the file's fields, in that of the columns.
fn arranged(mut values: Vec<Option<Value>>, start: usize, order: &[usize]) -> Vec<Option<Value>> {
    let mut by_column: Vec<Option<Value>> = Vec::with_capacity(values.len());
    by_column.extend(values.drain(..start));
    by_column.resize(start + order.len(), None);
    for (value, &column) in values.into_iter().zip(order) {
        by_column[start + column] = value;
    }
    by_column
}

/// The record as text, or what is wrong with it as a whole.
#[inline]
fn check<'a>(record: &Record<'a>) -> Result<&'a str, String> {
    if record.too_long {
        let quote = match record.quoted_on {
            Some(line) => format!("; a quotation mark opened on line {line} may lack its end"),
            None => String::new(),
        };
        return Err(format!(
            "the record has more than {MAX_RECORD_BYTES} bytes (2 MiB), the most of a record{quote}"
        ));
    }
    if let Some(line) = record.stray_on {
        return Err(format!(
            "text follows a closing quotation mark on line {line}: put a comma between fields, and write a quotation mark within a quoted field twice"
        ));
    }
    std::str::from_utf8(record.raw).map_err(|error| {
        format!(
            "is not UTF-8 at byte {} of the record: save the file in UTF-8",
            error.valid_up_to() + 1
        )
    })
}

/// Index of the first field that is not UTF-8.
fn invalid_field(record: &Record<'_>, splitter: &mut Splitter) -> Option<usize> {
    let valid = std::str::from_utf8(record.raw)
        .err()
        .filter(|_| !record.too_long && record.stray_on.is_none())?;
    splitter
        .count(&record.raw[..valid.valid_up_to()])
        .max(1)
        .checked_sub(1)
}

/// Converts the fields of one record.
struct RowBuilder<'a> {
    columns: &'a [ColumnSchema],
    order: &'a [usize],
    values: &'a mut Vec<Option<Value>>,
    faults: &'a mut Faults,
    fields: usize,
}

impl RowBuilder<'_> {
    #[inline]
    fn field(&mut self, record: &str, field: Range<usize>) {
        let position = self.fields;
        self.fields += 1;
        let Some(&index) = self.order.get(position) else {
            return;
        };
        let column = &self.columns[index];
        if let Err(reason) = csv_field(column, record, field, self.values) {
            self.faults
                .push(RowFault::of_column(column.source(), reason));
        }
    }

    #[inline]
    fn end(self) -> Result<(), Vec<RowFault>> {
        if self.fields != self.order.len() {
            self.faults.take();
            return Err(vec![RowFault::of_row(format!(
                "the record has {} field{}, but the header has {}: write each field, empty where there is no value, and put fields with commas in quotation marks",
                self.fields,
                if self.fields == 1 { "" } else { "s" },
                self.order.len(),
            ))]);
        }
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(self.faults.take())
        }
    }
}

/// Cuts a record into its fields; keeps its buffers.
pub(crate) struct Splitter {
    csv: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Default for Splitter {
    fn default() -> Self {
        Self {
            csv: csv_core::Reader::new(),
            text: Vec::new(),
            ends: Vec::new(),
        }
    }
}

impl Splitter {
    /// Cuts a whole record.
    #[inline]
    pub(crate) fn split(
        &mut self,
        record: &str,
        quoted: bool,
        mut field: impl FnMut(&str, Range<usize>),
    ) {
        let (text, ends, gap) = if quoted {
            let count = self.count(record.as_bytes());
            let ends = &self.ends[..count];
            let length = ends.last().copied().unwrap_or(0);
            // Taking quotation marks away leaves UTF-8 as it is.
            let text = std::str::from_utf8(&self.text[..length]).unwrap_or_default();
            (text, ends, 0)
        } else {
            commas::find(record.as_bytes(), &mut self.ends);
            self.ends.push(record.len());
            (record, self.ends.as_slice(), 1)
        };
        let mut start = 0;
        for &end in ends {
            field(text, start..end);
            start = end + gap;
        }
    }

    /// Cuts a record, or the start of one, into `text` and `ends`, and counts its fields.
    pub(crate) fn count(&mut self, record: &[u8]) -> usize {
        let commas = memchr::memchr_iter(b',', record).count();
        self.text.resize(self.text.len().max(record.len() + 1), 0);
        self.ends.resize(self.ends.len().max(commas + 2), 0);
        self.csv.reset();
        let (result, _, _, fields) = self.csv.read_record(record, &mut self.text, &mut self.ends);
        if result != csv_core::ReadRecordResult::InputEmpty || record.is_empty() {
            return fields;
        }
        let (_, _, _, last) = self.csv.read_record(&[], &mut [], &mut self.ends[fields..]);
        fields + last
    }
}
