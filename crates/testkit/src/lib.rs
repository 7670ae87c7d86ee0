//! Servers, faults and assertions that the tests share.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod cassandra;
pub mod certificates;
pub mod fake_broker;
pub mod fake_coredms;
pub mod fault;
pub mod fault_admin;
pub mod fault_http;
pub mod kafka;
pub mod mongodb;
pub mod rabbitmq;
mod server_process;
