//! The isolation check [IO]: in a tenant's namespace, with the tenant's credentials, everything of other tenants is
//! tried; each of it must refuse. First the tenant's own is tried, which must not: else nothing would be proved.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::future::join_all;
use reqwest::StatusCode;
use simbdp_api::mounts;
use simbdp_api::names::TenantName;
use simbdp_api::wire::isolation::{IsolationReport, Neighbour};
use simbdp_broker::ConnectionSource;
use simbdp_broker::try_enter;
use simbdp_coredms::{Connection, Options};
use tokio::net::TcpStream;
use uuid::Uuid;

/// Longest that a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest that a connection may take: a policy drops packets rather than refusing them.
const CONNECT: Duration = Duration::from_secs(3);

/// What `simbdp-operator check-isolation` is told.
#[derive(clap::Args, Debug)]
pub struct CheckArgs {
    /// Tenant that is checked
    #[arg(long, env = "SIMBDP_TENANT")]
    tenant: String,
    /// Other tenants, as JSON
    #[arg(long, env = "SIMBDP_NEIGHBOURS")]
    neighbours: String,
    /// Base URL of the internal API of the tenant's own gateway
    #[arg(long, env = "SIMBDP_GATEWAY")]
    gateway: String,
    /// Root of the Service Binding directories
    #[arg(long, env = "SERVICE_BINDING_ROOT", default_value = mounts::SERVICE_BINDING_ROOT)]
    bindings: PathBuf,
    /// File of the token that the tenant's programs have
    #[arg(long, default_value_t = format!("{}/token", mounts::INTERNAL_TOKEN))]
    token_file: String,
    /// File of a user's token, where there is one
    #[arg(long, default_value_t = format!("{}/token", mounts::USER))]
    user_token_file: String,
    /// File for the report, besides the log
    #[arg(long, default_value = "/dev/termination-log")]
    report: PathBuf,
}

/// The tenant's own.
struct Own {
    tenant: TenantName,
    gateway: String,
    token: String,
    /// A user's token where there is one, else the programs' own.
    user_token: String,
    database: Connection,
    options: Options,
    broker: simbdp_broker::Connection,
    http: reqwest::Client,
}

/// Checks, and leaves a report.
pub async fn check(args: CheckArgs) -> anyhow::Result<()> {
    let neighbours: Vec<Neighbour> =
        serde_json::from_str(&args.neighbours).context("the neighbours are no JSON of such")?;
    let own = Own::read(&args).await?;
    own.is_served().await?;
    let report = own.report(&neighbours).await;
    let text = serde_json::to_string(&report)?;
    tracing::info!(report = text, "checked");
    std::fs::write(&args.report, text)
        .with_context(|| format!("cannot write {}", args.report.display()))
}

impl Own {
    async fn read(args: &CheckArgs) -> anyhow::Result<Self> {
        let binding = |name: &str| args.bindings.join(name);
        let (database, options) = simbdp_coredms::binding::read(&binding(mounts::COREDMS_BINDING))?;
        let broker = ConnectionSource::binding(binding(mounts::BROKER_BINDING));
        let token = read(Path::new(&args.token_file))?;
        Ok(Self {
            tenant: TenantName::new(&args.tenant)?,
            gateway: args.gateway.clone(),
            user_token: read(Path::new(&args.user_token_file)).unwrap_or_else(|_| token.clone()),
            token,
            database,
            options,
            broker: broker.read().await?,
            http: reqwest::Client::builder()
                .connect_timeout(CONNECT)
                .timeout(PATIENCE)
                .build()?,
        })
    }

    /// The credentials are good, and the servers answer: a refusal elsewhere means something.
    async fn is_served(&self) -> anyhow::Result<()> {
        let keyspace = self.tenant.platform_keyspace();
        let (own, options) = (self.database.clone(), self.options.clone());
        let ledger = reads_ledger(own, options, &keyspace).await;
        ledger
            .map_err(|why| anyhow::anyhow!("the tenant's own database does not serve it: {why}"))?;
        let queues = try_enter(self.broker.clone(), CONNECT).await;
        queues
            .map_err(|why| anyhow::anyhow!("the tenant's own broker does not serve it: {why}"))?;
        match self.asks(&internal_state(&self.gateway), &self.token).await {
            Ok(status) if status.is_success() => Ok(()),
            other => bail!("the tenant's own gateway does not serve it: {other:?}"),
        }
    }

    async fn report(&self, neighbours: &[Neighbour]) -> IsolationReport {
        let found = join_all(
            neighbours
                .iter()
                .map(|other| async move { (self.breaches(other).await, reached(other).await) }),
        )
        .await;
        let (breaches, reached): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        IsolationReport {
            neighbours: neighbours
                .iter()
                .map(|other| other.tenant.clone())
                .collect(),
            breaches: breaches.concat(),
            reached: reached.concat(),
        }
    }

    /// What of another tenant takes this one's credentials.
    async fn breaches(&self, other: &Neighbour) -> Vec<String> {
        let tables = format!("{}/v1/tables", other.gateway);
        let state = internal_state(&other.internal);
        let vhost = simbdp_broker::Connection {
            vhost: other.vhost.clone(),
            ..self.broker.clone()
        };
        let (database, options) = match other.shared {
            true => (self.database.clone(), self.options.clone()),
            false => {
                let elsewhere = Connection {
                    engine: other.engine,
                    endpoints: other.database.clone(),
                    tls: None,
                    ..self.database.clone()
                };
                (elsewhere, Options::default())
            }
        };
        let (gateway, internal, queues, ledger) = tokio::join!(
            self.asks(&tables, &self.user_token),
            self.asks(&state, &self.token),
            try_enter(vhost, CONNECT),
            reads_ledger(database, options, &other.keyspace),
        );
        let taken = |status: Result<StatusCode, String>| status.is_ok_and(|it| it.is_success());
        [
            ("gateway", taken(gateway)),
            ("gateway's internal API", taken(internal)),
            ("queues", queues.is_ok()),
            ("ledger", ledger.is_ok()),
        ]
        .into_iter()
        .filter(|(_, taken)| *taken)
        .map(|(what, _)| format!("the {what} of {}", other.tenant))
        .collect()
    }

    async fn asks(&self, url: &str, token: &str) -> Result<StatusCode, String> {
        let request = self.http.get(url).bearer_auth(token);
        let answer = request.send().await;
        answer
            .map(|it| it.status())
            .map_err(|error| error.to_string())
    }
}

fn internal_state(base: &str) -> String {
    format!("{base}/internal/state")
}

/// Whether a ledger can be read, in a session of its own.
async fn reads_ledger(login: Connection, options: Options, keyspace: &str) -> Result<(), String> {
    let ledger = simbdp_coredms::open(login, options).ledger(keyspace);
    match tokio::time::timeout(PATIENCE, ledger.file(Uuid::nil())).await {
        Ok(read) => read.map(drop).map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

/// What policies forbid to reach, and that takes connections nevertheless.
async fn reached(other: &Neighbour) -> Vec<String> {
    let internal = other
        .internal
        .strip_prefix("http://")
        .unwrap_or(&other.internal);
    let database = other.database.iter().take(1).filter(|_| !other.shared);
    let addresses = database.cloned().chain([internal.to_owned()]);
    let tried = join_all(addresses.map(|address| async move {
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect(&address)).await;
        matches!(connected, Ok(Ok(_))).then_some(address)
    }))
    .await;
    tried.into_iter().flatten().collect()
}

fn read(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim_end().to_owned())
}
