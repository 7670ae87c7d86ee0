//! `run`: puts the app of one pipeline together and ends it in order. The one place that spawns.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use simbdp_api::wire::config::{Mode, StreamConstraints};
use simbdp_broker::{Consumer, Publisher};
use simbdp_coredms::Ledger;
use simbdp_coredms::store::Table;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::admin::{self, Readiness};
use crate::args::{OwnArgs, RunArgs};
use crate::batch::{BatchApp, FileApp};
use crate::courier::{Courier, Deliver};
use crate::dead_letter::DeadLetters;
use crate::decode::RowDecoder;
use crate::file::FileIngest;
use crate::metrics::Metrics;
use crate::own::assemble::Own;
use crate::retry::Retry;
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use crate::sink::Sink;
use crate::source::messages::ParcelLimits;
use crate::staging_client::StagingClient;
use crate::stream::{StreamApp, StreamLimits};
use crate::suspects::Suspects;
use crate::totals::Counted;

/// Runs until SIGTERM, with the tenant's own program where that is given.
pub async fn run(args: RunArgs, own: Option<OwnArgs>) -> anyhow::Result<()> {
    let settings = Settings::read(&args)?;
    let metrics = Metrics::new(args.tenant.as_str(), args.pipeline.as_str());
    let shutdown = Shutdown::new();
    let readiness = Readiness::default();
    let listener = TcpListener::bind(args.admin_address)
        .await
        .with_context(|| format!("cannot listen on {}", args.admin_address))?;
    let routes = admin::routes(readiness.clone(), metrics.clone());
    let admin = tokio::spawn(admin::serve(listener, routes, shutdown.clone()));
    let signals = tokio::spawn(
        shutdown
            .on_signal(args.grace())
            .context("cannot listen for SIGTERM")?,
    );

    tracing::info!(
        tenant = %args.tenant, pipeline = %args.pipeline, pod = args.pod_name,
        generation = settings.config.generation, version = env!("CARGO_PKG_VERSION"), "starting"
    );
    let own = own
        .map(|own| Own::new(own, &settings, &metrics))
        .transpose()?;
    let launchers = own.as_ref().map(|own| own.launchers.clone());
    let app = App {
        args,
        settings,
        metrics,
        shutdown: shutdown.clone(),
        readiness,
        own,
    };
    let result = app.ingest().await;
    if let Some(launchers) = launchers {
        launchers.quit().await;
    }
    shutdown.expire();
    join(admin).await;
    signals.abort();
    tracing::info!("stopped");
    result
}

async fn join(admin: JoinHandle<std::io::Result<()>>) {
    // Scrapers keep connections open; they do not hold up the end.
    match tokio::time::timeout(Duration::from_secs(1), admin).await {
        Ok(Ok(Err(error))) => tracing::warn!(%error, "the admin port failed"),
        Ok(Err(error)) => tracing::warn!(%error, "the admin port failed"),
        Ok(Ok(Ok(()))) | Err(_) => {}
    }
}

struct App {
    args: RunArgs,
    settings: Settings,
    metrics: Metrics,
    shutdown: Shutdown,
    readiness: Readiness,
    own: Option<Own>,
}

/// What batch and stream apps have in common.
struct Common {
    ledger: Arc<dyn Ledger>,
    table: Arc<dyn Table>,
    publisher: Arc<dyn Publisher>,
    retry: Retry,
}

impl App {
    async fn ingest(self) -> anyhow::Result<()> {
        let rows = RowDecoder::new(&self.settings.config.table)?;
        let retry = Retry::new(self.shutdown.clone(), self.metrics.clone());
        let database = simbdp_coredms::open(
            self.settings.coredms.clone(),
            self.settings.coredms_options.clone(),
        );
        let ledger = database.ledger(&self.settings.ledger_keyspace);
        let store = database.store();
        let config = &self.settings.config;
        let prepare = || store.table(&config.keyspace, &config.table);
        let Ok(table) = retry.whatever_fails("prepare", prepare).await else {
            return Ok(());
        };
        self.readiness.table_prepared();
        let common = Common {
            ledger,
            table,
            publisher: simbdp_broker::publisher(&self.settings.broker)?,
            retry,
        };
        self.readiness
            .broker_connected(common.publisher.clone(), self.args.pipeline.queue());
        if let Some(own) = &self.own {
            self.readiness.needs_program(own.launchers.clone());
        }
        match &config.mode {
            Mode::Batch(constraints) => {
                let files = self.files(&common, rows)?;
                let files: Box<dyn FileApp> = match &self.own {
                    None => Box::new(files),
                    Some(own) => Box::new(own.files(files, constraints, self.shutdown.clone())),
                };
                let consumer = self.consumer(1)?;
                self.batch(common, files)?.run(consumer).await;
            }
            Mode::Stream(constraints) => {
                let prefetch = self.args.messages.prefetch(constraints.max_message_size);
                let courier = Arc::new(self.courier(&common, rows));
                self.messages(common, courier, constraints, prefetch)
                    .await?;
            }
        }
        Ok(())
    }

