//! Counters that are exact under concurrency: one update that counts where the limit lets it.
//!
//! An update whose answer is lost may have been applied. So each change writes a mark of its own beside the
//! number, which keeps its repetition from counting twice.

use mongodb::Collection;
use mongodb::bson::{DateTime, Document, doc};
use mongodb::options::ReturnDocument;
use simbdp_api::pipeline::Period;
use uuid::Uuid;

use super::super::EXPIRY;
use super::super::error::{code, command_code};
use super::{ATTEMPTS, FILE_COUNTS, MongoLedger, uuid};
use crate::ledger::values::{ATTEMPTS_SECONDS, MARKS, period};
use crate::store::StoreError;

/// How often a change is tried whose answer is lost.
const ROUNDS: usize = 3;
const MILLIS: i64 = 1_000;

/// What shall be done to a counter.
#[derive(Clone, Copy, Debug)]
struct Change {
    by: i32,
    limit: i32,
    /// Seconds that the counter is kept.
    ttl: i32,
}

impl Change {
    /// The numbers that it may be done to [pure].
    fn filter(self, key: &Document, mark: Uuid) -> Document {
        let number = match self.by {
            ..0 => doc! {"$gte": -self.by},
            _ => doc! {"$lte": self.limit - self.by},
        };
        doc! {"_id": key.clone(), "n": number, "marks": {"$ne": uuid(mark)}}
    }

    fn update(self, mark: Uuid) -> Document {
        let marks = i32::try_from(MARKS).unwrap_or(i32::MAX);
        doc! {
            "$inc": {"n": self.by},
            "$set": {EXPIRY: DateTime::from_millis(DateTime::now().timestamp_millis() + i64::from(self.ttl) * MILLIS)},
            "$push": {"marks": {"$each": [uuid(mark)], "$slice": -marks}},
        }
    }
}

impl MongoLedger {
    /// Changes a counter; the number with the change, or [`None`] where it must not be.
    async fn change(
        &self,
        collection: &str,
        key: Document,
        change: Change,
    ) -> Result<Option<i32>, StoreError> {
        let counters = self.collection(collection).await?;
        let mark = Uuid::new_v4();
        let mut last = None;
        for _ in 0..ROUNDS {
            match self.try_change(&counters, &key, change, mark).await {
                Err(StoreError::Transient(reason)) => last = Some(reason),
                other => return other,
            }
        }
        Err(StoreError::Transient(last.unwrap_or_default()))
    }

    async fn try_change(
        &self,
        counters: &Collection<Document>,
        key: &Document,
        change: Change,
        mark: Uuid,
    ) -> Result<Option<i32>, StoreError> {
        for first in [true, false] {
            let answer = async {
                counters
                    .find_one_and_update(change.filter(key, mark), change.update(mark))
                    .return_document(ReturnDocument::After)
                    .await
            };
            if let Some(counter) = self.within(answer).await? {
                return Ok(number(&counter));
            }
            // Nothing to take back, or the counter is new, or its limit is reached, or it has counted this already.
            if first && change.by > 0 && self.is_new(counters, key).await? {
                continue;
            }
            break;
        }
        let counted = async {
            counters
                .find_one(doc! {"_id": key, "marks": uuid(mark)})
                .await
        };
        Ok(self.within(counted).await?.as_ref().and_then(number))
    }

    /// Makes the counter where it is not there; whether it was not.
    async fn is_new(
        &self,
        counters: &Collection<Document>,
        key: &Document,
    ) -> Result<bool, StoreError> {
        let update = doc! {"$setOnInsert": {"n": 0, "marks": []}};
        let answer = async {
            let made = counters.update_one(doc! {"_id": key}, update).upsert(true);
            match made.await {
                // Somebody else made it at the same moment.
                Err(error) if command_code(&error) == Some(code::DUPLICATE_KEY) => Ok(true),
                other => other.map(|made| made.upserted_id.is_some() || made.matched_count > 0),
            }
        };
        self.within(answer).await
    }

    pub(super) async fn count(
        &self,
        scope: &str,
        per: Period,
        at_millis: i64,
        limit: u32,
    ) -> Result<bool, StoreError> {
        let (period, ttl) = period(per, at_millis);
        let change = Change {
            by: 1,
            limit: i32::try_from(limit).unwrap_or(i32::MAX),
            ttl,
        };
        let key = doc! {"scope": scope, "period": period};
        Ok(self.change(FILE_COUNTS, key, change).await?.is_some())
    }

    pub(super) async fn uncount(
        &self,
        scope: &str,
        per: Period,
        at_millis: i64,
    ) -> Result<(), StoreError> {
        let (period, ttl) = period(per, at_millis);
        let change = Change {
            by: -1,
            limit: i32::MAX,
            ttl,
        };
        let key = doc! {"scope": scope, "period": period};
        self.change(FILE_COUNTS, key, change).await?;
        Ok(())
    }

    pub(super) async fn count_attempt(
        &self,
        pipeline: &str,
        message_id: &str,
    ) -> Result<u32, StoreError> {
        let change = Change {
            by: 1,
            limit: i32::MAX,
            ttl: ATTEMPTS_SECONDS,
        };
        let key = attempts_key(pipeline, message_id);
        let counted = self.change(ATTEMPTS, key, change).await?;
        Ok(counted
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(u32::MAX))
    }

    pub(super) async fn forget(&self, pipeline: &str, message_id: &str) -> Result<(), StoreError> {
        let attempts = self.collection(ATTEMPTS).await?;
        let filter = doc! {"_id": attempts_key(pipeline, message_id)};
        self.within(async { attempts.delete_one(filter).await })
            .await?;
        Ok(())
    }
}

fn attempts_key(pipeline: &str, message_id: &str) -> Document {
    doc! {"pipeline": pipeline, "message_id": message_id}
}

fn number(counter: &Document) -> Option<i32> {
    counter.get_i32("n").ok()
}
