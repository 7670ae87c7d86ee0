//! The gateway's internal API, on a port of its own, with `Authorization: Bearer <internal token>`:
//!
//! | request | answer |
//! |---|---|
//! | `GET /internal/state` | [`GatewayState`]: what the operator shows in status |
//! | `POST /internal/drain` | [`DrainState`]: the replica is to go; for a minute it takes no more uploads and is not ready |
//! | `GET /internal/files/{id}/content` | the staged bytes, streamed; 404 when they are gone |
//! | `DELETE /internal/files/{id}/content` | drops the staged bytes of a file that is done; idempotent |
//! | `GET /internal/files/{id}/rejects` | the reject file, streamed NDJSON; 404 when this replica has none |
//! | `POST /internal/files/{id}/replay?rejects=` | `Replayed`: ingests the file once more; 404 when its bytes are not here |
//! | `PUT /internal/files/{id}/rejects` | replaces the reject file, streamed NDJSON, durable on 204 |

use serde::{Deserialize, Serialize};

/// `GET /internal/state` of one gateway replica.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayState {
    /// Pipelines that this replica has loaded.
    pub pipelines: Vec<LoadedPipeline>,
    /// Files staged on this replica that are not done.
    pub staged_files: u64,
    /// Whether the coredms answers this replica.
    pub coredms: bool,
    /// Whether the broker answers this replica.
    pub broker: bool,
}

/// Answer of `POST /internal/drain`: what keeps a gateway replica from being taken away.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainState {
    /// Files staged on this replica that are not done.
    pub staged_files: u64,
    /// Files that are being received since before it was told.
    pub receiving: u64,
}

impl DrainState {
    /// Whether the replica may go.
    pub fn is_empty(&self) -> bool {
        self.staged_files + self.receiving == 0
    }
}

/// One pipeline, as a gateway replica sees it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadedPipeline {
    /// Name of the pipeline.
    pub name: String,
    /// Generation that is loaded and served.
    pub generation: i64,
    /// Rows written by all ingest apps of the pipeline, from the platform keyspace; absent while it cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Rows and messages rejected, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<u64>,
    /// Requests in flight that bring the pipeline files or messages.
    #[serde(default)]
    pub in_flight: u64,
    /// Files staged on this replica whose queue has not confirmed them yet.
    #[serde(default)]
    pub unpublished: u64,
    /// Whole seconds since this replica last published to the queue; absent when it has not since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_seconds: Option<u64>,
}
