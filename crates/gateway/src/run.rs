//! Runs a gateway until it is told to end: connects what is behind it in the background, serves its
//! three ports, and ends in order: first no new requests, then uploads, then the rest.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::args::Args;
use crate::gateway::Gateway;
use crate::server::{ServeOptions, serve};
use crate::{admin, api, binding, sweeper, wake};

/// Connections of the internal and the admin port at a time.
const INNER_CONNECTIONS: usize = 256;
/// Longest time for each of the later steps of the end: with the 15 seconds of the public port they fit
/// the 30 seconds that Kubernetes gives a pod by default.
const INNER_GRACE: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let settings = args.settings()?;
    let bound = binding::bind(&args.bindings, &settings.tenant)?;
    let gateway = Gateway::open(settings, bound.backends.clone())?;
    let listen = |address| async move {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on {address}"))
    };
    let public = listen(args.listen).await?;
    let internal = listen(args.internal_listen).await?;
    let admin = listen(args.admin_listen).await?;
    tracing::info!(
        tenant = %gateway.settings.tenant,
        replica = gateway.settings.replica,
        staged = gateway.staging.index().open(),
        public = %public.local_addr()?,
        internal = %internal.local_addr()?,
        admin = %admin.local_addr()?,
        "started"
    );
    // The inner ports outlive the public one: uploads in flight are finished, probes still answered.
    let inner_stop = CancellationToken::new();
    let options = args.serve_options();
    let inner = ServeOptions {
        max_connections: INNER_CONNECTIONS,
        grace: INNER_GRACE,
        ..options.clone()
    };
    let stop = gateway.shutdown.clone();
    let background = [
        tokio::spawn(Arc::clone(&gateway.config).watch(stop.clone())),
        tokio::spawn(bound.follow(stop.clone())),
        tokio::spawn(connect(Arc::clone(&gateway))),
        tokio::spawn(sweeper::run(Arc::clone(&gateway))),
        tokio::spawn(wake::run(Arc::clone(&gateway))),
    ];
    let serving = [
        (internal, api::internal(Arc::clone(&gateway))),
        (admin, admin::router(Arc::clone(&gateway))),
    ]
    .map(|(listener, router)| {
        tokio::spawn(serve(listener, router, inner.clone(), inner_stop.clone()))
    });
    let public = tokio::spawn(serve(
        public,
        api::public(Arc::clone(&gateway)),
        options.clone(),
        stop.clone(),
    ));
    told_to_end().await?;
    tracing::info!("ending");
    stop.cancel();
    public.await.context("the public port")?;
    finish_uploads(&gateway).await;
    inner_stop.cancel();
    for task in background.into_iter().chain(serving) {
        task.await.context("a background task")?;
    }
    tracing::info!("ended");
    Ok(())
}

async fn told_to_end() -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// Uploads whose client is gone may still be publishing.
async fn finish_uploads(gateway: &Gateway) {
    gateway.tasks.close();
    if tokio::time::timeout(INNER_GRACE, gateway.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("uploads did not finish within the grace; the next start goes on with them");
    }
}

/// Connects to the database, with back-off. Requests wait for it only shortly, and a wait that is given
/// up must not be the one that opens the session.
async fn connect(gateway: Arc<Gateway>) {
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(15))
        .with_jitter()
        .without_max_times()
        .build();
    let attempts = async {
        while let Err(error) = gateway.backends.ledger.file(Uuid::nil()).await {
            tracing::warn!(%error, "the database cannot be reached yet");
            tokio::time::sleep(waits.next().unwrap_or(Duration::from_secs(15))).await;
        }
        tracing::info!("the database answers");
    };
    gateway.shutdown.run_until_cancelled(attempts).await;
}
