//! `IngestPipeline`: how files or messages come into one table of a tenant.

use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::{AppSpec, DeliverySpec};
use crate::column_type::ColumnType;
use crate::common::{Conditions, LocalRef, Quantity};

/// What a tenant's developer declares of a pipeline.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "simbdp.dev",
    version = "v1alpha1",
    kind = "IngestPipeline",
    plural = "ingestpipelines",
    shortname = "ip",
    shortname = "ipl",
    category = "simbdp",
    namespaced,
    status = "IngestPipelineStatus",
    derive = "PartialEq",
    doc = "How files (batch) or messages (stream) come into one table of a tenant.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Active", type_ = "string", json_path = ".status.conditions[?(@.type=='Active')].status"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.mode"),
    printcolumn(name = "Backlog", type_ = "integer", json_path = ".status.backlog"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Rows", type_ = "integer", json_path = ".status.rows"),
    printcolumn(name = "Rejected", type_ = "integer", json_path = ".status.rejected"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message("the name of an IngestPipeline has 1 to 40 lower-case letters, digits and dashes, starts with a letter and ends with a letter or a digit"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.batch) != has(self.stream)").message("exactly one of batch and stream must be set"))]
#[x_kube(validation = Rule::new("has(self.batch) == has(oldSelf.batch)").message("a pipeline cannot change between batch and stream: create another one"))]
#[x_kube(validation = Rule::new("self.table.name == oldSelf.table.name").message("table.name is immutable: create another pipeline for another table"))]
#[x_kube(validation = Rule::new("!has(self.app) || !has(self.app.timeoutSeconds) || !has(self.delivery) || self.app.timeoutSeconds * self.delivery.maxAttempts <= 82800").message("app.timeoutSeconds times delivery.maxAttempts is at most 82800 (23 hours): a broker takes work back after a day"))]
#[x_kube(validation = Rule::new("!has(oldSelf.table.shardKey) || has(self.table.shardKey)").message("table.shardKey cannot be removed: a table keeps its shard key"))]
pub struct IngestPipelineSpec {
    /// Files come in. Exactly one of batch and stream must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchSpec>,
    /// Messages come in. Exactly one of batch and stream must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamSpec>,
    /// The table that the records are written to.
    pub table: TableSpec,
    /// The tenant's own program, which reads the files or messages instead of the built-in app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppSpec>,
    /// How often is tried what fails.
    #[serde(default)]
    pub delivery: DeliverySpec,
    /// How many ingest apps run.
    #[serde(default)]
    pub scaling: ScalingSpec,
    /// Whether ingest apps are stopped. What comes in is accepted and kept in the queue.
    #[serde(default)]
    pub paused: bool,
}

/// Files come in.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchSpec {
    /// What a file must conform to, checked before it is persisted.
    #[serde(default)]
    pub constraints: FileConstraints,
    /// When files are given to ingest apps: until then they are accepted and stay staged. At any time when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleSpec>,
}

/// Windows in which staged files are queued.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.cron.matches('^[^ @]+( +[^ @]+){4}$')").message("schedule.cron has five fields: minute, hour, day of the month, month, day of the week, e.g. 0 2 * * *"))]
pub struct ScheduleSpec {
    /// When a window begins, in UTC: minute, hour, day of the month, month, day of the week, e.g. `0 2 * * *`
    /// (<https://docs.rs/croner/latest/croner/>).
    #[schemars(length(min = 9, max = 128))]
    pub cron: String,
    /// How long a window is: a whole number with the unit m, h or d, at most 7 days, e.g. `4h`.
    pub duration: WindowLength,
}

/// Length of a window: a whole number with the unit m, h or d.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(transparent)]
pub struct WindowLength(
    #[schemars(length(min = 2, max = 6), pattern(r"^[1-9][0-9]*(m|h|d)$"))] pub String,
);

/// A length that no window has.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a length of at most 7 days; write for example 30m, 4h or 1d")]
pub struct WindowLengthError(pub String);

impl WindowLength {
    /// Longest window, in seconds.
    pub const MAX_SECONDS: u32 = 7 * 86_400;

    /// The length in seconds.
    pub fn seconds(&self) -> Result<u32, WindowLengthError> {
        let error = || WindowLengthError(self.0.clone());
        let unit = match self.0.chars().last() {
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => return Err(error()),
        };
        self.0[..self.0.len() - 1]
            .parse::<u32>()
            .ok()
            .and_then(|count| count.checked_mul(unit))
            .filter(|seconds| (1..=Self::MAX_SECONDS).contains(seconds))
            .ok_or_else(error)
    }
}

/// What a file must conform to.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileConstraints {
    /// Accepted formats, told by the file's extension; those of the tenant's ceiling, or all, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub formats: Option<Vec<Format>>,
    /// Accepted compressions, told by the file's last extension.
    #[serde(default = "Compression::all")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub compression: Vec<Compression>,
    /// Largest file, uncompressed; the tenant's ceiling, or 1Gi, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_file_size: Option<Quantity>,
    /// Most files in a period. Not limited when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_files: Option<FileCount>,
    /// Regular expression (<https://docs.rs/regex/latest/regex/#syntax>) that the whole file name must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name_pattern: Option<String>,
}

