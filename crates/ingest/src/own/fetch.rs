//! The file for the program: from the replica that stages it into a directory that the program can only read,
//! decompressed, checked by its checksum, and never larger than the pipeline allows.

use std::io;
use std::path::{Path, PathBuf};

use simbdp_api::wire::work::FileWork;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::content::{Content, ContentError};
use crate::metrics::Metrics;
use crate::staging_client::{Staging, StagingError};

const CHUNK: usize = 64 << 10;

/// Why a file is not there.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It may come the next time.
    #[error("{0}")]
    Transient(String),
    /// Something else came than was uploaded.
    #[error("the checksum of the content is {found}, it was {expected} when it was uploaded")]
    Mismatch {
        /// What came.
        found: String,
        /// What was uploaded.
        expected: String,
    },
    /// It will never be there.
    #[error("{0}")]
    Permanent(String),
}

impl From<StagingError> for FetchError {
    fn from(error: StagingError) -> Self {
        match error {
            StagingError::Transient(reason) => Self::Transient(reason),
            StagingError::Permanent(reason) => Self::Permanent(reason),
        }
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self::Transient(format!("the file cannot be kept: {error}"))
    }
}

/// A file that is there until this is dropped.
#[derive(Debug)]
pub struct Fetched {
    path: PathBuf,
}

impl Fetched {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a file that was read stays");
        }
    }
}

/// Fetches the file into `directory`.
pub async fn fetch(
    staging: &dyn Staging,
    metrics: &Metrics,
    directory: &Path,
    most: u64,
    work: &FileWork,
) -> Result<Fetched, FetchError> {
    let bytes = staging.content(work).await?;
    let mut content = Content::new(bytes, work.compression, metrics.clone());
    // Neither a client's name nor anything else that came over the queue.
    let path = directory.join(format!("{}.{}", work.id, work.format));
    let mut file = File::create(&path).await?;
    let fetched = Fetched { path };
    let copied = copy(&mut content, &mut file, most).await;
    if matches!(copied, Err(FetchError::Transient(_))) {
        return copied.and(Ok(fetched));
    }
    // Only then a fault is the file's own.
    match content.finish().await {
        Err(error) => return Err(FetchError::Transient(error.to_string())),
        Ok(transferred) if transferred.sha256 != work.sha256 => {
            return Err(FetchError::Mismatch {
                found: transferred.sha256,
                expected: work.sha256.clone(),
            });
        }
        Ok(_) => copied?,
    }
    file.flush().await?;
    Ok(fetched)
}

async fn copy(content: &mut Content, file: &mut File, most: u64) -> Result<(), FetchError> {
    let mut buffer = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let read = match content.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(ContentError::Transfer(reason)) => return Err(FetchError::Transient(reason)),
            Err(ContentError::Corrupt(reason)) => return Err(FetchError::Permanent(reason)),
        };
        size += read as u64;
        if size > most {
            return Err(FetchError::Permanent(format!(
                "it has more than {most} bytes uncompressed, the pipeline's maxFileSize"
            )));
        }
        file.write_all(&buffer[..read]).await?;
    }
}
