//! [pure] RabbitMQ's password hash: base64 of a salt of four bytes, then SHA-256 of salt and password
//! (<https://www.rabbitmq.com/docs/passwords#this-is-the-algorithm>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The name of the algorithm in the management API.
pub(super) const SHA256: &str = "rabbit_password_hashing_sha256";
const SALT: usize = 4;

/// Whether the hash is one of this password.
pub(super) fn matches(hash: &str, password: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(hash) else {
        return false;
    };
    let Some((salt, digest)) = bytes.split_at_checked(SALT) else {
        return false;
    };
    Sha256::new()
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .as_slice()
        == digest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by RabbitMQ 4.0.5 of the password `pw`.
    const HASH: &str = "yJgQ52LPzFD2NCdZClURYGsLfArH8PJ/Yo3qhf2ylgfurfaV";

    #[test]
    fn a_hash_by_the_server_is_known() {
        assert!(matches(HASH, "pw"));
        assert!(!matches(HASH, "pw2"));
        assert!(!matches(HASH, ""));
    }

    #[test]
    fn no_hash_matches_nothing() {
        assert!(!matches("", ""));
        assert!(!matches("AAAA", ""));
        assert!(!matches("not base64!", "pw"));
    }
}
