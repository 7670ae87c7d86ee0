//! One file's way to the gateway: streamed with its checksum, repeated when it may be, and its end in the ledger.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indicatif::ProgressBar;
use reqwest::{Body, Method};
use simbdp_api::wire::rest::{FileRecord, FileState, UploadResult};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use crate::client::Gateway;
use crate::error::CliError;
use crate::local_check::Conforming;

/// What is asked of the gateway with a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// Ingest bytes that were uploaded before.
    pub force: bool,
    /// The file that it mends.
    pub mends: Option<Uuid>,
}

/// Uploads a file; the gateway knows the same bytes again, so that repeating is harmless.
pub async fn upload(
    gateway: &Gateway,
    pipeline: &str,
    file: &Conforming,
    wishes: Wishes,
    bar: &ProgressBar,
) -> Result<UploadResult, CliError> {
    let path = format!(
        "/v1/pipelines/{pipeline}/files/{}",
        encoded(file.name.as_str())
    );
    let digest = format!("sha-256=:{}:", STANDARD.encode(file.sha256));
    // Opened before the first try, so that a file that is gone is no fault of the gateway.
    let open = || {
        std::fs::File::open(&file.path).map_err(|source| CliError::File {
            path: file.path.clone(),
            source,
        })
    };
    open()?;
    let request = || {
        bar.set_position(0);
        let mut request = gateway
            .request(Method::PUT, &path)
            .header("content-digest", &digest)
            .header("content-length", file.size);
        if wishes.force {
            request = request.query(&[("force", "true")]);
        }
        if let Some(mended) = wishes.mends {
            request = request.query(&[("mends", mended.to_string())]);
        }
        match open() {
            Ok(content) => {
                // What is appended meanwhile is not part of what was checked.
                let content = tokio::fs::File::from_std(content).take(file.size);
                let content = bar.wrap_async_read(content);
                request.body(Body::wrap_stream(ReaderStream::with_capacity(
                    content,
                    128 << 10,
                )))
            }
            Err(error) => request.body(Body::wrap_stream(futures::stream::once(async move {
                Err::<bytes::Bytes, _>(std::io::Error::other(error))
            }))),
        }
    };
    gateway.json(&path, request).await
}

/// Percent-encodes a file name as one segment of a path.
fn encoded(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(char::from(byte))
            }
            other => segment.push_str(&format!("%{other:02X}")),
        }
    }
    segment
}

/// Waits until a file has ended.
pub async fn ended(gateway: &Gateway, id: Uuid) -> Result<FileRecord, CliError> {
    let mut delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .build();
    loop {
        let record: FileRecord = gateway.get(&format!("/v1/files/{id}"), &[]).await?;
        if matches!(
            record.state,
            FileState::Done | FileState::Failed | FileState::Duplicate
        ) {
            return Ok(record);
        }
        tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(2))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn names_become_one_segment() {
        assert_eq!(encoded("a b%.csv"), "a%20b%25.csv");
        assert_eq!(encoded("flüge.csv"), "fl%C3%BCge.csv");
    }
}
