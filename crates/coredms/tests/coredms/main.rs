//! The Cassandra coredms against a real server, one for all of these tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bootstrap;
mod cluster;
mod ledger;
mod members;
mod reads;
mod rows;
mod server;
mod tables;
mod tenancy;
