//! Decodes CSV (RFC 4180) with a header line that names the table's fields, in any order.
//!
//! Framing finds the records; those with quotation marks are cut into fields by `csv-core`, the others,
//! which are most, at their commas where they lie.

mod commas;
mod framer;
mod header;

use simbdp_api::pipeline::Format;
use simbdp_api::wire::rest::RejectedRow;

use crate::MAX_RECORD_BYTES;
use crate::convert::{Field, any_field};
use crate::decoder::{Emitter, FileFault, Totals};
use crate::framing::Bom;
use crate::object::Faults;
use crate::row::RowFault;
use crate::rows::{Cell, Rows};
use crate::schema::{ColumnSchema, FirstTry};

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
                header: String::new(),
                likely: Vec::new(),
                doubtful: Vec::new(),
                splitter: Splitter::default(),
                faults: Faults::default(),
            },
        }
    }

    pub(crate) fn push(
        &mut self,
        chunk: &[u8],
        rows: &mut Rows,
        rejects: &mut impl FnMut(u64, RejectedRow),
    ) -> Result<usize, FileFault> {
        let (held_back, rest) = self.bom.strip(chunk);
        if !held_back.is_empty() {
            self.framer.next(held_back, &mut 0);
        }
        let mut at = 0;
        while !rows.is_full()
            && let Some(record) = self.framer.next(rest, &mut at)
        {
            self.records.record(&record, rows, rejects)?;
        }
        Ok(chunk.len() - rest.len() + at)
    }

    pub(crate) fn finish(
        &mut self,
        rows: &mut Rows,
        rejects: &mut impl FnMut(u64, RejectedRow),
    ) -> Result<(), FileFault> {
        let held_back = self.bom.finish();
        if !held_back.is_empty() {
            self.framer.next(held_back, &mut 0);
        }
        match self.framer.finish() {
            Ok(Some(record)) => self.records.record(&record, rows, rejects)?,
            Ok(None) => {}
            Err(open) => return Err(self.records.unbalanced(&open)),
        }
        if self.records.order.is_none() {
            return Err(FileFault::Empty(Format::Csv));
        }
        Ok(())
    }

    pub(crate) fn header(&self) -> Option<&str> {
        let records = &self.records;
        records.order.is_some().then_some(records.header.as_str())
    }

    pub(crate) fn totals(&self) -> Totals {
        self.records.emitter.totals
    }
}

struct Records {
    emitter: Emitter,
    /// For each field of a record the index of its column; absent until the header is read.
    order: Option<Vec<usize>>,
    /// The header line.
    header: String,
    /// For each field of a record what it is first read as, and the index of its column.
    likely: Vec<(FirstTry, usize)>,
    /// Fields of the current record that are something else.
    doubtful: Vec<usize>,
    splitter: Splitter,
    faults: Faults,
}

impl Records {
    #[inline]
    fn record(
        &mut self,
        record: &Record<'_>,
        rows: &mut Rows,
        rejects: &mut impl FnMut(u64, RejectedRow),
    ) -> Result<(), FileFault> {
        if self.order.is_none() {
            let order = header::read(&self.emitter.schema, record, &mut self.splitter)?;
            let columns = self.emitter.schema.columns();
            let likely = |&place: &usize| (columns[place].first_try(), place);
            self.likely = order.iter().map(likely).collect();
            self.order = Some(order);
            self.header = String::from_utf8_lossy(record.raw).into_owned();
            return Ok(());
        }
        match self.read(record, rows) {
            Ok(()) => self.emitter.accept(rows),
            Err(faults) => self
                .emitter
                .reject(rows, record.line, record.raw, faults, rejects),
        }
        Ok(())
    }

