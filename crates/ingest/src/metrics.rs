//! What the app measures, in the text format of Prometheus. No names of files or sources in labels.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use simbdp_api::wire::rest::FileState;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Call {
    call: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FileResult {
    result: &'static str,
}

/// Counters of one app. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    rows: Counter,
    bytes: Counter,
    rejected: Counter,
    dead_letters: Counter,
    suspects: Counter,
    condemned: Counter,
    program_starts: Counter,
    program_failures: Counter,
    files: Family<FileResult, Counter>,
    retries: Family<Call, Counter>,
    writes: Counter,
    requests: Counter,
    write_rows: Histogram,
    write_seconds: Histogram,
    in_flight: Gauge,
    backlog: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Counters at zero, labelled with tenant and pipeline.
    pub fn new(tenant: &str, pipeline: &str) -> Self {
        let mut registry = Registry::with_prefix_and_labels(
            "simbdp_ingest",
            [
                ("tenant".into(), tenant.to_owned().into()),
                ("pipeline".into(), pipeline.to_owned().into()),
            ]
            .into_iter(),
        );
        let mut metrics = Self {
            registry: Arc::default(),
            rows: Counter::default(),
            bytes: Counter::default(),
            rejected: Counter::default(),
            dead_letters: Counter::default(),
            suspects: Counter::default(),
            condemned: Counter::default(),
            program_starts: Counter::default(),
            program_failures: Counter::default(),
            files: Family::default(),
            retries: Family::default(),
            writes: Counter::default(),
            requests: Counter::default(),
            write_rows: Histogram::new(exponential_buckets(1.0, 4.0, 8)),
            write_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            in_flight: Gauge::default(),
            backlog: Gauge::default(),
        };
        metrics.register(&mut registry);
        metrics.registry = Arc::new(registry);
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("rows", "Rows written", self.rows.clone());
        registry.register(
            "bytes",
            "Bytes of files and messages read",
            self.bytes.clone(),
        );
        registry.register(
            "rejected",
            "Rows and messages rejected",
            self.rejected.clone(),
        );
        registry.register(
            "dead_letters",
            "Messages put into the dead-letter queue",
            self.dead_letters.clone(),
        );
        registry.register(
            "suspects",
            "Deliveries that came back so often that they were tried alone",
            self.suspects.clone(),
        );
        registry.register(
            "condemned",
            "Suspects given up after their last attempt",
            self.condemned.clone(),
        );
        registry.register(
            "app_starts",
            "Starts of the tenant's own program",
            self.program_starts.clone(),
        );
        registry.register(
            "app_failures",
            "Attempts at a file or message at which the tenant's own program failed",
            self.program_failures.clone(),
        );
        registry.register("files", "Files ended, by result", self.files.clone());
        registry.register(
            "retries",
            "Calls repeated after a transient failure, by call",
            self.retries.clone(),
        );
        registry.register("writes", "Writes of rows to the table", self.writes.clone());
        registry.register(
            "write_requests",
            "Requests to the database that the writes took",
            self.requests.clone(),
        );
        registry.register("write_rows", "Rows of a write", self.write_rows.clone());
        registry.register(
            "write_seconds",
            "Seconds that a write took",
            self.write_seconds.clone(),
        );
        registry.register(
            "in_flight",
            "Deliveries taken and not yet acknowledged",
            self.in_flight.clone(),
        );
        registry.register(
            "backlog",
            "Messages that wait in the queue for any app of the pipeline; NaN while the broker does not tell",
            self.backlog.clone(),
        );
    }

    /// A write that succeeded.
    pub fn wrote(&self, rows: usize, requests: u64, took: Duration) {
        self.rows.inc_by(rows as u64);
        self.writes.inc();
        self.requests.inc_by(requests);
        self.write_rows.observe(rows as f64);
        self.write_seconds.observe(took.as_secs_f64());
    }

    /// Bytes read from a file or of messages.
    pub fn read(&self, bytes: usize) {
        self.bytes.inc_by(bytes as u64);
    }

    /// Rows or messages rejected.
    pub fn rejected(&self, count: u64) {
        self.rejected.inc_by(count);
    }

    /// Messages confirmed by the dead-letter queue.
    pub fn dead_lettered(&self, count: usize) {
        self.dead_letters.inc_by(count as u64);
    }

    /// A delivery is tried alone.
    pub fn suspected(&self) {
        self.suspects.inc();
    }

    /// A suspect is given up.
    pub fn condemned(&self) {
        self.condemned.inc();
    }

    /// The tenant's own program is started.
    pub fn program_started(&self) {
        self.program_starts.inc();
    }

    /// The tenant's own program failed at a file or message.
    pub fn program_failed(&self) {
        self.program_failures.inc();
    }

    /// A file ended.
    pub fn file_ended(&self, state: FileState) {
        let result = match state {
            FileState::Failed => "failed",
            FileState::Duplicate => "duplicate",
            _ => "done",
        };
        self.files.get_or_create(&FileResult { result }).inc();
    }

    /// A call is repeated.
    pub fn retried(&self, call: &'static str) {
        self.retries.get_or_create(&Call { call }).inc();
    }

    /// How many deliveries are held.
    pub fn holding(&self, deliveries: usize) {
        self.in_flight
            .set(i64::try_from(deliveries).unwrap_or(i64::MAX));
    }

    /// How many messages wait in the queue, if that is known.
    pub fn waiting(&self, messages: Option<u64>) {
        self.backlog
            .set(messages.map_or(f64::NAN, |messages| messages as f64));
    }

    /// All of it as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
