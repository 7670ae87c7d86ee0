//! Configuration files that the operator writes and the gateway and ingest apps read.

use serde::{Deserialize, Serialize};

use crate::app::{self, AppOutput};
use crate::names::{PipelineName, TenantName};
use crate::pipeline::{Compression, FileCount, Format, TableSpec};
use crate::tenant::Role;

/// One pipeline, validated: what the gateway accepts for it and what an ingest app does with it.
/// One file `<pipeline>.json` in the ConfigMap of pipelines.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PipelineConfig {
    /// The tenant.
    pub tenant: TenantName,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// `metadata.uid` of the IngestPipeline: another one of the same name has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// `metadata.generation` of the IngestPipeline that this was made from; the gateway reports it.
    pub generation: i64,
    /// Whether the gateway accepts new work; false while the pipeline is deleted, with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// Files or messages, and what they must conform to.
    pub mode: Mode,
    /// Keyspace of the table.
    pub keyspace: String,
    /// The table and how its columns are read.
    pub table: TableSpec,
    /// The tenant's own program, which reads files or messages instead of the built-in app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppConfig>,
    /// Attempts at a file or message that fails for a reason of its own.
    #[serde(default = "app::default_max_attempts")]
    pub max_attempts: u32,
}

/// What the runner of a tenant's own program needs to know; image and command are the pod's.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppConfig {
    /// Who writes to the table.
    pub output: AppOutput,
    /// Seconds that the program has for one file, or for the oldest message that it was given.
    pub timeout_seconds: u32,
}

impl PipelineConfig {
    /// Whether work of the IngestPipeline with this UID is that of another one, which had the same name
    /// and is gone. Unknown UIDs are taken for the same.
    pub fn is_another(&self, uid: Option<&str>) -> bool {
        matches!((self.uid.as_deref(), uid), (Some(own), Some(other)) if own != other)
    }
}

/// Files or messages, and what they must conform to: the pipeline's constraints within the platform's ceilings.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Mode {
    /// Files come in.
    #[serde(rename_all = "camelCase")]
    Batch(BatchConstraints),
    /// Messages come in.
    #[serde(rename_all = "camelCase")]
    Stream(StreamConstraints),
}

/// What a file must conform to. Also the body of `GET /v1/pipelines/{p}/constraints`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchConstraints {
    /// Accepted formats.
    pub formats: Vec<Format>,
    /// Accepted compressions.
    pub compression: Vec<Compression>,
    /// Largest file, uncompressed, in bytes.
    pub max_file_size: u64,
    /// Most files of this pipeline in a period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_files: Option<FileCount>,
    /// Most files of the whole tenant in a period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_max_files: Option<FileCount>,
    /// Regular expression that the whole name must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_pattern: Option<String>,
    /// When files are queued; at any time when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// Windows in which staged files are queued.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// When a window begins, in UTC: five fields of cron.
    pub cron: String,
    /// How long a window is, in seconds.
    pub seconds: u32,
}

/// What a message must conform to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamConstraints {
    /// Largest message, in bytes.
    pub max_message_size: u64,
}

/// The users' file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Users {
    /// Every user of the tenant's gateway.
    pub users: Vec<UserRecord>,
}

/// A user, without anything that could be used to log in.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserRecord {
    /// Name to log in with.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Password hash in PHC string format, argon2id.
    pub password_hash: String,
    /// SHA-256 of the token, lower-case hexadecimal.
    pub token_sha256: String,
}
