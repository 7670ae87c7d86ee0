//! The ledger's statements, and how the answer of a lightweight transaction is read.

use std::collections::HashMap;

use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};
use uuid::Uuid;

use super::super::quote;
use super::counters::Counter;
use crate::store::StoreError;

/// States that a file has not ended in, as CQL.
const OPEN: &str = "('Staged', 'Queued', 'Ingesting')";

/// Every statement of the ledger but the counters'.
pub(crate) struct Statements {
    pub file: PreparedStatement,
    pub state: PreparedStatement,
    pub enter: PreparedStatement,
    pub enter_by_day: PreparedStatement,
    pub enter_day: PreparedStatement,
    pub queued: PreparedStatement,
    pub take: PreparedStatement,
    pub duplicate: PreparedStatement,
    pub end: PreparedStatement,
    pub reopen: PreparedStatement,
    pub days: PreparedStatement,
    pub by_day: PreparedStatement,
    pub claim: PreparedStatement,
    pub reclaim: PreparedStatement,
    pub release: PreparedStatement,
    pub put_totals: PreparedStatement,
    pub totals: PreparedStatement,
    pub file_counts: Counter,
    pub attempts: Counter,
}

pub(super) const FILE_COLUMNS: &str = "id, pipeline, name, state, format, compression, bytes, sha256, \"user\", accepted_at, updated_at, accepted, rejected, seconds, rejects, error, duplicate_of, replays, mends";

/// Prepares statements of one keyspace.
pub(super) struct Preparer<'a> {
    pub session: &'a Session,
    pub keyspace: &'a str,
}

impl Preparer<'_> {
    /// The statement, with `{}` for the keyspace. Reads and plain writes may be repeated.
    pub async fn plain(&self, cql: &str) -> Result<PreparedStatement, StoreError> {
        let cql = cql.replace("{}", &quote(self.keyspace));
        let mut statement = self.session.prepare(cql).await?;
        statement.set_is_idempotent(true);
        Ok(statement)
    }

    /// A lightweight transaction: its repetition has another answer.
    pub async fn transaction(&self, cql: &str) -> Result<PreparedStatement, StoreError> {
        let mut statement = self.plain(cql).await?;
        statement.set_is_idempotent(false);
        Ok(statement)
    }

    /// A read that sees, and finishes, every transaction before it.
    pub async fn serial(&self, cql: &str) -> Result<PreparedStatement, StoreError> {
        let mut statement = self.plain(cql).await?;
        statement.set_consistency(Consistency::LocalSerial);
        Ok(statement)
    }
}

