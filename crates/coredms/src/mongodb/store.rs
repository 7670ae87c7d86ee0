//! Rows of a tenant's tables, as the platform's user.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use mongodb::bson::doc;
use simbdp_api::pipeline::TableSpec;
use tokio::sync::Semaphore;

use super::batch::Limits;
use super::client::Clients;
use super::ledger::MongoLedger;
use super::table::MongoTable;
use crate::Connection;
use crate::store::{Store, StoreError, Table};

/// How the store talks to the database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Longest that the database may take: to have a primary, and to have a write on a majority.
    pub request_timeout: Duration,
    /// Most bytes of a batch; the server takes 16 MiB.
    pub batch_bytes: usize,
    /// Most rows of a batch; the server takes 100,000.
    pub batch_rows: usize,
    /// Most batches in flight, of all tables together.
    pub in_flight: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(12),
            batch_bytes: 1 << 20,
            batch_rows: 1_000,
            in_flight: 8,
        }
    }
}

/// What the store, its tables and the ledger share.
pub(crate) struct Shared {
    pub clients: Clients,
    pub limits: Limits,
    pub in_flight: usize,
    pub permits: Semaphore,
}

/// How long a look at the database may take.
const READY_TIMEOUT: Duration = Duration::from_secs(3);

/// A tenant's database. Cheap to clone.
#[derive(Clone)]
pub struct MongoStore {
    shared: Arc<Shared>,
}

impl MongoStore {
    /// A store that logs in when it is first needed: the database may be down now.
    pub fn connect(connection: Connection, options: StoreOptions) -> Self {
        let in_flight = options.in_flight.max(1);
        Self {
            shared: Arc::new(Shared {
                clients: Clients::new(connection, options.request_timeout),
                limits: Limits {
                    bytes: options.batch_bytes,
                    rows: options.batch_rows.clamp(1, 100_000),
                },
                in_flight,
                permits: Semaphore::new(in_flight),
            }),
        }
    }

    /// Logs in with another password or to other addresses from now on. Tables and ledgers that were made
    /// before follow; the same connection again changes nothing.
    pub async fn replace_login(&self, connection: Connection) {
        self.shared.clients.replace(connection).await;
    }

    /// The ledger in the platform's database, over the same client.
    pub fn ledger(&self, keyspace: &str) -> MongoLedger {
        MongoLedger::new(self.shared.clone(), keyspace)
    }

    async fn answers(&self) -> Result<(), StoreError> {
        let clients = &self.shared.clients;
        let database = clients.get().await?.database(super::ADMIN);
        let ping = database.run_command(doc! {"ping": 1});
        clients.within(async { ping.await }).await?;
        Ok(())
    }
}

impl Store for MongoStore {
    fn table<'a>(
        &'a self,
        keyspace: &'a str,
        table: &'a TableSpec,
    ) -> BoxFuture<'a, Result<Arc<dyn Table>, StoreError>> {
        Box::pin(async move {
            let table = MongoTable::prepare(self.shared.clone(), keyspace, table).await?;
            Ok(Arc::new(table) as Arc<dyn Table>)
        })
    }

    fn ready(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            matches!(
                tokio::time::timeout(READY_TIMEOUT, self.answers()).await,
                Ok(Ok(()))
            )
        })
    }
}
