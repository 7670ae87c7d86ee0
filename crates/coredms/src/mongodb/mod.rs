//! MongoDB as a coredms, as a replica set.
//!
//! [`MongoConnector`] is the operator's side: replica set, users, collections with their validators.
//! [`MongoStore`] and [`MongoLedger`] are the side of the gateway and the ingest apps. A keyspace is a database,
//! a table a collection, a role a user in `admin`.
//!
//! A row is a document: its key is `_id` (the value of a sole key column, or a document of the key columns in
//! their order), its version is `_v`, the end of its life `_e`, and every other column a field.

mod admin;
mod batch;
mod bootstrap;
mod bson;
mod client;
mod connector;
mod decimal;
mod decode;
mod encode;
mod error;
mod ledger;
mod observe;
mod plan;
mod read;
mod scan;
mod schema;
mod shard;
mod store;
mod table;
mod validator;
mod voters;
mod write;

pub use connector::MongoConnector;
pub use ledger::MongoLedger;
pub use store::{MongoStore, StoreOptions};

/// Field of a document's key.
pub(crate) const ID: &str = "_id";
/// Field of a row's version, an int64. No column's name starts with an underscore.
pub(crate) const VERSION: &str = "_v";
/// Field of the end of a row's life, a date.
pub(crate) const EXPIRY: &str = "_e";
/// Field of a row that was deleted and is remembered by its version.
pub(crate) const DELETED: &str = "_deleted";
/// Database of users.
pub(crate) const ADMIN: &str = "admin";
