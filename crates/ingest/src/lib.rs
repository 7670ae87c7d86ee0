//! The ingest app: moves staged files and queued messages into the tenant's tables.
//!
//! | step | batch | stream |
//! |---|---|---|
//! | source | [`source::files`], [`staging_client`], [`content`] | [`source::messages`] |
//! | constraint | [`decode`] | [`decode`] |
//! | sink | [`sink`], [`rejects`] | [`sink`], [`dead_letter`] |
//! | acknowledgement | [`batch`] | [`courier`], [`stream`] |
//!
//! With the tenant's own program, work goes through it between source and sink: [`own`].
//!
//! Around them: [`replay`] for files that are ingested once more, [`retry`] for what is transient, [`suspects`] for what comes back too often,
//! [`shutdown`] for an orderly end, [`totals`], [`metrics`] and [`admin`] for what is seen from outside.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod app;
pub mod args;
pub mod batch;
pub mod content;
pub mod courier;
pub mod dead_letter;
pub mod decode;
#[cfg(feature = "failpoints")]
pub mod failpoints;
pub mod file;
pub mod load;
pub mod local_staging;
pub mod locate;
pub mod metrics;
pub mod own;
pub mod rejects;
pub mod replay;
pub mod retry;
pub mod settings;
pub mod shutdown;
pub mod sink;
pub mod source;
pub mod staging_client;
pub mod stream;
pub mod suspects;
pub mod totals;

#[cfg(test)]
mod tests;