    fn consumer(&self, prefetch: u16) -> anyhow::Result<Box<dyn Consumer>> {
        let queue = self.args.pipeline.queue();
        Ok(simbdp_broker::consumer(
            &self.settings.broker,
            queue,
            prefetch,
        )?)
    }

    fn dead_letters(&self, common: &Common) -> DeadLetters {
        let queue = self.args.pipeline.dead_letter_queue();
        DeadLetters::new(
            common.publisher.clone(),
            queue,
            common.retry.clone(),
            self.metrics.clone(),
        )
    }

    fn suspects(&self, common: &Common) -> Suspects {
        Suspects::new(
            common.ledger.clone(),
            self.args.pipeline.as_str(),
            self.settings.config.max_attempts,
            common.retry.clone(),
            self.metrics.clone(),
        )
    }

    fn sink(&self, common: &Common) -> Sink {
        Sink::new(
            common.table.clone(),
            common.retry.clone(),
            self.metrics.clone(),
        )
    }

    fn staging(&self) -> anyhow::Result<Arc<StagingClient>> {
        let token = self.settings.internal_token.clone();
        let staging = StagingClient::new(token, self.args.gateway_hosts())
            .context("cannot make an HTTP client")?;
        Ok(Arc::new(staging))
    }

    fn files(&self, common: &Common, rows: RowDecoder) -> anyhow::Result<FileIngest> {
        Ok(FileIngest {
            table: self.settings.config.table.clone(),
            rows,
            sink: self.sink(common),
            staging: self.staging()?,
            retry: common.retry.clone(),
            metrics: self.metrics.clone(),
            limits: self.args.files.limits(),
        })
    }

    fn batch(&self, common: Common, files: Box<dyn FileApp>) -> anyhow::Result<BatchApp> {
        Ok(BatchApp {
            pipeline: self.args.pipeline.clone(),
            files,
            staging: self.staging()?,
            dead_letters: self.dead_letters(&common),
            suspects: self.suspects(&common),
            totals: Counted::new(common.ledger.clone(), self.args.pipeline.as_str()),
            ledger: common.ledger,
            retry: common.retry,
            metrics: self.metrics.clone(),
            shutdown: self.shutdown.clone(),
        })
    }

    fn courier(&self, common: &Common, rows: RowDecoder) -> Courier {
        Courier {
            rows,
            sink: self.sink(common),
            dead_letters: self.dead_letters(common),
            metrics: self.metrics.clone(),
        }
    }

    async fn messages(
        &self,
        common: Common,
        courier: Arc<Courier>,
        constraints: &StreamConstraints,
        prefetch: u16,
    ) -> anyhow::Result<()> {
        let consumer = self.consumer(prefetch)?;
        match &self.own {
            None => self.stream(common, courier, consumer, prefetch).run().await,
            Some(own) => {
                let (courier, driver) = own.messages(courier, constraints, self.shutdown.clone());
                let app = self.stream(common, Arc::new(courier), consumer, prefetch);
                tokio::join!(app.run(), driver.run());
            }
        }
        Ok(())
    }

    fn stream(
        &self,
        common: Common,
        courier: Arc<dyn Deliver>,
        consumer: Box<dyn Consumer>,
        prefetch: u16,
    ) -> StreamApp {
        let messages = self.args.messages;
        StreamApp {
            consumer,
            courier,
            suspects: self.suspects(&common),
            limits: StreamLimits {
                parcel: ParcelLimits {
                    messages: usize::from(messages.parcel_messages),
                    bytes: messages.parcel_bytes as usize,
                    linger: Duration::from_millis(messages.linger_millis),
                },
                parcels: usize::from(messages.parcels_in_flight),
                prefetch,
            },
            metrics: self.metrics.clone(),
            totals: Counted::new(common.ledger, self.args.pipeline.as_str()),
            shutdown: self.shutdown.clone(),
        }
    }
}
