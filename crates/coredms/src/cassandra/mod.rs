//! Apache Cassandra as a coredms, by its native protocol.
//!
//! [`CassandraConnector`] is the operator's side: first login, roles, keyspaces, tables.
//! [`CassandraStore`] and [`CassandraLedger`] are the side of the gateway and the ingest apps. Every
//! identifier is quoted, so that reserved words work as names.

mod admin;
mod batch;
mod bootstrap;
mod connector;
mod decode;
mod encode;
mod encoder;
mod error;
mod ledger;
mod observe;
mod plan;
mod read;
mod repair;
mod ring;
mod schema;
mod session;
mod store;
mod table;

pub use connector::CassandraConnector;
pub use encode::EncodedRows;
pub use encoder::RowEncoder;
pub use ledger::CassandraLedger;
pub use store::{CassandraStore, StoreOptions};

/// An identifier in double quotes: case and reserved words are kept as they are.
pub(crate) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A text constant in single quotes.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::{literal, quote};

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quote("order"), "\"order\"");
        assert_eq!(quote("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
    }
}
