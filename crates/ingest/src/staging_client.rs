//! Staged files: their content comes from the gateway replica that holds them, their quarantined rows
//! go back to it.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use simbdp_api::wire::work::FileWork;

/// Bytes as they come, or the reason why no more come.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

const CONNECT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Longest pause between two reads. No limit on the whole: files are long.
const READ: Duration = Duration::from_secs(60);

/// A failure around a staged file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StagingError {
    /// The same call may succeed later.
    #[error("{0}")]
    Transient(String),
    /// The same call will never succeed.
    #[error("{0}")]
    Permanent(String),
}

/// Where staged files lie. The seam for tests and for local files.
pub trait Staging: Send + Sync {
    /// Opens the staged bytes, from their start.
    fn content<'a>(&'a self, work: &'a FileWork)
    -> BoxFuture<'a, Result<ByteStream, StagingError>>;
    /// Replaces the file's quarantined rows; durable on return. When the stream fails, so does the call,
    /// and what came of it is nothing.
    fn put_rejects<'a>(
        &'a self,
        work: &'a FileWork,
        rows: ByteStream,
    ) -> BoxFuture<'a, Result<(), StagingError>>;
    /// The file's quarantined rows, from an earlier attempt; [`None`] where they are gone.
    fn rejects<'a>(
        &'a self,
        work: &'a FileWork,
    ) -> BoxFuture<'a, Result<Option<ByteStream>, StagingError>>;
    /// Drops the staged bytes of a file that has ended. Idempotent.
    fn discard<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<(), StagingError>>;
}

/// The gateway's internal API.
pub struct StagingClient {
    client: Client,
    /// Without a limit on reads: the answer to an upload comes only after its end, which is the file's.
    uploads: Client,
    token: String,
    host_suffix: String,
}

impl StagingClient {
    /// A client with the internal token. It is sent only to hosts that end with `host_suffix`: what
    /// names a replica comes out of a queue that others than the gateway may write to.
    pub fn new(token: String, host_suffix: String) -> Result<Self, reqwest::Error> {
        let builder = || {
            Client::builder()
                .connect_timeout(CONNECT)
                .tcp_keepalive(KEEPALIVE)
                .tcp_user_timeout(READ)
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
        };
        Ok(Self {
            client: builder().read_timeout(READ).build()?,
            uploads: builder().build()?,
            token,
            host_suffix,
        })
    }

    /// The address of a part of a file, if it is one of this tenant's gateway.
    fn url(&self, work: &FileWork, part: &str) -> Result<Url, StagingError> {
        let url = Url::parse(&work.replica)
            .and_then(|base| base.join(&format!("/internal/files/{}/{part}", work.id)))
            .map_err(|error| {
                StagingError::Permanent(format!("replica `{}`: {error}", work.replica))
            })?;
        if !url
            .host_str()
            .is_some_and(|host| host.ends_with(&self.host_suffix))
        {
            return Err(StagingError::Permanent(format!(
                "replica `{}` is not a gateway of this tenant: its host must end with `{}`",
                work.replica, self.host_suffix
            )));
        }
        Ok(url)
    }

    async fn send(&self, request: RequestBuilder, replica: &str) -> Result<Response, StagingError> {
        let sent = request.bearer_auth(&self.token).send().await;
        sent.map_err(|error| {
            StagingError::Transient(format!("{replica}: {}", causes(&error.without_url())))
        })
    }
}

impl Staging for StagingClient {
    fn content<'a>(
        &'a self,
        work: &'a FileWork,
    ) -> BoxFuture<'a, Result<ByteStream, StagingError>> {
        Box::pin(async move {
            let request = self.client.get(self.url(work, "content")?);
            let response = self.send(request, &work.replica).await?;
            if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE) {
                return Err(StagingError::Permanent(format!(
                    "the staged content is gone from {}: upload the file again",
                    work.replica
                )));
            }
            let bytes = expect_success(response, &work.replica)
                .await?
                .bytes_stream();
            Ok(bytes
                .map_err(|error| io::Error::other(causes(&error)))
                .boxed())
        })
    }

    fn put_rejects<'a>(
        &'a self,
        work: &'a FileWork,
        rows: ByteStream,
    ) -> BoxFuture<'a, Result<(), StagingError>> {
        Box::pin(async move {
            let request = self
                .uploads
                .put(self.url(work, "rejects")?)
                .header(reqwest::header::CONTENT_TYPE, "application/x-ndjson")
                .body(reqwest::Body::wrap_stream(rows));
            expect_success(self.send(request, &work.replica).await?, &work.replica).await?;
            Ok(())
        })
    }

    fn rejects<'a>(
        &'a self,
        work: &'a FileWork,
    ) -> BoxFuture<'a, Result<Option<ByteStream>, StagingError>> {
        Box::pin(async move {
            let request = self.client.get(self.url(work, "rejects")?);
            let response = self.send(request, &work.replica).await?;
            if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE) {
                return Ok(None);
            }
            let bytes = expect_success(response, &work.replica)
                .await?
                .bytes_stream();
            Ok(Some(
                bytes
                    .map_err(|error| io::Error::other(causes(&error)))
                    .boxed(),
            ))
        })
    }

    fn discard<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<(), StagingError>> {
        Box::pin(async move {
            let request = self.client.delete(self.url(work, "content")?);
            let response = self.send(request, &work.replica).await?;
            if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE) {
                return Ok(());
            }
            expect_success(response, &work.replica).await?;
            Ok(())
        })
    }
}

/// Anything but success is worth another try: tokens rotate, replicas restart and fill up.
async fn expect_success(response: Response, replica: &str) -> Result<Response, StagingError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.text().await.unwrap_or_default();
    let excerpt: String = body.chars().take(300).collect();
    Err(StagingError::Transient(format!(
        "{replica} answers {status}: {excerpt}"
    )))
}

/// An error with its causes: `reqwest` itself names only the outermost.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