impl Default for FileConstraints {
    fn default() -> Self {
        Self {
            formats: None,
            compression: Compression::all(),
            max_file_size: None,
            max_files: None,
            name_pattern: None,
        }
    }
}

/// Largest file in bytes where neither pipeline nor tenant says: 1Gi.
pub const DEFAULT_MAX_FILE_SIZE: u64 = 1 << 30;

/// Largest message that a pipeline may declare, in bytes, and largest body that a gateway takes other
/// than an upload. A broker would take twice as much.
pub const MAX_MESSAGE_SIZE: u64 = 8 << 20;

/// Format of a file.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// RFC 4180 with a header line; extension `.csv`.
    Csv,
    /// One JSON object a line; extension `.ndjson` or `.jsonl`.
    Ndjson,
}

impl Format {
    /// Every format.
    pub fn all() -> Vec<Self> {
        vec![Self::Csv, Self::Ndjson]
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        })
    }
}

/// Compression of a file.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As it is.
    None,
    /// RFC 1952; extension `.gz`.
    Gzip,
    /// RFC 8878, windows up to 8 MiB; extension `.zst`.
    Zstd,
}

impl Compression {
    /// Every compression.
    pub fn all() -> Vec<Self> {
        vec![Self::None, Self::Gzip, Self::Zstd]
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// A number of files in a period.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileCount {
    /// Most files in the period.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: u32,
    /// The period, in UTC.
    pub per: Period,
}

/// A period, in UTC.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Period {
    /// From minute 0 to minute 59.
    Hour,
    /// From midnight to midnight.
    Day,
}

/// Messages come in.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamSpec {
    /// Format of a message.
    #[serde(default)]
    pub format: MessageFormat,
    /// Largest message, in bytes.
    #[serde(default = "default_max_message_size")]
    pub max_message_size: Quantity,
}

fn default_max_message_size() -> Quantity {
    "256Ki".into()
}

/// Format of a message.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageFormat {
    /// One JSON object.
    #[default]
    Json,
}

