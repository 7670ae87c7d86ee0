//! The command line: raw arguments, with help and examples.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use simbdp_api::wire::dead_letters::MOST_LISTED;
use uuid::Uuid;

const EXIT_CODES: &str = "\
Exit codes:
  0  everything asked was done
  1  something was refused: a file that does not conform, a rejected record, a failed file, with --wait also a
     quarantined row; or something is not ready (status), or a run was interrupted before its end
  2  the command line is wrong
  3  the gateway or the cluster cannot be reached
  4  the credentials are refused, or lack the right

Credentials:
  --server with a token (SIMBDP_TOKEN, --token-file) or a user (--user with SIMBDP_PASSWORD, --password-file),
  or --tenant alone: the gateway is reached through the kubeconfig and the user's Secret is read, for those with the right.";

/// Brings files and messages into a tenant's tables, and reads them.
#[derive(Debug, Parser)]
#[command(name = "simbdp", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Args {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// How results are printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table, env = "SIMBDP_OUTPUT")]
    pub output: Output,
    #[command(subcommand)]
    pub command: Command,
}

/// Where the gateway is and who calls.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// URL of the tenant's gateway, e.g. http://gateway.tenant-flights.svc:8080
    #[arg(long, global = true, env = "SIMBDP_SERVER")]
    pub server: Option<String>,
    /// Tenant whose gateway is found through the kubeconfig, when there is no --server.
    #[arg(long, global = true, env = "SIMBDP_TENANT")]
    pub tenant: Option<String>,
    /// User to log in as. With --tenant: whose Secret is read; the first user with the needed role when absent.
    #[arg(long, global = true, env = "SIMBDP_USER")]
    pub user: Option<String>,
    /// File that holds the token.
    #[arg(long, global = true, env = "SIMBDP_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// File that holds the user's password.
    #[arg(long, global = true, env = "SIMBDP_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
}

