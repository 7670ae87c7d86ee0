//! What every request works with.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use simbdp_api::names::{PipelineName, TenantName};
use simbdp_api::pipeline::MAX_MESSAGE_SIZE;
use simbdp_broker::queue::{Message, PublishError};
use simbdp_broker::{DeadLetters, Publisher};
use simbdp_coredms::store::StoreError;
use simbdp_coredms::{Ledger, Store};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::clock::HybridClock;
use crate::config::{ConfigStore, Paths};
use crate::drain::Drain;
use crate::flights::Flights;
use crate::idempotency::Idempotency;
use crate::metrics::Metrics;
use crate::pace::Patience;
use crate::problem::Refusal;
use crate::staging::Staging;
use crate::tables::Tables;
use crate::wake::{Operator, Wake};

/// Locks over contents, so that two uploads of the same bytes to this replica come one after the other.
const CONTENT_LOCKS: usize = 64;

/// Who this replica is and what it keeps to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The tenant.
    pub tenant: TenantName,
    /// Base URL of this replica's internal API.
    pub replica: String,
    /// Base URLs of the other replicas' internal APIs.
    pub peers: Vec<String>,
    /// The staging volume.
    pub staging: PathBuf,
    /// Where the operator mounts things.
    pub paths: Paths,
    /// The operator that wakes ingest apps; nobody is woken where there is none.
    pub operator: Option<Operator>,
    /// What this replica keeps to.
    pub limits: Limits,
}

/// What one replica keeps to.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests per second; [`None`] for no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// Files staged or being received; [`None`] for no limit.
    pub staged_files: Option<u64>,
    /// Largest body of a request other than an upload, in bytes.
    pub max_body: usize,
    /// Bytes of bodies other than uploads that are held at a time.
    pub bodies: usize,
    /// Most records of one request.
    pub max_records: usize,
    /// Uploads that are received at a time.
    pub max_uploads: usize,
    /// Longest time without a byte of a body.
    pub stall: Duration,
    /// Fewest bytes per second of a body, over each 30 s of waiting for it.
    pub min_rate: u64,
    /// Longest time without a byte of a reject file: an ingest app that is gone is told by its
    /// connection, and this is for the case that it is not.
    pub rejects_stall: Duration,
    /// Longest wait for an answer of the database.
    pub database_wait: Duration,
    /// How long the bytes of files are kept that failed, or have quarantined rows.
    pub failed_retention: Duration,
    /// How long a file whose pipeline is gone is kept before it is given up.
    pub homeless: Duration,
    /// How long quarantined rows are kept.
    pub rejects_retention: Duration,
    /// Free space of the staging volume that uploads leave to reject files, in bytes.
    pub reserve: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            requests_per_second: None,
            staged_files: None,
            max_body: MAX_MESSAGE_SIZE as usize,
            bodies: 32 << 20,
            max_records: 10_000,
            max_uploads: 16,
            stall: Duration::from_secs(30),
            min_rate: 1024,
            rejects_stall: Duration::from_secs(60 * 60),
            database_wait: Duration::from_secs(5),
            failed_retention: Duration::from_secs(7 * DAY),
            homeless: Duration::from_secs(10 * 60),
            rejects_retention: Duration::from_secs(30 * DAY),
            reserve: 64 << 20,
        }
    }
}

impl Limits {
    /// How fast a client's body must come in.
    pub fn patience(&self) -> Patience {
        Patience {
            stall: self.stall,
            min_rate: self.min_rate,
        }
    }
}

/// The servers behind the gateway. Each connects by itself, and again when it must.
#[derive(Clone)]
pub struct Backends {
    /// The tenant's tables.
    pub store: Arc<dyn Store>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// The queues.
    pub publisher: Arc<dyn Publisher>,
    /// The dead-letter queues.
    pub dead_letters: Arc<dyn DeadLetters>,
}

