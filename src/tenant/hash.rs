//! Password hashes for the gateway, argon2id. The salt derives from the user's token, so that hashing
//! again gives the same text and a second reconcile writes nothing; what was hashed is kept in memory,
//! so that reconciling stays cheap.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use moka::future::Cache;
use sha2::{Digest, Sha256};
use simbdp_api::wire::config::{UserRecord, Users};

use super::credentials::{UserLogin, token_digest};

/// A password that cannot be hashed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot hash the password of user `{user}`: {reason}")]
pub struct HashError {
    /// Whose password it is.
    pub user: String,
    /// What the library said.
    pub reason: String,
}

/// Hashes passwords, each once.
#[derive(Clone)]
pub struct Hasher {
    done: Cache<[u8; 32], String>,
}

impl Default for Hasher {
    fn default() -> Self {
        Self {
            done: Cache::new(10_000),
        }
    }
}

impl Hasher {
    /// The users' file of the gateway.
    pub async fn users(&self, logins: &[UserLogin]) -> Result<Users, HashError> {
        let mut users = Vec::with_capacity(logins.len());
        for login in logins {
            users.push(UserRecord {
                name: login.name.clone(),
                role: login.role,
                password_hash: self.hash(login).await?,
                token_sha256: token_digest(&login.token),
            });
        }
        Ok(Users { users })
    }

    async fn hash(&self, login: &UserLogin) -> Result<String, HashError> {
        let mut key = Sha256::new();
        key.update((login.password.len() as u64).to_be_bytes());
        key.update(login.password.as_bytes());
        key.update(login.token.as_bytes());
        let (user, password, salt) = (
            login.name.clone(),
            login.password.clone(),
            salt(&login.token),
        );
        let work = async move {
            let reason = tokio::task::spawn_blocking(move || hash(&password, &salt)).await;
            match reason {
                Ok(Ok(hash)) => Ok(hash),
                Ok(Err(reason)) => Err(HashError { user, reason }),
                Err(join) => Err(HashError {
                    user,
                    reason: join.to_string(),
                }),
            }
        };
        self.done
            .try_get_with(key.finalize().into(), work)
            .await
            .map_err(Arc::unwrap_or_clone)
    }
}

/// Salt of a user's password: it must be unique, not secret, and the token is unique.
fn salt(token: &str) -> [u8; 16] {
    let digest = Sha256::digest(format!("simbdp-argon2-salt{token}"));
    let mut salt = [0; 16];
    salt.copy_from_slice(&digest[..16]);
    salt
}

/// PHC string of a password.
fn hash(password: &str, salt: &[u8; 16]) -> Result<String, String> {
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), salt)
        .map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::PasswordVerifier;
    use simbdp_api::tenant::Role;

    fn login(password: &str, token: &str) -> UserLogin {
        UserLogin {
            name: "ada".into(),
            role: Role::Writer,
            password: password.into(),
            token: token.into(),
        }
    }

    #[tokio::test]
    async fn a_hash_verifies_repeats_and_follows_password_and_token() {
        let hasher = Hasher::default();
        let one = hasher.hash(&login("secret", "t1")).await.unwrap();
        let again = Hasher::default()
            .hash(&login("secret", "t1"))
            .await
            .unwrap();
        let other_token = hasher.hash(&login("secret", "t2")).await.unwrap();
        let other_password = hasher.hash(&login("other", "t1")).await.unwrap();
        assert!(one.starts_with("$argon2id$v=19$"));
        assert_eq!(one, again);
        assert_ne!(one, other_token);
        assert_ne!(one, other_password);
        let parsed = PasswordHash::new(&one).unwrap();
        assert!(
            Argon2::default()
                .verify_password(b"secret", &parsed)
                .is_ok()
        );
        assert!(
            Argon2::default()
                .verify_password(b"wrong", &parsed)
                .is_err()
        );
    }

    #[tokio::test]
    async fn the_users_file_holds_nothing_to_log_in_with() {
        let users = Hasher::default()
            .users(&[login("secret", "token")])
            .await
            .unwrap();
        let json = serde_json::to_string(&users).unwrap();
        assert!(!json.contains("\"secret\"") && !json.contains("\"token\""));
        assert_eq!(users.users[0].token_sha256, token_digest("token"));
    }
}
