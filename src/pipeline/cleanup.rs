//! Cleanup [IO]: closes a pipeline, waits for its backlog, and takes away what it stands for; its table
//! stays. Every step looks at what is there, so that it can be repeated; none needs a valid spec, and
//! what is gone already is fine.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Resource, ResourceExt};
use simbdp_api::names::{PipelineName, TenantName};
use simbdp_api::{IngestPipeline, labels};
use simbdp_broker::admin::AdminError;

use super::dereference::{Home, broker, find_home};
use super::error::Error;
use super::{apply, observe, status, validate};
use crate::activation::scale::scale;
use crate::activation::workload;
use crate::apply::Applier;
use crate::context::Context;
use crate::controller_runtime::Teardown;
use crate::tenant::external::broker_admin;
use crate::tenant::status::{BACKLOG_DISCARDED, BACKLOG_SETTLED, DISCARDING, STOPPING_INGEST};

/// How full a queue is cannot be seen by an event.
const AGAIN: Duration = Duration::from_secs(3);
/// A broker's figures are late by up to its own refresh interval of 5 s: only what they say this long
/// after the gateway has closed is the whole backlog.
const SETTLE_SECONDS: i64 = 6;

fn pending(stage: &'static str, message: impl Into<String>) -> Teardown {
    Teardown::Pending {
        stage,
        message: message.into(),
        again: AGAIN,
    }
}

/// Stops what runs of a pipeline whose Tenant stops or is gone; everything else stays.
pub async fn suspend(
    ctx: &Context,
    applier: &Applier,
    pipeline: &IngestPipeline,
    tenant: &TenantName,
    reason: &str,
) -> Result<(), Error> {
    let Ok(name) = PipelineName::new(pipeline.name_any()) else {
        return Ok(());
    };
    let generation = pipeline.metadata.generation.unwrap_or_default();
    apply::close(&ctx.client, applier, tenant, &name, generation, reason).await?;
    delete_ingest(applier, &tenant.namespace(), &name).await?;
    Ok(())
}

/// True when it is gone.
async fn delete_ingest(
    applier: &Applier,
    namespace: &str,
    name: &PipelineName,
) -> Result<bool, Error> {
    let workload = name.ingest_workload();
    match applier
        .get::<Deployment>(Some(namespace), &workload)
        .await?
    {
        None => Ok(true),
        Some(live) if live.metadata.deletion_timestamp.is_some() => Ok(false),
        Some(_) => Ok(applier
            .delete::<Deployment>(Some(namespace), &workload)
            .await?),
    }
}

/// Whether nobody wants what is still queued.
fn discards(pipeline: &IngestPipeline) -> bool {
    pipeline.annotations().contains_key(labels::DISCARD_BACKLOG)
}

/// How long the rest of the tenant stays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stay {
    /// It lives.
    Living,
    /// It does not run, and what it has is kept for when it is applied again.
    Retained,
    /// It goes as well.
    Leaving,
}

impl Stay {
    fn stopped(retained: bool) -> Self {
        match retained {
            true => Self::Retained,
            false => Self::Leaving,
        }
    }
}

/// Takes a pipeline away.
pub async fn cleanup(ctx: &Context, pipeline: &IngestPipeline) -> Result<Teardown, Error> {
    // Without a fitting name, or outside of a tenant's namespace, it never had anything.
    let Ok(name) = PipelineName::new(pipeline.name_any()) else {
        return Ok(Teardown::Done);
    };
    let mut paused = None;
    let (tenant, stay) = match find_home(ctx, pipeline).await {
        Ok(Home::Living(living, tenant)) => {
            paused = validate::paused(pipeline.spec.paused, living.spec.paused);
            (tenant, Stay::Living)
        }
        Ok(Home::Stopped {
            tenant, retained, ..
        }) => (tenant, Stay::stopped(retained)),
        // A retained Tenant that was applied again still has queues of the pipeline.
        Ok(Home::NotYet { tenant, .. }) if discards(pipeline) => (tenant, Stay::Retained),
        Ok(Home::NotYet { message, .. }) => return Ok(pending("WaitingForTenant", message)),
        Err(Error::Homeless(_)) => return Ok(Teardown::Done),
        Err(error) => return Err(error),
    };
    let scene = Scene {
        ctx,
        pipeline,
        name,
        namespace: tenant.namespace(),
        tenant,
        applier: ctx.applier(apply::MANAGER),
        paused,
    };
    // What was decided stays decided: without ingest apps nobody would take what is queued later.
    let drained = match stay == Stay::Living && !discards(pipeline) {
        true if scene.holds(BACKLOG_SETTLED) => Teardown::Done,
        true => scene.drain().await?,
        false => scene.discard().await?,
    };
    match drained {
        Teardown::Done => scene.delete(stay).await,
        pending => Ok(pending),
    }
}

