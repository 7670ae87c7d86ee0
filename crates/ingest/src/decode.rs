//! The constraint: bytes into rows of the table, or into reasons why they are none. Files come in chunks
//! and leave in batches bounded by rows and bytes; messages come and leave one by one.

use std::sync::Arc;

use simbdp_api::pipeline::TableSpec;
use simbdp_api::wire::rest::RejectedRow;
use simbdp_api::wire::work::FileWork;
use simbdp_record::{
    BatchLimits, Decoder, FileFault, LineCounter, Only, Origin, RowSchema, Rows, SchemaError,
    message,
};
use tokio::sync::mpsc;

use crate::content::{Content, ContentError};
use crate::rejects::{RejectWriter, RejectsClosed};
use crate::source::messages::Identity;

/// Bytes that are decoded at a time: short enough not to hold up the runtime.
const CHUNK: usize = 32 * 1024;

/// How records become rows of one table.
#[derive(Clone, Debug)]
pub struct RowDecoder {
    schema: Arc<RowSchema>,
}

impl RowDecoder {
    /// Validates the table's declaration.
    pub fn new(table: &TableSpec) -> Result<Self, SchemaError> {
        Ok(Self {
            schema: Arc::new(RowSchema::new(table)?),
        })
    }

    /// Adds the row of a message to `rows`, or tells everything that is wrong with it.
    pub fn message(
        &self,
        body: &[u8],
        identity: &Identity<'_>,
        rows: &mut Rows,
    ) -> Result<(), String> {
        // The header has the record's own version; conversion counts from that of its source.
        let Identity {
            source,
            ordinal,
            version,
        } = *identity;
        let base = version.saturating_sub(i64::try_from(ordinal).unwrap_or(i64::MAX));
        message::convert(&self.schema, body, source, ordinal, base, rows).map_err(|faults| {
            let reasons: Vec<String> = faults.iter().map(ToString::to_string).collect();
            reasons.join("; ")
        })
    }

    /// A decoder of one file, or of some records of it.
    pub fn file(&self, work: &FileWork, only: Option<Only>) -> Decoder {
        let origin = Origin {
            source: work.source().to_string(),
            version: work.version,
            first: 0,
        };
        let schema = self.schema.clone();
        match work.mended_rows {
            true => Decoder::mended(work.format, schema, origin),
            false => Decoder::filtered(work.format, schema, origin, only),
        }
    }
}

/// Why decoding ended before the file did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unfinished {
    /// The file itself is at fault. Rows before the fault are passed on.
    Fault(String),
    /// The transfer broke.
    Transfer(String),
    /// Nobody takes rows or rejected rows any more.
    Closed,
}

/// Decodes one file into batches.
pub struct FileDecoder {
    decoder: Decoder,
    lines: LineCounter,
    rows: Rows,
    rejected: Vec<RejectedRow>,
}

impl FileDecoder {
    /// A decoder of `work`, or of some records of it.
    pub fn new(
        rows: &RowDecoder,
        work: &FileWork,
        only: Option<Only>,
        limits: BatchLimits,
    ) -> Self {
        Self {
            decoder: rows.file(work, only),
            lines: LineCounter::new(),
            rows: Rows::bounded(limits),
            rejected: Vec::new(),
        }
    }

    /// Decodes `content` to its end. Waits while the batches or the rejected rows wait.
    pub async fn run(
        mut self,
        content: &mut Content,
        batches: mpsc::Sender<Rows>,
        rejects: &mut RejectWriter,
    ) -> Result<(), Unfinished> {
        let fault = self.decode(content, &batches, rejects).await?;
        self.pass_on(&batches).await?;
        match fault {
            None => Ok(()),
            Some(fault) => Err(Unfinished::Fault(fault)),
        }
    }

    async fn decode(
        &mut self,
        content: &mut Content,
        batches: &mpsc::Sender<Rows>,
        rejects: &mut RejectWriter,
    ) -> Result<Option<String>, Unfinished> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = match content.read(&mut buffer).await {
                Ok(read) => read,
                Err(ContentError::Transfer(reason)) => return Err(Unfinished::Transfer(reason)),
                Err(ContentError::Corrupt(reason)) => {
                    return Ok(Some(format!("after line {}: {reason}", self.lines.lines())));
                }
            };
            let chunk = &buffer[..read];
            self.lines.push(chunk);
            match self.chunk(chunk, batches, rejects).await? {
                None if read > 0 => {}
                fault => return Ok(fault.map(|fault| fault.to_string())),
            }
        }
    }

    /// Decodes a chunk, an empty one at the end. Full batches are passed on, rejected rows go to the reject file.
    async fn chunk(
        &mut self,
        mut chunk: &[u8],
        batches: &mpsc::Sender<Rows>,
        rejects: &mut RejectWriter,
    ) -> Result<Option<FileFault>, Unfinished> {
        loop {
            let taken = self.push(chunk);
            if let Some(header) = self.decoder.header() {
                rejects.under(header);
            }
            for row in self.rejected.drain(..) {
                rejects.push(&row).await?;
            }
            if self.rows.is_full() {
                self.pass_on(batches).await?;
            }
            match taken {
                Ok(taken) => chunk = &chunk[taken..],
                Err(fault) => return Ok(Some(fault)),
            }
            if chunk.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Decodes from a chunk until the batch is full; an empty one is the end.
    fn push(&mut self, chunk: &[u8]) -> Result<usize, FileFault> {
        let mut reject = |_, row| self.rejected.push(row);
        if chunk.is_empty() {
            self.decoder.finish(&mut self.rows, &mut reject).map(|_| 0)
        } else {
            self.decoder.push(chunk, &mut self.rows, &mut reject)
        }
    }

    async fn pass_on(&mut self, batches: &mpsc::Sender<Rows>) -> Result<(), Unfinished> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let another = self.rows.another();
        let rows = std::mem::replace(&mut self.rows, another);
        batches.send(rows).await.map_err(|_| Unfinished::Closed)
    }
}

impl From<RejectsClosed> for Unfinished {
    fn from(_: RejectsClosed) -> Self {
        Self::Closed
    }
}

/// Finds the lines and texts of single records, by their places in the content.
pub struct Locator {
    decoder: Decoder,
    rows: Rows,
}

impl Locator {
    /// Reads `work` with a declaration that no record conforms to: each then comes with its line and text.
    pub fn new(table: &TableSpec, work: &FileWork) -> Result<Self, SchemaError> {
        use simbdp_api::column_type::{ColumnType, ScalarType};
        let mut table = table.clone();
        table.primary_key = None;
        for column in &mut table.columns {
            column.column_type = ColumnType::Scalar(ScalarType::Date);
            column.time_format = Some("no date %Y-%m-%d is written like this".to_owned());
            column.null_values = Vec::new();
            column.required = true;
        }
        Ok(Self {
            decoder: RowDecoder::new(&table)?.file(work, None),
            rows: Rows::default(),
        })
    }

    /// The header line of a CSV file, once it was read.
    pub fn header(&self) -> Option<&str> {
        self.decoder.header()
    }

    /// Reads the next chunk, an empty one at the end; `found` gets each record that ends in it.
    pub fn push(&mut self, chunk: &[u8], found: &mut impl FnMut(u64, RejectedRow)) {
        // A fault of the file ended the first pass at the same place.
        let _ = if chunk.is_empty() {
            self.decoder.finish(&mut self.rows, found).map(drop)
        } else {
            self.decoder.push(chunk, &mut self.rows, found).map(drop)
        };
        self.rows.clear();
    }
}
