//! Against a real RabbitMQ: one server for all tests, which kill it one at a time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod consuming;
mod dead_letters;
mod isolation;
mod loss;
mod proxy;
mod publishing;
mod queues;
mod support;
mod tenancy;
