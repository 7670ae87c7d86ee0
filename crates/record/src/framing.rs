//! Cuts a stream of bytes into lines, and takes off a byte order mark; memory is bounded whatever the input.

use crate::{MAX_RECORD_BYTES, RAW_LIMIT};

/// What is kept of a record that is too long: its fault shows [`RAW_LIMIT`], cut between characters.
const HELD: usize = RAW_LIMIT + 4;

const BOM: &[u8; 3] = b"\xef\xbb\xbf";

/// Takes the UTF-8 byte order mark off the start of a stream, wherever the stream is cut.
#[derive(Debug, Default)]
pub(crate) struct Bom {
    matched: usize,
    decided: bool,
}

impl Bom {
    /// The bytes held back so far that were no mark after all, and what follows of this chunk.
    pub(crate) fn strip<'a>(&mut self, mut chunk: &'a [u8]) -> (&'static [u8], &'a [u8]) {
        while !self.decided {
            match chunk.first() {
                Some(byte) if *byte == BOM[self.matched] => {
                    chunk = &chunk[1..];
                    self.matched += 1;
                    self.decided = self.matched == BOM.len();
                }
                Some(_) => {
                    self.decided = true;
                    return (&BOM[..self.matched], chunk);
                }
                None => return (&[], chunk),
            }
        }
        (&[], chunk)
    }

    /// The bytes that are held back when the stream ends.
    pub(crate) fn finish(&self) -> &'static [u8] {
        if self.decided {
            &[]
        } else {
            &BOM[..self.matched]
        }
    }
}

/// The start of a record whose end has not come yet; of one that is too long the start is kept for its fault.
#[derive(Debug, Default)]
pub(crate) struct Carry {
    bytes: Vec<u8>,
    overflow: bool,
    /// The record in `bytes` was handed out.
    spent: bool,
}

impl Carry {
    /// Whether nothing of the current record came before this chunk.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.overflow
    }

    /// Forgets a record that was handed out. Call before anything else.
    pub(crate) fn reclaim(&mut self) {
        if self.spent {
            self.bytes.clear();
            self.overflow = false;
            self.spent = false;
        }
    }

    /// Keeps a part of a record that goes on in the next chunk.
    pub(crate) fn keep(&mut self, part: &[u8]) {
        if self.overflow {
            return;
        }
        let room = MAX_RECORD_BYTES - self.bytes.len();
        self.overflow = part.len() > room;
        self.bytes.extend_from_slice(&part[..part.len().min(room)]);
        if self.overflow {
            self.bytes.truncate(HELD);
        }
    }

    /// The whole record, of which `part` is the end, and whether it is too long (then its start only).
    pub(crate) fn complete<'a>(&'a mut self, part: &'a [u8]) -> (&'a [u8], bool) {
        if self.is_empty() {
            if part.len() > MAX_RECORD_BYTES {
                return (&part[..HELD], true);
            }
            return (part, false);
        }
        self.keep(part);
        self.spent = true;
        (&self.bytes, self.overflow)
    }
}

/// A line of a stream.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// Its bytes without the newline; the first of them only where it is too long.
    pub(crate) raw: &'a [u8],
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Whether it has more than [`MAX_RECORD_BYTES`].
    pub(crate) too_long: bool,
}

/// Cuts a stream at newlines.
#[derive(Debug)]
pub(crate) struct LineFramer {
    carry: Carry,
    number: u64,
}

impl LineFramer {
    pub(crate) fn new() -> Self {
        Self {
            carry: Carry::default(),
            number: 1,
        }
    }

    /// The next line that ends in `chunk`, from `at` on; keeps what is left when there is none.
    pub(crate) fn next<'a>(&'a mut self, chunk: &'a [u8], at: &mut usize) -> Option<Line<'a>> {
        self.carry.reclaim();
        let rest = &chunk[*at..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            self.carry.keep(rest);
            *at = chunk.len();
            return None;
        };
        *at += end + 1;
        self.number += 1;
        let (raw, too_long) = self.carry.complete(&rest[..end]);
        Some(Line {
            raw,
            number: self.number - 1,
            too_long,
        })
    }

    /// The last line, where it has no newline.
    pub(crate) fn finish(&mut self) -> Option<Line<'_>> {
        self.carry.reclaim();
        if self.carry.is_empty() {
            return None;
        }
        let (raw, too_long) = self.carry.complete(&[]);
        Some(Line {
            raw,
            number: self.number,
            too_long,
        })
    }
}
