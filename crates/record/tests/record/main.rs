//! Records as gateway, ingest app and command line see them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod against_csv_crate;
mod bounds;
mod conversion;
mod csv_files;
mod json_values;
mod messages;
mod names_and_rules;
mod ndjson_files;
mod real_lines;
mod schemas;
mod support;
