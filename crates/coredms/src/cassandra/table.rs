//! One table of a tenant: writes rows in batches by replica set.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use scylla::client::session::Session;
use scylla::cluster::ClusterState;
use scylla::statement::batch::{Batch, BatchStatement, BatchType};
use scylla::statement::prepared::PreparedStatement;
use simbdp_api::pipeline::TableSpec;
use simbdp_record::Rows;

use super::batch::{Ring, split};
use super::encode::{EncodedRows, Layout};
use super::encoder::RowEncoder;
use super::store::Shared;
use super::{quote, read};
use crate::store::{Page, RowQuery, StoreError, Table, WriteReport};

/// A table with its statements.
pub(crate) struct CassandraTable {
    pub(super) shared: Arc<Shared>,
    pub(super) keyspace: String,
    pub(super) name: String,
    pub(super) encoder: RowEncoder,
    insert: PreparedStatement,
    /// Batches that were sent, to be filled again: a statement for each row is not made anew.
    spent: Mutex<Vec<Batch>>,
    ring: Mutex<Option<(Arc<ClusterState>, Arc<Ring>)>>,
    /// Reads by their CQL: there are only as many as combinations of clustering columns and bounds.
    pub(super) reads: Mutex<HashMap<String, PreparedStatement>>,
}

fn insert_cql(keyspace: &str, table: &str, layout: &Layout, ttl: bool) -> String {
    let names: Vec<_> = layout
        .shape
        .columns
        .iter()
        .map(|(name, _)| quote(name))
        .collect();
    let markers = vec!["?"; names.len()];
    format!(
        "INSERT INTO {}.{} ({}) VALUES ({}) USING TIMESTAMP ?{}",
        quote(keyspace),
        quote(table),
        names.join(", "),
        markers.join(", "),
        if ttl { " AND TTL ?" } else { "" }
    )
}

impl CassandraTable {
    pub(crate) async fn prepare(
        shared: Arc<Shared>,
        keyspace: &str,
        table: &TableSpec,
    ) -> Result<Self, StoreError> {
        let encoder = RowEncoder::new(table)?;
        let session = shared.sessions.get().await?;
        let cql = insert_cql(keyspace, &table.name, &encoder.layout, encoder.has_ttl());
        let mut insert = session.prepare(cql).await?;
        insert.set_is_idempotent(true);
        if session.get_cluster_state().get_keyspace(keyspace).is_none() {
            // The keyspace is younger than what the session knows: grouping needs its replication.
            session
                .refresh_metadata()
                .await
                .map_err(|error| StoreError::Transient(error.to_string()))?;
        }
        Ok(Self {
            shared,
            keyspace: keyspace.to_owned(),
            name: table.name.clone(),
            encoder,
            insert,
            spent: Mutex::default(),
            ring: Mutex::default(),
            reads: Mutex::default(),
        })
    }

    /// The ring as the driver sees it now; made anew when members or replication change.
    fn ring(&self, session: &Session) -> Arc<Ring> {
        let cluster = session.get_cluster_state();
        let mut known = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((state, ring)) = known.as_ref()
            && Arc::ptr_eq(state, &cluster)
        {
            return ring.clone();
        }
        let tokens = cluster.replica_locator().ring().iter().map(|(token, _)| {
            let replicas = cluster.get_token_endpoints(&self.keyspace, &self.name, *token);
            let ids = replicas.iter().map(|(node, _)| node.host_id).collect();
            (token.value(), ids)
        });
        let ring = Arc::new(Ring::new(tokens));
        *known = Some((cluster.clone(), ring.clone()));
        ring
    }

    fn spent(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch of as many inserts.
    fn batch(&self, rows: usize) -> Batch {
        let mut batch = self.spent().pop().unwrap_or_else(|| {
            let mut batch = Batch::new(BatchType::Unlogged);
            batch.set_is_idempotent(true);
            batch
        });
        let insert = || BatchStatement::PreparedStatement(self.insert.clone());
        batch.statements.resize_with(rows, insert);
        batch
    }

    /// Sends the rows at these positions together.
    async fn send(
        &self,
        session: &Session,
        encoded: &EncodedRows,
        batch: Vec<usize>,
    ) -> Result<(), StoreError> {
        let _permit = self
            .shared
            .permits
            .acquire()
            .await
            .map_err(|error| StoreError::Transient(error.to_string()))?;
        let rows: Vec<_> = batch.iter().map(|row| encoded.values(*row)).collect();
        let result = match rows.as_slice() {
            [row] => session.execute_unpaged(&self.insert, row).await?,
            rows => {
                let batch = self.batch(rows.len());
                let result = session.batch(&batch, rows).await?;
                self.spent().push(batch);
                result
            }
        };
        for warning in result.warnings() {
            tracing::debug!(table = self.name, warning, "the database warns of a write");
        }
        Ok(())
    }
}

impl Table for CassandraTable {
    fn write<'a>(&'a self, rows: &'a Rows) -> BoxFuture<'a, Result<WriteReport, StoreError>> {
        Box::pin(async move {
            let encoded = self.encoder.encode(rows)?;
            if encoded.is_empty() {
                return Ok(WriteReport::default());
            }
            let session = self.shared.sessions.get().await?;
            let ring = self.ring(&session);
            let batches = split(&encoded.rows, &ring, self.shared.limits);
            let report = WriteReport {
                rows: encoded.len() as u64,
                batches: batches.len() as u64,
            };
            stream::iter(batches)
                .map(|batch| self.send(&session, &encoded, batch))
                .buffer_unordered(self.shared.in_flight)
                .try_collect::<()>()
                .await?;
            Ok(report)
        })
    }

    fn read<'a>(&'a self, query: &'a RowQuery) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move { read::page(self, query).await })
    }
}
