//! What the isolation check of a tenant is told, and what it tells.

use serde::{Deserialize, Serialize};

use crate::common::Engine;

/// Another tenant, whose servers must refuse the credentials of the one that is checked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Neighbour {
    /// Its name.
    pub tenant: String,
    /// Base URL of its gateway's API.
    pub gateway: String,
    /// Base URL of the internal API of a gateway replica.
    pub internal: String,
    /// Its virtual host on the broker.
    pub vhost: String,
    /// Engine of its database.
    pub engine: Engine,
    /// `host:port` of its database.
    pub database: Vec<String>,
    /// Keyspace of its ledger.
    pub keyspace: String,
    /// Whether its database is the checked tenant's as well, which may be reached then.
    pub shared: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolationReport {
    /// Names of the tenants whose servers were tried.
    pub neighbours: Vec<String>,
    /// What took the checked tenant's credentials, in words.
    pub breaches: Vec<String>,
    /// `host:port` that network policies forbid to reach, and that was reached.
    pub reached: Vec<String>,
}
