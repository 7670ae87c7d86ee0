//! Credentials [pure]: what the tenant's Secrets hold. A Secret is generated once and never overwritten:
//! who edits it rotates what derives from it, who removes a key gets a new one.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use sha2::{Digest, Sha256};
use simbdp_api::names::tenant_objects as objects;
use simbdp_api::tenant::{Role, User};

use crate::apply::text;

/// Key of a password in a Secret.
pub const PASSWORD: &str = "password";
/// Key of a token in a Secret.
pub const TOKEN: &str = "token";

/// A Secret that was edited such that nobody can use it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "Secret `{secret}`: `{key}` is empty or not UTF-8; set another one, or remove the key to get a new one"
)]
pub struct Unusable {
    /// Name of the Secret.
    pub secret: String,
    /// Key in it.
    pub key: &'static str,
}

/// Every secret text of a tenant. Neither `Debug` nor `Serialize`, so that nothing prints it.
#[derive(Clone)]
pub struct Credentials {
    /// Between operator, gateway and ingest apps.
    pub internal_token: String,
    /// Password of the tenant's own database role.
    pub tenant_role: String,
    /// Password of the platform's database role.
    pub platform_role: String,
    /// Password of the tenant's broker user.
    pub broker: String,
    /// Of the gateway's users, in the order of the spec.
    pub users: Vec<UserLogin>,
}

/// How a user logs in.
#[derive(Clone)]
pub struct UserLogin {
    /// Name.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Password.
    pub password: String,
    /// Bearer token.
    pub token: String,
}

/// Reads the Secrets of a tenant's namespace.
pub fn read(secrets: &[Secret], users: &[User]) -> Result<Credentials, Unusable> {
    let of = |name: &str, key: &'static str| {
        secrets
            .iter()
            .find(|secret| secret.name_any() == name)
            .and_then(|secret| text(secret, key))
            .map(|text| text.trim_end_matches('\n').to_owned())
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Unusable {
                secret: name.to_owned(),
                key,
            })
    };
    let login = |user: &User| {
        let name = user_secret(&user.name);
        Ok(UserLogin {
            name: user.name.clone(),
            role: user.role,
            password: of(&name, PASSWORD)?,
            token: of(&name, TOKEN)?,
        })
    };
    Ok(Credentials {
        internal_token: of(objects::INTERNAL, TOKEN)?,
        tenant_role: of(objects::COREDMS_BINDING, PASSWORD)?,
        platform_role: of(objects::PLATFORM_BINDING, PASSWORD)?,
        broker: of(objects::BROKER_BINDING, PASSWORD)?,
        users: users.iter().map(login).collect::<Result<_, _>>()?,
    })
}

/// Name of the Secret of a user.
pub fn user_secret(user: &str) -> String {
    format!("{}{user}", objects::USER_PREFIX)
}

/// SHA-256 of a token, lower-case hexadecimal: what the gateway keeps of it.
pub fn token_digest(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// Digest of what a gateway or ingest pod reads at its start: another one rolls the pods. The texts are
/// 256 random bits each, so the digest gives nothing away.
pub fn startup_digest(internal_token: &str, platform_role: &str, broker: &str) -> String {
    let mut digest = Sha256::new();
    for text in [internal_token, platform_role, broker] {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text.as_bytes());
    }
    hex::encode(digest.finalize())
}

impl Credentials {
    /// [`startup_digest`] of these.
    pub fn digest(&self) -> String {
        startup_digest(&self.internal_token, &self.platform_role, &self.broker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use kube::core::ObjectMeta;

    fn secret(name: &str, data: &[(&str, &str)]) -> Secret {
        let data = data
            .iter()
            .map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())));
        Secret {
            metadata: ObjectMeta {
                name: Some(name.into()),
                ..Default::default()
            },
            data: Some(data.collect()),
            ..Default::default()
        }
    }

    fn ada() -> User {
        User {
            name: "ada".into(),
            role: Role::Writer,
        }
    }

    fn secrets(user: &[(&str, &str)]) -> Vec<Secret> {
        vec![
            secret(objects::INTERNAL, &[(TOKEN, "internal")]),
            secret(objects::COREDMS_BINDING, &[(PASSWORD, "tenant")]),
            secret(objects::PLATFORM_BINDING, &[(PASSWORD, "platform")]),
            secret(objects::BROKER_BINDING, &[(PASSWORD, "broker")]),
            secret("user-ada", user),
        ]
    }

    #[test]
    fn texts_are_read_as_they_are_but_for_an_editor_s_last_newline() {
        let read = read(&secrets(&[(PASSWORD, " mine\n"), (TOKEN, "t")]), &[ada()]).unwrap();
        assert_eq!(read.users[0].password, " mine");
        assert_eq!(read.internal_token, "internal");
        assert_eq!(read.broker, "broker");
    }

    #[test]
    fn an_empty_password_is_refused_and_never_hashed() {
        for password in ["", "\n"] {
            let error = read(&secrets(&[(PASSWORD, password), (TOKEN, "t")]), &[ada()]).err();
            let error = error.unwrap().to_string();
            assert!(
                error.starts_with("Secret `user-ada`: `password` is empty"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_digest_follows_each_text_and_their_borders() {
        let one = startup_digest("a", "b", "c");
        assert_eq!(one, startup_digest("a", "b", "c"));
        assert_ne!(one, startup_digest("ab", "", "c"));
        assert_ne!(one, startup_digest("a", "b", "d"));
    }
}
