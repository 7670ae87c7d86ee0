//! One watcher for each Broker [IO]: asks for all of its queues at once, decides for each pipeline, and scales. Only the
//! operator that leads has them. While a Broker cannot be asked, nothing of it is scaled, and what was seen before counts
//! no more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use simbdp_api::Broker;
use simbdp_broker::admin::{AdminError, Backlogs};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::decide::{Decision, History, Seen, decide};
use super::quiet;
use super::scale::{MANAGER, Scaled, scale};
use super::workload::Workload;
use crate::apply::ApplyError;
use crate::context::Context;
use crate::pipeline::external::administrator;
use crate::watches::Stores;

/// How often a Broker is asked.
const PERIOD: Duration = Duration::from_secs(3);
/// How often what is done with is deleted in it, where it does not do so by itself.
const TRIM: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pipelines that are scaled at the same time.
const AT_ONCE: usize = 16;

/// What was seen of pipelines, by UID.
pub type Histories = HashMap<String, History>;

/// Keeps a watcher for each Broker that there is.
pub async fn follow(ctx: Arc<Context>, stores: Stores) {
    let mut watchers = JoinSet::new();
    let mut watched = HashMap::new();
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        while watchers.try_join_next().is_some() {}
        watched.retain(|_, handle: &mut tokio::task::AbortHandle| !handle.is_finished());
        for broker in stores.brokers.state() {
            let name = broker.name_any();
            watched.entry(name).or_insert_with_key(|name| {
                watchers.spawn(watch(ctx.clone(), stores.clone(), name.clone()))
            });
        }
    }
}

/// Looks again and again, as long as there is such a Broker.
async fn watch(ctx: Arc<Context>, stores: Stores, name: String) {
    let mut histories = Histories::new();
    let mut answered = true;
    let mut trimmed: Option<Instant> = None;
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(broker) = stores.brokers.get(&ObjectRef::new(&name)) {
        let workloads = stores.workloads(&name);
        let looked = look(&ctx, &broker, workloads, &mut histories, Instant::now()).await;
        match &looked {
            Err(error) if answered => {
                tracing::warn!(broker = name, %error, "nothing is scaled while the broker cannot be asked");
            }
            Ok(()) if !answered => tracing::info!(broker = name, "the broker can be asked again"),
            _ => {}
        }
        answered = looked.is_ok();
        if answered && trimmed.is_none_or(|at| at.elapsed() >= TRIM) {
            trim(&ctx, &broker).await;
            trimmed = Some(Instant::now());
        }
        period.tick().await;
    }
}

/// Looks at a Broker once, and scales what is to be scaled. Fails when it cannot be asked.
pub async fn look(
    ctx: &Context,
    broker: &Broker,
    workloads: Vec<Workload>,
    histories: &mut Histories,
    now: Instant,
) -> Result<(), AdminError> {
    let name = broker.name_any();
    let backlogs = match ask(ctx, broker).await {
        Ok(backlogs) => Arc::new(backlogs),
        Err(error) => {
            ctx.memory.told(&name, None).await;
            histories.clear();
            return Err(error);
        }
    };
    ctx.memory.told(&name, Some(backlogs.clone())).await;
    histories.retain(|uid, _| workloads.iter().any(|workload| workload.uid == *uid));
    for some in workloads.chunks(AT_ONCE) {
        let each = some.iter().map(|workload| {
            let before = histories.get(&workload.uid).copied();
            settle(ctx, workload, &backlogs, before, now)
        });
        for (workload, history) in some.iter().zip(join_all(each).await) {
            match history {
                Some(history) => histories.insert(workload.uid.clone(), history),
                None => histories.remove(&workload.uid),
            };
        }
    }
    Ok(())
}

/// It only gives disk space back: what fails is done next time.
async fn trim(ctx: &Context, broker: &Broker) {
    let trimmed = async { administrator(ctx, broker).await?.trim().await };
    if let Err(error) = patiently(trimmed).await {
        let broker = broker.name_any();
        tracing::warn!(broker, %error, "what is done with stays in the broker for now");
    }
}

async fn ask(ctx: &Context, broker: &Broker) -> Result<Backlogs, AdminError> {
    patiently(async { administrator(ctx, broker).await?.backlogs().await }).await
}

async fn patiently<T>(asked: impl Future<Output = Result<T, AdminError>>) -> Result<T, AdminError> {
    tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| {
            let seconds = PATIENCE.as_secs();
            Err(AdminError::Unavailable(format!(
                "no answer within {seconds} s"
            )))
        })
}

/// Decides for one pipeline and scales it. Returns what is to be remembered of it; [`None`] where its queue cannot be seen.
async fn settle(
    ctx: &Context,
    workload: &Workload,
    backlogs: &Backlogs,
    before: Option<History>,
    now: Instant,
) -> Option<History> {
    let totals = backlogs.get(&workload.tenant.vhost(), &workload.pipeline.queue())?;
    let seen = Seen {
        backlog: totals.ready + totals.unacknowledged,
        replicas: workload.replicas,
    };
    let (decision, after) = decide(&workload.bounds, before, seen, now);
    let replicas = match decision {
        Decision::Keep => return Some(after),
        Decision::To(replicas) => replicas,
    };
    match carry_out(ctx, workload, before, replicas, now).await {
        Ok(Outcome::Scaled) => {
            tracing::info!(
                tenant = %workload.tenant, pipeline = %workload.pipeline, backlog = seen.backlog,
                from = workload.replicas, to = replicas, "scaled"
            );
            ctx.metrics.scaled(workload.replicas, replicas);
            Some(after)
        }
        Ok(Outcome::Remember(history)) => history,
        Err(error) => {
            tracing::warn!(%error, tenant = %workload.tenant, pipeline = %workload.pipeline, "cannot scale");
            before
        }
    }
}

enum Outcome {
    Scaled,
    Remember(Option<History>),
}

async fn carry_out(
    ctx: &Context,
    workload: &Workload,
    before: Option<History>,
    replicas: u16,
    now: Instant,
) -> Result<Outcome, ApplyError> {
    if replicas == 0
        && let Some(busy) = busy_again(ctx, workload, before, now).await?
    {
        return Ok(Outcome::Remember(Some(busy)));
    }
    let scaled = scale(
        &ctx.client,
        &workload.tenant.namespace(),
        &workload.pipeline.ingest_workload(),
        replicas,
        workload.version.as_deref(),
    )
    .await?;
    Ok(match scaled {
        Scaled::Done => Outcome::Scaled,
        Scaled::Changed | Scaled::Gone => Outcome::Remember(before),
    })
}

/// The last app is not stopped within a cooldown of what a gateway has published.
async fn busy_again(
    ctx: &Context,
    workload: &Workload,
    before: Option<History>,
    now: Instant,
) -> Result<Option<History>, ApplyError> {
    let applier = ctx.applier(MANAGER);
    let published = quiet::published(ctx, &applier, &workload.tenant, &workload.pipeline).await?;
    let recent = published.filter(|ago| *ago < workload.bounds.cooldown);
    Ok(recent.and_then(|ago| {
        let at = now.checked_sub(ago).unwrap_or(now);
        before.map(|history| history.busy_at(at))
    }))
}
