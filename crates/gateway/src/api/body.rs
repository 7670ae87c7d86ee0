//! Extract: bodies, their types and lengths, within bounds of size and time.

use axum::BoxError;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};

use crate::pace::{Paced, Patience, TooSlow};
use crate::problem::Refusal;

/// A body as a stream of bytes.
pub fn stream(body: Body) -> impl Stream<Item = Result<Bytes, BoxError>> + Unpin {
    body.into_data_stream()
        .map(|chunk| chunk.map_err(BoxError::from))
}

/// Reads a whole body of at most `limit` bytes, which must come in fast enough.
pub async fn read(body: Body, limit: usize, patience: Patience) -> Result<Bytes, Refusal> {
    let too_large = || {
        Refusal::too_large(format!(
            "the body is larger than {limit} bytes, which is the limit of one request; send fewer records at a time"
        ))
    };
    let too_slow = |error: TooSlow| {
        Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "stalled",
            "The request stalled",
            format!("{error}; nothing of the request was taken"),
        )
    };
    let mut body = Paced::new(stream(body), patience);
    let mut read = BytesMut::new();
    while let Some(chunk) = body.next().await.map_err(too_slow)? {
        let chunk = chunk.map_err(|_| {
            Refusal::bad_request("the body ended before its end; nothing of it was taken")
        })?;
        if read.len() + chunk.len() > limit {
            return Err(too_large());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.freeze())
}

/// `Content-Length`, where there is one.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Refuses a `Content-Encoding`, which is not undone here.
pub fn refuse_encoding(headers: &HeaderMap, instead: &str) -> Result<(), Refusal> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => Err(Refusal::unsupported_media_type(format!(
            "Content-Encoding is not accepted: {instead}"
        ))),
        _ => Ok(()),
    }
}

/// The SHA-256 of `Content-Digest` (RFC 9530), where there is one.
pub fn content_digest(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Refusal> {
    let wrong = || {
        Refusal::bad_request(
            "Content-Digest is not understood: write `sha-256=:<base64 of the 32 bytes>:` (RFC 9530)",
        )
    };
    let Some(value) = headers.get("content-digest") else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| wrong())?;
    let member = text
        .split(',')
        .find_map(|member| member.trim().strip_prefix("sha-256="))
        .ok_or_else(wrong)?;
    let base64 = member
        .strip_prefix(':')
        .and_then(|rest| rest.strip_suffix(':'))
        .ok_or_else(wrong)?;
    let bytes = STANDARD.decode(base64).map_err(|_| wrong())?;
    bytes.try_into().map(Some).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::HeaderValue;
    use sha2::{Digest, Sha256};

    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("content-digest", HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn reads_the_digest_of_rfc_9530() {
        let digest: [u8; 32] = Sha256::digest(b"x").into();
        let base64 = STANDARD.encode(digest);
        assert_eq!(content_digest(&HeaderMap::new()).unwrap(), None);
        for text in [
            format!("sha-256=:{base64}:"),
            format!("sha-512=:AAAA:, sha-256=:{base64}:"),
        ] {
            assert_eq!(content_digest(&headers(&text)).unwrap(), Some(digest));
        }
        for text in [
            "md5=:AAAA:".to_owned(),
            format!("sha-256={base64}"),
            "sha-256=:AAAA:".to_owned(),
            "sha-256=:!:".to_owned(),
        ] {
            assert!(content_digest(&headers(&text)).is_err(), "{text}");
        }
    }

    const PATIENCE: Patience = Patience {
        stall: Duration::from_secs(1),
        min_rate: 0,
    };

    #[tokio::test]
    async fn a_body_is_bounded() {
        let body = read(Body::from("hello"), 5, PATIENCE).await.unwrap();
        assert_eq!(&body[..], b"hello");
        let refusal = read(Body::from("hello!"), 5, PATIENCE).await.unwrap_err();
        assert_eq!(refusal.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_is_cut() {
        let body = Body::from_stream(futures::stream::pending::<Result<Bytes, BoxError>>());
        let refusal = read(body, 5, PATIENCE).await.unwrap_err();
        assert_eq!(refusal.status(), StatusCode::REQUEST_TIMEOUT);
    }
}
