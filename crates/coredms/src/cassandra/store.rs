//! Rows of a tenant's tables, as the platform's role.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use simbdp_api::pipeline::TableSpec;
use tokio::sync::Semaphore;

use super::batch::Limits;
use super::ledger::CassandraLedger;
use super::session::{SessionOptions, Sessions};
use super::table::CassandraTable;
use crate::Connection;
use crate::store::{Store, StoreError, Table};

/// How the store talks to the database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Datacenter whose members are asked; any when absent.
    pub datacenter: Option<String>,
    /// Longest that a request may take.
    pub request_timeout: Duration,
    /// Most bytes, as a member counts them, of a batch over several partitions. Members warn above their
    /// `batch_size_warn_threshold` (5 KiB by default) and refuse above `batch_size_fail_threshold` (50 KiB).
    pub batch_bytes: usize,
    /// Most bytes of a batch in one partition, which these limits do not apply to.
    pub partition_batch_bytes: usize,
    /// Most rows of a batch.
    pub batch_rows: usize,
    /// Most batches in flight, of all tables together.
    pub in_flight: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            datacenter: None,
            request_timeout: Duration::from_secs(12),
            batch_bytes: 5 * 1024,
            partition_batch_bytes: 64 * 1024,
            batch_rows: 512,
            in_flight: 32,
        }
    }
}

/// What the store, its tables and the ledger share.
pub(crate) struct Shared {
    pub sessions: Sessions,
    pub limits: Limits,
    pub in_flight: usize,
    pub permits: Semaphore,
}

/// How long a look at the database may take.
const READY_TIMEOUT: Duration = Duration::from_secs(3);

/// A tenant's database. Cheap to clone.
#[derive(Clone)]
pub struct CassandraStore {
    shared: Arc<Shared>,
}

impl CassandraStore {
    /// A store that logs in when it is first needed: the database may be down now.
    pub fn connect(connection: Connection, options: StoreOptions) -> Self {
        let session = SessionOptions {
            datacenter: options.datacenter,
            request_timeout: options.request_timeout,
            agreement_timeout: options.request_timeout,
        };
        let in_flight = options.in_flight.max(1);
        Self {
            shared: Arc::new(Shared {
                sessions: Sessions::new(connection, session),
                limits: Limits {
                    bytes: options.batch_bytes,
                    partition_bytes: options.partition_batch_bytes,
                    rows: options.batch_rows.clamp(1, usize::from(u16::MAX)),
                },
                in_flight,
                permits: Semaphore::new(in_flight),
            }),
        }
    }

    /// Logs in with another password or to other addresses from now on. Tables and ledgers that were made
    /// before follow; the same connection again changes nothing.
    pub async fn replace_login(&self, connection: Connection) {
        self.shared.sessions.replace(connection).await;
    }

    /// The ledger in the platform's keyspace, over the same session.
    pub fn ledger(&self, keyspace: &str) -> CassandraLedger {
        CassandraLedger::new(self.shared.clone(), keyspace)
    }

    async fn answers(&self) -> Result<(), StoreError> {
        let session = self.shared.sessions.get().await?;
        session
            .query_unpaged("SELECT key FROM system.local", ())
            .await?;
        Ok(())
    }
}

impl Store for CassandraStore {
    fn table<'a>(
        &'a self,
        keyspace: &'a str,
        table: &'a TableSpec,
    ) -> BoxFuture<'a, Result<Arc<dyn Table>, StoreError>> {
        Box::pin(async move {
            let table = CassandraTable::prepare(self.shared.clone(), keyspace, table).await?;
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
