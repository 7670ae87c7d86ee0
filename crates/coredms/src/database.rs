//! A tenant's database behind one face, whichever the engine.

use std::sync::Arc;

use futures::future::BoxFuture;
use simbdp_api::common::Engine;

use crate::cassandra::{self, CassandraStore};
use crate::mongodb::{self, MongoStore};
use crate::{Connection, Ledger, Store};

/// What an engine may want to know beside the connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// Datacenter whose members are asked; any when absent. Cassandra's alone.
    pub datacenter: Option<String>,
    /// Bytes of a batch from which on members warn; as by default when absent. Cassandra's alone.
    pub batch_size_warn_threshold: Option<usize>,
}

/// A tenant's database.
pub trait Database: Send + Sync {
    /// Rows of its tables.
    fn store(&self) -> Arc<dyn Store>;
    /// The ledger in a platform keyspace.
    fn ledger(&self, keyspace: &str) -> Arc<dyn Ledger>;
    /// Logs in with another password or to other addresses from now on. Tables and ledgers that were made
    /// before follow; the same connection again changes nothing.
    fn replace_login(&self, connection: Connection) -> BoxFuture<'_, ()>;
}

/// Opens a database. It logs in when it is first needed: the database may be down now.
pub fn open(connection: Connection, options: Options) -> Arc<dyn Database> {
    match connection.engine {
        Engine::Cassandra => {
            let defaults = cassandra::StoreOptions::default();
            let batch_bytes = options.batch_size_warn_threshold;
            Arc::new(CassandraStore::connect(
                connection,
                cassandra::StoreOptions {
                    datacenter: options.datacenter,
                    batch_bytes: batch_bytes.unwrap_or(defaults.batch_bytes),
                    ..defaults
                },
            ))
        }
        Engine::MongoDB => Arc::new(MongoStore::connect(
            connection,
            mongodb::StoreOptions::default(),
        )),
    }
}

impl Database for CassandraStore {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    fn ledger(&self, keyspace: &str) -> Arc<dyn Ledger> {
        Arc::new(Self::ledger(self, keyspace))
    }

    fn replace_login(&self, connection: Connection) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            Self::replace_login(self, connection).await;
        })
    }
}

impl Database for MongoStore {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    fn ledger(&self, keyspace: &str) -> Arc<dyn Ledger> {
        Arc::new(Self::ledger(self, keyspace))
    }

    fn replace_login(&self, connection: Connection) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            Self::replace_login(self, connection).await;
        })
    }
}
