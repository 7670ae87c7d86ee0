//! The operator's login in a database [IO]: that of its superuser, or the one given for an external database.

use k8s_openapi::api::core::v1::Secret;
use simbdp_coredms::Connection;

use super::place::DatabasePlace;
use crate::apply::{Applier, ApplyError};
use crate::login::{Author, NoLogin, read};

/// Addresses and login.
pub async fn connection(
    applier: &Applier,
    place: &DatabasePlace,
) -> Result<Result<Connection, NoLogin>, ApplyError> {
    let name = place.secret();
    let secret = applier.get::<Secret>(Some(&place.namespace), &name).await?;
    let author = match place.external {
        Some(_) => Author::Person,
        None => Author::Operator,
    };
    let login = read(secret.as_ref(), (&place.namespace, &name), author);
    Ok(login.map(|(username, password)| Connection {
        engine: place.engine,
        endpoints: place.endpoints(),
        username,
        password,
        tls: place.tls().cloned(),
    }))
}
