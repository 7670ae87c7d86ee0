//! Decodes a file: chunks of its uncompressed bytes go in, batches of rows and rejected rows come out.
//!
//! The input may be cut anywhere: the result is the same. At most one record is held, of at most
//! [`crate::MAX_RECORD_BYTES`]; the batch is bounded by its own limits.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use simbdp_api::pipeline::Format;
use simbdp_api::wire::rest::RejectedRow;

use crate::RAW_LIMIT;
use crate::csv::CsvDecoder;
use crate::mended::MendedRows;
use crate::ndjson::NdjsonDecoder;
use crate::row::{RowFault, set_identity, version};
use crate::rows::{OpenRow, Rows};
use crate::schema::RowSchema;

/// Where records come from: what identity and version are made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// Source id: the file's upload id.
    pub source: String,
    /// Version of the first record, microseconds since 1970; record n after it has this plus n.
    pub version: i64,
    /// Ordinal of the first record.
    pub first: u64,
}

/// Records that alone become rows, by their ordinals; the others are read and left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Only {
    /// These.
    pub ordinals: HashSet<u64>,
    /// And all from this one on.
    pub from: Option<u64>,
}

impl Only {
    fn has(&self, ordinal: u64) -> bool {
        self.from.is_some_and(|from| ordinal >= from) || self.ordinals.contains(&ordinal)
    }
}

/// What was decoded so far. Records are counted before filtering.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Records, which is also the next one's ordinal.
    pub records: u64,
    /// Of them, those that became rows.
    pub accepted: u64,
    /// Of them, those that were rejected.
    pub rejected: u64,
}

/// Why a file cannot be decoded, or not further. The rows before it are in the batch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FileFault {
    /// Nothing is in it.
    Empty(Format),
    /// The header is not UTF-8, at this byte (from 1).
    HeaderNotUtf8(usize),
    /// The file is in UTF-16.
    Utf16,
    /// The header has a NUL byte: it is not text.
    HeaderNul,
    /// The header does not end within the largest record.
    HeaderTooLong,
    /// Text follows a closing quotation mark in the header.
    HeaderQuote,
    /// A name is in the header twice.
    RepeatedField(String),
    /// The header's names are not the table's fields.
    Fields {
        /// Fields that the header lacks.
        missing: Vec<String>,
        /// Names in the header that are no fields.
        extra: Vec<String>,
        /// The separator that the file seems to use instead of the comma.
        separator: Option<char>,
    },
    /// Mended rows of a CSV file without its header line.
    NoHeader,
    /// A quoted field does not end before the file does.
    UnbalancedQuote {
        /// Line of the opening quotation mark.
        line: u64,
        /// Field that it opens, where that can be told.
        column: Option<String>,
    },
}

impl std::error::Error for FileFault {}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty(Format::Csv) => f.write_str("the file is empty: a CSV file begins with a header line that names the fields"),
            Self::Empty(Format::Ndjson) => f.write_str("the file is empty: an NDJSON file has one JSON object a line"),
            Self::HeaderNotUtf8(at) => write!(f, "the header is not UTF-8 at byte {at}: save the file in UTF-8"),
            Self::Utf16 => f.write_str("the file is in UTF-16: save it in UTF-8"),
            Self::HeaderNul => f.write_str("the header has a NUL byte: this is no CSV text; save the file as CSV in UTF-8"),
            Self::HeaderTooLong => f.write_str("the header does not end within 2 MiB: the first line must name the fields, and its quotation marks must come in pairs"),
            Self::HeaderQuote => f.write_str("the header has text after a closing quotation mark: put a comma between fields, and write a quotation mark within a field twice"),
            Self::RepeatedField(name) => write!(f, "the header names the field `{name}` twice: each field has one column"),
            Self::Fields { missing, extra, separator } => fields_fault(f, missing, extra, *separator),
            Self::NoHeader => f.write_str("the mended rows lack `header`, the header line of their CSV file: leave it on the first of them, as the reject file has it"),
            Self::UnbalancedQuote { line, column } => {
                write!(f, "a quotation mark opened on line {line}")?;
                if let Some(column) = column {
                    write!(f, " in field `{column}`")?;
                }
                f.write_str(" is never closed: close it, and write a quotation mark within a quoted field twice")
            }
        }
    }
}

