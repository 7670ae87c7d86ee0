//! Arguments and environment of the program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use simbdp_api::mounts;
use simbdp_api::names::{PipelineName, TenantName};
use simbdp_api::pipeline::{Compression, Format};
use simbdp_record::BatchLimits;

use crate::file::FileLimits;

/// Moves staged files and queued messages into a tenant's tables.
#[derive(Debug, Parser)]
#[command(name = "simbdp-ingest", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Format of log lines, on standard output for `run` and `exec` and on standard error for `load`.
    #[arg(long, global = true, env = "SIMBDP_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Which log lines, in the terms of tracing-subscriber's EnvFilter.
    #[arg(long, global = true, env = "SIMBDP_LOG", default_value = "info")]
    pub log: String,
}

const EXAMPLES: &str = "\
Examples:
  In a pod made by the operator, all from the environment and mounted files:
    simbdp-ingest run

  On a workbench, with a copy of what a pod has mounted:
    simbdp-ingest run --tenant flights --pipeline planes --namespace tenant-flights \\
      --pipelines ./pipelines --bindings ./bindings --internal ./internal --log-format text

  A local file straight into a table, as the batch app would:
    simbdp-ingest load --file flights.csv --table flights.yaml --keyspace t_flights \\
      --endpoints 127.0.0.1:9042 --binding ./bindings/coredms

Exit codes: 0 done (also after SIGTERM), 1 failed, 2 wrong arguments.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Consume a pipeline's queue until SIGTERM.
    Run(RunArgs),
    /// The same, with the tenant's own program, which a launcher in another container starts.
    Exec(ExecArgs),
    /// Load a local file straight into a table, as the batch app would; prints what it took as JSON.
    Load(LoadArgs),
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Arguments of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Name of the tenant.
    #[arg(long, env = "SIMBDP_TENANT", value_parser = tenant)]
    pub tenant: TenantName,
    /// Name of the pipeline.
    #[arg(long, env = "SIMBDP_PIPELINE", value_parser = pipeline)]
    pub pipeline: PipelineName,
    /// Namespace of the pod.
    #[arg(long, env = "SIMBDP_NAMESPACE")]
    pub namespace: String,
    /// Name of the pod, for the log.
    #[arg(long, env = "SIMBDP_POD_NAME", default_value = "")]
    pub pod_name: String,
    /// Directory of the pipelines' files.
    #[arg(long, env = "SIMBDP_PIPELINES", default_value = mounts::PIPELINES)]
    pub pipelines: PathBuf,
    /// Root of the Service Binding directories `coredms` and `broker`.
    #[arg(long, env = "SIMBDP_BINDINGS", default_value = mounts::SERVICE_BINDING_ROOT)]
    pub bindings: PathBuf,
    /// Directory of the internal token, in the file `token`.
    #[arg(long, env = "SIMBDP_INTERNAL", default_value = mounts::INTERNAL_TOKEN)]
    pub internal: PathBuf,
    /// Address of the admin port: /healthz, /readyz, /metrics.
    #[arg(long, env = "SIMBDP_ADMIN_ADDRESS", default_value_t = SocketAddr::from(([0, 0, 0, 0], mounts::ADMIN_PORT)))]
    pub admin_address: SocketAddr,
    /// Hosts of the tenant's gateway replicas end with this; the internal token goes nowhere else
    /// [default: .gateway-replicas.<namespace>.svc].
    #[arg(long, env = "SIMBDP_GATEWAY_HOSTS")]
    pub gateway_hosts: Option<String>,
    /// Seconds to finish in after SIGTERM; less than the pod's grace period.
    #[arg(long, env = "SIMBDP_GRACE_SECONDS", default_value_t = 25)]
    pub grace_seconds: u64,
    /// Bounds of the work on files.
    #[command(flatten)]
    pub files: FileArgs,
    /// Bounds of the work on messages.
    #[command(flatten)]
    pub messages: MessageArgs,
}

/// Arguments of `exec`.
#[derive(Args, Clone, Debug)]
pub struct ExecArgs {
    /// Those of `run`.
    #[command(flatten)]
    pub run: RunArgs,
    /// Where the program and its files are.
    #[command(flatten)]
    pub own: OwnArgs,
}

/// Where the tenant's own program and its files are.
#[derive(Args, Clone, Debug)]
pub struct OwnArgs {
    /// Socket that the launcher connects to.
    #[arg(long, env = "SIMBDP_APP_SOCKET", default_value_os_t = Path::new(mounts::APP_SOCKET).join(mounts::APP_SOCKET_NAME))]
    pub socket: PathBuf,
    /// Directory for the file that the program reads, by the same path there.
    #[arg(long, env = "SIMBDP_APP_FILES", default_value = mounts::APP_FILES)]
    pub files: PathBuf,
    /// Seconds that the program has to end in after SIGTERM.
    #[arg(long, env = "SIMBDP_APP_GRACE_SECONDS", default_value_t = 10)]
    pub app_grace_seconds: u64,
}

