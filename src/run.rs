//! Runs the operator: configuration, connections, health, leader election, controllers, shutdown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use backon::{ExponentialBuilder, Retryable};
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use simbdp_api::mounts::{ADMIN_PORT, WAKE_PORT};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::activation::authority::{self, Authority, AuthorityError};
use crate::activation::serve::serve;
use crate::activation::wake::Waker;
use crate::config::Config;
use crate::context::{Context, Identity};
use crate::coredms::pulse::Pulses;
use crate::events::Events;
use crate::exec::PodExec;
use crate::gateways::HttpGateways;
use crate::health::{Health, router};
use crate::metrics::Metrics;
use crate::requeue::Backoff;
use crate::secrets_watch::SecretsWatch;
use crate::telemetry::LogFormat;
use crate::tenant::memory::Memory;
use crate::triggers::{Requests, Triggers, channels};
use crate::{controllers, default_broker, leader};

/// How the operator is run.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Configuration file
    #[arg(
        long,
        env = "SIMBDP_CONFIG",
        default_value = "/etc/simbdp/operator.yaml"
    )]
    pub config: PathBuf,
    /// Namespace of this operator
    #[arg(long, env = "SIMBDP_NAMESPACE", default_value = "simbdp-system")]
    pub namespace: String,
    /// Name of this operator's pod, its identity as a leader
    #[arg(long, env = "SIMBDP_POD_NAME", default_value = "simbdp-operator")]
    pub pod_name: String,
    /// ServiceAccount of this operator
    #[arg(long, env = "SIMBDP_SERVICE_ACCOUNT", default_value = "simbdp")]
    pub service_account: String,
    /// Service of this operator, by which gateways reach it
    #[arg(long, env = "SIMBDP_SERVICE", default_value = "simbdp-operator")]
    pub service: String,
    /// Address at which gateways wake ingest apps, over TLS
    #[arg(long, env = "SIMBDP_WAKE_ADDRESS", default_value_t = SocketAddr::from(([0, 0, 0, 0], WAKE_PORT)))]
    pub wake_address: SocketAddr,
    /// Address of health, readiness and metrics
    #[arg(long, env = "SIMBDP_ADMIN_ADDRESS", default_value_t = SocketAddr::from(([0, 0, 0, 0], ADMIN_PORT)))]
    pub admin_address: SocketAddr,
    /// How log lines are written
    #[arg(long, env = "SIMBDP_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// Runs until a signal, or until the lead is lost.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let config = Config::read(&args.config)?;
    let client = Client::try_default()
        .await
        .context("cannot find the API server")?;
    let shutdown = CancellationToken::new();
    tokio::spawn(end_on_signal(shutdown.clone()).await?);
    let (triggers, requests) = channels();
    let ctx = Arc::new(context(client, config, &args, &triggers)?);
    let health = Arc::new(Health::default());
    let listener = TcpListener::bind(args.admin_address)
        .await
        .with_context(|| format!("cannot listen on {}", args.admin_address))?;
    let served = axum::serve(listener, router(ctx.clone(), health.clone()))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let serving = tokio::spawn(async move { served.await });
    let waking = TcpListener::bind(args.wake_address)
        .await
        .with_context(|| format!("cannot listen on {}", args.wake_address))?;
    let outcome = operate(&ctx, &health, waking, (triggers, requests), &shutdown).await;
    shutdown.cancel();
    serving
        .await
        .context("the admin server panicked")?
        .context("the admin server failed")?;
    outcome
}

async fn operate(
    ctx: &Arc<Context>,
    health: &Arc<Health>,
    waking: TcpListener,
    (triggers, requests): (Triggers, Requests),
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let prepared = async {
        health.ready(&ctx.client).await;
        authority(ctx).await
    };
    let Some(authority) = shutdown.run_until_cancelled(prepared).await else {
        return Ok(());
    };
    let tls = authority.server(authority::names(&ctx.identity))?;
    let router = Waker::new(ctx.clone()).router();
    tokio::spawn(serve(waking, tls, router, shutdown.clone()));
    let following = {
        let (health, client, shutdown) = (health.clone(), ctx.client.clone(), shutdown.clone());
        tokio::spawn(async move { health.follow(client, shutdown).await })
    };
    let work = async {
        ctx.metrics.lead(true);
        let ensuring = async {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = default_broker::ensure(ctx) => {}
            }
        };
        tokio::join!(
            ensuring,
            controllers::run(ctx.clone(), triggers, requests, shutdown.clone())
        );
    };
    let outcome = leader::lead(ctx.client.clone(), &ctx.identity, shutdown, work).await;
    ctx.metrics.lead(false);
    following.abort();
    Ok(outcome?)
}

/// The operator's own authority: nothing is made for tenants before it is there.
async fn authority(ctx: &Context) -> Authority {
    let ensure = || authority::ensure(&ctx.client, &ctx.identity);
    let policy = ExponentialBuilder::default()
        .with_max_delay(Duration::from_secs(15))
        .with_jitter()
        .without_max_times();
    let warn = |error: &AuthorityError, _| tracing::warn!(%error, "no authority yet");
    loop {
        // Tried without end; another round is for the type alone.
        if let Ok(authority) = ensure.retry(policy).notify(warn).await {
            return ctx.authority.get_or_init(|| authority).clone();
        }
    }
}

fn context(
    client: Client,
    config: Config,
    args: &RunArgs,
    triggers: &Triggers,
) -> anyhow::Result<Context> {
    Ok(Context {
        config,
        identity: Identity {
            namespace: args.namespace.clone(),
            service_account: args.service_account.clone(),
            pod: args.pod_name.clone(),
            service: args.service.clone(),
        },
        coredms: Arc::new(simbdp_coredms::Connectors::new()),
        broker: Arc::new(simbdp_broker::Connectors::default()),
        exec: Arc::new(PodExec::new(client.clone())),
        gateways: Arc::new(HttpGateways::new()?),
        metrics: Metrics::default(),
        events: Events::new(client.clone(), &args.pod_name),
        clock: Arc::new(Timestamp::now),
        backoff: Backoff::default(),
        secrets: SecretsWatch::new(client.clone(), Some(triggers.clone())),
        pulses: Pulses::default(),
        authority: OnceLock::new(),
        memory: Memory::default(),
        client,
    })
}

async fn end_on_signal(shutdown: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutting down");
        shutdown.cancel();
    })
}
