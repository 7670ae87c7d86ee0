//! The content of a staged file: checked by its SHA-256 while it streams, decompressed in bounded memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::Bytes;
use futures::stream::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use simbdp_api::pipeline::Compression;
use tokio::io::AsyncReadExt;
use tokio_util::io::StreamReader;

use crate::metrics::Metrics;
use crate::staging_client::ByteStream;

/// Largest window of zstd, as a power of two: 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Why no more content comes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ContentError {
    /// The transfer broke: the same file may come whole next time.
    #[error("{0}")]
    Transfer(String),
    /// The bytes themselves are no such archive.
    #[error("{0}")]
    Corrupt(String),
}

/// What was transferred.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transferred {
    /// SHA-256 of the bytes as staged, lower-case hexadecimal.
    pub sha256: String,
    /// How many bytes.
    pub bytes: u64,
}

/// Decompressed content of one file.
pub struct Content {
    reader: Reader,
    compression: Compression,
}

type Raw = StreamReader<Hashed, Bytes>;

enum Reader {
    Plain(Box<Raw>),
    Gzip(Box<GzipDecoder<Raw>>),
    Zstd(Box<ZstdDecoder<Raw>>),
}

impl Content {
    /// Reads `bytes`, compressed by `compression`.
    pub fn new(bytes: ByteStream, compression: Compression, metrics: Metrics) -> Self {
        let raw = StreamReader::new(Hashed::new(bytes, metrics));
        let reader = match compression {
            Compression::None => Reader::Plain(Box::new(raw)),
            Compression::Gzip => {
                let mut decoder = GzipDecoder::new(raw);
                decoder.multiple_members(true);
                Reader::Gzip(Box::new(decoder))
            }
            Compression::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
                let mut decoder = ZstdDecoder::with_params(raw, &[window]);
                decoder.multiple_members(true);
                Reader::Zstd(Box::new(decoder))
            }
        };
        Self {
            reader,
            compression,
        }
    }

    /// Reads more of the decompressed content; 0 at its end.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ContentError> {
        let read = match &mut self.reader {
            Reader::Plain(raw) => raw.read(buffer).await,
            Reader::Gzip(decoder) => decoder.read(buffer).await,
            Reader::Zstd(decoder) => decoder.read(buffer).await,
        };
        read.map_err(|error| match self.raw().get_ref().broken.clone() {
            Some(reason) => ContentError::Transfer(reason),
            None => ContentError::Corrupt(self.describe(&error)),
        })
    }

    /// Reads what is left without looking at it, and tells what came as a whole.
    pub async fn finish(self) -> Result<Transferred, ContentError> {
        let raw = match self.reader {
            Reader::Plain(raw) => *raw,
            Reader::Gzip(decoder) => decoder.into_inner(),
            Reader::Zstd(decoder) => decoder.into_inner(),
        };
        let mut hashed = raw.into_inner();
        while let Some(chunk) = hashed.next().await {
            chunk.map_err(|error| ContentError::Transfer(error.to_string()))?;
        }
        match hashed.broken {
            Some(reason) => Err(ContentError::Transfer(reason)),
            None => Ok(Transferred {
                sha256: hex::encode(hashed.sha256.finalize()),
                bytes: hashed.bytes,
            }),
        }
    }

    fn raw(&self) -> &Raw {
        match &self.reader {
            Reader::Plain(raw) => raw,
            Reader::Gzip(decoder) => decoder.get_ref(),
            Reader::Zstd(decoder) => decoder.get_ref(),
        }
    }

    fn describe(&self, error: &io::Error) -> String {
        let compression = self.compression;
        let text = error.to_string();
        if error.kind() == io::ErrorKind::UnexpectedEof {
            format!("the {compression} data is truncated: upload the whole file")
        } else if text.contains("too much memory") {
            "the zstd window is above 8 MiB: compress without --long, or with --long=23".to_owned()
        } else {
            format!(
                "the {compression} data is damaged ({text}): compress and upload the file again"
            )
        }
    }
}

/// Counts and hashes what passes, and remembers whether the transfer broke: decompressors wrap errors.
struct Hashed {
    bytes_in: ByteStream,
    sha256: Sha256,
    bytes: u64,
    broken: Option<String>,
    metrics: Metrics,
}

impl Hashed {
    fn new(bytes_in: ByteStream, metrics: Metrics) -> Self {
        Self {
            bytes_in,
            sha256: Sha256::new(),
            bytes: 0,
            broken: None,
            metrics,
        }
    }
}

impl Stream for Hashed {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.bytes_in.poll_next_unpin(context);
        match &next {
            Poll::Ready(Some(Ok(chunk))) => {
                self.sha256.update(chunk);
                self.bytes += chunk.len() as u64;
                self.metrics.read(chunk.len());
            }
            Poll::Ready(Some(Err(error))) => self.broken = Some(error.to_string()),
            Poll::Ready(None) | Poll::Pending => {}
        }
        next
    }
}
