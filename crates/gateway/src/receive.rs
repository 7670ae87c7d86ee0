//! Receiving a file: bytes go to a part on the staging volume while their SHA-256 is taken, and the
//! content is decompressed at the same time, only to be measured. Memory is bounded by the buffers here
//! and the window of the decompressor.

use std::io;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::BoxError;
use bytes::Bytes;
use futures::Stream;
use sha2::{Digest, Sha256};
use simbdp_api::pipeline::Compression;
use simbdp_record::LineCounter;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};

use crate::pace::{Paced, Patience, TooSlow};
use crate::staging::Staging;

/// Windows of zstd frames may have 2 to the power of this many bytes: 8 MiB (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW_LOG: u32 = 23;
const BUFFER: usize = 128 * 1024;

/// What was received.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Received {
    /// Bytes as they came in.
    pub bytes: u64,
    /// SHA-256 of the bytes as they came in.
    pub sha256: [u8; 32],
    /// Bytes of the uncompressed content.
    pub content_bytes: u64,
    /// Lines of the uncompressed content: LF, CRLF and lone CR end one, and so does the end.
    pub lines: u64,
}

/// Why a file was not received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The client went away or broke the protocol.
    #[error("the upload ended before its end: {0}")]
    Cut(BoxError),
    /// It came in too slowly.
    #[error(transparent)]
    Slow(#[from] TooSlow),
    /// The bytes or the content are larger than the limit.
    #[error("the file is larger than {limit} bytes{}", if *.uncompressed { " when it is uncompressed" } else { "" })]
    TooLarge {
        /// The limit.
        limit: u64,
        /// Whether the content is too large, rather than the bytes as they came in.
        uncompressed: bool,
    },
    /// The content cannot be decompressed.
    #[error("the content is not sound {compression}: {reason}")]
    Damaged {
        /// The compression that the name tells.
        compression: Compression,
        /// What the decompressor said.
        reason: String,
    },
    /// The staging volume failed.
    #[error("staging: {0}")]
    Staging(#[from] io::Error),
}

/// Bytes between two looks at how much room there is.
const STRIDE: u64 = 1 << 20;

/// The volume on which a file comes in.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    /// The volume.
    pub staging: &'a Staging,
    /// Free space that is not this file's.
    pub reserve: u64,
}

impl Room<'_> {
    async fn make(self) -> io::Result<()> {
        let bytes = self.reserve.saturating_add(STRIDE);
        self.staging.make_room(bytes).await
    }
}

/// What a file must keep to while it comes in.
#[derive(Clone, Copy)]
pub struct Bounds<'a> {
    /// Most bytes, as they come in and uncompressed.
    pub max_size: u64,
    /// How fast they must come in.
    pub patience: Patience,
    /// Where there must be room for them.
    pub room: Option<Room<'a>>,
}

/// Receives a file. On return its bytes are synced to `file`.
pub async fn receive<S>(
    body: S,
    file: File,
    compression: Compression,
    bounds: Bounds<'_>,
) -> Result<Received, ReceiveError>
where
    S: Stream<Item = Result<Bytes, BoxError>> + Unpin,
{
    if compression == Compression::None {
        let mut tally = Tally::default();
        let (bytes, sha256) = store(body, file, bounds, &mut Inline(&mut tally)).await?;
        return Ok(tally.received(bytes, sha256));
    }
    let (feed, content) = tokio::io::duplex(BUFFER);
    let mut feed = Feed(feed);
    let stored = async move {
        let result = store(body, file, bounds, &mut feed).await;
        drop(feed); // the measuring side sees the end
        result
    };
    let measured = measure(content, compression, bounds.max_size);
    let ((bytes, sha256), tally) = futures::try_join!(stored, measured)?;
    Ok(tally.received(bytes, sha256))
}

/// Where bytes go besides the file.
trait Tee {
    async fn take(&mut self, chunk: &[u8]) -> io::Result<()>;
}

