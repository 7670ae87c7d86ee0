//! Puts apps together from fakes.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::BatchApp;
use crate::courier::Courier;
use crate::dead_letter::DeadLetters;
use crate::decode::RowDecoder;
use crate::file::{FileIngest, FileLimits};
use crate::metrics::Metrics;
use crate::retry::Retry;
use crate::shutdown::Shutdown;
use crate::sink::Sink;
use crate::source::messages::ParcelLimits;
use crate::stream::{StreamApp, StreamLimits};
use crate::suspects::Suspects;
use crate::totals::Counted;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use simbdp_api::names::PipelineName;
use simbdp_api::pipeline::{Compression, Format, TableSpec};
use simbdp_api::wire::work::{FileWork, headers};
use simbdp_broker::Message;
use simbdp_broker::queue::HeaderValue;
use simbdp_record::BatchLimits;
use uuid::Uuid;

use super::fakes::{FakeLedger, FakeStaging, FakeTable, Journal, Queue};

pub const VERSION: i64 = 1_700_000_000_000_000;
pub const ROWS_OF_A_BATCH: usize = 10;
pub const WRITES: usize = 2;
pub const PREFETCH: u16 = 50;
pub const MAX_ATTEMPTS: u32 = 5;

pub fn table() -> TableSpec {
    serde_json::from_value(serde_json::json!({
        "name": "things",
        "columns": [{"name": "id", "type": "int"}, {"name": "name", "type": "text"}],
        "primaryKey": {"partition": ["id"]},
    }))
    .unwrap()
}

/// Everything that outlives one process of the app.
pub struct World {
    pub journal: Journal,
    pub queue: Queue,
    pub ledger: Arc<FakeLedger>,
    pub table: Arc<FakeTable>,
    pub staging: Arc<FakeStaging>,
}

impl World {
    pub fn new(content: impl Into<Bytes>) -> Self {
        let journal = Journal::default();
        let queue = Queue::new(journal.clone());
        Self {
            queue,
            ledger: FakeLedger::new(journal.clone()),
            table: FakeTable::new(journal.clone()),
            staging: FakeStaging::new(journal.clone(), content),
            journal,
        }
    }

    pub fn with_table(mut self, table: impl FnOnce(Journal) -> Arc<FakeTable>) -> Self {
        self.table = table(self.journal.clone());
        self
    }

    /// One process of the batch app.
    pub fn batch(&self, shutdown: &Shutdown) -> impl Future<Output = ()> + Send + 'static {
        let parts = Parts::new(self, shutdown);
        let consumer = self.queue.consumer(1);
        let app = BatchApp {
            pipeline: PipelineName::new("p").unwrap(),
            ledger: self.ledger.clone(),
            files: Box::new(FileIngest {
                table: table(),
                rows: RowDecoder::new(&table()).unwrap(),
                sink: parts.sink,
                staging: self.staging.clone(),
                retry: parts.retry.clone(),
                metrics: parts.metrics.clone(),
                limits: FileLimits {
                    batch: BatchLimits {
                        rows: ROWS_OF_A_BATCH,
                        bytes: 1 << 20,
                    },
                    writes: WRITES,
                },
            }),
            staging: self.staging.clone(),
            dead_letters: parts.dead_letters,
            suspects: parts.suspects,
            retry: parts.retry,
            metrics: parts.metrics,
            totals: Counted::new(self.ledger.clone(), "p"),
            shutdown: shutdown.clone(),
        };
        app.run(consumer)
    }

    /// One process of the stream app.
    pub fn stream(&self, shutdown: &Shutdown) -> impl Future<Output = ()> + Send + 'static {
        let parts = Parts::new(self, shutdown);
        let app = StreamApp {
            consumer: self.queue.consumer(PREFETCH),
            courier: Arc::new(Courier {
                rows: RowDecoder::new(&table()).unwrap(),
                sink: parts.sink,
                dead_letters: parts.dead_letters,
                metrics: parts.metrics.clone(),
            }),
            suspects: parts.suspects,
            limits: StreamLimits {
                parcel: ParcelLimits {
                    messages: ROWS_OF_A_BATCH,
                    bytes: 1 << 20,
                    linger: Duration::from_millis(5),
                },
                parcels: WRITES,
                prefetch: PREFETCH,
            },
            metrics: parts.metrics,
            totals: Counted::new(self.ledger.clone(), "p"),
            shutdown: shutdown.clone(),
        };
        app.run()
    }

    /// Runs the batch app until the queue is empty, then ends it in order.
    pub async fn ingest_files(&self) {
        let shutdown = Shutdown::new();
        let app = tokio::spawn(self.batch(&shutdown));
        self.queue.drained().await;
        shutdown.stop();
        app.await.unwrap();
    }

    /// Runs the stream app until the queue is empty, then ends it in order.
    pub async fn ingest_messages(&self) {
        let shutdown = Shutdown::new();
        let app = tokio::spawn(self.stream(&shutdown));
        self.queue.drained().await;
        shutdown.stop();
        app.await.unwrap();
    }

    pub fn put_file(&self, work: &FileWork, returns: u32) {
        let body = serde_json::to_vec(work).unwrap().into();
        self.queue.put(
            Message {
                id: work.id.to_string(),
                body,
                headers: Vec::new(),
            },
            returns,
        );
    }

    pub fn put_things(&self, ids: impl IntoIterator<Item = u32>) {
        for id in ids {
            self.queue.put(thing(id), 0);
        }
    }
}

