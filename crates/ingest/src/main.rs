//! The program `simbdp-ingest`: reads arguments, sets up logging and runs one of its commands.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Parser;
use simbdp_ingest::args::{Cli, Command, LogFormat};
use simbdp_ingest::{app, load};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "failed");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<()> {
    log(&cli)?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a TLS provider is installed already"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    match cli.command {
        Command::Run(args) => runtime.block_on(app::run(args, None)),
        Command::Exec(args) => runtime.block_on(app::run(args.run, Some(args.own))),
        Command::Load(args) => {
            let report = runtime.block_on(load::load(&args))?;
            println!("{}", serde_json::to_string_pretty(&report)?);
            match report.error {
                None => Ok(()),
                Some(error) => Err(anyhow!(error)),
            }
        }
    }
}

fn log(cli: &Cli) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&cli.log).context("--log")?;
    let writer = match cli.command {
        Command::Run(_) | Command::Exec(_) => BoxMakeWriter::new(std::io::stdout),
        Command::Load(_) => BoxMakeWriter::new(std::io::stderr),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    let installed = match cli.log_format {
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        LogFormat::Text => subscriber.try_init(),
    };
    installed.map_err(|error| anyhow!("cannot set up the log: {error}"))
}
