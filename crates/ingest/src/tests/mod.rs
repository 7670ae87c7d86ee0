//! The ingest app against fakes: who may acknowledge what, and when.

mod batch;
mod fakes;
mod http;
mod limits;
mod replay;
mod own;
mod rig;
mod settings;
mod stream;
mod suspects;
