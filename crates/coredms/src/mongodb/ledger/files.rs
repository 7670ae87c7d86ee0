//! A file's document: entered, queued, taken, ended; and the list of files.

use chrono::{DateTime as ChronoTime, Utc};
use futures::TryStreamExt;
use mongodb::bson::{Bson, DateTime, Document, doc};
use simbdp_api::wire::rest::{FilePage, FileRecord, FileState};
use simbdp_api::wire::work::FileWork;
use uuid::Uuid;

use super::super::error::{code, command_code};
use super::{FILES, MongoLedger, stored_uuid, uuid};
use crate::ledger::values::{
    LARGEST_PAGE, attempt, bad_page, is_end, name, named, signed, unsigned,
};
use crate::ledger::{Claim, FileQuery, Outcome, Taken};
use crate::store::StoreError;

/// States that a file has not ended in.
const OPEN: [FileState; 3] = [FileState::Staged, FileState::Queued, FileState::Ingesting];

fn open_states() -> Result<Document, StoreError> {
    let names: Vec<String> = OPEN.into_iter().map(name).collect::<Result<_, _>>()?;
    Ok(doc! {"$in": names})
}

fn document(work: &FileWork) -> Result<Document, StoreError> {
    Ok(doc! {
        "_id": uuid(work.id),
        "pipeline": &work.pipeline,
        "name": &work.name,
        "state": name(FileState::Staged)?,
        "format": name(work.format)?,
        "compression": name(work.compression)?,
        "bytes": signed(work.size),
        "sha256": &work.sha256,
        "user": &work.user,
        "accepted_at": DateTime::from_millis(work.accepted_at),
        "updated_at": DateTime::now(),
        "mends": work.mends.map(uuid),
    })
}

fn record(file: &Document) -> Result<FileRecord, StoreError> {
    let text = |field: &str| file.get_str(field).ok();
    let owned = |field: &str| text(field).map(ToOwned::to_owned);
    let number = |field: &str| file.get_i64(field).ok().map(unsigned);
    let time = |field: &str| {
        let millis = file
            .get_datetime(field)
            .map_or(0, |at| at.timestamp_millis());
        ChronoTime::<Utc>::from_timestamp_millis(millis).unwrap_or_default()
    };
    Ok(FileRecord {
        id: stored_uuid(file, "_id").unwrap_or_default(),
        pipeline: owned("pipeline").unwrap_or_default(),
        name: owned("name").unwrap_or_default(),
        state: named(text("state").unwrap_or_default())?,
        format: named(text("format").unwrap_or_default())?,
        compression: named(text("compression").unwrap_or_default())?,
        bytes: number("bytes").unwrap_or(0),
        sha256: owned("sha256").unwrap_or_default(),
        user: owned("user").unwrap_or_default(),
        accepted_at: time("accepted_at"),
        updated_at: time("updated_at"),
        accepted: number("accepted"),
        rejected: number("rejected"),
        seconds: file.get_f64("seconds").ok(),
        rejects: owned("rejects"),
        error: owned("error"),
        duplicate_of: stored_uuid(file, "duplicate_of"),
        replays: file
            .get_i32("replays")
            .ok()
            .and_then(|times| u32::try_from(times).ok()),
        mends: stored_uuid(file, "mends"),
        held_until: None,
    })
}

impl MongoLedger {
    /// Enters a file as Staged where it is not there.
    pub(super) async fn enter(&self, work: &FileWork) -> Result<(), StoreError> {
        let files = self.collection(FILES).await?;
        let document = document(work)?;
        let answer = async {
            match files.insert_one(document).await {
                Err(error) if command_code(&error) == Some(code::DUPLICATE_KEY) => Ok(()),
                other => other.map(|_| ()),
            }
        };
        self.within(answer).await
    }

    /// Sets fields of a file in these states; whether it was in one of them.
    async fn set(
        &self,
        id: Uuid,
        states: impl Into<Bson>,
        mut fields: Document,
    ) -> Result<bool, StoreError> {
        let files = self.collection(FILES).await?;
        fields.insert("updated_at", DateTime::now());
        let filter = doc! {"_id": uuid(id), "state": states.into()};
        let answer = async { files.update_one(filter, doc! {"$set": fields}).await };
        Ok(self.within(answer).await?.matched_count > 0)
    }