/// A table and how its columns are read from records.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.primaryKey) || self.primaryKey.partition.all(p, self.columns.exists(c, c.name == p))").message("primaryKey.partition names a column that is not in columns"))]
#[x_kube(validation = Rule::new("!has(self.primaryKey) || !has(self.primaryKey.clustering) || self.primaryKey.clustering.all(k, self.columns.exists(c, c.name == k.column))").message("primaryKey.clustering names a column that is not in columns"))]
#[x_kube(validation = Rule::new("!has(self.primaryKey) || !has(self.primaryKey.clustering) || self.primaryKey.clustering.all(k, !(k.column in self.primaryKey.partition))").message("a column is either in primaryKey.partition or in primaryKey.clustering"))]
#[x_kube(validation = Rule::new("!has(self.shardKey) || !has(self.shardKey.hashed) || (has(self.primaryKey) ? (self.shardKey.hashed in self.primaryKey.partition || (has(self.primaryKey.clustering) && self.primaryKey.clustering.exists(k, k.column == self.shardKey.hashed))) : self.shardKey.hashed in ['simbdp_source', 'simbdp_bucket', 'simbdp_ordinal'])").message("shardKey.hashed names a column that is not in the primary key"))]
#[x_kube(validation = Rule::new("!has(self.shardKey) || !has(self.shardKey.ranged) || self.shardKey.ranged.all(s, has(self.primaryKey) ? (s in self.primaryKey.partition || (has(self.primaryKey.clustering) && self.primaryKey.clustering.exists(k, k.column == s))) : s in ['simbdp_source', 'simbdp_bucket', 'simbdp_ordinal'])").message("shardKey.ranged names a column that is not in the primary key"))]
pub struct TableSpec {
    /// Name of the table in the tenant's keyspace.
    #[schemars(length(min = 1, max = 48), pattern(r"^[a-z][a-z0-9_]*$"))]
    pub name: String,
    /// Columns of the table, additive: columns may be added later, none changed or removed.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub columns: Vec<Column>,
    /// Primary key. When absent, the record's identity is the key, in the columns
    /// `simbdp_source`, `simbdp_bucket` and `simbdp_ordinal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_key: Option<PrimaryKey>,
    /// How long rows live, counted from acceptance, e.g. `90d`, `12h`. For ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
    /// How rows are spread over the shards of an external MongoDB that is a sharded cluster. When absent, nothing is
    /// asked: a new table lies on one shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard_key: Option<ShardKey>,
}

/// How rows are spread over shards, by columns of the primary key. A table keeps its shard key.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.hashed) != has(self.ranged)").message("exactly one of shardKey.hashed and shardKey.ranged must be set"))]
pub struct ShardKey {
    /// The column whose hash tells the shard: rows are spread evenly. Exactly one of hashed and ranged must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 48))]
    pub hashed: Option<String>,
    /// The columns whose values tell the shard, in this order: the cluster's owner may put zones on their ranges, such
    /// as countries. Exactly one of hashed and ranged must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 48)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub ranged: Option<Vec<String>>,
}

impl ShardKey {
    /// Its columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = &String> {
        self.hashed.iter().chain(self.ranged.iter().flatten())
    }
}

/// A column and how it is read from a record.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.name.startsWith('simbdp_')").message("column names that start with simbdp_ are the platform's own"))]
#[x_kube(validation = Rule::new("!has(self.timeFormat) || self.type in ['timestamp', 'date', 'time']").message("timeFormat needs a column of type timestamp, date or time"))]
pub struct Column {
    /// Name of the column.
    #[schemars(length(min = 1, max = 48), pattern(r"^[a-z][a-z0-9_]*$"))]
    pub name: String,
    /// Type of the column: text, int, bigint, float, double, decimal, boolean, timestamp, date, time, uuid, blob, `list<T>`, `map<T,T>`.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Name of the field in the file or message; the column's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub from: Option<String>,
    /// Texts that mean null, e.g. `NA`. The empty CSV field is null for every type but text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub null_values: Vec<String>,
    /// How times are written, in strftime's terms
    /// (<https://docs.rs/chrono/latest/chrono/format/strftime/>); ISO 8601 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_format: Option<String>,
    /// Whether a record without a value for this column is invalid. Key columns always are required.
    #[serde(default)]
    pub required: bool,
}

impl Column {
    /// Name of the field in a record that this column is read from.
    pub fn source(&self) -> &str {
        self.from.as_deref().unwrap_or(&self.name)
    }
}

/// The primary key of a table.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrimaryKey {
    /// Columns that tell the partition of a row.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 48)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub partition: Vec<String>,
    /// Columns that order the rows of a partition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["column".into()]))]
    pub clustering: Vec<ClusteringColumn>,
}

