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
    /// Those that are numbers, for brokers whose headers are bytes.
    pub const INTEGERS: [&str; 4] = [VERSION, ORDINAL, ATTEMPTS, CONDEMNED_AT];
}