fn fields_fault(
    f: &mut fmt::Formatter<'_>,
    missing: &[String],
    extra: &[String],
    separator: Option<char>,
) -> fmt::Result {
    let quoted = |names: &[String]| {
        const MOST: usize = 8;
        let shown: Vec<String> = names
            .iter()
            .take(MOST)
            .map(|name| format!("`{name}`"))
            .collect();
        let more = names.len().saturating_sub(MOST);
        if more == 0 {
            shown.join(", ")
        } else {
            format!("{} and {more} more", shown.join(", "))
        }
    };
    if let Some(separator) = separator {
        return write!(
            f,
            "the header seems to be separated by {separator:?}: separate fields by commas"
        );
    }
    f.write_str("the header ")?;
    if !missing.is_empty() {
        write!(
            f,
            "lacks the field{} {}",
            if missing.len() == 1 { "" } else { "s" },
            quoted(missing)
        )?;
    }
    if !extra.is_empty() {
        let and = if missing.is_empty() {
            "has"
        } else {
            " and has"
        };
        write!(f, "{and} {}, which the table does not have", quoted(extra))?;
    }
    f.write_str(": it must name each field of the table once, in any order, spelt exactly so")
}

/// Decodes a file of any format.
#[derive(Debug)]
pub struct Decoder {
    inner: Inner,
    failed: Option<FileFault>,
}

#[derive(Debug)]
enum Inner {
    Csv(Box<CsvDecoder>),
    Ndjson(Box<NdjsonDecoder>),
    Mended(Box<MendedRows>),
}

impl Decoder {
    /// A decoder of one file.
    pub fn new(format: Format, schema: Arc<RowSchema>, origin: Origin) -> Self {
        Self::filtered(format, schema, origin, None)
    }

    /// A decoder of some records of a file.
    pub fn filtered(
        format: Format,
        schema: Arc<RowSchema>,
        origin: Origin,
        only: Option<Only>,
    ) -> Self {
        let emitter = Emitter::new(schema, origin, only);
        let inner = match format {
            Format::Csv => Inner::Csv(Box::new(CsvDecoder::new(emitter))),
            Format::Ndjson => Inner::Ndjson(Box::new(NdjsonDecoder::new(emitter))),
        };
        Self {
            inner,
            failed: None,
        }
    }

    /// A decoder of mended rows, as NDJSON of [`RejectedRow`]: each is a record in the file's format, with its ordinal. The
    /// number that `rejects` gets with a row is then its place among these, which its version counts from.
    pub fn mended(format: Format, schema: Arc<RowSchema>, origin: Origin) -> Self {
        Self {
            inner: Inner::Mended(Box::new(MendedRows::new(format, schema, origin))),
            failed: None,
        }
    }

    /// The header line of a CSV file, once it was read.
    pub fn header(&self) -> Option<&str> {
        match &self.inner {
            Inner::Csv(csv) => csv.header(),
            Inner::Ndjson(_) => None,
            Inner::Mended(mended) => mended.header(),
        }
    }

    /// Decodes from the next chunk of the uncompressed file until it ends or `rows` is full; returns how many
    /// bytes that took, the others are to come again. `rejects` gets each record that does not conform, with
    /// its ordinal.
    ///
    /// # Errors
    /// What makes the rest of the file undecodable; every later call returns the same.
    pub fn push(
        &mut self,
        chunk: &[u8],
        rows: &mut Rows,
        rejects: &mut impl FnMut(u64, RejectedRow),
    ) -> Result<usize, FileFault> {
        self.guard(|inner| match inner {
            Inner::Csv(csv) => csv.push(chunk, rows, rejects),
            Inner::Ndjson(ndjson) => ndjson.push(chunk, rows, rejects),
            Inner::Mended(mended) => mended.push(chunk, rows, rejects),
        })
    }

