//! Rows that the program prints for a file: NDJSON, checked by the pipeline's table like those of any file.

use std::io;

use bytes::Bytes;
use futures::stream::StreamExt;
use simbdp_api::pipeline::{Compression, Format};
use simbdp_api::wire::rest::RejectedRow;
use simbdp_api::wire::work::FileWork;
use simbdp_record::FileFault;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::run::{Budget, Stop, until_gone};
use crate::content::Content;
use crate::decode::{FileDecoder, Unfinished};
use crate::file::FileIngest;
use crate::metrics::Metrics;
use crate::rejects::{RejectWriter, RejectsClosed};
use crate::shutdown::Stopping;

const CHUNK: usize = 32 << 10;

/// Why what was printed is not in the table.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The app stops.
    #[error(transparent)]
    Stopping(#[from] Stopping),
    /// The reject file takes no more.
    #[error(transparent)]
    Closed(#[from] RejectsClosed),
    /// It is not NDJSON at all, or the database refuses most of it.
    #[error("{0}")]
    Fault(String),
}

/// Rows of a program.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Printed {
    /// Written.
    pub accepted: u64,
    /// Quarantined.
    pub rejected: u64,
}

/// Passes on what the program prints, at the expense of its time only while it keeps this waiting. Then waits for its end.
pub async fn pump(
    mut output: pipe::Receiver,
    chunks: mpsc::Sender<io::Result<Bytes>>,
    mut budget: Budget,
    most: u64,
    stop: &Stop,
    gone: &CancellationToken,
) {
    let mut printed = 0;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = until_gone(gone, output.read_buf(&mut chunk));
        match budget.spend(read).await {
            Err(reason) => return stop.because(reason),
            Ok(None | Some(Ok(0) | Err(_))) => break,
            Ok(Some(Ok(read))) => printed += read as u64,
        }
        if printed > most {
            return stop.because(format!(
                "printed more than {most} bytes of rows for this file"
            ));
        }
        if chunks.send(Ok(Bytes::from(chunk))).await.is_err() {
            return stop.quietly();
        }
    }
    drop(chunks);
    if let Err(reason) = budget.spend(gone.cancelled()).await {
        stop.because(reason);
    }
}

/// Writes what comes out of [`pump`].
pub async fn write(
    files: &FileIngest,
    work: &FileWork,
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    rejects: &mut RejectWriter,
) -> Result<Printed, RowsError> {
    let printed = FileWork {
        format: Format::Ndjson,
        ..work.clone()
    };
    let bytes = futures::stream::unfold(chunks, |mut chunks| async move {
        chunks.recv().await.map(|chunk| (chunk, chunks))
    });
    // The bytes of the file itself are counted where they are fetched.
    let uncounted = Metrics::new("", "");
    let mut content = Content::new(bytes.boxed(), Compression::None, uncounted);
    let (batches, decoded) = mpsc::channel(1);
    let decoder = FileDecoder::new(&files.rows, &printed, None, files.limits.batch);
    let (read, written) = tokio::join!(
        decoder.run(&mut content, batches, rejects),
        files.write_batches(&printed, decoded),
    );
    let (accepted, refused) = written?;
    match read {
        Ok(()) => {}
        // A file of which nothing is to be kept.
        Err(Unfinished::Fault(fault)) if fault == FileFault::Empty(Format::Ndjson).to_string() => {}
        Err(Unfinished::Fault(fault) | Unfinished::Transfer(fault)) => {
            return Err(RowsError::Fault(format!("of what it printed: {fault}")));
        }
        Err(Unfinished::Closed) => return Err(RejectsClosed.into()),
    }
    let rejected = rejects.rows() + refused.count();
    if let Some(fault) = refused.fault() {
        return Err(RowsError::Fault(fault));
    }
    for (ordinal, reason) in refused.into_reasons() {
        rejects.push(&unwritten(ordinal, reason)).await?;
    }
    Ok(Printed { accepted, rejected })
}

/// What the program printed is gone by the time that the database refuses it: its place must do.
fn unwritten(ordinal: u64, reason: String) -> RejectedRow {
    RejectedRow {
        line: ordinal + 1,
        ordinal: Some(ordinal),
        column: None,
        reason: format!("{reason} (the line is that of the app's output, blank ones not counted)"),
        raw: String::new(),
        cut: false,
        header: None,
    }
}