    /// Reads a record into an open row.
    #[inline]
    fn read(&mut self, record: &Record<'_>, rows: &mut Rows) -> Result<(), Vec<RowFault>> {
        let columns = self.emitter.schema.columns();
        let order = self.order.as_deref().unwrap_or_default();
        let text = match std::str::from_utf8(record.raw) {
            Ok(text) if !record.too_long && record.stray_on.is_none() => text,
            _ => return Err(vec![unreadable(record, columns, order, &mut self.splitter)]),
        };
        let fields = self.splitter.split(text, record.quoted_on.is_some());
        if fields.ends.len() != order.len() {
            return Err(vec![miscounted(fields.ends.len(), order.len())]);
        }
        let mut row = self.emitter.open(rows);
        let added = row.add(fields.text);
        self.doubtful.clear();
        read_likely(
            &self.likely,
            columns,
            fields,
            added,
            row.cells,
            &mut self.doubtful,
        );
        for &position in &self.doubtful {
            let place = order[position];
            if let Err(reason) = any_field(&columns[place], fields.get(position), &mut row, place) {
                self.faults
                    .push(RowFault::of_column(columns[place].source(), reason));
            }
        }
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(self.faults.take())
        }
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

/// Reads the fields of a record that are what they are most likely to be; the others are doubtful. It is the
/// innermost loop, and has nothing else in it.
#[inline(never)]
fn read_likely(
    likely: &[(FirstTry, usize)],
    columns: &[ColumnSchema],
    fields: Fields<'_>,
    added: usize,
    cells: &mut [Cell],
    doubtful: &mut Vec<usize>,
) {
    let mut start = 0;
    for (position, (&(likely, place), &end)) in likely.iter().zip(fields.ends).enumerate() {
        let field = Field {
            record: fields.text,
            start,
            end,
            added,
            has_nul: fields.has_nul,
        };
        if !field.read_as(likely, &columns[place], &mut cells[place]) {
            doubtful.push(position);
        }
        start = end + fields.gap;
    }
}

fn miscounted(fields: usize, wanted: usize) -> RowFault {
    RowFault::of_row(format!(
        "the record has {fields} field{}, but the header has {wanted}: write each field, empty where there is no value, and put fields with commas in quotation marks",
        if fields == 1 { "" } else { "s" },
    ))
}

/// What is wrong with a record as a whole.
#[cold]
fn unreadable(
    record: &Record<'_>,
    columns: &[ColumnSchema],
    order: &[usize],
    splitter: &mut Splitter,
) -> RowFault {
    if record.too_long {
        let quote = match record.quoted_on {
            Some(line) => format!("; a quotation mark opened on line {line} may lack its end"),
            None => String::new(),
        };
        return RowFault::of_row(format!(
            "the record has more than {MAX_RECORD_BYTES} bytes (2 MiB), the most of a record{quote}"
        ));
    }
    if let Some(line) = record.stray_on {
        return RowFault::of_row(format!(
            "text follows a closing quotation mark on line {line}: put a comma between fields, and write a quotation mark within a quoted field twice"
        ));
    }
    let valid = match std::str::from_utf8(record.raw) {
        Ok(_) => record.raw.len(),
        Err(error) => error.valid_up_to(),
    };
    let field = splitter.count(&record.raw[..valid]).max(1) - 1;
    RowFault {
        column: order
            .get(field)
            .map(|&column| columns[column].source().to_owned()),
        reason: format!(
            "is not UTF-8 at byte {} of the record: save the file in UTF-8",
            valid + 1
        ),
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

/// The fields of a record.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    /// The record, without the quotation marks that enclose fields.
    pub(crate) text: &'a str,
    /// Where each field ends.
    pub(crate) ends: &'a [usize],
    /// Bytes from the end of a field to the start of the next one.
    pub(crate) gap: usize,
    /// Whether there is a NUL among them.
    pub(crate) has_nul: bool,
}

impl<'a> Fields<'a> {
    /// The text of a field.
    pub(crate) fn get(self, position: usize) -> &'a str {
        let start = match position.checked_sub(1) {
            Some(before) => self.ends[before] + self.gap,
            None => 0,
        };
        &self.text[start..self.ends[position]]
    }

    /// The texts of all fields.
    pub(crate) fn texts(self) -> impl Iterator<Item = &'a str> {
        (0..self.ends.len()).map(move |position| self.get(position))
    }
}

impl Splitter {
    /// Cuts a whole record.
    #[inline]
    pub(crate) fn split<'a>(&'a mut self, record: &'a str, quoted: bool) -> Fields<'a> {
        if !quoted {
            let found = commas::find(record.as_bytes(), &mut self.ends);
            self.ends[found.commas] = record.len();
            return Fields {
                text: record,
                ends: &self.ends[..=found.commas],
                gap: 1,
                has_nul: found.nul,
            };
        }
        let count = self.count(record.as_bytes());
        let ends = &self.ends[..count];
        let length = ends.last().copied().unwrap_or(0);
        Fields {
            // Taking quotation marks away leaves UTF-8 as it is.
            text: std::str::from_utf8(&self.text[..length]).unwrap_or_default(),
            ends,
            gap: 0,
            has_nul: memchr::memchr(0, record.as_bytes()).is_some(),
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