impl ConnectionArgs {
    /// How to call this program on the same gateway, for messages: what is not secret of it.
    pub fn hint(&self) -> String {
        match (&self.server, &self.tenant) {
            (None, Some(tenant)) => format!("simbdp --tenant {tenant}"),
            (Some(server), _) if !server.contains('@') => format!("simbdp --server {server}"),
            _ => "simbdp".to_owned(),
        }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Output {
    /// Columns for people.
    Table,
    /// JSON for programs.
    Json,
    /// Comma-separated values with a header.
    Csv,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Upload the files of a directory that conform to a batch pipeline's constraints.
    #[command(after_help = "Examples:
  simbdp --tenant flights fetchdata ./incoming --pipeline weather --wait
  simbdp --tenant flights fetchdata ./incoming --pipeline weather --watch
  simbdp --server http://localhost:8080 fetchdata ./incoming --pipeline weather -o json

The exit code is that of the worst file: 4 and 3 as for every command, 1 when a file does not conform, was refused or
failed, and with --wait when rows of it are quarantined.")]
    Fetchdata(Fetchdata),
    /// Send records to a stream pipeline as messages.
    #[command(after_help = "Examples:
  simbdp --tenant flights ingestmessage planes planes.ndjson
  echo '{\"tailnum\": \"N1\"}' | simbdp --tenant flights ingestmessage planes
  simbdp --tenant flights ingestmessage planes planes.csv

A run that fails part-way says with which key it goes on, without doubles.")]
    Ingestmessage(Ingestmessage),
    /// Read rows of a table by its primary key.
    #[command(after_help = "Examples:
  simbdp --tenant flights query planes --where tailnum=N14228
  simbdp --tenant flights query weather --where origin=EWR --where time_hour.gte=2013-06-01T00:00:00Z --limit 24 -o csv
  simbdp --tenant flights query weather --where origin=EWR --all -o json")]
    Query(Query),
    /// Show what a pipeline accepts.
    #[command(after_help = "Examples:
  simbdp --tenant flights constraints weather
  simbdp --tenant flights constraints")]
    Constraints(Constraints),
    /// Show what became of files.
    #[command(after_help = "Examples:
  simbdp --tenant flights ledger
  simbdp --tenant flights ledger --pipeline weather --state failed
  simbdp --tenant flights ledger 0197b3c2-5a1f-7c4e-9d3a-2f6b8c1e0a47
  simbdp --tenant flights ledger 0197b3c2-5a1f-7c4e-9d3a-2f6b8c1e0a47 --rejects")]
    Ledger(Ledger),
    /// Look at, redrive or purge what could not be ingested: the dead letters of a pipeline.
    #[command(after_help = "Examples:
  simbdp --tenant flights dlq list planes
  simbdp --tenant flights dlq show planes planes/loader/8e03978e:17
  simbdp --tenant flights dlq redrive planes --all
  simbdp --tenant flights dlq purge planes planes/loader/8e03978e:17

Once the cause is mended, redrive puts messages back to the queue: they keep their identity and version, so that nothing
shows twice, and their attempts begin anew. Listing and showing need a Reader, redriving and purging a Writer.")]
    Dlq(Dlq),
    /// Ingest a file once more, after its pipeline or the file itself was mended.
    #[command(after_help = "Examples:
  simbdp --tenant flights replay 0197b3c2-5a1f-7c4e-9d3a-2f6b8c1e0a47 --wait
  simbdp --tenant flights replay 0197b3c2-5a1f-7c4e-9d3a-2f6b8c1e0a47 --rejects
  simbdp --tenant flights ledger 0197b3c2-5a1f-7c4e-9d3a-2f6b8c1e0a47 --rejects > rejects.ndjson
  simbdp --tenant flights replay 0197b3c2-5a1f-7c4e-9d3a-2f6b8c1e0a47 --rejects --file rejects.ndjson
  simbdp --tenant flights replay 0197b3c2-5a1f-7c4e-9d3a-2f6b8c1e0a47 --file mended.csv

Without --file the bytes that were uploaded are ingested again, with the identities and versions that they had: nothing
shows twice, and what was accepted later stays. They are kept for some days after a file failed or had rows quarantined.
With --file, what is in it takes the place of what it mends: it is a file of its own in the ledger, and newer. With
--rejects it holds lines of the reject file whose `raw` you corrected; leave their `ordinal` as it is. A whole file must
have its records in their former order. The exit code is 1 when, with --wait, it fails or rows of it are quarantined.")]
    Replay(Replay),
    /// Show a tenant, its database and its pipelines, and why what is not ready is not. Needs a kubeconfig.
    #[command(after_help = "Examples:
  simbdp --tenant flights status
  simbdp --tenant flights status -o json")]
    Status(Status),
    /// Show what applying or deleting documents would create, change, restart, remove and lose, without doing it. Needs a
    /// kubeconfig.
    #[command(after_help = "Examples:
  simbdp plan -f tenant.yaml
  simbdp plan -f tenant.yaml -f pipelines.yaml -o json
  helm template acme ./tenants | simbdp plan -f -
  simbdp plan -f tenant.yaml --delete

Kinds: Tenant, CoreDms, Broker, IngestPipeline. The API server is asked by dry runs, with the rights of the kubeconfig;
everything else is built as the operator would build it. Nothing is written, and of Secrets only the names are read.
The exit code is 1 when anything would be refused.")]
    Plan(Plan),
    /// Make new pods, one after the other: of the tenant's database, its gateway or a pipeline's ingest apps. Needs a
    /// kubeconfig.
    #[command(after_help = "Examples:
  simbdp --tenant flights restart database
  simbdp --tenant flights restart gateway
  simbdp --tenant flights restart pipeline weather

Nothing that was acknowledged is lost. `simbdp status` shows how far it is.")]
    Restart(Restart),
}

/// Arguments of `fetchdata`.
#[derive(Debug, clap::Args)]
pub struct Fetchdata {
    /// Directory whose files are looked at, not those of its subdirectories; or a single file.
    pub directory: PathBuf,
    /// Pipeline that the files are for.
    #[arg(short, long)]
    pub pipeline: String,
    /// Wait until every uploaded file has ended, and show what became of it.
    #[arg(long)]
    pub wait: bool,
    /// Go on with new files, once they have not changed for --settle seconds, until SIGINT or SIGTERM. What is wrong
    /// with a file is told once, until it changes; what the gateway cannot take now is tried again.
    /// With `-o json`: an object a line.
    #[arg(long)]
    pub watch: bool,
    /// Seconds for which a file must not change before --watch takes it.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub settle: Duration,
    /// Upload also what was uploaded before.
    #[arg(long)]
    pub force: bool,
    /// Only check the files.
    #[arg(long)]
    pub dry_run: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: u64 = text
        .parse()
        .map_err(|_| "a whole number of seconds".to_owned())?;
    Ok(Duration::from_secs(seconds))
}

/// Arguments of `ingestmessage`.
#[derive(Debug, clap::Args)]
pub struct Ingestmessage {
    /// Pipeline that the messages are for.
    pub pipeline: String,
    /// Files of NDJSON (.ndjson, .jsonl, .json) or CSV (.csv); standard input as NDJSON when there are none.
    pub files: Vec<PathBuf>,
    /// Records in one request.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub batch: u32,
    /// Idempotency key of this run: sending the same input again with the same key and --batch shows it once. Made up
    /// when absent, and told.
    #[arg(long, value_parser = key)]
    pub key: Option<String>,
}

/// The gateway takes 128 characters; the number of the request is added.
fn key(text: &str) -> Result<String, String> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (1..=100).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("1 to 100 visible ASCII characters, for example a UUID".to_owned())
    }
}

