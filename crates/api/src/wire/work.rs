//! What lies in a pipeline's queue. One queue holds either files or messages.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::pipeline::{Compression, Format};

/// A staged file that waits for ingest: the JSON body of a message in the queue of a batch pipeline.
/// The same JSON lies beside the staged file as its manifest.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileWork {
    /// Id of the upload (UUID v7), which is the source id of its records.
    pub id: Uuid,
    /// Pipeline that it was uploaded to.
    pub pipeline: String,
    /// `metadata.uid` of that IngestPipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_uid: Option<String>,
    /// Name that the client gave.
    pub name: String,
    /// Format of the uncompressed content.
    pub format: Format,
    /// Compression of the staged bytes.
    pub compression: Compression,
    /// Bytes as uploaded.
    pub size: u64,
    /// Lines of the uncompressed content: an upper bound of its records.
    pub lines: u64,
    /// SHA-256 of the bytes as uploaded, lower-case hexadecimal.
    pub sha256: String,
    /// Version of the record with ordinal 0, microseconds since 1970; record n has this plus n.
    pub version: i64,
    /// User who uploaded it.
    pub user: String,
    /// Base URL of the gateway replica that stages it, e.g. `http://gateway-0.gateway-replicas.tenant-x.svc:8081`.
    pub replica: String,
    /// Whether a file with the same bytes is ingested again.
    #[serde(default)]
    pub force: bool,
    /// Milliseconds since 1970 when it was accepted.
    pub accepted_at: i64,
    /// The file that it mends, whose id is then the source id of its records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mends: Option<Uuid>,
    /// Whether the content is single rows of the file that it mends, as NDJSON of `RejectedRow`, each a record in that file's
    /// format.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mended_rows: bool,
    /// What is asked for, where it is ingested once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

/// Another attempt at a file that has ended: the same bytes, identities and versions.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// How often it was replayed, with this time.
    pub number: u32,
    /// Whether only its quarantined rows are written.
    pub rejects: bool,
    /// Rows that were written before.
    pub accepted: u64,
    /// Rows that were quarantined before.
    pub rejected: u64,
}

impl FileWork {
    /// Source id of its records.
    pub fn source(&self) -> Uuid {
        self.mends.unwrap_or(self.id)
    }

    /// What tells it from other contents of its pipeline: its bytes, and the file that they mend.
    pub fn content_key(&self) -> String {
        match self.mends {
            Some(mended) => format!("{}/{mended}", self.sha256),
            None => self.sha256.clone(),
        }
    }
}

/// Names of headers of a message in a queue; the body of a stream message is the record itself.
pub mod headers {
    /// Version of the record, microseconds since 1970 (long).
    pub const VERSION: &str = "simbdp-version";
    /// Source id of the record (text): `<pipeline>/<user>/<Idempotency-Key>`, or one that the gateway assigned.
    pub const SOURCE: &str = "simbdp-source";
    /// Ordinal of the record in its source, before filtering (long).
    pub const ORDINAL: &str = "simbdp-ordinal";
    /// On a dead letter: why (text).
    pub const REASON: &str = "simbdp-reason";
    /// On a dead letter: attempts made (long).
    pub const ATTEMPTS: &str = "simbdp-attempts";
    /// On a dead letter: when it was condemned, milliseconds since 1970 (long).
    pub const CONDEMNED_AT: &str = "simbdp-condemned-at";
    /// On a dead letter, and on a message that was redriven: when it was condemned for the first time, likewise (long).
    pub const FIRST_CONDEMNED_AT: &str = "simbdp-first-condemned-at";
    /// On a message that was redriven: how often (long).
    pub const REDRIVEN: &str = "simbdp-redriven";
    /// Those that are numbers, for brokers whose headers are bytes.
    pub const INTEGERS: [&str; 6] = [
        VERSION,
        ORDINAL,
        ATTEMPTS,
        CONDEMNED_AT,
        FIRST_CONDEMNED_AT,
        REDRIVEN,
    ];
}