/// What every app has.
pub struct Parts {
    pub metrics: Metrics,
    pub retry: Retry,
    pub sink: Sink,
    pub dead_letters: DeadLetters,
    pub suspects: Suspects,
}

impl Parts {
    pub fn new(world: &World, shutdown: &Shutdown) -> Self {
        let metrics = Metrics::new("t", "p");
        let retry = Retry::new(shutdown.clone(), metrics.clone());
        let queue = Arc::new(world.queue.clone());
        Self {
            sink: Sink::new(world.table.clone(), retry.clone(), metrics.clone()),
            dead_letters: DeadLetters::new(
                queue,
                "ingest.p.dead".into(),
                retry.clone(),
                metrics.clone(),
            ),
            suspects: Suspects::new(
                world.ledger.clone(),
                "p",
                MAX_ATTEMPTS,
                retry.clone(),
                metrics.clone(),
            ),
            metrics,
            retry,
        }
    }
}

pub fn message(id: &str, body: impl Into<Bytes>, ordinal: i64) -> Message {
    Message {
        id: id.to_owned(),
        body: body.into(),
        headers: vec![
            (headers::SOURCE.into(), HeaderValue::Text("s".into())),
            (headers::ORDINAL.into(), HeaderValue::Long(ordinal)),
            (
                headers::VERSION.into(),
                HeaderValue::Long(VERSION + ordinal),
            ),
        ],
    }
}

pub fn thing(id: u32) -> Message {
    message(
        &format!("s:{id}"),
        format!(r#"{{"id":{id},"name":"n{id}"}}"#),
        i64::from(id),
    )
}

pub fn header<'a>(message: &'a Message, name: &str) -> &'a HeaderValue {
    let found = message.headers.iter().find(|(key, _)| key == name);
    &found
        .unwrap_or_else(|| panic!("no header {name} in {message:?}"))
        .1
}

pub fn csv(rows: usize) -> Vec<u8> {
    let mut text = String::from("id,name\n");
    for id in 0..rows {
        text.push_str(&format!("{id},n{id}\n"));
    }
    text.into_bytes()
}

pub fn work(staged: &[u8], compression: Compression) -> FileWork {
    FileWork {
        id: Uuid::now_v7(),
        pipeline: "p".into(),
        pipeline_uid: None,
        name: "things.csv".into(),
        format: Format::Csv,
        compression,
        size: staged.len() as u64,
        lines: 1,
        sha256: hex::encode(Sha256::digest(staged)),
        version: VERSION,
        user: "u".into(),
        replica: "http://gateway-0.gateway-replicas.tenant-t.svc:8081".into(),
        force: false,
        accepted_at: VERSION / 1_000,
        mends: None,
        mended_rows: false,
        replay: None,
    }
}

pub async fn gzip(content: &[u8]) -> Vec<u8> {
    use async_compression::tokio::write::GzipEncoder;
    use tokio::io::AsyncWriteExt;
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(content).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

pub async fn zstd(content: &[u8], window_log: u32) -> Vec<u8> {
    use async_compression::tokio::write::ZstdEncoder;
    use async_compression::{Level, zstd::CParameter};
    use tokio::io::AsyncWriteExt;
    let window = CParameter::window_log(window_log);
    let mut encoder = ZstdEncoder::with_quality_and_params(Vec::new(), Level::Default, &[window]);
    encoder.write_all(content).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

/// A binding directory or the like.
pub fn write_file(path: &std::path::Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}
