//! The tenant's database behind its seams.

use std::sync::Arc;

use simbdp_coredms::cassandra::{CassandraStore, StoreOptions};
use simbdp_coredms::{Connection, Ledger, Store};

/// Sessions of an app.
pub struct Database {
    /// Tables.
    pub store: Arc<dyn Store>,
    /// Files, attempts, totals.
    pub ledger: Option<Arc<dyn Ledger>>,
}

/// Logs in when it is first asked.
pub fn open(
    connection: Connection,
    datacenter: Option<&str>,
    ledger_keyspace: Option<&str>,
) -> Database {
    let options = StoreOptions {
        datacenter: datacenter.map(ToOwned::to_owned),
        ..StoreOptions::default()
    };
    let store = CassandraStore::connect(connection, options);
    let ledger =
        ledger_keyspace.map(|keyspace| Arc::new(store.ledger(keyspace)) as Arc<dyn Ledger>);
    Database {
        store: Arc::new(store),
        ledger,
    }
}
