//! The constraint: bytes into rows of the table, or into reasons why they are none. Files come in chunks
//! and leave in batches bounded by rows and bytes; messages come and leave one by one.

use std::sync::Arc;

use simbdp_api::pipeline::TableSpec;
use simbdp_api::wire::rest::RejectedRow;
use simbdp_api::wire::work::FileWork;
use simbdp_record::{
    Decoded, Decoder, FileFault, LineCounter, Origin, Row, RowSchema, SchemaError, Value, message,
};
use tokio::sync::mpsc;

use crate::content::{Content, ContentError};
use crate::rejects::{RejectWriter, RejectsClosed};
use crate::source::messages::Identity;

/// Bytes that are decoded at a time: short enough not to hold up the runtime.
const CHUNK: usize = 32 * 1024;

/// Bounds of a batch of rows.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Most rows.
    pub rows: usize,
    /// Bytes of memory from which on it is full.
    pub bytes: usize,
}

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

    /// The row of a message, or everything that is wrong with it.
    pub fn message(&self, body: &[u8], identity: &Identity<'_>) -> Result<Row, String> {
        // The header has the record's own version; conversion counts from that of its source.
        let ordinal = i64::try_from(identity.ordinal).unwrap_or(i64::MAX);
        let base = identity.version.saturating_sub(ordinal);
        message::convert(&self.schema, body, identity.source, identity.ordinal, base).map_err(
            |faults| {
                let reasons: Vec<String> = faults.iter().map(ToString::to_string).collect();
                reasons.join("; ")
            },
        )
    }

    /// A decoder of one file.
    pub fn file(&self, work: &FileWork) -> Decoder {
        let origin = Origin {
            source: work.id.to_string(),
            version: work.version,
        };
        Decoder::new(work.format, self.schema.clone(), origin)
    }

    /// Memory of a row beside its text.
    fn row_bytes(&self) -> usize {
        self.schema.width() * size_of::<Option<Value>>() + size_of::<Row>()
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
    limits: BatchLimits,
    row_bytes: usize,
    lines: LineCounter,
    decoded: Vec<Decoded>,
    rows: Vec<Row>,
    bytes: usize,
}

impl FileDecoder {
    /// A decoder of `work`.
    pub fn new(rows: &RowDecoder, work: &FileWork, limits: BatchLimits) -> Self {
        Self {
            decoder: rows.file(work),
            limits,
            row_bytes: rows.row_bytes(),
            lines: LineCounter::new(),
            decoded: Vec::new(),
            rows: Vec::new(),
            bytes: 0,
        }
    }

    /// Decodes `content` to its end. Waits while the batches or the rejected rows wait.
    pub async fn run(
        mut self,
        content: &mut Content,
        batches: mpsc::Sender<Vec<Row>>,
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
        batches: &mpsc::Sender<Vec<Row>>,
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
            let fault = self.push(chunk);
            self.distribute(read, batches, rejects).await?;
            match fault {
                Ok(()) if read > 0 => {}
                Ok(()) => return Ok(None),
                Err(fault) => return Ok(Some(fault.to_string())),
            }
        }
    }

    /// Decodes a chunk; an empty one is the end.
    fn push(&mut self, chunk: &[u8]) -> Result<(), FileFault> {
        self.lines.push(chunk);
        let decoded = &mut self.decoded;
        let mut sink = |record| decoded.push(record);
        if chunk.is_empty() {
            self.decoder.finish(&mut sink).map(drop)
        } else {
            self.decoder.push(chunk, &mut sink)
        }
    }

    /// Rows go into batches, rejected rows to the reject file.
    async fn distribute(
        &mut self,
        read: usize,
        batches: &mpsc::Sender<Vec<Row>>,
        rejects: &mut RejectWriter,
    ) -> Result<(), Unfinished> {
        let mut decoded = std::mem::take(&mut self.decoded);
        let text = read / decoded.len().max(1);
        for record in decoded.drain(..) {
            match record {
                Decoded::Row(row) => {
                    self.bytes += self.row_bytes + text;
                    self.rows.push(row);
                    if self.rows.len() >= self.limits.rows || self.bytes >= self.limits.bytes {
                        self.pass_on(batches).await?;
                    }
                }
                Decoded::Rejected(row) => rejects.push(&row).await?,
            }
        }
        self.decoded = decoded;
        Ok(())
    }

    async fn pass_on(&mut self, batches: &mpsc::Sender<Vec<Row>>) -> Result<(), Unfinished> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        batches.send(rows).await.map_err(|_| Unfinished::Closed)
    }
}

impl From<RejectsClosed> for Unfinished {
    fn from(_: RejectsClosed) -> Self {
        Self::Closed
    }
}

/// Finds the lines and texts of single records, by their ordinals.
pub struct Locator {
    decoder: Decoder,
    next: u64,
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
            decoder: RowDecoder::new(&table)?.file(work),
            next: 0,
        })
    }

    /// Reads the next chunk, an empty one at the end; `found` gets each record that ends in it.
    pub fn push(&mut self, chunk: &[u8], found: &mut impl FnMut(u64, RejectedRow)) {
        let next = &mut self.next;
        let mut sink = |record| {
            if let Decoded::Rejected(row) = record {
                found(*next, row);
            }
            *next += 1;
        };
        // A fault of the file ended the first pass at the same place.
        let _ = if chunk.is_empty() {
            self.decoder.finish(&mut sink).map(drop)
        } else {
            self.decoder.push(chunk, &mut sink)
        };
    }
}
