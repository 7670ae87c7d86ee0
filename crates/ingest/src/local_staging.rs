//! A local file in the place of a staged one, for `load`.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use futures::stream::{StreamExt, TryStreamExt};
use simbdp_api::wire::work::FileWork;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use crate::staging_client::{ByteStream, Staging, StagingError};

const CHUNK: usize = 64 * 1024;

/// One local file, and the file of its quarantined rows.
pub struct LocalStaging {
    /// The content.
    pub file: PathBuf,
    /// Where quarantined rows are written.
    pub rejects: PathBuf,
}

#[async_trait]
impl Staging for LocalStaging {
    async fn content(&self, _: &FileWork) -> Result<ByteStream, StagingError> {
        let file = File::open(&self.file).await.map_err(|error| {
            StagingError::Permanent(format!("{}: {error}", self.file.display()))
        })?;
        Ok(ReaderStream::with_capacity(file, CHUNK).boxed())
    }

    async fn put_rejects(&self, _: &FileWork, rows: ByteStream) -> Result<(), StagingError> {
        self.write(rows).await.map_err(|error| {
            StagingError::Permanent(format!("{}: {error}", self.rejects.display()))
        })
    }

    async fn rejects(&self, _: &FileWork) -> Result<Option<ByteStream>, StagingError> {
        Ok(None)
    }

    async fn discard(&self, _: &FileWork) -> Result<(), StagingError> {
        Ok(())
    }
}

impl LocalStaging {
    async fn write(&self, mut rows: ByteStream) -> io::Result<()> {
        let mut file = File::create(&self.rejects).await?;
        while let Some(chunk) = rows.try_next().await? {
            file.write_all(&chunk).await?;
        }
        file.sync_all().await
    }
}