impl OwnArgs {
    /// Time that the program has to end in after SIGTERM.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.app_grace_seconds)
    }
}

impl RunArgs {
    /// What hosts of gateway replicas end with.
    pub fn gateway_hosts(&self) -> String {
        let replicas = simbdp_api::names::tenant_objects::GATEWAY_REPLICAS;
        let default = || format!(".{replicas}.{}.svc", self.namespace);
        self.gateway_hosts.clone().unwrap_or_else(default)
    }

    /// Time to finish in after SIGTERM.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds)
    }
}

/// Bounds of the work on files.
#[derive(Args, Clone, Copy, Debug)]
pub struct FileArgs {
    /// Most rows of a batch.
    #[arg(long, env = "SIMBDP_BATCH_ROWS", default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch_rows: u32,
    /// Bytes of memory from which on a batch is full.
    #[arg(long, env = "SIMBDP_BATCH_BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1..=16 << 20))]
    pub batch_bytes: u32,
    /// Batches that are written at the same time.
    #[arg(long, env = "SIMBDP_BATCHES_IN_FLIGHT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub batches_in_flight: u16,
}

impl FileArgs {
    /// As bounds.
    pub fn limits(&self) -> FileLimits {
        FileLimits {
            batch: BatchLimits {
                rows: self.batch_rows as usize,
                bytes: self.batch_bytes as usize,
            },
            writes: usize::from(self.batches_in_flight),
        }
    }
}

/// Bounds of the work on messages.
#[derive(Args, Clone, Copy, Debug)]
pub struct MessageArgs {
    /// Most messages held unacknowledged; fewer where the largest messages would take too much memory.
    #[arg(long, env = "SIMBDP_PREFETCH", default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..))]
    pub prefetch: u16,
    /// Most bytes of messages held, were all of them as large as they may be.
    #[arg(long, env = "SIMBDP_PREFETCH_BYTES", default_value_t = 32 << 20)]
    pub prefetch_bytes: u64,
    /// Milliseconds that a message waits for others to be written with.
    #[arg(long, env = "SIMBDP_LINGER_MILLIS", default_value_t = 5)]
    pub linger_millis: u64,
    /// Most messages written at once.
    #[arg(long, env = "SIMBDP_PARCEL_MESSAGES", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub parcel_messages: u16,
    /// Bytes from which on no more messages are written at once.
    #[arg(long, env = "SIMBDP_PARCEL_BYTES", default_value_t = 1 << 20)]
    pub parcel_bytes: u32,
    /// Parcels of messages that are written at the same time.
    #[arg(long, env = "SIMBDP_PARCELS_IN_FLIGHT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub parcels_in_flight: u16,
}

impl MessageArgs {
    /// Most messages held, when each has at most `largest` bytes.
    pub fn prefetch(&self, largest: u64) -> u16 {
        let fit = self.prefetch_bytes / largest.max(1);
        u16::try_from(fit)
            .unwrap_or(u16::MAX)
            .clamp(1, self.prefetch)
    }
}

/// Arguments of `load`.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// The file; format and compression are told by its name.
    #[arg(long)]
    pub file: PathBuf,
    /// The table's declaration, as in `spec.table` of an IngestPipeline, YAML or JSON.
    #[arg(long)]
    pub table: PathBuf,
    /// Keyspace of the table, which must be there.
    #[arg(long)]
    pub keyspace: String,
    /// Keyspace of a ledger to enter the file in; none when absent.
    #[arg(long)]
    pub ledger_keyspace: Option<String>,
    /// `host:port` of members of the database, separated by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    pub endpoints: Vec<String>,
    /// Directory with the files `type`, `username` and `password`, and `batch_size_warn_threshold` where members of a
    /// Cassandra have another one than the default.
    #[arg(long)]
    pub binding: PathBuf,
    /// Format, where the name does not tell it.
    #[arg(long, value_parser = format)]
    pub format: Option<Format>,
    /// Compression, where the name does not tell it.
    #[arg(long, value_parser = compression)]
    pub compression: Option<Compression>,
    /// Where rejected rows are written [default: the file's name with .rejects.ndjson, beside it].
    #[arg(long)]
    pub rejects: Option<PathBuf>,
    /// Bounds of the work.
    #[command(flatten)]
    pub files: FileArgs,
}

fn tenant(text: &str) -> Result<TenantName, String> {
    TenantName::new(text).map_err(|error| error.to_string())
}

fn pipeline(text: &str) -> Result<PipelineName, String> {
    PipelineName::new(text).map_err(|error| error.to_string())
}

fn format(text: &str) -> Result<Format, String> {
    let formats = Format::all();
    let found = formats.iter().find(|format| format.to_string() == text);
    found
        .copied()
        .ok_or_else(|| "write csv or ndjson".to_owned())
}

fn compression(text: &str) -> Result<Compression, String> {
    let compressions = Compression::all();
    let found = compressions
        .iter()
        .find(|compression| compression.to_string() == text);
    found
        .copied()
        .ok_or_else(|| "write none, gzip or zstd".to_owned())
}
