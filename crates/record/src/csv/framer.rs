//! Finds where the records of a CSV stream begin and end, and on which line; the fields are cut later.
//!
//! A quotation mark opens a quoted field only where a field begins, as in RFC 4180 and the `csv` crate;
//! elsewhere it is a character like any other. LF, CRLF and CR end a record; empty lines are no records.

use memchr::memchr3;

use crate::framing::Carry;

/// A record, not yet cut into fields.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// Its bytes without the line's end; the first of them only where it is too long.
    pub(crate) raw: &'a [u8],
    /// The line that it starts on, from 1.
    pub(crate) line: u64,
    /// The line of its last opening quotation mark.
    pub(crate) quoted_on: Option<u64>,
    /// The line on which text follows a closing quotation mark.
    pub(crate) stray_on: Option<u64>,
    /// Whether it has more than [`crate::MAX_RECORD_BYTES`].
    pub(crate) too_long: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Plain,
    Quoted,
    /// In a quoted field after a quotation mark: its end, or the first of two that mean one.
    QuoteInQuoted,
}

#[derive(Debug)]
pub(crate) struct Framer {
    carry: Carry,
    state: State,
    /// Last byte of the chunk before.
    last: u8,
    /// A CR ended a record at the end of the chunk before: an LF that follows belongs to it.
    skip_lf: bool,
    line: u64,
    record_line: u64,
    quoted_on: Option<u64>,
    stray_on: Option<u64>,
}

impl Framer {
    pub(crate) fn new() -> Self {
        Self {
            carry: Carry::default(),
            state: State::Plain,
            last: 0,
            skip_lf: false,
            line: 1,
            record_line: 1,
            quoted_on: None,
            stray_on: None,
        }
    }

    /// The next record that ends in `chunk`, from `at` on; keeps what is left when there is none.
    #[inline]
    pub(crate) fn next<'a>(&'a mut self, chunk: &'a [u8], at: &mut usize) -> Option<Record<'a>> {
        self.carry.reclaim();
        loop {
            if self.skip_lf && *at < chunk.len() {
                self.skip_lf = false;
                if chunk[*at] == b'\n' {
                    *at += 1;
                }
            }
            let start = *at;
            let Some(end) = self.end_of_record(chunk, start) else {
                self.carry.keep(&chunk[start..]);
                self.last = chunk.last().copied().unwrap_or(self.last);
                *at = chunk.len();
                return None;
            };
            *at = end + 1;
            self.skip_lf = chunk[end] == b'\r';
            self.line += 1;
            if end > start || !self.carry.is_empty() {
                return Some(self.record(&chunk[start..end]));
            }
            self.record_line = self.line;
        }
    }

    /// Where the record that goes on at `start` ends.
    fn end_of_record(&mut self, chunk: &[u8], start: usize) -> Option<usize> {
        let mut at = start;
        loop {
            if self.state == State::QuoteInQuoted {
                match *chunk.get(at)? {
                    b'"' => {
                        self.state = State::Quoted;
                        at += 1;
                    }
                    b',' | b'\r' | b'\n' => self.state = State::Plain,
                    _ => {
                        self.stray_on.get_or_insert(self.line);
                        self.state = State::Plain;
                    }
                }
            }
            let found = at + memchr3(b'"', b'\n', b'\r', &chunk[at..])?;
            let quote = chunk[found] == b'"';
            match self.state {
                State::Plain if !quote => return Some(found),
                State::Plain => {
                    if self.field_starts(chunk, start, found) {
                        self.state = State::Quoted;
                        self.quoted_on = Some(self.line);
                    }
                }
                State::Quoted | State::QuoteInQuoted if quote => self.state = State::QuoteInQuoted,
                State::Quoted | State::QuoteInQuoted => {
                    let crlf = chunk[found] == b'\n' && self.before(chunk, found) == b'\r';
                    self.line += u64::from(!crlf);
                }
            }
            at = found + 1;
        }
    }

    fn before(&self, chunk: &[u8], at: usize) -> u8 {
        if at == 0 { self.last } else { chunk[at - 1] }
    }

    fn field_starts(&self, chunk: &[u8], start: usize, at: usize) -> bool {
        (at == start && self.carry.is_empty()) || self.before(chunk, at) == b','
    }

    fn record<'a>(&'a mut self, end: &'a [u8]) -> Record<'a> {
        let line = std::mem::replace(&mut self.record_line, self.line);
        let quoted_on = self.quoted_on.take();
        let stray_on = self.stray_on.take();
        let (raw, too_long) = self.carry.complete(end);
        Record {
            raw,
            line,
            quoted_on,
            stray_on,
            too_long,
        }
    }

    /// The last record, where no line's end follows it.
    ///
    /// # Errors
    /// The record is within a quoted field, whose quotation mark is on the record's `quoted_on`.
    pub(crate) fn finish(&mut self) -> Result<Option<Record<'_>>, Record<'_>> {
        self.carry.reclaim();
        if self.carry.is_empty() {
            return Ok(None);
        }
        let open = self.state == State::Quoted;
        let record = self.record(&[]);
        if open { Err(record) } else { Ok(Some(record)) }
    }
}
