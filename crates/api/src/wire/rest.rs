//! Bodies of the gateway's public API. Field names are camelCase; times are RFC 3339 in UTC.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::column_type::ColumnType;
use crate::pipeline::{Compression, Format, PrimaryKey};
use crate::wire::config::{BatchConstraints, StreamConstraints};

/// An error as RFC 9457 problem details, media type `application/problem+json`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Problem {
    /// URI reference that names the kind of problem, e.g. `https://simbdp.dev/problems/file-too-large`.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// Short summary of the kind of problem.
    pub title: String,
    /// HTTP status code.
    pub status: u16,
    /// What went wrong here and what would be right.
    pub detail: String,
    /// Path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Single faults, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

/// One fault in a record.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// Index of the record in the request, from 0, or line of the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// Field or column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// `POST /v1/pipelines/{p}/messages`: one result for each record, in order.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessagesResult {
    /// Source id of the records: `<pipeline>/<user>/<Idempotency-Key>`, or one that is assigned.
    pub source: String,
    /// Records accepted: confirmed by the queue.
    pub accepted: u64,
    /// Records rejected.
    pub rejected: u64,
    /// Faults of the rejected records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

/// `PUT /v1/pipelines/{p}/files/{name}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadResult {
    /// Id of the file, for the ledger.
    pub id: Uuid,
    /// Whether the same bytes were uploaded before: `id` is then the first one's.
    #[serde(default)]
    pub duplicate: bool,
    /// SHA-256 of the bytes received, lower-case hexadecimal.
    pub sha256: String,
    /// Bytes received.
    pub bytes: u64,
    /// URL path of the file's ledger entry.
    pub location: String,
    /// When the pipeline's next window begins, where the file waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<DateTime<Utc>>,
}

/// State of a file in the ledger.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum FileState {
    /// Durable in staging, not yet confirmed by the queue.
    Staged,
    /// Confirmed by the queue.
    Queued,
    /// Being ingested.
    Ingesting,
    /// Every row is written or quarantined.
    Done,
    /// Nothing of it shows, or it stopped where `error` says.
    Failed,
    /// The same bytes as another file; nothing was written for it.
    Duplicate,
}

/// A file in the ledger.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileRecord {
    /// Id of the file.
    pub id: Uuid,
    /// Pipeline that it was uploaded to.
    pub pipeline: String,
    /// Name that the client gave.
    pub name: String,
    /// State.
    pub state: FileState,
    /// Format of the content.
    pub format: Format,
    /// Compression of the bytes as uploaded.
    pub compression: Compression,
    /// Bytes as uploaded.
    pub bytes: u64,
    /// SHA-256 of the bytes as uploaded.
    pub sha256: String,
    /// User who uploaded it.
    pub user: String,
    /// When it was accepted.
    pub accepted_at: DateTime<Utc>,
    /// When the state changed last.
    pub updated_at: DateTime<Utc>,
    /// Rows written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<u64>,
    /// Rows quarantined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<u64>,
    /// Seconds from the start of ingest to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// URL path of the quarantined rows, when there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The file with the same bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<Uuid>,
    /// How often it was replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replays: Option<u32>,
    /// The file that it mends: its records have that one's identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mends: Option<Uuid>,
    /// When the pipeline's next window begins, where it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<DateTime<Utc>>,
}

/// `POST /v1/files/{id}/replay`: the file is ingested once more.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    /// Id of the file.
    pub id: Uuid,
    /// How often it was replayed, with this time.
    pub replays: u32,
    /// When the pipeline's next window begins, where it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<DateTime<Utc>>,
    /// URL path of the file's ledger entry.
    pub location: String,
}

/// `GET /v1/files`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilePage {
    /// Files, newest first.
    pub files: Vec<FileRecord>,
    /// Pass as `page` to get the next ones; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page: Option<String>,
}

/// A quarantined row: one line of `GET /v1/files/{id}/rejects` (NDJSON). Where a file has more of them than
/// its reject file takes, the last line stands for the others: `reason` says how many, `line` is the first
/// one's, and `raw` is empty.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedRow {
    /// Line of the uncompressed file on which the record starts, from 1.
    pub line: u64,
    /// Which record of the file it is, from 0: its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u64>,
    /// Column, where the fault is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What is wrong and what would be right.
    pub reason: String,
    /// The record as it was read, at most 4 KiB of it, invalid UTF-8 replaced.
    pub raw: String,
    /// Whether `raw` is not the whole record.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cut: bool,
    /// On the first line, where the file is CSV: its header line, which says the order of the fields in `raw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// `GET /v1/pipelines/{p}/constraints`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineConstraints {
    /// The pipeline.
    pub pipeline: String,
    /// The table that records are written to.
    pub table: String,
    /// What a file must conform to, for a batch pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchConstraints>,
    /// What a message must conform to, for a stream pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamConstraints>,
    /// Fields that a record has; none where the tenant's own program reads the records, whatever they have.
    pub fields: Vec<Field>,
}

/// A field of a record.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// Name in the file's header or the message.
    pub name: String,
    /// Column that it is written to.
    pub column: String,
    /// Type of the column.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Whether a record must have a value for it.
    pub required: bool,
}

/// `GET /v1/tables/{t}/rows`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowPage {
    /// Rows: objects by column name. Integers are JSON numbers, beyond 2^53 as well; decimals are strings, so that no reader
    /// rounds them.
    pub rows: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Pass as `page` to get the next ones; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page: Option<String>,
}

/// `GET /v1/tables/{t}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableDescription {
    /// Name of the table.
    pub name: String,
    /// Columns by name and type.
    pub columns: Vec<Field>,
    /// Primary key; absent where the record's identity is the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_key: Option<PrimaryKey>,
}

/// `GET /v1/pipelines`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineList {
    /// Pipelines by name, each as `GET /v1/pipelines/{p}/constraints` shows it.
    pub pipelines: Vec<PipelineConstraints>,
}

/// `GET /v1/tables`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableList {
    /// Tables by name, each as `GET /v1/tables/{t}` shows it.
    pub tables: Vec<TableDescription>,
}
