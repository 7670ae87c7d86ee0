//! Against real servers of each kind: one server for all tests, which kill it one at a time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod consuming;
mod dead_letters;
mod kafka;
mod loss;
mod publishing;
mod queues;
mod rabbitmq;
mod support;
mod tls;
