//! Decodes NDJSON: one JSON object a line, in UTF-8. Blank lines are no records, but are counted as lines.

use simbdp_api::pipeline::Format;
use simbdp_api::wire::rest::RejectedRow;

use crate::MAX_RECORD_BYTES;
use crate::decoder::{Emitter, FileFault, Totals};
use crate::framing::{Bom, Line, LineFramer};
use crate::object::ObjectReader;
use crate::row::RowFault;
use crate::rows::Rows;

#[derive(Debug)]
pub(crate) struct NdjsonDecoder {
    bom: Bom,
    framer: LineFramer,
    records: Records,
}

impl NdjsonDecoder {
    pub(crate) fn new(emitter: Emitter) -> Self {
        Self {
            bom: Bom::default(),
            framer: LineFramer::new(),
            records: Records {
                emitter,
                reader: ObjectReader::default(),
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
            && let Some(line) = self.framer.next(rest, &mut at)
        {
            self.records.line(&line, rows, rejects)?;
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
        if let Some(line) = self.framer.finish() {
            self.records.line(&line, rows, rejects)?;
        }
        if self.records.emitter.totals.records == 0 {
            return Err(FileFault::Empty(Format::Ndjson));
        }
        Ok(())
    }

    pub(crate) fn totals(&self) -> Totals {
        self.records.emitter.totals
    }
}

#[derive(Debug)]
struct Records {
    emitter: Emitter,
    reader: ObjectReader,
}

impl Records {
    fn line(
        &mut self,
        line: &Line<'_>,
        rows: &mut Rows,
        rejects: &mut impl FnMut(u64, RejectedRow),
    ) -> Result<(), FileFault> {
        if line.number == 1
            && (line.raw.starts_with(b"\xff\xfe") || line.raw.starts_with(b"\xfe\xff"))
        {
            return Err(FileFault::Utf16);
        }
        if line.raw.trim_ascii().is_empty() && !line.too_long {
            return Ok(());
        }
        let read = if line.too_long {
            let reason = format!(
                "the line has more than {MAX_RECORD_BYTES} bytes (2 MiB), the most of a record"
            );
            Err(vec![RowFault::of_row(reason)])
        } else {
            let mut row = self.emitter.open(rows);
            self.reader.read(&self.emitter.schema, line.raw, &mut row)
        };
        match read {
            Ok(()) => self.emitter.accept(rows),
            Err(faults) => self
                .emitter
                .reject(rows, line.number, line.raw, faults, rejects),
        }
        Ok(())
    }
}