/// What the gateway's replicas say together of a pipeline that closes.
#[derive(Default)]
struct Closing {
    /// Replicas that have not loaded the closed pipeline, or cannot be asked.
    open: usize,
    /// Requests that began before they had.
    in_flight: u64,
    /// Staged files that are not in the queue yet.
    unpublished: u64,
}

/// What every step needs.
struct Scene<'a> {
    ctx: &'a Context,
    pipeline: &'a IngestPipeline,
    name: PipelineName,
    tenant: TenantName,
    namespace: String,
    applier: Applier,
    /// Why no ingest app is to run, and how that ends.
    paused: Option<&'static str>,
}

impl Scene<'_> {
    async fn event(&self, reason: &str, note: &str) {
        let about = self.pipeline.object_ref(&());
        self.ctx
            .events
            .warning(&about, "TearDown", reason, note)
            .await;
    }

    /// Closes the pipeline at the gateway; false where nothing was open.
    async fn close(&self) -> Result<bool, Error> {
        let generation = self.pipeline.metadata.generation.unwrap_or_default();
        Ok(apply::close(
            &self.ctx.client,
            &self.applier,
            &self.tenant,
            &self.name,
            generation,
            "the pipeline is being deleted",
        )
        .await?)
    }

    /// Whether status says so already.
    fn holds(&self, condition: &str) -> bool {
        let status = self.pipeline.status.as_ref();
        status.is_some_and(|status| {
            crate::conditions::holds(&status.conditions.conditions, condition)
        })
    }

    /// Nothing new is taken, and what was accepted is ingested. That it is, is written down before the
    /// ingest apps go.
    async fn drain(&self) -> Result<Teardown, Error> {
        if !self.close().await? {
            return Ok(Teardown::Done);
        }
        if let Some(waiting) = self.waiting(&self.closing().await?).await? {
            self.ctx.memory.no_longer(&self.key()).await;
            return Ok(waiting);
        }
        if !self.settled().await {
            return Ok(pending(
                "Draining",
                "the pipeline is closed; its backlog is being counted",
            ));
        }
        match self.backlog().await? {
            Some(0) | None => Ok(Teardown::Pending {
                stage: STOPPING_INGEST,
                message: "all that was accepted is ingested; the ingest apps are stopped next"
                    .to_owned(),
                again: Duration::ZERO,
            }),
            Some(left) => Ok(pending(
                "Draining",
                format!(
                    "{left} files or messages are waited for{}; annotate the pipeline with {} to discard them",
                    self.resumed().await?,
                    labels::DISCARD_BACKLOG
                ),
            )),
        }
    }

    /// What a backlog waits for while no ingest app runs. Where a pause ended after the deletion had begun, they
    /// run again.
    async fn resumed(&self) -> Result<String, Error> {
        if let Some(why) = self.paused {
            return Ok(format!(" ({why})"));
        }
        let workload = self.name.ingest_workload();
        let namespace = Some(self.namespace.as_str());
        let live = self.applier.get::<Deployment>(namespace, &workload).await?;
        if live.is_some_and(|live| workload::replicas(&live) == 0) {
            let replicas = self.pipeline.spec.scaling.min_replicas.max(1);
            scale(&self.ctx.client, &self.namespace, &workload, replicas, None).await?;
        }
        Ok(String::new())
    }

    /// What must end before the queue holds all that there will be.
    async fn waiting(&self, closing: &Closing) -> Result<Option<Teardown>, Error> {
        let Closing {
            open,
            in_flight,
            unpublished,
        } = *closing;
        if open > 0 {
            let message = format!("{open} gateway replicas have not closed the pipeline yet");
            return Ok(Some(pending("Closing", message)));
        }
        if in_flight > 0 {
            let message =
                format!("{in_flight} requests that began before the pipeline closed are under way");
            return Ok(Some(pending("Draining", message)));
        }
        // Where the queue is gone, nobody will ever confirm them.
        if unpublished > 0 && self.backlog().await?.is_some() {
            let message = format!(
                "{unpublished} staged files are not in the queue yet; annotate the pipeline with {} to discard them",
                labels::DISCARD_BACKLOG
            );
            return Ok(Some(pending("Draining", message)));
        }
        Ok(None)
    }

    /// What the replicas say. Those of a gateway that is gone are none.
    async fn closing(&self) -> Result<Closing, Error> {
        let generation = self.pipeline.metadata.generation.unwrap_or_default();
        let mut closing = Closing::default();
        for state in observe::gateway_states(self.ctx, &self.applier, &self.tenant).await? {
            let Ok(state) = state else {
                closing.open += 1;
                continue;
            };
            if let Some(loaded) = status::loaded(&state, self.name.as_str()) {
                closing.open += usize::from(loaded.generation < generation);
                closing.in_flight += loaded.in_flight;
                closing.unpublished += loaded.unpublished;
            }
        }
        Ok(closing)
    }

    fn key(&self) -> String {
        self.pipeline.uid().unwrap_or_default()
    }

    /// Whether the gateway has been closed for long enough that the broker's figures are whole.
    async fn settled(&self) -> bool {
        let now = (self.ctx.clock)().as_second();
        now - self.ctx.memory.since(self.key(), now).await >= SETTLE_SECONDS
    }

    /// What waits in the work queue; [`None`] where broker, virtual host or queue are gone.
    async fn backlog(&self) -> Result<Option<u64>, Error> {
        let Some(admin) = self.broker().await? else {
            return Ok(None);
        };
        match admin.queue_totals(&self.tenant.vhost()).await {
            Ok(queues) => Ok(queues
                .iter()
                .find(|queue| queue.name == self.name.queue())
                .map(|queue| queue.ready + queue.unacknowledged)),
            Err(AdminError::Refused { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Nothing new is taken; what was accepted is thrown away, and it is said before how much that is.
    async fn discard(&self) -> Result<Teardown, Error> {
        self.close().await?;
        if self.holds(BACKLOG_DISCARDED) {
            return Ok(Teardown::Done);
        }
        let message = match self.backlog().await? {
            None | Some(0) => return Ok(Teardown::Done),
            Some(left) => format!("{left} files or messages are discarded"),
        };
        self.event("BacklogDiscarded", &message).await;
        Ok(Teardown::Pending {
            stage: DISCARDING,
            message,
            again: Duration::ZERO,
        })
    }

    async fn delete(&self, stay: Stay) -> Result<Teardown, Error> {
        if !delete_ingest(&self.applier, &self.namespace, &self.name).await? {
            return Ok(pending(
                STOPPING_INGEST,
                "the ingest apps are being stopped",
            ));
        }
        self.tell_latecomers().await?;
        self.delete_queues().await?;
        // While its Tenant leaves the pipeline stays closed with its reason until the gateway goes.
        if stay != Stay::Leaving {
            apply::remove_key(&self.ctx.client, &self.applier, &self.tenant, &self.name).await?;
        }
        Ok(Teardown::Done)
    }

    /// Says how much somebody has put into a drained queue since, past the gateway: it goes with it.
    async fn tell_latecomers(&self) -> Result<(), Error> {
        if !self.holds(BACKLOG_SETTLED) || self.holds(BACKLOG_DISCARDED) {
            return Ok(());
        }
        if let Some(left @ 1..) = self.backlog().await? {
            let note = format!(
                "{left} messages that came into the queue after it was drained are discarded"
            );
            self.event("BacklogDiscarded", &note).await;
        }
        Ok(())
    }

    async fn delete_queues(&self) -> Result<(), Error> {
        let Some(admin) = self.broker().await? else {
            self.event(
                "CleanupSkipped",
                "clean-up of queues skipped: the Broker is gone, and its queues with it",
            )
            .await;
            return Ok(());
        };
        let (queue, dead) = (self.name.queue(), self.name.dead_letter_queue());
        Ok(admin
            .delete_queues(&self.tenant.vhost(), &queue, &dead)
            .await?)
    }

    /// [`None`] when there is no such Broker: its queues are gone with it.
    async fn broker(
        &self,
    ) -> Result<Option<std::sync::Arc<dyn simbdp_broker::BrokerAdmin>>, Error> {
        match broker(self.ctx, &self.tenant).await? {
            Some(broker) => Ok(broker_admin(self.ctx, &broker).await?),
            None => Ok(None),
        }
    }
}
