//! The operator's login in a database [IO]: that of its superuser, or the one given for an external database.

use k8s_openapi::api::core::v1::Secret;
use simbdp_coredms::Connection;

use super::names;
use super::place::DatabasePlace;
use crate::apply::{Applier, ApplyError, text};

/// A database that nobody can log in to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoLogin {
    /// There is no Secret.
    #[error(
        "Secret {0} is not there: create it in the namespace of the CoreDms, with the keys username and password"
    )]
    Missing(String),
    /// A key is missing, empty or not UTF-8.
    #[error("Secret {secret} has no `{key}` that can be used: add that key")]
    Key {
        /// The Secret.
        secret: String,
        /// The key.
        key: &'static str,
    },
}

impl NoLogin {
    /// CamelCase, for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) => "SecretMissing",
            Self::Key { .. } => "MissingKey",
        }
    }
}

/// Addresses and login.
pub async fn connection(
    applier: &Applier,
    place: &DatabasePlace,
) -> Result<Result<Connection, NoLogin>, ApplyError> {
    let name = place.secret();
    let secret = applier.get::<Secret>(Some(&place.namespace), &name).await?;
    Ok(read(secret.as_ref(), name, place))
}

fn read(
    secret: Option<&Secret>,
    name: String,
    place: &DatabasePlace,
) -> Result<Connection, NoLogin> {
    let Some(secret) = secret else {
        return Err(NoLogin::Missing(name));
    };
    // People write the login of an external database, often with a line's end; the operator's own is as it was made.
    let end = |text: &String| match place.external {
        Some(_) => text.trim_end_matches('\n').len(),
        None => text.len(),
    };
    let of = |key: &'static str| {
        text(secret, key)
            .map(|text| text[..end(&text)].to_owned())
            .filter(|text| !text.is_empty())
            .ok_or_else(|| NoLogin::Key {
                secret: name.clone(),
                key,
            })
    };
    Ok(Connection {
        engine: place.engine,
        endpoints: place.endpoints(),
        username: of(names::USERNAME)?,
        password: of(names::PASSWORD)?,
        tls: place.tls().cloned(),
    })
}
