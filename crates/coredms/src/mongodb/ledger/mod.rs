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

use async_trait::async_trait;
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

#[async_trait]
impl Ledger for MongoLedger {
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