/// Arguments of `query`.
#[derive(Debug, clap::Args)]
pub struct Query {
    /// Table.
    pub table: String,
    /// A condition: COLUMN=VALUE for each partition column and leading clustering columns,
    /// COLUMN.gte=, .gt=, .lte= or .lt= for the next one.
    #[arg(short, long = "where", value_parser = condition)]
    pub conditions: Vec<(String, String)>,
    /// Most rows.
    #[arg(long, default_value_t = 100)]
    pub limit: u64,
    /// Every row, page by page.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

fn condition(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(column, value)| (column.to_owned(), value.to_owned()))
        .ok_or_else(|| "write COLUMN=VALUE".to_owned())
}

/// Arguments of `constraints`.
#[derive(Debug, clap::Args)]
pub struct Constraints {
    /// Pipeline; every one when absent.
    pub pipeline: Option<String>,
}

/// Arguments of `ledger`.
#[derive(Debug, clap::Args)]
pub struct Ledger {
    /// A file, by its id.
    pub file: Option<Uuid>,
    /// Show the rows of the file that were quarantined.
    #[arg(long, requires = "file")]
    pub rejects: bool,
    /// Files of this pipeline only.
    #[arg(long)]
    pub pipeline: Option<String>,
    /// Files in this state only.
    #[arg(long, value_enum, ignore_case = true)]
    pub state: Option<State>,
    /// Most files.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}

/// State of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum State {
    Staged,
    Queued,
    Ingesting,
    Done,
    Failed,
    Duplicate,
}

/// Arguments of `dlq`.
#[derive(Debug, clap::Args)]
pub struct Dlq {
    #[command(subcommand)]
    pub verb: DlqVerb,
}

/// What is done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DlqVerb {
    /// Dead letters from the front of the queue: why, after how many attempts, and since when
    #[command(after_help = "Examples:
  simbdp --tenant flights dlq list planes
  simbdp --tenant flights dlq list planes --limit 1000 -o json