/// A column that orders the rows of a partition.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusteringColumn {
    /// Name of the column.
    #[schemars(length(min = 1, max = 48))]
    pub column: String,
    /// Order of the rows.
    #[serde(default)]
    pub order: Order,
}

/// Order of rows.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Order {
    /// Smallest first.
    #[default]
    Ascending,
    /// Largest first.
    Descending,
}

/// A time to live: a whole number with the unit s, m, h or d.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Ttl(
    #[schemars(length(min = 2, max = 12), pattern(r"^[1-9][0-9]*(s|m|h|d)$"))] pub String,
);

/// A time to live that cannot be kept.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a time to live of at most 20 years; write for example 90d, 12h or 3600s")]
pub struct TtlError(pub String);

impl Ttl {
    /// Largest time to live, in seconds: Cassandra's own limit of 20 years.
    pub const MAX_SECONDS: u32 = 630_720_000;

    /// The time to live in seconds.
    pub fn seconds(&self) -> Result<u32, TtlError> {
        let error = || TtlError(self.0.clone());
        let unit = match self.0.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => return Err(error()),
        };
        self.0[..self.0.len() - 1]
            .parse::<u32>()
            .ok()
            .and_then(|count| count.checked_mul(unit))
            .filter(|seconds| (1..=Self::MAX_SECONDS).contains(seconds))
            .ok_or_else(error)
    }
}

/// How many ingest apps run: as many as what waits asks for, between a least and a most.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.maxReplicas) || self.maxReplicas >= self.minReplicas").message("scaling.maxReplicas is less than scaling.minReplicas: raise it, or lower minReplicas"))]
pub struct ScalingSpec {
    /// Ingest apps that always run. With 0, none does while nothing comes in; the first file or message starts one.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub min_replicas: u16,
    /// Most ingest apps; 5, or minReplicas where that is more, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_replicas: Option<u16>,
    /// Files or messages, waiting or being ingested, that one ingest app is to have; 5 files or 1000 messages when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub target_backlog: Option<u32>,
    /// How long fewer ingest apps must have been enough before some are stopped, in seconds; the last one is stopped when
    /// nothing waited and nothing was being ingested for so long.
    #[serde(default = "default_cooldown_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub cooldown_seconds: u32,
}

impl ScalingSpec {
    /// Most ingest apps where a pipeline does not say.
    pub const MAX_REPLICAS: u16 = 5;
    /// Files that one ingest app is to have where a pipeline does not say: it takes one at a time.
    pub const TARGET_FILES: u32 = 5;
    /// Messages that one ingest app is to have where a pipeline does not say.
    pub const TARGET_MESSAGES: u32 = 1000;
    /// Shortest cooldown, in seconds: figures of a broker are late by some.
    pub const MIN_COOLDOWN_SECONDS: u32 = 10;

    /// Most ingest apps.
    pub fn max(&self) -> u16 {
        self.max_replicas
            .unwrap_or_else(|| Self::MAX_REPLICAS.max(self.min_replicas))
    }
}

impl Default for ScalingSpec {
    fn default() -> Self {
        Self {
            min_replicas: 0,
            max_replicas: None,
            target_backlog: None,
            cooldown_seconds: default_cooldown_seconds(),
        }
    }
}

fn default_cooldown_seconds() -> u32 {
    300
}

/// What the operator has seen of a pipeline.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IngestPipelineStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The latest observations.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// `Batch` or `Stream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub mode: Option<String>,
    /// Files or messages that wait in the queue or are being ingested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<i64>,
    /// Messages, or work on files, in the dead-letter queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<i64>,
    /// Ingest apps that are ready; 0 while nothing comes in and none has to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Rows written since the pipeline was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Rows and messages rejected since the pipeline was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<i64>,
    /// The Secret that binds a workload to the tenant's database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<LocalRef>,
}
