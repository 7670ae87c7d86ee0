//! The operator: controllers of Tenant, IngestPipeline, CoreDms and Broker, each a pipeline of named steps
//! (dereference, validate, build, apply, observe, status), and what drives them.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod activation;
pub mod apply;
pub mod broker;
pub mod conditions;
pub mod config;
pub mod context;
pub mod controller_runtime;
pub mod controllers;
pub mod coredms;
pub mod default_broker;
pub mod error;
pub mod events;
pub mod exec;
pub mod gateways;
pub mod generate;
pub mod health;
pub mod isolation;
pub mod leader;
pub mod login;
pub mod metrics;
pub mod network;
pub mod objects;
pub mod outside;
pub mod pipeline;
pub mod plan;
pub mod pods;
pub mod prepare;
pub mod requeue;
pub mod run;
pub mod secrets_watch;
pub mod telemetry;
pub mod tenant;
pub mod triggers;
pub mod watches;
