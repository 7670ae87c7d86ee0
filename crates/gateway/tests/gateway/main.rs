//! A gateway over fakes of what stands behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod closing;
mod dead_letters;
mod messages;
mod process;
mod reads;
mod recovery;
mod replay;
mod schedule;
mod support;
mod uploads;
mod waking;
mod wire;
