//! The tenant's core data management system. [`StoreAdmin`] is for the operator, [`Store`] and
//! [`Ledger`] are for the gateway and the ingest apps. Every error says whether the same call may
//! succeed later. [`Connectors`] and [`open`] choose the engine by [`Connection::engine`]: nobody else needs to
//! know which one it is.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod binding;
pub mod cassandra;
mod connectors;
mod database;
pub mod declaration;
mod kept;
pub mod ledger;
mod lifetime;
pub mod mongodb;
mod selection;
pub mod store;

pub use admin::{AdminConnector, StoreAdmin};
pub use connectors::Connectors;
pub use database::{Database, Options, open};
pub use ledger::Ledger;
pub use simbdp_tls::{Trust, TrustError};
pub use store::Store;

use simbdp_api::common::Engine;

/// Where a database is and who logs in.
#[derive(Clone, Eq, PartialEq)]
pub struct Connection {
    /// What it speaks.
    pub engine: Engine,
    /// `host:port` of one or more members or of a Service of them.
    pub endpoints: Vec<String>,
    /// Role that logs in.
    pub username: String,
    /// Its password. Never logged: `Debug` is not derived.
    pub password: String,
    /// Whose certificates are believed; [`None`] without TLS.
    pub tls: Option<Trust>,
}
