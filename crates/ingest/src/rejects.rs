//! Quarantined rows on their way to the reject file. The file is opened at the first of them, and holds
//! so many bytes at most: its last line then says how many more rows there are.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{self, StreamExt};
use simbdp_api::wire::rest::RejectedRow;
use simbdp_api::wire::work::FileWork;
use tokio::sync::mpsc;

use crate::staging_client::{ByteStream, Staging, StagingError};

const CHUNK: usize = 16 * 1024;
/// Bytes after which a reject file takes no more rows.
const MAX_BYTES: u64 = 16 << 20;
/// Chunks that wait for the reject file.
const QUEUED: usize = 2;

/// The reject file takes no more; its own end says why.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the reject file takes no more rows")]
pub struct RejectsClosed;

/// Writes quarantined rows.
pub struct RejectWriter {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
    rows: u64,
    bytes: u64,
    left_out: Option<LeftOut>,
    header: Option<String>,
}

/// Rows that are counted only.
struct LeftOut {
    first_line: u64,
    /// The lowest of their ordinals.
    first: Option<u64>,
    rows: u64,
}

impl LeftOut {
    /// The last line of the reject file.
    fn row(&self) -> RejectedRow {
        RejectedRow {
            line: self.first_line,
            ordinal: self.first,
            column: None,
            reason: format!(
                "{} more rows are rejected, this line's the first of them: a reject file has {} MiB of rows at most; correct what the rows above say and upload the file again",
                self.rows,
                MAX_BYTES >> 20
            ),
            raw: String::new(),
            cut: true,
            header: None,
        }
    }
}

/// What comes out of the writer of one file.
pub struct RejectSource {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
}

/// A writer, and what comes out of it.
pub fn rejects() -> (RejectWriter, RejectSource) {
    let (sender, chunks) = mpsc::channel(QUEUED);
    let writer = RejectWriter {
        chunks: sender,
        buffer: BytesMut::new(),
        rows: 0,
        bytes: 0,
        left_out: None,
        header: None,
    };
    (writer, RejectSource { chunks })
}

impl RejectWriter {
    /// The rows are of a CSV file with this header line, which is told with the first of them.
    pub fn under(&mut self, header: &str) {
        if self.rows == 0 && self.header.is_none() {
            self.header = Some(header.to_owned());
        }
    }

    /// Adds a row, or only counts it when the file is full.
    pub async fn push(&mut self, row: &RejectedRow) -> Result<(), RejectsClosed> {
        self.rows += 1;
        if self.bytes >= MAX_BYTES {
            let left_out = self.left_out.get_or_insert(LeftOut {
                first_line: row.line,
                first: row.ordinal,
                rows: 0,
            });
            left_out.first = left_out.first.min(row.ordinal);
            left_out.rows += 1;
            return Ok(());
        }
        match self.header.take() {
            None => self.write(row),
            header => self.write(&RejectedRow {
                header,
                ..row.clone()
            }),
        }
        if self.buffer.len() >= CHUNK {
            self.send().await?;
        }
        Ok(())
    }

    fn write(&mut self, row: &RejectedRow) {
        let before = self.buffer.len();
        if serde_json::to_writer((&mut self.buffer).writer(), row).is_ok() {
            self.buffer.put_u8(b'\n');
        }
        self.bytes += (self.buffer.len() - before) as u64;
    }

    /// Rows added so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Passes on what is added, at the end. Without it the end of the writer would lose it.
    pub async fn flush(&mut self) -> Result<(), RejectsClosed> {
        if let Some(left_out) = self.left_out.take() {
            self.write(&left_out.row());
        }
        self.send().await
    }

    async fn send(&mut self) -> Result<(), RejectsClosed> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        self.chunks.send(Ok(chunk)).await.map_err(|_| RejectsClosed)
    }

    /// Spoils the reject file: the file's rows come again from the start.
    pub async fn abort(self) {
        let error = io::Error::other("ingest of the file was interrupted");
        // Nobody is left to be told when the reject file has failed before.
        let _ = self.chunks.send(Err(error)).await;
    }
}

impl RejectSource {
    /// Puts the rows, if there is one. Returns when they are durable.
    pub async fn put(mut self, staging: &dyn Staging, work: &FileWork) -> Result<(), StagingError> {
        match self.chunks.recv().await {
            None => Ok(()),
            Some(Err(error)) => Err(StagingError::Transient(error.to_string())),
            Some(first) => staging.put_rejects(work, self.stream(first)).await,
        }
    }

    fn stream(mut self, first: io::Result<Bytes>) -> ByteStream {
        let rest = stream::poll_fn(move |context| self.chunks.poll_recv(context));
        stream::iter([first]).chain(rest).boxed()
    }
}
