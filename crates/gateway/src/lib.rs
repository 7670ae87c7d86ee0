//! The tenant's REST front end: uploads, messages, ledger and reads.
//!
//! One process per replica, each with a staging volume of its own. Data flows one way: request →
//! [`auth`] → checks of `simbdp-record` → queue, or [`receive`] → [`staging`] → [`intake`] → queue. The
//! [`sweeper`] finishes what a crash or an outage interrupted.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod api;
pub mod args;
pub mod auth;
pub mod binding;
pub mod clock;
pub mod config;
pub mod dead_letters;
pub mod drain;
pub mod flights;
pub mod gateway;
pub mod idempotency;
pub mod intake;
pub mod metrics;
pub mod pace;
pub mod pipeline;
pub mod problem;
pub mod query;
pub mod receive;
pub mod replay;
pub mod run;
pub mod server;
pub mod staging;
pub mod sweeper;
pub mod tables;
pub mod wake;
