//! Credentials [IO]: the administrator's password and what nodes know each other by, generated once. They are in the
//! configuration, so they are there before anything is built.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use simbdp_api::Broker;
use simbdp_broker::admin::ManagementConnection;

use super::build::owned;
use super::error::Error;
use super::names;
use super::place::BrokerPlace;
use super::validate::ValidatedBroker;
use crate::apply::{Applier, ApplyError, text};
use crate::context::Context;
use crate::login::{self, NoLogin};

/// What a broker is built and asked with. Never logged: `Debug` is not derived.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The administrator's password.
    pub password: String,
    /// What nodes know each other by.
    pub nodes: String,
}

/// What nodes know each other by, and the administrator's login, in this order [pure]. `fresh` makes a text that nobody can guess.
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
    let nodes = [(names::nodes_secret_key(broker.broker_type), fresh())];
    let login = [
        (login::USERNAME, names::ADMIN.to_owned()),
        (login::PASSWORD, fresh()),
    ];
    [
        secret(
            names::nodes_secret(broker.broker_type, &broker.name),
            "Opaque",
            &nodes,
        ),
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
    let [nodes, admin] = secrets(broker, namespace, version, fresh);
    let nodes = applier.ensure_secret(&nodes).await?;
    let admin = applier.ensure_secret(&admin).await?;
    let entry = |secret: &Secret, key| {
        text(secret, key).ok_or_else(|| Error::MissingKey {
            secret: secret.metadata.name.clone().unwrap_or_default(),
            key,
        })
    };
    Ok(Credentials {
        password: entry(&admin, login::PASSWORD)?,
        nodes: entry(&nodes, names::nodes_secret_key(broker.broker_type))?,
    })
}

/// Where a Broker's administrator finds it and who logs in.
pub async fn management(
    ctx: &Context,
    broker: &Broker,
) -> Result<Result<ManagementConnection, NoLogin>, ApplyError> {
    let place = BrokerPlace::of(broker);
    let namespace = &ctx.identity.namespace;
    let (name, author) = place.secret();
    let applier = ctx.applier(super::MANAGER);
    let secret = applier.get::<Secret>(Some(namespace), &name).await?;
    let login = login::read(secret.as_ref(), (namespace, &name), author);
    Ok(login.map(|(username, password)| ManagementConnection {
        url: place.management_url(namespace),
        username,
        password,
        tls: place.tls().cloned(),
    }))
}
