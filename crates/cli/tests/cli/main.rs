//! The real program against a gateway that answers, fails and goes silent at chosen calls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod again;
mod fake;
mod fetchdata;
mod ingestmessage;
mod output;
mod plan;
mod program;
mod watch;
