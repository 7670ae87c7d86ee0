//! A file's row: entered, queued, taken, ended.

use chrono::{DateTime, NaiveDate, Utc};
use scylla::DeserializeRow;
use scylla::value::CqlTimestamp;
use simbdp_api::wire::rest::{FileRecord, FileState};
use simbdp_api::wire::work::FileWork;
use uuid::Uuid;

use super::CassandraLedger;
use super::statements::{rows, transact};
use crate::ledger::values::{attempt, is_end, name, named, signed, unsigned};
use crate::ledger::{Claim, Outcome, Taken};
use crate::store::StoreError;

fn now() -> CqlTimestamp {
    CqlTimestamp(Utc::now().timestamp_millis())
}

/// Day of a UUID of version 7: its first 48 bits are milliseconds.
pub(super) fn day(id: Uuid) -> NaiveDate {
    let millis = i64::try_from(id.as_u128() >> 80).unwrap_or(0);
    DateTime::from_timestamp_millis(millis).map_or(NaiveDate::MIN, |at| at.date_naive())
}

#[derive(DeserializeRow)]
pub(super) struct FileRow {
    id: Uuid,
    pipeline: Option<String>,
    name: Option<String>,
    state: Option<String>,
    format: Option<String>,
    compression: Option<String>,
    bytes: Option<i64>,
    sha256: Option<String>,
    user: Option<String>,
    accepted_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    accepted: Option<i64>,
    rejected: Option<i64>,
    seconds: Option<f64>,
    rejects: Option<String>,
    error: Option<String>,
    duplicate_of: Option<Uuid>,
    replays: Option<i32>,
    mends: Option<Uuid>,
}

impl FileRow {
    fn record(self) -> Result<FileRecord, StoreError> {
        Ok(FileRecord {
            id: self.id,
            pipeline: self.pipeline.unwrap_or_default(),
            name: self.name.unwrap_or_default(),
            state: named(&self.state.unwrap_or_default())?,
            format: named(&self.format.unwrap_or_default())?,
            compression: named(&self.compression.unwrap_or_default())?,
            bytes: self.bytes.map_or(0, unsigned),
            sha256: self.sha256.unwrap_or_default(),
            user: self.user.unwrap_or_default(),
            accepted_at: self.accepted_at.unwrap_or_default(),
            updated_at: self.updated_at.unwrap_or_default(),
            accepted: self.accepted.map(unsigned),
            rejected: self.rejected.map(unsigned),
            seconds: self.seconds,
            rejects: self.rejects,
            error: self.error,
            duplicate_of: self.duplicate_of,
            replays: self.replays.and_then(|times| u32::try_from(times).ok()),
            mends: self.mends,
            held_until: None,
        })
    }
}

impl CassandraLedger {
    /// Enters a file as Staged where it is not there. The index comes first: an entry without a row is skipped
    /// when it is read, a row without an entry would be missing from the list.
    pub(super) async fn enter(&self, work: &FileWork) -> Result<(), StoreError> {
        let (session, statements) = self.open().await?;
        let day = day(work.id);
        let by_day = (day, work.id, &work.pipeline);
        session
            .execute_unpaged(&statements.enter_day, (day,))
            .await?;
        session
            .execute_unpaged(&statements.enter_by_day, by_day)
            .await?;
        let values = (
            work.id,
            &work.pipeline,
            &work.name,
            name(work.format)?,
            name(work.compression)?,
            signed(work.size),
            &work.sha256,
            &work.user,
            CqlTimestamp(work.accepted_at),
            now(),
            work.mends,
        );
        transact(&session, &statements.enter, values).await?;
        Ok(())
    }

    pub(super) async fn mark_queued(&self, id: Uuid) -> Result<(), StoreError> {
        let (session, statements) = self.open().await?;
        transact(&session, &statements.queued, (now(), id)).await?;
        Ok(())
    }

    /// The state as every transaction before has left it.
    pub(super) async fn state(&self, id: Uuid) -> Result<Option<FileState>, StoreError> {
        let (session, statements) = self.open().await?;
        let found: Vec<(Option<String>,)> = rows(&session, &statements.state, (id,)).await?;
        match found.into_iter().next() {
            Some((Some(state),)) => named(&state).map(Some),
            _ => Ok(None),
        }
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
        let (session, statements) = self.open().await?;
        let (answer, ends) = match self.claim_content(work).await? {
            Claim::Granted => {
                let values = (instance, now(), work.id);
                (transact(&session, &statements.take, values).await?, None)
            }
            Claim::TakenBy(first) => {
                let values = (first, now(), work.id);
                let answer = transact(&session, &statements.duplicate, values).await?;
                (answer, Some(FileState::Duplicate))
            }
        };
        match (answer.applied, ends, answer.text("state")) {
            (true, None, _) => Ok(Taken::Ingest),
            (true, Some(state), _) => Ok(Taken::Ended(state)),
            (false, _, Some(state)) => named(state).map(Taken::Ended),
            (false, _, None) => Err(StoreError::Transient(format!(
                "file {} is not in the ledger any more",
                work.id
            ))),
        }
    }

    pub(super) async fn end(&self, id: Uuid, outcome: &Outcome) -> Result<bool, StoreError> {
        let (session, statements) = self.open().await?;
        let values = (
            name(outcome.state)?,
            signed(outcome.accepted),
            signed(outcome.rejected),
            outcome.seconds,
            outcome.rejects.as_deref(),
            outcome.error.as_deref(),
            outcome.duplicate_of,
            now(),
            id,
        );
        Ok(transact(&session, &statements.end, values).await?.applied)
    }

    pub(super) async fn reopen(
        &self,
        work: &FileWork,
        from: FileState,
    ) -> Result<bool, StoreError> {
        let (session, statements) = self.open().await?;
        let values = (attempt(work), now(), work.id, name(from)?);
        Ok(transact(&session, &statements.reopen, values)
            .await?
            .applied)
    }

    pub(super) async fn record(&self, id: Uuid) -> Result<Option<FileRecord>, StoreError> {
        let (session, statements) = self.open().await?;
        let found: Vec<FileRow> = rows(&session, &statements.file, (id,)).await?;
        found.into_iter().next().map(FileRow::record).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::day;
    use uuid::{NoContext, Timestamp, Uuid};

    #[test]
    fn a_file_lies_in_the_day_of_its_id() {
        let id = Uuid::new_v7(Timestamp::from_unix(NoContext, 1_700_000_000, 0));
        assert_eq!(day(id).to_string(), "2023-11-14");
    }
}