impl Statements {
    pub async fn prepare(session: &Session, keyspace: &str) -> Result<Self, StoreError> {
        let p = Preparer { session, keyspace };
        Ok(Self {
            file: p
                .plain(&format!("SELECT {FILE_COLUMNS} FROM {{}}.files WHERE id = ?"))
                .await?,
            state: p.serial("SELECT state FROM {}.files WHERE id = ?").await?,
            enter: p.transaction("INSERT INTO {}.files (id, pipeline, name, state, format, compression, bytes, sha256, \"user\", accepted_at, updated_at, mends) VALUES (?, ?, ?, 'Staged', ?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS").await?,
            enter_by_day: p
                .plain("INSERT INTO {}.files_by_day (day, id, pipeline) VALUES (?, ?, ?)")
                .await?,
            enter_day: p
                .plain("INSERT INTO {}.file_days (ledger, day) VALUES (0, ?)")
                .await?,
            queued: p.transaction("UPDATE {}.files SET state = 'Queued', updated_at = ? WHERE id = ? IF state = 'Staged'").await?,
            take: p.transaction(&format!("UPDATE {{}}.files SET state = 'Ingesting', instance = ?, updated_at = ? WHERE id = ? IF state IN {OPEN}")).await?,
            duplicate: p.transaction(&format!("UPDATE {{}}.files SET state = 'Duplicate', duplicate_of = ?, updated_at = ? WHERE id = ? IF state IN {OPEN}")).await?,
            end: p.transaction(&format!("UPDATE {{}}.files SET state = ?, accepted = ?, rejected = ?, seconds = ?, rejects = ?, error = ?, duplicate_of = ?, updated_at = ? WHERE id = ? IF state IN {OPEN}")).await?,
            reopen: p.transaction("UPDATE {}.files SET state = 'Staged', replays = ?, error = null, duplicate_of = null, updated_at = ? WHERE id = ? IF state = ?").await?,
            days: p
                .plain("SELECT day FROM {}.file_days WHERE ledger = 0 AND day <= ? LIMIT ?")
                .await?,
            by_day: p
                .plain("SELECT id, pipeline FROM {}.files_by_day WHERE day = ? AND id < ? LIMIT ?")
                .await?,
            claim: p.transaction("INSERT INTO {}.claims (pipeline, sha256, id) VALUES (?, ?, ?) IF NOT EXISTS").await?,
            reclaim: p.transaction("UPDATE {}.claims SET id = ? WHERE pipeline = ? AND sha256 = ? IF id = ?").await?,
            release: p.transaction("DELETE FROM {}.claims WHERE pipeline = ? AND sha256 = ? IF id = ?").await?,
            put_totals: p.plain("INSERT INTO {}.totals (pipeline, instance, rows, rejected) VALUES (?, ?, ?, ?) USING TIMESTAMP ?").await?,
            totals: p
                .plain("SELECT rows, rejected FROM {}.totals WHERE pipeline = ?")
                .await?,
            file_counts: Counter::prepare(&p, "file_counts", "scope", "period").await?,
            attempts: Counter::prepare(&p, "attempts", "pipeline", "message_id").await?,
        })
    }
}

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Permanent(format!("the ledger cannot be read: {error}"))
}

/// All rows of a small query.
pub(super) async fn rows<R>(
    session: &Session,
    statement: &PreparedStatement,
    values: impl SerializeRow,
) -> Result<Vec<R>, StoreError>
where
    R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
{
    let result = session.execute_unpaged(statement, values).await?;
    let result = result.into_rows_result().map_err(unreadable)?;
    result
        .rows::<R>()
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)
}

/// The answer of a lightweight transaction.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub applied: bool,
    /// What is there instead, where it was not applied and there is a row.
    there: HashMap<String, CqlValue>,
}

impl Answer {
    fn read(result: QueryResult) -> Result<Self, StoreError> {
        let result = result.into_rows_result().map_err(unreadable)?;
        let names: Vec<String> = result
            .column_specs()
            .iter()
            .map(|column| column.name().to_owned())
            .collect();
        let row: Row = result.first_row().map_err(unreadable)?;
        let mut there: HashMap<String, CqlValue> = names
            .into_iter()
            .zip(row.columns)
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        match there.remove("[applied]") {
            Some(CqlValue::Boolean(applied)) => Ok(Self { applied, there }),
            _ => Err(unreadable(
                "a transaction did not say whether it was applied",
            )),
        }
    }

    pub fn uuid(&self, column: &str) -> Option<Uuid> {
        self.there.get(column).and_then(CqlValue::as_uuid)
    }

    pub fn text(&self, column: &str) -> Option<&str> {
        self.there.get(column)?.as_text().map(String::as_str)
    }

    pub fn int(&self, column: &str) -> Option<i32> {
        self.there.get(column).and_then(CqlValue::as_int)
    }

    pub fn uuids(&self, column: &str) -> Vec<Uuid> {
        match self.there.get(column) {
            Some(CqlValue::List(values)) => values.iter().filter_map(CqlValue::as_uuid).collect(),
            _ => Vec::new(),
        }
    }
}

/// Runs a lightweight transaction.
pub(super) async fn transact(
    session: &Session,
    statement: &PreparedStatement,
    values: impl SerializeRow,
) -> Result<Answer, StoreError> {
    Answer::read(session.execute_unpaged(statement, values).await?)
}