    /// Ends the file: the last record comes now where no newline follows it.
    ///
    /// # Errors
    /// What is wrong with the file as a whole.
    pub fn finish(
        &mut self,
        rows: &mut Rows,
        rejects: &mut impl FnMut(u64, RejectedRow),
    ) -> Result<Totals, FileFault> {
        self.guard(|inner| match inner {
            Inner::Csv(csv) => csv.finish(rows, rejects),
            Inner::Ndjson(ndjson) => ndjson.finish(rows, rejects),
            Inner::Mended(mended) => mended.finish(rows, rejects),
        })
        .map(|()| self.totals())
    }

    /// What was decoded so far.
    pub fn totals(&self) -> Totals {
        match &self.inner {
            Inner::Csv(csv) => csv.totals(),
            Inner::Ndjson(ndjson) => ndjson.totals(),
            Inner::Mended(mended) => mended.totals(),
        }
    }

    fn guard<T>(
        &mut self,
        step: impl FnOnce(&mut Inner) -> Result<T, FileFault>,
    ) -> Result<T, FileFault> {
        if let Some(fault) = &self.failed {
            return Err(fault.clone());
        }
        let result = step(&mut self.inner);
        self.failed = result.as_ref().err().cloned();
        result
    }
}

/// Numbers records and hands them out.
#[derive(Debug)]
pub(crate) struct Emitter {
    pub(crate) schema: Arc<RowSchema>,
    origin: Origin,
    only: Option<Only>,
    pub(crate) totals: Totals,
}

impl Emitter {
    pub(crate) fn new(schema: Arc<RowSchema>, origin: Origin, only: Option<Only>) -> Self {
        Self {
            schema,
            origin,
            only,
            totals: Totals::default(),
        }
    }

    /// Opens a row for the next record; its identity, where the table has no key, is set and not in the way.
    #[inline]
    pub(crate) fn open<'a>(&self, rows: &'a mut Rows) -> OpenRow<'a> {
        let mut row = rows.open(self.schema.width());
        if self.schema.has_identity() {
            set_identity(&mut row, &self.origin.source, self.ordinal());
        }
        row
    }

    #[inline]
    fn ordinal(&self) -> u64 {
        self.origin.first + self.totals.records
    }

    #[inline]
    fn is_left_out(&self) -> bool {
        let only = self.only.as_ref();
        only.is_some_and(|only| !only.has(self.ordinal()))
    }

    /// The open row is the next record.
    #[inline]
    pub(crate) fn accept(&mut self, rows: &mut Rows) {
        if self.is_left_out() {
            rows.discard();
            self.totals.records += 1;
            return;
        }
        rows.close(version(self.origin.version, self.totals.records));
        self.totals.records += 1;
        self.totals.accepted += 1;
    }

    /// The next record does not conform; an open row is forgotten.
    pub(crate) fn reject(
        &mut self,
        rows: &mut Rows,
        line: u64,
        raw: &[u8],
        faults: Vec<RowFault>,
        rejects: &mut impl FnMut(u64, RejectedRow),
    ) {
        rows.discard();
        let (left_out, ordinal) = (self.is_left_out(), self.ordinal());
        self.totals.records += 1;
        if left_out {
            return;
        }
        self.totals.rejected += 1;
        let mut faults = faults.into_iter();
        let (column, mut reason) = faults
            .next()
            .map_or((None, String::new()), |first| (first.column, first.reason));
        for fault in faults {
            reason.push_str("; ");
            reason.push_str(&fault.to_string());
        }
        let rejected = RejectedRow {
            line,
            ordinal: Some(ordinal),
            column,
            reason,
            raw: kept(raw),
            cut: raw.len() > RAW_LIMIT,
            header: None,
        };
        rejects(ordinal, rejected);
    }
}

/// At most 4 KiB of a record, not cut within a character.
fn kept(raw: &[u8]) -> String {
    let mut end = raw.len().min(RAW_LIMIT);
    if end < raw.len() {
        while end > 0 && raw[end] & 0xc0 == 0x80 {
            end -= 1;
        }
    }
    String::from_utf8_lossy(&raw[..end]).into_owned()
}
