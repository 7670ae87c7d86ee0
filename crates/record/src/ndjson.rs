//! Decodes NDJSON: one JSON object a line, in UTF-8. Blank lines are no records, but are counted as lines.

use simbdp_api::pipeline::Format;

use crate::MAX_RECORD_BYTES;
use crate::decoder::{Decoded, Emitter, FileFault, Totals};
use crate::framing::{Bom, Line, LineFramer};
use crate::object::ObjectReader;
use crate::row::RowFault;

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
        sink: &mut impl FnMut(Decoded),
    ) -> Result<(), FileFault> {
        let (held_back, chunk) = self.bom.strip(chunk);
        for part in [held_back, chunk] {
            let mut at = 0;
            while let Some(line) = self.framer.next(part, &mut at) {
                self.records.line(&line, sink)?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self, sink: &mut impl FnMut(Decoded)) -> Result<(), FileFault> {
        let held_back = self.bom.finish();
        if !held_back.is_empty() {
            self.framer.next(held_back, &mut 0);
        }
        if let Some(line) = self.framer.finish() {
            self.records.line(&line, sink)?;
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
    fn line(&mut self, line: &Line<'_>, sink: &mut impl FnMut(Decoded)) -> Result<(), FileFault> {
        if line.number == 1
            && (line.raw.starts_with(b"\xff\xfe") || line.raw.starts_with(b"\xfe\xff"))
        {
            return Err(FileFault::Utf16);
        }
        if line.raw.trim_ascii().is_empty() && !line.too_long {
            return Ok(());
        }
        let mut values = self.emitter.values();
        let read = if line.too_long {
            let reason = format!(
                "the line has more than {MAX_RECORD_BYTES} bytes (2 MiB), the most of a record"
            );
            Err(vec![RowFault::of_row(reason)])
        } else {
            self.reader
                .read(&self.emitter.schema, line.raw, &mut values)
        };
        sink(match read {
            Ok(()) => self.emitter.row(values),
            Err(faults) => self.emitter.rejected(line.number, line.raw, faults),
        });
        Ok(())
    }
}
