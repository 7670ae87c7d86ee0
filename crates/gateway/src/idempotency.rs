//! `Idempotency-Key`: a request that is sent again gets the same source id and the same versions, so
//! that its records are the same ones. Remembered in memory, bounded; after that, or on another replica,
//! a repeated request has the same identity still, but a newer version.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use sha2::{Digest, Sha256};

const REMEMBERED: u64 = 20_000;
const REMEMBER: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest key.
pub const MAX_KEY: usize = 128;
/// Longest source id: with a colon and an ordinal of 19 digits it stays within the 255 bytes of an AMQP
/// message id.
const MAX_SOURCE: usize = 235;

/// Whose request it is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    /// User.
    pub user: Arc<str>,
    /// Pipeline.
    pub pipeline: Arc<str>,
    /// `Idempotency-Key`.
    pub key: Arc<str>,
}

impl Key {
    /// Source id of the request's records: `<pipeline>/<user>/<key>`, the same on every replica and after
    /// a restart, and nobody else's: the table may be shared by pipelines, and by users at all times.
    /// Names that the operator lets through always fit; of longer ones it is the SHA-256.
    pub fn source(&self) -> String {
        let source = format!("{}/{}/{}", self.pipeline, self.user, self.key);
        match source.len() <= MAX_SOURCE {
            true => source,
            false => hex::encode(Sha256::digest(source)),
        }
    }
}

#[derive(Clone, Copy)]
struct Earlier {
    digest: [u8; 32],
    version: i64,
}

/// Why a request is not taken again.
#[derive(Debug, thiserror::Error)]
pub enum IdempotencyError {
    /// The key came with another body before.
    #[error("the Idempotency-Key was used for another body before: use a new key for new records")]
    OtherBody,
    /// There is no version to be had.
    #[error(transparent)]
    Clock(Arc<io::Error>),
}

/// Requests of the last day.
pub struct Idempotency {
    earlier: Cache<Key, Earlier>,
}

impl Default for Idempotency {
    fn default() -> Self {
        Self {
            earlier: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(REMEMBER)
                .build(),
        }
    }
}

impl Idempotency {
    /// The version of the first record: that of the request before, or a new one.
    pub async fn version(
        &self,
        key: Key,
        digest: [u8; 32],
        new_version: impl Future<Output = io::Result<i64>>,
    ) -> Result<i64, IdempotencyError> {
        let fresh = async {
            let version = new_version.await?;
            Ok(Earlier { digest, version })
        };
        let earlier = self
            .earlier
            .try_get_with(key, fresh)
            .await
            .map_err(IdempotencyError::Clock)?;
        if earlier.digest == digest {
            Ok(earlier.version)
        } else {
            Err(IdempotencyError::OtherBody)
        }
    }
}

/// Checks a key as it was sent, with or without the quotes of a structured field.
pub fn check_key(text: &str) -> Result<&str, String> {
    let key = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text);
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (1..=MAX_KEY).contains(&key.len()) {
        Ok(key)
    } else {
        Err(format!(
            "an Idempotency-Key has 1 to {MAX_KEY} visible ASCII characters, for example a UUID"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str, key: &str) -> Key {
        Key {
            user: user.into(),
            pipeline: "planes".into(),
            key: key.into(),
        }
    }

    #[tokio::test]
    async fn the_same_request_gets_the_same_version() {
        let memory = Idempotency::default();
        let first = memory
            .version(key("ann", "k"), [1; 32], async { Ok(10) })
            .await;
        assert_eq!(first.unwrap(), 10);
        let again = memory
            .version(key("ann", "k"), [1; 32], async { Ok(20) })
            .await;
        assert_eq!(again.unwrap(), 10);
        let other_body = memory
            .version(key("ann", "k"), [2; 32], async { Ok(30) })
            .await;
        assert!(matches!(other_body, Err(IdempotencyError::OtherBody)));
        let other_user = memory
            .version(key("bob", "k"), [2; 32], async { Ok(40) })
            .await;
        assert_eq!(other_user.unwrap(), 40);
    }

    #[tokio::test]
    async fn a_failed_clock_is_not_remembered() {
        let memory = Idempotency::default();
        let failed = memory
            .version(key("ann", "k"), [1; 32], async {
                Err(io::Error::other("disk"))
            })
            .await;
        assert!(matches!(failed, Err(IdempotencyError::Clock(_))));
        let again = memory
            .version(key("ann", "k"), [1; 32], async { Ok(20) })
            .await;
        assert_eq!(again.unwrap(), 20);
    }

    #[test]
    fn a_source_is_one_user_s_of_one_pipeline_and_fits_a_message_id() {
        assert_eq!(key("ann", "k/1").source(), "planes/ann/k/1");
        assert_ne!(key("ann", "k").source(), key("bob", "k").source());
        let longest = "n".repeat(simbdp_api::names::MAX_NAME);
        let widest = Key {
            pipeline: longest.as_str().into(),
            ..key(&longest, &"k".repeat(MAX_KEY))
        };
        assert!(widest.source().starts_with(&longest));
        assert!(format!("{}:{}", widest.source(), i64::MAX).len() <= 255);
        let odd = key(&"u".repeat(300), "k");
        assert_eq!(odd.source().len(), 64);
        assert_ne!(odd.source(), key(&"u".repeat(300), "l").source());
    }

    #[test]
    fn keys_are_visible_and_short() {
        assert_eq!(check_key("8e03978e"), Ok("8e03978e"));
        assert_eq!(check_key("\"8e03978e\""), Ok("8e03978e"));
        for wrong in ["", "\"\"", "a b", "é", &"x".repeat(MAX_KEY + 1)] {
            assert!(check_key(wrong).is_err(), "{wrong}");
        }
    }
}
