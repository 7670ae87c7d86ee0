//! Who asks: `Authorization: Bearer <token>`, or `Basic` with user and password.
//!
//! Tokens are 256 random bits, so their SHA-256 is compared, with every user's and in constant time.
//! Passwords are verified with argon2id, a few at a time off the runtime's threads, and a success is
//! remembered for a minute under a keyed hash. An unknown user costs what a wrong password costs.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use moka::future::Cache;
use sha2::{Digest, Sha256};
use simbdp_api::tenant::Role;
use simbdp_api::wire::config::{UserRecord, Users};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

/// Passwords verified at once: each takes about 19 MiB and a core for tens of milliseconds.
const VERIFIERS: usize = 2;
/// Longest wait for a verifier.
const VERIFIER_WAIT: Duration = Duration::from_secs(5);
/// How long a verified password is remembered.
const REMEMBER: Duration = Duration::from_secs(60);
const REMEMBERED: u64 = 1024;

/// An authenticated user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// Name of the user.
    pub name: Arc<str>,
    /// What the user may do.
    pub role: Role,
}

/// Why nobody was authenticated.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthError {
    /// There is no usable `Authorization` header.
    #[error(
        "send `Authorization: Bearer <token>`, or Basic with user and password, of a user of this tenant"
    )]
    Missing,
    /// The credentials are not those of any user.
    #[error("the credentials are not those of a user of this tenant")]
    Wrong,
    /// Too many passwords are being verified.
    #[error("too many passwords are being verified now; a token needs no such work")]
    Busy,
}

/// The users of the tenant's gateway.
pub struct UserIndex {
    users: Vec<(UserRecord, [u8; 32])>,
}

impl UserIndex {
    /// Checks the users' file.
    pub fn new(users: Users) -> Result<Self, String> {
        let users = users.users.into_iter().map(|user| {
            PasswordHash::new(&user.password_hash)
                .map_err(|_| format!("user `{}` has no valid password hash", user.name))?;
            let mut token = [0; 32];
            hex::decode_to_slice(&user.token_sha256, &mut token)
                .map_err(|_| format!("user `{}` has no valid token hash", user.name))?;
            Ok((user, token))
        });
        Ok(Self {
            users: users.collect::<Result<_, String>>()?,
        })
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    fn by_token(&self, token: &[u8]) -> Option<Caller> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for (user, expected) in &self.users {
            if bool::from(digest.ct_eq(expected)) {
                found = Some(user);
            }
        }
        found.map(caller)
    }

    /// The user of that name, or another one whose hash takes as long to verify.
    fn by_name(&self, name: &str) -> Option<(&UserRecord, bool)> {
        let named = self.users.iter().find(|(user, _)| user.name == name);
        match named {
            Some((user, _)) => Some((user, true)),
            None => self.users.first().map(|(user, _)| (user, false)),
        }
    }
}

fn caller(user: &UserRecord) -> Caller {
    Caller {
        name: user.name.as_str().into(),
        role: user.role,
    }
}

/// Authenticates requests.
pub struct Authenticator {
    key: [u8; 32],
    verified: Cache<[u8; 32], ()>,
    verifiers: Arc<Semaphore>,
}

impl Default for Authenticator {
    fn default() -> Self {
        Self {
            key: rand::random(),
            verified: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(REMEMBER)
                .build(),
            verifiers: Arc::new(Semaphore::new(VERIFIERS)),
        }
    }
}

impl Authenticator {
    /// The user that an `Authorization` header proves.
    pub async fn authenticate(
        &self,
        users: &UserIndex,
        header: Option<&HeaderValue>,
    ) -> Result<Caller, AuthError> {
        let header = header.and_then(|value| value.to_str().ok());
        let (scheme, rest) = header
            .and_then(|value| value.split_once(' '))
            .ok_or(AuthError::Missing)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            users.by_token(rest.as_bytes()).ok_or(AuthError::Wrong)
        } else if scheme.eq_ignore_ascii_case("basic") {
            let pair = STANDARD.decode(rest).map_err(|_| AuthError::Wrong)?;
            let pair = String::from_utf8(pair).map_err(|_| AuthError::Wrong)?;
            let (name, password) = pair.split_once(':').ok_or(AuthError::Wrong)?;
            self.by_password(users, name, password).await
        } else {
            Err(AuthError::Missing)
        }
    }

    async fn by_password(
        &self,
        users: &UserIndex,
        name: &str,
        password: &str,
    ) -> Result<Caller, AuthError> {
        let (user, named) = users.by_name(name).ok_or(AuthError::Wrong)?;
        let key = self.memory_key(&user.password_hash, name, password);
        if named && self.verified.contains_key(&key) {
            return Ok(caller(user));
        }
        let permit =
            tokio::time::timeout(VERIFIER_WAIT, Arc::clone(&self.verifiers).acquire_owned())
                .await
                .map_err(|_| AuthError::Busy)?
                .map_err(|_| AuthError::Busy)?;
        let (hash, password) = (user.password_hash.clone(), password.to_owned());
        let right = tokio::task::spawn_blocking(move || {
            let _permit = permit; // kept though the request may be gone
            PasswordHash::new(&hash).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            })
        })
        .await
        .unwrap_or(false);
        if !(named && right) {
            return Err(AuthError::Wrong);
        }
        self.verified.insert(key, ()).await;
        Ok(caller(user))
    }

    /// Under which a success is remembered: bound to the hash, so that a changed password forgets it.
    fn memory_key(&self, hash: &str, name: &str, password: &str) -> [u8; 32] {
        // The key fits any HMAC: `new_from_slice` takes every length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return rand::random();
        };
        for part in [hash, name, password] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

