//! The tenant's core data management system. [`StoreAdmin`] is for the operator, [`Store`] and
//! [`Ledger`] are for the gateway and the ingest apps. Every error says whether the same call may
//! succeed later.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod cassandra;
pub mod ledger;
pub mod store;

pub use admin::{AdminConnector, StoreAdmin};
pub use ledger::Ledger;
pub use store::Store;

/// Where a database is and who logs in.
#[derive(Clone)]
pub struct Connection {
    /// `host:port` of one or more members or of a Service of them.
    pub endpoints: Vec<String>,
    /// Role that logs in.
    pub username: String,
    /// Its password. Never logged: `Debug` is not derived.
    pub password: String,
}
