//! What users do, on a real cluster: the main job, isolation, bad input, kills, teardown.
//! `make test` brings the cluster up, installs the chart and runs this; tests of different tenants run at the same time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
mod engines;

mod activation;
mod again;
mod bad_input;
mod brokers;
mod chart;
mod cli;
mod database;
mod deletion;
mod elsewhere;
mod elsewhere_brokers;
mod external;
mod harness;
mod isolation;
mod kills;
mod lifecycle;
mod main_job;
mod members;
mod missed;
mod own_apps;
mod pause;
mod quorum;
mod scale;
mod table;
mod turns;
