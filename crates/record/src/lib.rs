//! Records: typed values, their conversion from CSV and JSON, and checks of names and constraints.
//! Pure: bytes in, values or reasons out. Gateway, ingest app and command line share it, so that all
//! three say the same of the same input.
//!
//! | step | module |
//! |---|---|
//! | a table's declaration → [`RowSchema`] | [`schema`] |
//! | bytes of a file → [`Rows`] and rejected rows | [`decoder`] |
//! | one message → its row | [`message`] |
//! | windows in which files are queued | [`schedule`] |
//! | value → JSON, query parameter → value | [`json`] |
//! | name of a file → format and compression | [`file_name`] |
//! | file against its pipeline's constraints | [`constraints`] |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod convert;
mod csv;
mod digits;
mod framing;
mod instant;
mod mended;
mod ndjson;
mod object;
mod time;

pub mod constraints;
pub mod decoder;
pub mod file_name;
pub mod json;
pub mod lines;
pub mod message;
pub mod row;
pub mod rows;
pub mod schedule;
pub mod schema;
pub mod value;

pub use constraints::{FileRules, Violation};
pub use decoder::{Decoder, FileFault, Only, Origin, Totals};
pub use file_name::{FileName, FileNameError};
pub use lines::LineCounter;
pub use row::{Row, RowFault};
pub use rows::{BatchLimits, RowRef, Rows};
pub use schema::{ColumnSchema, RowSchema, SchemaError};
pub use value::{Value, ValueError, ValueRef};

/// Largest field of a record, in bytes.
pub const MAX_FIELD_BYTES: usize = 1 << 20;
/// Largest record of a file, in bytes as written. It bounds the memory of a decoder.
pub const MAX_RECORD_BYTES: usize = 2 << 20;
/// Largest text or blob in a column of the primary key, in bytes: eight of them stay within
/// Cassandra's 65,535 bytes for a partition key.
pub const MAX_KEY_BYTES: usize = 8_000;
/// Most bytes of a rejected record that are kept.
pub const RAW_LIMIT: usize = 4 << 10;
