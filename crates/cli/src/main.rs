//! `simbdp`, also `kubectl-simbdp`: what a tenant's people do from a terminal.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod args;
mod client;
mod connect;
mod constraints;
mod dlq;
mod error;
mod fetchdata;
mod ingestmessage;
mod ledger;
mod local_check;
mod output;
mod plan;
mod query;
mod replay;
mod restart;
mod signals;
mod status;
mod upload;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::error::CliError;

#[tokio::main]
async fn main() -> ExitCode {
    // Both of rustls's providers are in the tree: one must be chosen before the first connection.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("error: a TLS provider was installed twice");
        return ExitCode::from(1);
    }
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("SIMBDP_LOG"))
        .with_writer(std::io::stderr)
        .init();
    match run(args).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(args: Args) -> Result<ExitCode, CliError> {
    let Args {
        connection,
        output,
        command,
    } = args;
    match command {
        Command::Fetchdata(verb) => fetchdata::run(&connection, output, verb).await,
        Command::Ingestmessage(verb) => ingestmessage::run(&connection, output, verb).await,
        Command::Query(verb) => query::run(&connection, output, verb).await,
        Command::Constraints(verb) => constraints::run(&connection, output, verb).await,
        Command::Ledger(verb) => ledger::run(&connection, output, verb).await,
        Command::Dlq(verb) => dlq::run(&connection, output, verb).await,
        Command::Replay(verb) => replay::run(&connection, output, verb).await,
        Command::Status(verb) => status::run(&connection, output, verb).await,
        Command::Plan(verb) => plan::run(output, verb).await,
        Command::Restart(verb) => restart::run(&connection, output, verb).await,
    }
}
