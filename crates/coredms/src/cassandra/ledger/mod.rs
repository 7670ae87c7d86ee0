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

use futures::future::BoxFuture;
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

impl Ledger for CassandraLedger {
    fn claim<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<Claim, StoreError>> {
        Box::pin(self.claim_content(work))
    }

    fn release<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.release_content(work))
    }

    fn staged<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.enter(work))
    }

    fn queued(&self, id: Uuid) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.mark_queued(id))
    }

    fn take<'a>(
        &'a self,
        work: &'a FileWork,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<Taken, StoreError>> {
        Box::pin(self.take_file(work, instance))
    }

    fn ended<'a>(
        &'a self,
        id: Uuid,
        outcome: &'a Outcome,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.end(id, outcome))
    }

    fn replay<'a>(
        &'a self,
        work: &'a FileWork,
        from: FileState,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.reopen(work, from))
    }

    fn file(&self, id: Uuid) -> BoxFuture<'_, Result<Option<FileRecord>, StoreError>> {
        Box::pin(self.record(id))
    }

    fn files<'a>(&'a self, query: &'a FileQuery) -> BoxFuture<'a, Result<FilePage, StoreError>> {
        Box::pin(self.list(query))
    }

    fn count_file<'a>(
        &'a self,
        scope: &'a str,
        per: Period,
        at_millis: i64,
        limit: u32,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.count(scope, per, at_millis, limit))
    }

    fn uncount_file<'a>(
        &'a self,
        scope: &'a str,
        per: Period,
        at_millis: i64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.uncount(scope, per, at_millis))
    }

    fn put_totals<'a>(
        &'a self,
        pipeline: &'a str,
        instance: &'a str,
        totals: Totals,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.write_totals(pipeline, instance, totals))
    }

    fn totals<'a>(&'a self, pipeline: &'a str) -> BoxFuture<'a, Result<Totals, StoreError>> {
        Box::pin(self.sum_totals(pipeline))
    }

    fn attempt<'a>(
        &'a self,
        pipeline: &'a str,
        message_id: &'a str,
    ) -> BoxFuture<'a, Result<u32, StoreError>> {
        Box::pin(self.count_attempt(pipeline, message_id))
    }

    fn forget_attempts<'a>(
        &'a self,
        pipeline: &'a str,
        message_id: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.forget(pipeline, message_id))
    }
}
