//! The ingest app against fakes: who may acknowledge what, and when.

mod batch;
mod fakes;
mod http;
mod limits;
mod own;
mod replay;
mod rig;
mod settings;
mod stream;
mod suspects;
