//! The ledger in the platform's keyspace. State changes are lightweight transactions at LOCAL_SERIAL.
//!
//! - A file's row has a partition of its own: a transaction is a round of Paxos on a *partition*, so that
//!   one partition a day would make all files of a tenant wait for each other. An index by day, written
//!   before the row, lists them; ids are UUIDs of version 7, which order by time.
//! - A claim counts only while its holder is in the ledger and neither Failed nor Duplicate. So a
//!   gateway that dies between a claim and its file leaves nothing that hides a later upload of the same
//!   bytes, whose own claim then takes over; and [`take`](crate::Ledger::take), which enters the file before it
//!   claims, lets exactly one of two files with the same bytes through.

mod claims;
mod counters;
mod files;
mod list;
mod statements;

use std::sync::Arc;

use async_trait::async_trait;
use scylla::client::session::Session;
use simbdp_api::pipeline::{Order, Period};
use simbdp_api::wire::rest::{FilePage, FileRecord, FileState};
use simbdp_api::wire::work::FileWork;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::store::Shared;
use crate::declaration::TableDef;
use crate::ledger::{Claim, FileQuery, Ledger, Outcome, Taken, Totals};
use crate::store::StoreError;
use statements::Statements;

fn table(
    name: &str,
    columns: &[(&str, &str)],
    partition: &[&str],
    clustering: &[(&str, Order)],
) -> TableDef {
    TableDef {
        name: name.to_owned(),
        columns: columns
            .iter()
            .map(|(name, cql)| ((*name).to_owned(), (*cql).to_owned()))
            .collect(),
        partition: partition.iter().map(|name| (*name).to_owned()).collect(),
        clustering: clustering
            .iter()
            .map(|(name, order)| ((*name).to_owned(), *order))
            .collect(),
    }
}

/// The ledger's tables. Columns may be added in later versions, none changed or removed.
pub(crate) fn tables() -> Vec<TableDef> {
    let file = [
        ("id", "uuid"),
        ("pipeline", "text"),
        ("name", "text"),
        ("state", "text"),
        ("format", "text"),
        ("compression", "text"),
        ("bytes", "bigint"),
        ("sha256", "text"),
        ("user", "text"),
        ("accepted_at", "timestamp"),
        ("updated_at", "timestamp"),
        ("accepted", "bigint"),
        ("rejected", "bigint"),
        ("seconds", "double"),
        ("rejects", "text"),
        ("error", "text"),
        ("duplicate_of", "uuid"),
        ("instance", "text"),
        ("replays", "int"),
        ("mends", "uuid"),
    ];
    let by_day = [("day", "date"), ("id", "uuid"), ("pipeline", "text")];
    let claim = [("pipeline", "text"), ("sha256", "text"), ("id", "uuid")];
    let total = [
        ("pipeline", "text"),
        ("instance", "text"),
        ("rows", "bigint"),
        ("rejected", "bigint"),
    ];
    let newest = Order::Descending;
    vec![
        table("files", &file, &["id"], &[]),
        table("files_by_day", &by_day, &["day"], &[("id", newest)]),
        table(
            "file_days",
            &[("ledger", "int"), ("day", "date")],
            &["ledger"],
            &[("day", newest)],
        ),
        table("claims", &claim, &["pipeline", "sha256"], &[]),
        counters::table("file_counts", "scope", "period"),
        table(
            "totals",
            &total,
            &["pipeline"],
            &[("instance", Order::Ascending)],
        ),
        counters::table("attempts", "pipeline", "message_id"),
    ]
}

/// The ledger of one tenant. Made by [`CassandraStore::ledger`](super::CassandraStore::ledger).
#[derive(Clone)]
pub struct CassandraLedger {
    shared: Arc<Shared>,
    keyspace: String,
    statements: Arc<OnceCell<Statements>>,
}

impl CassandraLedger {
    pub(crate) fn new(shared: Arc<Shared>, keyspace: &str) -> Self {
        Self {
            shared,
            keyspace: keyspace.to_owned(),
            statements: Arc::default(),
        }
    }

    /// The session and the statements, prepared when they are first needed.
    async fn open(&self) -> Result<(Arc<Session>, &Statements), StoreError> {
        let session = self.shared.sessions.get().await?;
        let statements = self
            .statements
            .get_or_try_init(|| Statements::prepare(&session, &self.keyspace))
            .await?;
        Ok((session, statements))
    }
}

#[async_trait]
impl Ledger for CassandraLedger {
    async fn claim(&self, work: &FileWork) -> Result<Claim, StoreError> {
        self.claim_content(work).await
    }

    async fn release(&self, work: &FileWork) -> Result<(), StoreError> {
        self.release_content(work).await
    }

    async fn staged(&self, work: &FileWork) -> Result<(), StoreError> {
        self.enter(work).await
    }

    async fn queued(&self, id: Uuid) -> Result<(), StoreError> {
        self.mark_queued(id).await
    }

    async fn take(&self, work: &FileWork, instance: &str) -> Result<Taken, StoreError> {
        self.take_file(work, instance).await
    }

    async fn ended(&self, id: Uuid, outcome: &Outcome) -> Result<bool, StoreError> {
        self.end(id, outcome).await
    }

    async fn replay(&self, work: &FileWork, from: FileState) -> Result<bool, StoreError> {
        self.reopen(work, from).await
    }

    async fn file(&self, id: Uuid) -> Result<Option<FileRecord>, StoreError> {
        self.record(id).await
    }

    async fn files(&self, query: &FileQuery) -> Result<FilePage, StoreError> {
        self.list(query).await
    }

    async fn count_file(
        &self,
        scope: &str,
        per: Period,
        at_millis: i64,
        limit: u32,
    ) -> Result<bool, StoreError> {
        self.count(scope, per, at_millis, limit).await
    }

    async fn uncount_file(
        &self,
        scope: &str,
        per: Period,
        at_millis: i64,
    ) -> Result<(), StoreError> {
        self.uncount(scope, per, at_millis).await
    }

    async fn put_totals(
        &self,
        pipeline: &str,
        instance: &str,
        totals: Totals,
    ) -> Result<(), StoreError> {
        self.write_totals(pipeline, instance, totals).await
    }

    async fn totals(&self, pipeline: &str) -> Result<Totals, StoreError> {
        self.sum_totals(pipeline).await
    }

    async fn attempt(&self, pipeline: &str, message_id: &str) -> Result<u32, StoreError> {
        self.count_attempt(pipeline, message_id).await
    }

    async fn forget_attempts(&self, pipeline: &str, message_id: &str) -> Result<(), StoreError> {
        self.forget(pipeline, message_id).await
    }
}
