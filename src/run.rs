//! Runs the operator: configuration, connections, health, leader election, controllers, shutdown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use simbdp_api::mounts::ADMIN_PORT;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

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
    let listener = tokio::net::TcpListener::bind(args.admin_address)
        .await
        .with_context(|| format!("cannot listen on {}", args.admin_address))?;
    let served = axum::serve(listener, router(ctx.clone(), health.clone()))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let serving = tokio::spawn(async move { served.await });
    let outcome = operate(&ctx, &health, triggers, requests, &shutdown).await;
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
    triggers: Triggers,
    requests: Requests,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        () = health.ready(&ctx.client) => {}
    }
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
        },
        coredms: Arc::new(simbdp_coredms::Connectors::new()),
        broker: Arc::new(simbdp_broker::Connectors::new()?),
        exec: Arc::new(PodExec::new(client.clone())),
        gateways: Arc::new(HttpGateways::new()?),
        metrics: Metrics::default(),
        events: Events::new(client.clone(), &args.pod_name),
        clock: Arc::new(Timestamp::now),
        backoff: Backoff::default(),
        secrets: SecretsWatch::new(client.clone(), Some(triggers.clone())),
        pulses: Pulses::default(),
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