    pub(super) async fn mark_queued(&self, id: Uuid) -> Result<(), StoreError> {
        let queued = doc! {"state": name(FileState::Queued)?};
        self.set(id, name(FileState::Staged)?, queued).await?;
        Ok(())
    }

    async fn find(&self, id: Uuid) -> Result<Option<Document>, StoreError> {
        let files = self.collection(FILES).await?;
        self.within(async { files.find_one(doc! {"_id": uuid(id)}).await })
            .await
    }

    pub(super) async fn record(&self, id: Uuid) -> Result<Option<FileRecord>, StoreError> {
        self.find(id).await?.as_ref().map(record).transpose()
    }

    pub(super) async fn state(&self, id: Uuid) -> Result<Option<FileState>, StoreError> {
        let file = self.find(id).await?;
        let state = file.as_ref().and_then(|file| file.get_str("state").ok());
        state.map(named).transpose()
    }

    pub(super) async fn take_file(
        &self,
        work: &FileWork,
        instance: &str,
    ) -> Result<Taken, StoreError> {
        match self.state(work.id).await? {
            // Entered before it claims: see the module.
            None => self.enter(work).await?,
            Some(state) if is_end(state) => return Ok(Taken::Ended(state)),
            Some(_) => {}
        }
        let (taken, fields) = match self.claim_content(work).await? {
            Claim::Granted => {
                let fields = doc! {"state": name(FileState::Ingesting)?, "instance": instance};
                (Taken::Ingest, fields)
            }
            Claim::TakenBy(first) => {
                let state = FileState::Duplicate;
                let fields = doc! {"state": name(state)?, "duplicate_of": uuid(first)};
                (Taken::Ended(state), fields)
            }
        };
        if self.set(work.id, open_states()?, fields).await? {
            return Ok(taken);
        }
        match self.state(work.id).await? {
            Some(state) if is_end(state) => Ok(Taken::Ended(state)),
            _ => Err(StoreError::Transient(format!(
                "file {} is not in the ledger any more",
                work.id
            ))),
        }
    }

    pub(super) async fn end(&self, id: Uuid, outcome: &Outcome) -> Result<bool, StoreError> {
        let fields = doc! {
            "state": name(outcome.state)?,
            "accepted": signed(outcome.accepted),
            "rejected": signed(outcome.rejected),
            "seconds": outcome.seconds,
            "rejects": outcome.rejects.as_deref(),
            "error": outcome.error.as_deref(),
            "duplicate_of": outcome.duplicate_of.map(uuid),
        };
        self.set(id, open_states()?, fields).await
    }

    pub(super) async fn reopen(
        &self,
        work: &FileWork,
        from: FileState,
    ) -> Result<bool, StoreError> {
        let fields = doc! {
            "state": name(FileState::Staged)?,
            "replays": attempt(work),
            "error": Bson::Null,
            "duplicate_of": Bson::Null,
        };
        self.set(work.id, name(from)?, fields).await
    }

    pub(super) async fn list(&self, query: &FileQuery) -> Result<FilePage, StoreError> {
        let mut filter = Document::new();
        if let Some(pipeline) = &query.pipeline {
            filter.insert("pipeline", pipeline);
        }
        if let Some(state) = query.state {
            filter.insert("state", name(state)?);
        }
        if let Some(page) = &query.page {
            let before: Uuid = page.parse().map_err(|_| bad_page(page))?;
            filter.insert("_id", doc! {"$lt": uuid(before)});
        }
        let limit = query.limit.clamp(1, LARGEST_PAGE) as usize;
        let files = self.collection(FILES).await?;
        let answer = async {
            let found = files
                .find(filter)
                .sort(doc! {"_id": -1})
                .limit(i64::try_from(limit + 1).unwrap_or(i64::MAX));
            found.await?.try_collect::<Vec<Document>>().await
        };
        let mut found = self.within(answer).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let files: Vec<FileRecord> = found.iter().map(record).collect::<Result<_, _>>()?;
        Ok(FilePage {
            next_page: files
                .last()
                .filter(|_| more)
                .map(|file| file.id.to_string()),
            files,
        })
    }
}
