//! A local file in the place of a staged one, for `load`.

use std::io;
use std::path::PathBuf;

use futures::future::BoxFuture;
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

impl Staging for LocalStaging {
    fn content<'a>(&'a self, _: &'a FileWork) -> BoxFuture<'a, Result<ByteStream, StagingError>> {
        Box::pin(async move {
            let file = File::open(&self.file).await.map_err(|error| {
                StagingError::Permanent(format!("{}: {error}", self.file.display()))
            })?;
            Ok(ReaderStream::with_capacity(file, CHUNK).boxed())
        })
    }

    fn put_rejects<'a>(
        &'a self,
        _: &'a FileWork,
        rows: ByteStream,
    ) -> BoxFuture<'a, Result<(), StagingError>> {
        Box::pin(async move {
            self.write(rows).await.map_err(|error| {
                StagingError::Permanent(format!("{}: {error}", self.rejects.display()))
            })
        })
    }

    fn rejects<'a>(
        &'a self,
        _: &'a FileWork,
    ) -> BoxFuture<'a, Result<Option<ByteStream>, StagingError>> {
        Box::pin(async move { Ok(None) })
    }

    fn discard<'a>(&'a self, _: &'a FileWork) -> BoxFuture<'a, Result<(), StagingError>> {
        Box::pin(async move { Ok(()) })
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
