//! The operator: controllers of Tenant, IngestPipeline, CoreDms and Broker, each a pipeline of named steps
//! (dereference, validate, build, apply, observe, status), and what drives them.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod apply;
pub mod conditions;
pub mod config;
pub mod context;
pub mod controller_runtime;
pub mod error;
pub mod events;
pub mod gateways;
pub mod metrics;
pub mod requeue;
pub mod secrets_watch;
pub mod triggers;
