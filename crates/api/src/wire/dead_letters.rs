//! Dead letters in the gateway's public API, under `/v1/pipelines/{p}/dead-letters`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most letters of one answer.
pub const MOST_LISTED: u32 = 1_000;
/// Most letters that one request redrives or purges.
pub const MOST_MOVED: u32 = 1_000;

/// `GET /v1/pipelines/{p}/dead-letters`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterList {
    /// The pipeline.
    pub pipeline: String,
    /// Letters that wait; those that another request reads at this moment are not among them.
    pub waiting: u64,
    /// Letters from the front of the queue: usually the oldest first.
    pub letters: Vec<DeadLetter>,
}

/// A message, or the work on a file, that was given up.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Id of the message: source id and ordinal, unique for a record. Empty where the producer gave none.
    pub id: String,
    /// Why it was given up.
    pub reason: String,
    /// Attempts before it was given up; absent where the broker gave it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// When it was given up for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_at: Option<DateTime<Utc>>,
    /// When it was given up last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<DateTime<Utc>>,
    /// How often it was redriven.
    #[serde(default)]
    pub redriven: u32,
    /// Source id of its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Ordinal of its record in the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u64>,
    /// Version of its record: microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// The file that it is about, in a batch pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Uuid>,
    /// Bytes of the message.
    pub bytes: u64,
    /// The message, where it is asked for by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
}

/// The message itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Body {
    /// As it is.
    Text(String),
    /// In base64, where it is not UTF-8.
    Base64(String),
}

/// Body of `POST /v1/pipelines/{p}/dead-letters/redrive` and `…/purge`: which letters. Either `ids` or `all`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selection {
    /// Those with these ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Every one.
    #[serde(default)]
    pub all: bool,
    /// Those alone that were given up last before this time, so that what comes back meanwhile is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<DateTime<Utc>>,
    /// Most letters of this request, up to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What became of a selection.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// Letters that were redriven, or purged.
    pub moved: u64,
    /// Whether there may be more of the selection: send it again.
    pub more: bool,
    /// Letters that were left where they are, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// Ids of the selection that no letter has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// The time before which letters were given up last that this was about: send it with the next request.
    pub before: DateTime<Utc>,
}

/// A letter that was left where it is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: String,
}
