//! The ingest app against fakes: who may acknowledge what, and when.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batch;
mod fakes;
mod http;
mod limits;
mod rig;
mod settings;
mod stream;
mod suspects;