Nothing is taken out of the queue. Letters that another request reads at that moment are not shown.")]
    List {
        /// Pipeline
        pipeline: String,
        /// Most letters
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_LISTED)))]
        limit: u32,
    },
    /// One dead letter with its message
    #[command(after_help = "Examples:
  simbdp --tenant flights dlq show planes planes/loader/8e03978e:17
  simbdp --tenant flights dlq show planes planes/loader/8e03978e:17 -o json")]
    Show {
        /// Pipeline
        pipeline: String,
        /// Id of the letter, as `dlq list` shows it
        id: String,
    },
    /// Put dead letters back to the work queue
    #[command(after_help = "Examples:
  simbdp --tenant flights dlq redrive planes --all
  simbdp --tenant flights dlq redrive planes planes/loader/8e03978e:17 planes/loader/8e03978e:18

A letter leaves the dead-letter queue only once the work queue has confirmed the message. What fails again comes back
with the time of its first and of its last failure. The exit code is 1 when a letter was left where it is.")]
    Redrive(DlqSelection),
    /// Remove dead letters for good
    #[command(after_help = "Examples:
  simbdp --tenant flights dlq purge planes planes/loader/8e03978e:17
  simbdp --tenant flights dlq purge planes --all

What is purged is lost. The exit code is 1 when a letter was left where it is.")]
    Purge(DlqSelection),
}

/// Which dead letters.
#[derive(Debug, clap::Args)]
pub struct DlqSelection {
    /// Pipeline
    pub pipeline: String,
    /// Ids of letters, as `dlq list` shows them
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// Every letter that is there when the command begins
    #[arg(long)]
    pub all: bool,
}

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// The file, by its id.
    pub file_id: Uuid,
    /// Only the rows that were quarantined.
    #[arg(long)]
    pub rejects: bool,
    /// A mended file, or with --rejects mended lines of the reject file, to take instead.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Wait until it has ended, and show what became of it.
    #[arg(long)]
    pub wait: bool,
}

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Status {}

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// File with documents in YAML or JSON, as for `kubectl apply`; `-` for standard input. May be given again.
    #[arg(short, long, required = true, value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// Show what deleting the objects would do.
    #[arg(long)]
    pub delete: bool,
    /// Namespace of the operator, where the cluster has several, or it runs outside of the cluster.
    #[arg(long, value_name = "NAMESPACE", env = "SIMBDP_OPERATOR_NAMESPACE")]
    pub operator_namespace: Option<String>,
    /// Configuration file of the operator, where it runs outside of the cluster.
    #[arg(long, value_name = "FILE", env = "SIMBDP_OPERATOR_CONFIG")]
    pub operator_config: Option<PathBuf>,
}

/// Arguments of `restart`.
#[derive(Debug, clap::Args)]
pub struct Restart {
    #[command(subcommand)]
    pub part: RestartPart,
}

/// What is restarted.
#[derive(Debug, Subcommand)]
pub enum RestartPart {
    /// The tenant's own database, member by member
    Database,
    /// The gateway, replica by replica
    Gateway,
    /// The ingest apps of a pipeline
    Pipeline {
        /// Name of the pipeline
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn no_argument_takes_a_secret() {
        let command = Args::command();
        let verbs = command
            .get_subcommands()
            .flat_map(|verb| verb.get_arguments());
        for argument in command.get_arguments().chain(verbs) {
            let id = argument.get_id().as_str();
            let secret = id.contains("token") || id.contains("password");
            assert!(!secret || id.ends_with("_file"), "{id}");
        }
    }

    #[test]
    fn a_key_leaves_room_for_the_number_of_the_request() {
        assert!(key("8e03978e").is_ok());
        for wrong in ["", "a b", "\u{e9}", &"x".repeat(101)] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn conditions_are_split_at_the_first_equals_sign() {
        assert_eq!(condition("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(condition("a").is_err());
    }
}
