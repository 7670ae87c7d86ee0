//! The ledger in the platform's database. State changes are single-document updates whose filter is the state that
//! they start from, at a majority: compare-and-set.
//!
//! - Ids are UUIDs of version 7, which order by time: newest first is the index of `_id` backwards.
//! - A claim counts only while its holder is in the ledger and neither Failed nor Duplicate. So a
//!   gateway that dies between a claim and its file leaves nothing that hides a later upload of the same
//!   bytes, whose own claim then takes over; and [`take`](crate::Ledger::take), which enters the file before it
//!   claims, lets exactly one of two files with the same bytes through.

mod claims;
mod counters;
mod files;
mod totals;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use mongodb::bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use mongodb::{Collection, error};
use simbdp_api::pipeline::Period;
use simbdp_api::wire::rest::{FilePage, FileRecord, FileState};
use simbdp_api::wire::work::FileWork;
use uuid::Uuid;

use super::EXPIRY;
use super::error::code;
use super::plan::Step;
use super::schema::create_indexes;
use super::store::Shared;
use crate::ledger::{Claim, FileQuery, Ledger, Outcome, Taken, Totals};
use crate::store::StoreError;

const FILES: &str = "files";
const CLAIMS: &str = "claims";
const FILE_COUNTS: &str = "file_counts";
const TOTALS: &str = "totals";
const ATTEMPTS: &str = "attempts";

/// The ledger's collections, each with its indexes. More may come in later versions, none change or go.
fn collections() -> [(&'static str, Vec<Document>); 5] {
    let ends = || doc! {"name": "ends", "key": {EXPIRY: 1}, "expireAfterSeconds": 0};
    let files = vec![
        doc! {"name": "by_pipeline", "key": {"pipeline": 1, "_id": -1}},
        doc! {"name": "by_state", "key": {"state": 1, "_id": -1}},
        doc! {"name": "by_pipeline_and_state", "key": {"pipeline": 1, "state": 1, "_id": -1}},
    ];
    [
        (FILES, files),
        (CLAIMS, Vec::new()),
        (FILE_COUNTS, vec![ends()]),
        (TOTALS, Vec::new()),
        (ATTEMPTS, vec![ends()]),
    ]
}

/// The steps that make the ledger's collections [pure]; `there` has the indexes of those that are there.
pub(crate) fn steps(database: &str, there: &BTreeMap<String, BTreeSet<String>>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, indexes) in collections() {
        let known = there.get(name);
        if known.is_none() {
            let action = format!("create collection `{name}`");
            let step = Step::new(action, database, doc! {"create": name});
            steps.push(step.unless(&[code::NAMESPACE_EXISTS]));
        }
        let missing = |index: &Document| {
            let index = index.get_str("name").unwrap_or_default();
            known.is_none_or(|known| !known.contains(index))
        };
        let missing = indexes.into_iter().filter(missing).collect();
        steps.extend(create_indexes(database, name, missing));
    }
    steps
}

/// A UUID as it is stored.
fn uuid(id: Uuid) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Uuid,
        bytes: id.as_bytes().to_vec(),
    })
}

/// A UUID that is stored.
fn stored_uuid(document: &Document, field: &str) -> Option<Uuid> {
    match document.get(field) {
        Some(Bson::Binary(binary)) => Uuid::from_slice(&binary.bytes).ok(),
        _ => None,
    }
}

/// The ledger of one tenant. Made by [`MongoStore::ledger`](super::MongoStore::ledger).
#[derive(Clone)]
pub struct MongoLedger {
    shared: Arc<Shared>,
    database: String,
}

impl MongoLedger {
    pub(crate) fn new(shared: Arc<Shared>, database: &str) -> Self {
        Self {
            shared,
            database: database.to_owned(),
        }
    }

    async fn collection(&self, name: &str) -> Result<Collection<Document>, StoreError> {
        let client = self.shared.clients.get().await?;
        Ok(client.database(&self.database).collection(name))
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = error::Result<T>>,
    ) -> Result<T, StoreError> {
        self.shared.clients.within(answer).await
    }
}

impl Ledger for MongoLedger {
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
