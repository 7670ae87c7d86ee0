//! Staged files: their content comes from the gateway replica that holds them, their quarantined rows
//! go back to it.

use std::error::Error;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use simbdp_api::wire::work::FileWork;

/// Bytes as they come, or the reason why no more come.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

const CONNECT: Duration = Duration::from_secs(5);
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
#[async_trait]
pub trait Staging: Send + Sync {
    /// Opens the staged bytes, from their start.
    async fn content(&self, work: &FileWork) -> Result<ByteStream, StagingError>;
    /// Replaces the file's quarantined rows; durable on return. When the stream fails, so does the call,
    /// and what came of it is nothing.
    async fn put_rejects(&self, work: &FileWork, rows: ByteStream) -> Result<(), StagingError>;
    /// Drops the staged bytes of a file that has ended. Idempotent.
    async fn discard(&self, work: &FileWork) -> Result<(), StagingError>;
}

/// The gateway's internal API.
pub struct StagingClient {
    client: Client,
    token: String,
    host_suffix: String,
}

impl StagingClient {
    /// A client with the internal token. It is sent only to hosts that end with `host_suffix`: what
    /// names a replica comes out of a queue that others than the gateway may write to.
    pub fn new(token: String, host_suffix: String) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(READ)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            token,
            host_suffix,
        })
    }

    fn request(
        &self,
        method: Method,
        work: &FileWork,
        part: &str,
    ) -> Result<RequestBuilder, StagingError> {
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
        Ok(self.client.request(method, url).bearer_auth(&self.token))
    }
}

#[async_trait]
impl Staging for StagingClient {
    async fn content(&self, work: &FileWork) -> Result<ByteStream, StagingError> {
        let response = send(self.request(Method::GET, work, "content")?, &work.replica).await?;
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
    }

    async fn put_rejects(&self, work: &FileWork, rows: ByteStream) -> Result<(), StagingError> {
        let request = self
            .request(Method::PUT, work, "rejects")?
            .header(reqwest::header::CONTENT_TYPE, "application/x-ndjson")
            .body(reqwest::Body::wrap_stream(rows));
        expect_success(send(request, &work.replica).await?, &work.replica).await?;
        Ok(())
    }

    async fn discard(&self, work: &FileWork) -> Result<(), StagingError> {
        let response = send(
            self.request(Method::DELETE, work, "content")?,
            &work.replica,
        )
        .await?;
        if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE) {
            return Ok(());
        }
        expect_success(response, &work.replica).await?;
        Ok(())
    }
}

async fn send(request: RequestBuilder, replica: &str) -> Result<Response, StagingError> {
    request.send().await.map_err(|error| {
        StagingError::Transient(format!("{replica}: {}", causes(&error.without_url())))
    })
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
