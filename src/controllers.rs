//! Runs the controllers: requests → scheduler → [`drive`], each kind with its own queue and concurrency.

use std::convert::Infallible;
use std::sync::Arc;

use futures::{StreamExt, stream};
use kube::ResourceExt;
use kube::runtime::applier;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::activation::watcher;
use crate::broker::BrokerController;
use crate::context::Context;
use crate::controller_runtime::{Controller, after_failure, drive};
use crate::coredms::CoreDmsController;
use crate::error::Failure;
use crate::pipeline::PipelineController;
use crate::requeue::Key;
use crate::tenant::TenantController;
use crate::triggers::{Requests, Triggers};
use crate::watches;

/// Objects of one kind that are reconciled at the same time.
const CONCURRENCY: u16 = 8;
/// Changes that come together are one reconcile.
const DEBOUNCE: std::time::Duration = std::time::Duration::from_millis(100);

/// Runs every controller until `shutdown`; reconciles that run are finished.
pub async fn run(
    ctx: Arc<Context>,
    triggers: Triggers,
    requests: Requests,
    shutdown: CancellationToken,
) {
    ctx.secrets.watch(&ctx.identity.namespace);
    let (stores, _watches) = watches::start(&ctx, &triggers);
    tokio::select! {
        () = shutdown.cancelled() => return,
        _ = stores.ready() => tracing::info!("every kind is listed; the controllers start"),
    }
    let activated = stores.clone();
    tokio::join!(
        async {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = ctx.pulses.follow(&triggers) => {}
            }
        },
        async {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = watcher::follow(ctx.clone(), activated) => {}
            }
        },
        control::<BrokerController>(&ctx, stores.brokers, requests.brokers, &shutdown),
        control::<CoreDmsController>(&ctx, stores.coredms, requests.coredms, &shutdown),
        control::<TenantController>(&ctx, stores.tenants, requests.tenants, &shutdown),
        control::<PipelineController>(&ctx, stores.pipelines, requests.pipelines, &shutdown),
    );
}

async fn control<C: Controller>(
    ctx: &Arc<Context>,
    store: Store<C::Object>,
    mut requests: mpsc::Receiver<ObjectRef<C::Object>>,
    shutdown: &CancellationToken,
) {
    let queue = stream::poll_fn(move |task| requests.poll_recv(task))
        .map(Ok::<_, Infallible>)
        .take_until(shutdown.clone().cancelled_owned());
    let config = controller::Config::default()
        .concurrency(CONCURRENCY)
        .debounce(DEBOUNCE);
    let results = applier(
        |object, ctx| Box::pin(reconcile::<C>(object, ctx)),
        failed::<C>,
        ctx.clone(),
        store,
        queue,
        config,
    );
    results
        .for_each(async |result| match result {
            Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
            Err(error) => tracing::debug!(%error, "a request was not reconciled"),
        })
        .await;
}

async fn reconcile<C: Controller>(
    object: Arc<C::Object>,
    ctx: Arc<Context>,
) -> Result<Action, Failure> {
    drive::<C>(&ctx, object.namespace().as_deref(), &object.name_any()).await
}

fn failed<C: Controller>(object: Arc<C::Object>, failure: &Failure, ctx: Arc<Context>) -> Action {
    after_failure(&ctx, &Key::of(&*object), failure)
}
