//! Quarantined rows on their way to the reject file. The file is opened at the first of them.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{self, StreamExt};
use simbdp_api::wire::rest::RejectedRow;
use simbdp_api::wire::work::FileWork;
use tokio::sync::mpsc;

use crate::staging_client::{ByteStream, Staging, StagingError};

const CHUNK: usize = 16 * 1024;
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
    };
    (writer, RejectSource { chunks })
}

impl RejectWriter {
    /// Adds a row.
    pub async fn push(&mut self, row: &RejectedRow) -> Result<(), RejectsClosed> {
        self.rows += 1;
        if serde_json::to_writer((&mut self.buffer).writer(), row).is_ok() {
            self.buffer.put_u8(b'\n');
        }
        if self.buffer.len() >= CHUNK {
            self.flush().await?;
        }
        Ok(())
    }

    /// Rows added so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Passes on what is added. Without it the end of the writer would lose it.
    pub async fn flush(&mut self) -> Result<(), RejectsClosed> {
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