struct Inline<'a>(&'a mut Tally);

impl Tee for Inline<'_> {
    async fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.0.add(chunk);
        Ok(())
    }
}

struct Feed<W>(W);

impl<W: AsyncWrite + Unpin> Tee for Feed<W> {
    async fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.0.write_all(chunk).await
    }
}

async fn store<S, T>(
    body: S,
    file: File,
    bounds: Bounds<'_>,
    tee: &mut T,
) -> Result<(u64, [u8; 32]), ReceiveError>
where
    S: Stream<Item = Result<Bytes, BoxError>> + Unpin,
    T: Tee,
{
    let mut file = BufWriter::with_capacity(BUFFER, file);
    let mut hash = Sha256::new();
    let (mut bytes, mut room_for) = (0_u64, 0);
    let mut body = Paced::new(body, bounds.patience);
    while let Some(chunk) = body.next().await? {
        let chunk = chunk.map_err(ReceiveError::Cut)?;
        bytes += chunk.len() as u64;
        if bytes > bounds.max_size {
            return Err(ReceiveError::TooLarge {
                limit: bounds.max_size,
                uncompressed: false,
            });
        }
        if let Some(room) = bounds.room
            && bytes > room_for
        {
            room.make().await?;
            room_for = bytes + STRIDE;
        }
        hash.update(&chunk);
        file.write_all(&chunk).await?;
        tee.take(&chunk).await?;
    }
    file.flush().await?;
    file.get_ref().sync_all().await?;
    Ok((bytes, hash.finalize().into()))
}

async fn measure<R: AsyncRead + Unpin>(
    compressed: R,
    compression: Compression,
    limit: u64,
) -> Result<Tally, ReceiveError> {
    let compressed = BufReader::with_capacity(BUFFER, compressed);
    match compression {
        Compression::Gzip => {
            let mut decoder = GzipDecoder::new(compressed);
            // Every member counts, and what follows the last one must be a member too.
            decoder.multiple_members(true);
            tally(decoder, compression, limit).await
        }
        Compression::Zstd => {
            let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
            let mut decoder = ZstdDecoder::with_params(compressed, &[window]);
            decoder.multiple_members(true);
            tally(decoder, compression, limit).await
        }
        Compression::None => tally(compressed, compression, limit).await,
    }
}

async fn tally<R: AsyncRead + Unpin>(
    mut content: R,
    compression: Compression,
    limit: u64,
) -> Result<Tally, ReceiveError> {
    let mut tally = Tally::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = content
            .read(&mut buffer)
            .await
            .map_err(|error| damaged(compression, &error))?;
        if read == 0 {
            return Ok(tally);
        }
        tally.add(&buffer[..read]);
        if tally.bytes > limit {
            return Err(ReceiveError::TooLarge {
                limit,
                uncompressed: true,
            });
        }
        // Decompression is work without waiting: let others have the thread in between.
        tokio::task::consume_budget().await;
    }
}

fn damaged(compression: Compression, error: &io::Error) -> ReceiveError {
    let text = error.to_string();
    let reason = if error.kind() == io::ErrorKind::UnexpectedEof {
        "it is truncated".to_owned()
    } else if text.contains("too much memory") {
        "its window is above 8 MiB; compress it without --long or --ultra".to_owned()
    } else {
        text
    };
    ReceiveError::Damaged {
        compression,
        reason,
    }
}

/// Counts bytes and lines.
#[derive(Default)]
struct Tally {
    bytes: u64,
    lines: LineCounter,
}

impl Tally {
    fn add(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        self.lines.push(chunk);
    }

    fn received(&self, bytes: u64, sha256: [u8; 32]) -> Received {
        Received {
            bytes,
            sha256,
            content_bytes: self.bytes,
            lines: self.lines.lines(),
        }
    }
}

#[cfg(test)]
mod tests;