/// One replica of a tenant's gateway.
pub struct Gateway {
    /// Who this replica is and what it keeps to.
    pub settings: Settings,
    /// What the operator mounts.
    pub config: Arc<ConfigStore>,
    /// The staging volume.
    pub staging: Staging,
    /// Versions of records.
    pub clock: HybridClock,
    /// The servers behind.
    pub backends: Backends,
    /// Who asks.
    pub auth: Authenticator,
    /// What was posted before.
    pub idempotency: Idempotency,
    /// Tables prepared for reading.
    pub tables: Tables,
    /// Metrics.
    pub metrics: Metrics,
    /// Whether this replica is to go.
    pub drain: Drain,
    /// Requests that bring work.
    pub flights: Flights,
    /// Pipelines that are published to, and those to be woken.
    pub wake: Wake,
    /// Room for uploads.
    pub uploads: Semaphore,
    /// Room for bodies, in KiB.
    pub bodies: Semaphore,
    /// Work that outlives a broken connection; a shutdown waits for it.
    pub tasks: TaskTracker,
    /// Ends everything.
    pub shutdown: CancellationToken,
    /// Held by the request that reads dead letters: one at a time, so that each sees all of them.
    pub dead_letters: Mutex<()>,
    /// Wakes the sweeper.
    pub unswept: tokio::sync::Notify,
    /// Client for the other replicas.
    pub http: reqwest::Client,
    rate: Option<DefaultDirectRateLimiter>,
    contents: [Mutex<()>; CONTENT_LOCKS],
}

impl Gateway {
    /// Opens the staging volume and the configuration. Blocks: for the start only.
    pub fn open(settings: Settings, backends: Backends) -> anyhow::Result<Arc<Self>> {
        use anyhow::Context as _;
        let staging = Staging::open(&settings.staging)
            .with_context(|| format!("open the staging volume {}", settings.staging.display()))?;
        let clock = HybridClock::open(&settings.staging).context("open the clock")?;
        let config = ConfigStore::open(settings.tenant.clone(), settings.paths.clone());
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .read_timeout(Duration::from_secs(30))
            .build()
            .context("make an HTTP client")?;
        Ok(Arc::new(Self {
            config: Arc::new(config),
            staging,
            clock,
            backends,
            auth: Authenticator::default(),
            idempotency: Idempotency::default(),
            tables: Tables::default(),
            metrics: Metrics::default(),
            drain: Drain::default(),
            flights: Flights::default(),
            wake: Wake::default(),
            uploads: Semaphore::new(settings.limits.max_uploads),
            bodies: Semaphore::new(
                settings
                    .limits
                    .bodies
                    .max(settings.limits.max_body)
                    .div_ceil(1024),
            ),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            dead_letters: Mutex::new(()),
            unswept: tokio::sync::Notify::new(),
            http,
            rate: settings
                .limits
                .requests_per_second
                .map(|rate| RateLimiter::direct(Quota::per_second(rate))),
            contents: std::array::from_fn(|_| Mutex::new(())),
            settings,
        }))
    }

    /// Takes one request out of the tenant's share of requests.
    pub fn take_rate(&self) -> Result<(), Refusal> {
        use governor::clock::{Clock as _, DefaultClock};
        let Some(rate) = &self.rate else {
            return Ok(());
        };
        rate.check().map_err(|not_until| {
            let limit = not_until.quota().burst_size();
            Refusal::too_many(
                "too-many-requests",
                format!("this replica takes {limit} requests per second for the tenant"),
                not_until.wait_time_from(DefaultClock::default().now()),
            )
        })
    }

    /// Waits for an answer of the database, not for ever.
    pub async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let wait = self.settings.limits.database_wait;
        tokio::time::timeout(wait, question)
            .await
            .unwrap_or_else(|_| {
                Err(StoreError::Transient(format!(
                    "no answer within {} s",
                    wait.as_secs()
                )))
            })
    }

    /// Publishes, and measures how long the confirms take. Who takes what is published is woken meanwhile.
    pub async fn publish(
        &self,
        pipeline: &PipelineName,
        messages: Vec<Message>,
    ) -> Vec<Result<(), PublishError>> {
        self.wake.publishing(pipeline);
        let (queue, started) = (pipeline.queue(), Instant::now());
        let results = self.backends.publisher.publish(&queue, messages).await;
        self.metrics.published(started.elapsed());
        self.wake.published(pipeline);
        results
    }

    /// The lock over a content.
    pub fn content_lock(&self, sha256: &[u8; 32]) -> &Mutex<()> {
        &self.contents[usize::from(sha256[0]) % CONTENT_LOCKS]
    }
}
