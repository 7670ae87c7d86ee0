//! Credentials [IO]: the administrator's password and the Erlang cookie, generated once. They are in the
//! configuration, so they are there before anything is built.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use simbdp_broker::admin::ManagementConnection;

use super::build::owned;
use super::error::Error;
use super::names;
use super::validate::ValidatedBroker;
use crate::apply::{Applier, ApplyError, text};
use crate::context::Context;

/// What a broker is built and asked with. Never logged: `Debug` is not derived.
pub struct Credentials {
    /// The administrator's password.
    pub password: String,
}

/// The Erlang cookie and the administrator's login, in this order [pure]. `fresh` makes a text that nobody can guess.
pub fn secrets(
    broker: &ValidatedBroker,
    namespace: &str,
    version: &str,
    fresh: fn() -> String,
) -> [Secret; 2] {
    let secret = |name: String, kind: &str, entries: &[(&str, String)]| Secret {
        metadata: owned(broker, namespace, version, &name),
        type_: Some(kind.to_owned()),
        data: Some(
            entries
                .iter()
                .map(|(key, text)| ((*key).to_owned(), ByteString(text.clone().into_bytes())))
                .collect(),
        ),
        ..Default::default()
    };
    let cookie = [(names::COOKIE, fresh())];
    let login = [
        (names::USERNAME, names::ADMIN.to_owned()),
        (names::PASSWORD, fresh()),
    ];
    [
        secret(names::cookie_secret(&broker.name), "Opaque", &cookie),
        secret(
            names::admin_secret(&broker.name),
            "kubernetes.io/basic-auth",
            &login,
        ),
    ]
}

/// Makes sure that both Secrets are there.
pub async fn ensure(
    applier: &Applier,
    broker: &ValidatedBroker,
    namespace: &str,
    version: &str,
    fresh: fn() -> String,
) -> Result<Credentials, Error> {
    let [cookie, admin] = secrets(broker, namespace, version, fresh);
    applier.ensure_secret(&cookie).await?;
    let admin = applier.ensure_secret(&admin).await?;
    let password = text(&admin, names::PASSWORD).ok_or_else(|| Error::MissingKey {
        secret: names::admin_secret(&broker.name),
        key: names::PASSWORD,
    })?;
    Ok(Credentials { password })
}

/// Where a Broker's management API is and who logs in; [`None`] while its administrator has no Secret.
pub async fn management(
    ctx: &Context,
    broker: &str,
) -> Result<Option<ManagementConnection>, ApplyError> {
    let namespace = &ctx.identity.namespace;
    let secret = ctx
        .applier(super::MANAGER)
        .get::<Secret>(Some(namespace), &names::admin_secret(broker))
        .await?;
    Ok(secret.and_then(|secret| {
        Some(ManagementConnection {
            url: names::management_url(broker, namespace),
            username: text(&secret, names::USERNAME)?,
            password: text(&secret, names::PASSWORD)?,
        })
    }))
}