/// Whether a presented internal token is the right one, in constant time.
pub fn is_internal(header: Option<&HeaderValue>, token: &str) -> bool {
    header
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .is_some_and(|given| {
            // Digests, so that not even the length is told.
            Sha256::digest(given.as_bytes())
                .ct_eq(&Sha256::digest(token.as_bytes()))
                .into()
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use argon2::{Algorithm, Params, PasswordHasher, Version};

    use super::*;

    /// A hash that costs little, for tests.
    pub(crate) fn cheap_hash(password: &str) -> String {
        let params = Params::new(64, 1, 1, None).unwrap();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(password.as_bytes())
            .unwrap()
            .to_string()
    }

    fn users() -> Users {
        let record = |name: &str, role| UserRecord {
            name: name.into(),
            role,
            password_hash: cheap_hash(&format!("{name}-password")),
            token_sha256: hex::encode(Sha256::digest(format!("{name}-token"))),
        };
        Users {
            users: vec![record("ann", Role::Writer), record("bob", Role::Reader)],
        }
    }

    fn header(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    fn basic(pair: &str) -> HeaderValue {
        header(&format!("Basic {}", STANDARD.encode(pair)))
    }

    #[tokio::test]
    async fn tokens_and_passwords_prove_users() {
        let (auth, index) = (Authenticator::default(), UserIndex::new(users()).unwrap());
        for (value, name, role) in [
            (header("Bearer ann-token"), "ann", Role::Writer),
            (header("bearer bob-token"), "bob", Role::Reader),
            (basic("bob:bob-password"), "bob", Role::Reader),
            (basic("bob:bob-password"), "bob", Role::Reader),
        ] {
            let caller = auth.authenticate(&index, Some(&value)).await.unwrap();
            assert_eq!((&*caller.name, caller.role), (name, role));
        }
        assert_eq!(auth.verified.iter().count(), 1);
    }

    #[tokio::test]
    async fn anything_else_proves_nobody() {
        let (auth, index) = (Authenticator::default(), UserIndex::new(users()).unwrap());
        for (value, expected) in [
            (header("Bearer other-token"), AuthError::Wrong),
            (header("Bearer "), AuthError::Wrong),
            (header("Bearer"), AuthError::Missing),
            (header("Digest x"), AuthError::Missing),
            (header("Basic %%%"), AuthError::Wrong),
            (basic("no-colon"), AuthError::Wrong),
            (basic("ann:bob-password"), AuthError::Wrong),
            (basic("eve:ann-password"), AuthError::Wrong),
            (basic("ann:"), AuthError::Wrong),
        ] {
            let outcome = auth.authenticate(&index, Some(&value)).await;
            assert_eq!(outcome.unwrap_err(), expected, "{value:?}");
        }
        assert_eq!(
            auth.authenticate(&index, None).await,
            Err(AuthError::Missing)
        );
        assert_eq!(auth.verified.iter().count(), 0);
        let nobody = UserIndex::new(Users::default()).unwrap();
        let outcome = auth
            .authenticate(&nobody, Some(&basic("ann:ann-password")))
            .await;
        assert_eq!(outcome, Err(AuthError::Wrong));
    }

    #[tokio::test]
    async fn a_changed_password_is_not_remembered() {
        let auth = Authenticator::default();
        let index = UserIndex::new(users()).unwrap();
        let value = basic("ann:ann-password");
        auth.authenticate(&index, Some(&value)).await.unwrap();
        let mut changed = users();
        changed.users[0].password_hash = cheap_hash("another");
        let changed = UserIndex::new(changed).unwrap();
        let outcome = auth.authenticate(&changed, Some(&value)).await;
        assert_eq!(outcome, Err(AuthError::Wrong));
    }

    #[tokio::test(start_paused = true)]
    async fn verification_is_bounded() {
        let (auth, index) = (Authenticator::default(), UserIndex::new(users()).unwrap());
        let _all = auth.verifiers.acquire_many(VERIFIERS as u32).await.unwrap();
        let outcome = auth
            .authenticate(&index, Some(&basic("ann:ann-password")))
            .await;
        assert_eq!(outcome, Err(AuthError::Busy));
        let token = auth
            .authenticate(&index, Some(&header("Bearer ann-token")))
            .await;
        assert!(token.is_ok(), "tokens do not wait for passwords");
    }

    #[test]
    fn a_broken_users_file_names_the_user_and_no_secret() {
        let mut broken = users();
        broken.users[1].token_sha256 = "abc".into();
        let error = UserIndex::new(broken).err().unwrap();
        assert_eq!(error, "user `bob` has no valid token hash");
        let mut broken = users();
        broken.users[0].password_hash = "plain".into();
        let error = UserIndex::new(broken).err().unwrap();
        assert_eq!(error, "user `ann` has no valid password hash");
    }

    #[test]
    fn the_internal_token_is_compared_as_a_whole() {
        assert!(is_internal(Some(&header("Bearer secret")), "secret"));
        for wrong in [
            "Bearer secre",
            "Bearer secret2",
            "Basic secret",
            "secret",
            "Bearer ",
        ] {
            assert!(!is_internal(Some(&header(wrong)), "secret"), "{wrong}");
        }
        assert!(!is_internal(None, "secret"));
    }
}
