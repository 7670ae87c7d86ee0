//! Programs, the launcher that starts them, and apps around them.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use simbdp_api::app::AppOutput;
use simbdp_api::wire::config::AppConfig;
use simbdp_launcher::serve::Launcher;
use simbdp_record::BatchLimits;
use tempfile::TempDir;
use tokio::sync::RwLock;

use crate::batch::BatchApp;
use crate::courier::Courier;
use crate::decode::RowDecoder;
use crate::file::{FileIngest, FileLimits};
use crate::metrics::Metrics;
use crate::own::files::OwnFiles;
use crate::own::launchers::Launchers;
use crate::own::messages::OwnCourier;
use crate::own::session::{Driver, Limits, session};
use crate::shutdown::Shutdown;
use crate::source::messages::ParcelLimits;
use crate::stream::{StreamApp, StreamLimits};
use crate::tests::rig::{PREFETCH, Parts, ROWS_OF_A_BATCH, WRITES, World, table};
use crate::totals::Counted;

/// For a program that is meant to take too long. Not a second: on a busy machine any takes that to start.
pub fn a_short_time(program: &mut Program) {
    program.timeout_seconds = 5;
    program.max_attempts = 1;
}

/// A program as a tenant would have it, in the container that its launcher is the first process of.
pub struct Program {
    pub directory: TempDir,
    pub launchers: Arc<Launchers>,
    pub metrics: Metrics,
    pub output: AppOutput,
    pub timeout_seconds: u32,
    pub max_attempts: u32,
    pub max_file_size: u64,
    launcher: Option<JoinHandle<()>>,
}

impl Program {
    /// A script of the shell that is given a file, and the directory `$D`.
    pub fn shell(output: AppOutput, script: &str) -> Self {
        Self::new(output, |directory| {
            let script = format!("D={directory}\n{script}");
            ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
        })
    }

    /// What Python does with each message `m`, whose record is `r`.
    pub fn python(output: AppOutput, each: &str) -> Self {
        let mut script = String::from("import json,os,signal,sys,time\nfor line in sys.stdin:\n");
        script.push_str(" m=json.loads(line); r=m['record']\n");
        for line in each.lines() {
            script.push_str(&format!(" {line}\n"));
        }
        Self::new(output, |_| {
            ["python3", "-S", "-c", &script].map(str::to_owned).to_vec()
        })
    }

    fn new(output: AppOutput, command: impl FnOnce(&str) -> Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let metrics = Metrics::new("t", "p");
        let grace = Duration::from_millis(300);
        let launchers = Launchers::listen(&socket, grace, metrics.clone()).unwrap();
        let launcher = Launcher {
            socket,
            scratch: None,
            command: command(directory.path().to_str().unwrap()),
            sole: false,
        };
        Self {
            directory,
            launchers: Arc::new(launchers),
            metrics,
            output,
            timeout_seconds: 60,
            max_attempts: 2,
            max_file_size: 1 << 20,
            launcher: Some(std::thread::spawn(move || launcher.serve())),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What a program has written into its directory.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Ends the launcher; nothing is left of it.
    pub async fn end(mut self) {
        self.launchers.quit().await;
        let launcher = self.launcher.take().unwrap();
        tokio::task::spawn_blocking(move || launcher.join())
            .await
            .unwrap()
            .unwrap();
    }

    fn app(&self) -> AppConfig {
        AppConfig {
            output: self.output,
            timeout_seconds: self.timeout_seconds,
        }
    }

    /// One process of the batch app.
    pub fn batch(
        &self,
        world: &World,
        shutdown: &Shutdown,
    ) -> impl Future<Output = ()> + Send + 'static {
        let parts = Parts::new(world, shutdown);
        let files = OwnFiles {
            files: FileIngest {
                table: table(),
                rows: RowDecoder::new(&table()).unwrap(),
                sink: parts.sink,
                staging: world.staging.clone(),
                retry: parts.retry.clone(),
                metrics: self.metrics.clone(),
                limits: FileLimits {
                    batch: BatchLimits {
                        rows: ROWS_OF_A_BATCH,
                        bytes: 1 << 20,
                    },
                    writes: WRITES,
                },
            },
            launchers: self.launchers.clone(),
            app: self.app(),
            max_attempts: self.max_attempts,
            directory: self.directory.path().to_owned(),
            max_file_size: self.max_file_size,
            shutdown: shutdown.clone(),
        };
        let app = BatchApp {
            pipeline: simbdp_api::names::PipelineName::new("p").unwrap(),
            ledger: world.ledger.clone(),
            files: Box::new(files),
            staging: world.staging.clone(),
            dead_letters: parts.dead_letters,
            suspects: parts.suspects,
            retry: parts.retry,
            metrics: parts.metrics,
            totals: Counted::new(world.ledger.clone(), "p"),
            shutdown: shutdown.clone(),
        };
        app.run(world.queue.consumer(1))
    }

    /// Runs the batch app until the queue is empty, then ends it in order.
    pub async fn ingest_files(&self, world: &World) {
        let shutdown = Shutdown::new();
        let app = tokio::spawn(self.batch(world, &shutdown));
        world.queue.drained().await;
        shutdown.stop();
        app.await.unwrap();
    }

    /// One process of the stream app.
    pub fn stream(&self, world: &World, shutdown: &Shutdown) -> (StreamApp, Driver) {
        let parts = Parts::new(world, shutdown);
        let limits = Limits {
            timeout: Duration::from_secs(u64::from(self.timeout_seconds)),
            answer: 4 << 10,
        };
        let (session, driver) = session(
            self.launchers.clone(),
            limits,
            "pipeline p".into(),
            shutdown.clone(),
        );
        let courier = OwnCourier {
            courier: Arc::new(Courier {
                rows: RowDecoder::new(&table()).unwrap(),
                sink: parts.sink,
                dead_letters: parts.dead_letters,
                metrics: self.metrics.clone(),
            }),
            session,
            output: self.output,
            max_attempts: self.max_attempts,
            shutdown: shutdown.clone(),
            turns: RwLock::new(()),
        };
        let app = StreamApp {
            consumer: world.queue.consumer(PREFETCH),
            courier: Arc::new(courier),
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
            totals: Counted::new(world.ledger.clone(), "p"),
            shutdown: shutdown.clone(),
        };
        (app, driver)
    }

    /// Runs the stream app until the queue is empty, then ends it in order.
    pub async fn ingest_messages(&self, world: &World) {
        let shutdown = Shutdown::new();
        let (app, driver) = self.stream(world, &shutdown);
        let app = tokio::spawn(async move { tokio::join!(app.run(), driver.run()) });
        world.queue.drained().await;
        shutdown.stop();
        app.await.unwrap();
    }
}
