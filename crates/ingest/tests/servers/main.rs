//! The program itself against a real Cassandra, a real MongoDB and a real RabbitMQ. The gateway's internal API is a stand-in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod direct;
mod files;
mod messages;
mod support;
