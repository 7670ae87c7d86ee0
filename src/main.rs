//! `simbdp-operator`: arguments → the operator, the generator of definitions, or an init container's work.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use simbdp_operator::generate;
use simbdp_operator::isolation::{self, CheckArgs};
use simbdp_operator::prepare::{self, volume};
use simbdp_operator::run::{RunArgs, run};
use simbdp_operator::telemetry::{self, LogFormat};

/// Kubernetes operator for multi-tenant data ingestion
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

const EXAMPLES: &str = "Examples:
  simbdp-operator run --config /etc/simbdp/operator.yaml
  simbdp-operator crds | kubectl apply --server-side -f -
  simbdp-operator crds --out crds
  simbdp-operator prepare --from /config --to /etc/simbdp --mode 0400";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator; what is done when no command is given
    Run(RunArgs),
    /// Print the custom resource definitions, or write what is generated from them
    Crds {
        /// Directory for one file a definition
        #[arg(long)]
        out: Option<PathBuf>,
        /// Directory of a chart's templates, for one file a definition
        #[arg(long)]
        chart: Option<PathBuf>,
        /// File for the documentation of every field
        #[arg(long)]
        docs: Option<PathBuf>,
    },
    /// Check, in a tenant's namespace, that other tenants' servers refuse its credentials
    CheckIsolation(CheckArgs),
    /// Work of an init container: wait for a first member, copy configuration with the modes that a server demands
    Prepare(PrepareArgs),
}

#[derive(clap::Args, Debug)]
struct PrepareArgs {
    /// Directory to copy from; may be given again, with as many --to
    #[arg(long, requires = "to")]
    from: Vec<PathBuf>,
    /// Directory to copy to
    #[arg(long, requires = "from")]
    to: Vec<PathBuf>,
    /// Mode of the copied files, octal; the last one given holds for the rest
    #[arg(long, default_value = "0400", value_parser = mode)]
    mode: Vec<u32>,
    /// Wait until this address accepts connections, unless this is the first member; `{first}` stands for the first
    /// member's pod, `{previous}` for the one before this
    #[arg(long, value_name = "HOST:PORT")]
    wait_for: Option<String>,
    /// Do not wait when this path exists: the member has started before
    #[arg(long, value_name = "PATH", requires = "wait_for")]
    wait_unless: Option<PathBuf>,
    /// Wait until this name, with `{pod}` for this pod's, has an address of this pod
    #[arg(long, value_name = "HOST")]
    wait_for_name: Option<String>,
    /// Volume of the member: gets an id in the file `simbdp-volume` when it has none, which is told as the container's
    /// termination message
    #[arg(long, value_name = "PATH")]
    volume: Option<PathBuf>,
    /// Directory of what is known of members that have joined, a file a pod
    #[arg(long, value_name = "PATH", requires_all = ["volume", "replacement"])]
    members: Option<PathBuf>,
    /// File for the options of a server that takes the place of a member whose volume is gone; empty for others
    #[arg(long, value_name = "FILE")]
    replacement: Option<PathBuf>,
    /// Name of this pod: the one that ends in -0 is the first member
    #[arg(long, env = "SIMBDP_POD_NAME", default_value = "")]
    pod_name: String,
}

fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("`{text}` is not a mode: write for example 0400"))
}

#[tokio::main]
async fn main() -> ExitCode {
    // Two providers are in the tree: without a choice rustls panics. Only a second choice can fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => start(cli.run).await,
        Some(Command::Run(args)) => start(args).await,
        Some(Command::Crds { out, chart, docs }) => crds(out, chart, docs),
        Some(Command::CheckIsolation(args)) => {
            telemetry::start(LogFormat::Json);
            isolation::check(args).await
        }
        Some(Command::Prepare(args)) => prepared(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simbdp-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(args: RunArgs) -> anyhow::Result<()> {
    telemetry::start(args.log_format);
    run(args).await
}

fn crds(out: Option<PathBuf>, chart: Option<PathBuf>, docs: Option<PathBuf>) -> anyhow::Result<()> {
    if out.is_none() && chart.is_none() && docs.is_none() {
        print!("{}", generate::definitions()?);
    }
    if let Some(directory) = out {
        generate::write_definitions(&directory)?;
    }
    if let Some(directory) = chart {
        generate::write_chart(&directory)?;
    }
    if let Some(path) = docs {
        generate::write_docs(&path)?;
    }
    Ok(())
}

async fn prepared(args: PrepareArgs) -> anyhow::Result<()> {
    telemetry::start(LogFormat::Json);
    anyhow::ensure!(
        args.from.len() == args.to.len(),
        "give as many --to as --from"
    );
    if let Some(address) = &args.wait_for
        && let Some(address) = prepare::other_member(address, &args.pod_name)
        && !args.wait_unless.is_some_and(|path| path.exists())
    {
        prepare::wait_for(&address).await;
    }
    if let Some(name) = &args.wait_for_name {
        prepare::wait_for_name(&name.replace("{pod}", &args.pod_name)).await;
    }
    for (index, (from, to)) in args.from.iter().zip(&args.to).enumerate() {
        let mode = args
            .mode
            .get(index)
            .or(args.mode.last())
            .copied()
            .unwrap_or(0o400);
        let names = prepare::copy(from, to, mode)?;
        tracing::info!(from = %from.display(), to = %to.display(), files = names.join(", "), "copied");
    }
    if let Some(volume) = &args.volume {
        let id = volume::id(volume)?;
        if let (Some(members), Some(options)) = (&args.members, &args.replacement) {
            volume::replace(members, &args.pod_name, &id, options)?;
        }
        volume::tell(&id)?;
    }
    Ok(())
}
