//! The operator against a real API server: one control plane for the whole run, no node, and servers
//! in memory in the place of brokers and databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod activation;
mod admission;
mod campaign;
mod end_state;
mod external;
mod pipelines;
mod plan;
mod repair;
mod rollout;
mod server;
mod servers;
mod shared;
mod size;
mod tenants;
mod volumes;
mod world;
