//! Cleanup [IO]: takes away what a Tenant stands for, a step at a time. Every step looks at what is
//! there, so that it can be repeated and begun anew anywhere; none needs a valid spec, and what is gone
//! already is fine.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt};
use simbdp_api::names::{TenantName, tenant_objects as objects};
use simbdp_api::tenant::{DeletionPolicy, Placement};
use simbdp_api::{CoreDms, IngestPipeline, Tenant, labels};
use simbdp_broker::admin::AdminError;

use super::credentials::TOKEN;
use super::dereference::{Found, dereference};
use super::error::Error;
use super::namespace::{Claim, claim};
use super::observe::replica_url;
use super::status::{BACKLOG_DISCARDED, DISCARDING, Stage, database_stage};
use super::{apply, external, places};
use crate::apply::{Applier, text};
use crate::conditions::holds;
use crate::context::Context;
use crate::controller_runtime::Teardown;
use crate::coredms::place::DatabasePlace;

/// Objects' events come first; this is the safety net.
const AGAIN: Duration = Duration::from_secs(5);

fn pending(stage: &'static str, message: impl Into<String>) -> Teardown {
    Teardown::Pending {
        stage,
        message: message.into(),
        again: AGAIN,
    }
}

/// What becomes of a tenant's keyspaces and roles.
#[derive(Clone, Copy)]
enum Change {
    /// Roles log in no more; all stays.
    Suspend,
    /// All of it goes.
    Drop,
}

/// What every step needs.
struct Scene<'a> {
    ctx: &'a Context,
    tenant: &'a Tenant,
    name: TenantName,
    namespace: String,
    applier: Applier,
    found: Found,
    /// The namespace is on its way out: the operator's right to its Secrets may be gone already, and
    /// whatever is in it goes along.
    leaving: bool,
}

macro_rules! step {
    ($step:expr) => {
        match $step.await? {
            Teardown::Done => {}
            pending => return Ok(pending),
        }
    };
}

/// Takes away what the Tenant's deletion policy does not retain.
pub async fn cleanup(ctx: &Context, tenant: &Tenant) -> Result<Teardown, Error> {
    // A Tenant whose name does not fit never had anything.
    let Ok(name) = TenantName::new(tenant.name_any()) else {
        return Ok(Teardown::Done);
    };
    let recorded = tenant
        .status
        .as_ref()
        .and_then(|status| status.namespace_uid.as_deref());
    let found = dereference(&ctx.client, &name).await?;
    let whose = claim(&name, found.namespace.as_ref(), recorded);
    let scene = Scene {
        ctx,
        tenant,
        namespace: name.namespace(),
        name,
        applier: ctx.applier(apply::MANAGER),
        leaving: whose == Ok(Claim::Terminating),
        found,
    };
    let ours = matches!(whose, Ok(Claim::Ours { .. } | Claim::Terminating));
    let done = match (tenant.spec.deletion_policy, ours) {
        (DeletionPolicy::Delete, true) => delete(&scene).await?,
        (DeletionPolicy::Retain, true) => retain(&scene).await?,
        (DeletionPolicy::Delete, false) => delete_outside(&scene).await?,
        (DeletionPolicy::Retain, false) => retain_outside(&scene).await?,
    };
    if done == Teardown::Done {
        ctx.secrets.forget(&scene.namespace);
    }
    Ok(done)
}

async fn delete(scene: &Scene<'_>) -> Result<Teardown, Error> {
    step!(scene.tell_what_is_discarded());
    step!(scene.delete_pipelines());
    step!(scene.stop_workloads());
    step!(scene.drop_queues());
    step!(scene.change_database(Change::Drop));
    step!(scene.release_place());
    step!(scene.delete_database());
    scene.delete_namespace().await
}

async fn retain(scene: &Scene<'_>) -> Result<Teardown, Error> {
    step!(scene.stop_workloads());
    step!(scene.suspend_queues());
    step!(scene.change_database(Change::Suspend));
    scene.delete_database().await
}

/// Without a namespace of the tenant's there are queues at most, and what it has in a shared database.
async fn delete_outside(scene: &Scene<'_>) -> Result<Teardown, Error> {
    step!(scene.drop_queues());
    if scene.shares() {
        step!(scene.change_database(Change::Drop));
    }
    scene.release_place().await
}

/// The same, kept.
async fn retain_outside(scene: &Scene<'_>) -> Result<Teardown, Error> {
    step!(scene.suspend_queues());
    match scene.shares() {
        true => scene.change_database(Change::Suspend).await,
        false => Ok(Teardown::Done),
    }
}

impl Scene<'_> {
    fn about(&self) -> k8s_openapi::api::core::v1::ObjectReference {
        self.tenant.object_ref(&())
    }

    async fn skipped(&self, what: &str, why: &str) -> Result<Teardown, Error> {
        let note = format!("{what} skipped: {why}");
        self.ctx
            .events
            .warning(&self.about(), "TearDown", "CleanupSkipped", &note)
            .await;
        Ok(Teardown::Done)
    }

    /// Says how much is thrown away, in a condition and an event, before anything is.
    async fn tell_what_is_discarded(&self) -> Result<Teardown, Error> {
        let conditions = self
            .tenant
            .status
            .as_ref()
            .map(|status| &status.conditions.conditions);
        if conditions.is_some_and(|conditions| holds(conditions, BACKLOG_DISCARDED)) {
            return Ok(Teardown::Done);
        }
        let count = |count: Option<u64>, what: &str| match count {
            Some(count) => format!("{count} {what}"),
            None => format!(
                "an unknown number {}",
                what.replace("messages", "of messages")
                    .replace("files", "of files")
            ),
        };
        let message = format!(
            "deletionPolicy is Delete: {} and {} are discarded",
            count(self.queued().await?, "messages in queues"),
            count(self.staged().await?, "files in staging"),
        );
        self.ctx
            .events
            .warning(&self.about(), "TearDown", "BacklogDiscarded", &message)
            .await;
        Ok(Teardown::Pending {
            stage: DISCARDING,
            message,
            again: Duration::ZERO,
        })
    }

    /// Messages in all queues; [`None`] where the broker is gone or does not know the virtual host.
    async fn queued(&self) -> Result<Option<u64>, Error> {
        let Some(admin) = self.broker().await? else {
            return Ok(None);
        };
        match admin.queue_totals(&self.name.vhost()).await {
            Ok(queues) => Ok(Some(
                queues
                    .iter()
                    .map(|queue| queue.ready + queue.unacknowledged)
                    .sum(),
            )),
            Err(AdminError::Refused { .. }) => Ok(Some(0)),
            Err(error) => Err(error.into()),
        }
    }

    /// Files staged on all gateway replicas; [`None`] where one of them cannot be asked.
    async fn staged(&self) -> Result<Option<u64>, Error> {
        let gateway = self
            .applier
            .get::<StatefulSet>(Some(&self.namespace), objects::GATEWAY)
            .await?;
        let Some(replicas) = gateway.and_then(|gateway| gateway.spec?.replicas) else {
            return Ok(Some(0));
        };
        if self.leaving {
            return Ok(None);
        }
        let secret = self
            .applier
            .get::<Secret>(Some(&self.namespace), objects::INTERNAL)
            .await?;
        let token = secret
            .and_then(|secret| text(&secret, TOKEN))
            .unwrap_or_default();
        let mut sum = 0;
        for ordinal in 0..u16::try_from(replicas).unwrap_or_default() {
            match self
                .ctx
                .gateways
                .state(&replica_url(&self.name, ordinal), &token)
                .await
            {
                Ok(state) => sum += state.staged_files,
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(sum))
    }

    /// Each pipeline is closed and cleaned up by its own controller, which does not wait for its backlog.
    async fn delete_pipelines(&self) -> Result<Teardown, Error> {
        let pipelines = self.list::<IngestPipeline>(None).await?;
        for pipeline in pipelines
            .iter()
            .filter(|pipeline| pipeline.metadata.deletion_timestamp.is_none())
        {
            self.applier
                .delete::<IngestPipeline>(Some(&self.namespace), &pipeline.name_any())
                .await?;
        }
        match pipelines.len() {
            0 => Ok(Teardown::Done),
            left => Ok(pending(
                "DeletingPipelines",
                format!("{left} pipelines are being closed and deleted"),
            )),
        }
    }

    /// The gateway and what is left of ingest apps. Staging volumes stay: their namespace decides.
    async fn stop_workloads(&self) -> Result<Teardown, Error> {
        let namespace = Some(self.namespace.as_str());
        self.applier
            .delete::<StatefulSet>(namespace, objects::GATEWAY)
            .await?;
        self.applier
            .delete::<Job>(namespace, objects::ISOLATION)
            .await?;
        for ingest in self.list::<Deployment>(Some("ingest")).await? {
            self.applier
                .delete::<Deployment>(namespace, &ingest.name_any())
                .await?;
        }
        let gateways = self.list::<Pod>(Some("gateway")).await?.len();
        let apps = self.list::<Pod>(Some("ingest")).await?.len();
        let left = self.list::<StatefulSet>(Some("gateway")).await?.len()
            + self.list::<Deployment>(Some("ingest")).await?.len();
        match gateways + apps + left {
            0 => Ok(Teardown::Done),
            _ => Ok(pending(
                "StoppingWorkloads",
                format!("{gateways} gateway pods and {apps} ingest pods are stopping"),
            )),
        }
    }

    async fn drop_queues(&self) -> Result<Teardown, Error> {
        match self.broker().await? {
            Some(admin) => Ok(admin
                .drop_tenancy(&external::broker_names(&self.name))
                .await
                .map(|()| Teardown::Done)?),
            None => self.no_broker().await,
        }
    }

    async fn suspend_queues(&self) -> Result<Teardown, Error> {
        match self.broker().await? {
            Some(admin) => Ok(admin
                .suspend_tenancy(&external::broker_names(&self.name))
                .await
                .map(|()| Teardown::Done)?),
            None => self.no_broker().await,
        }
    }

    async fn no_broker(&self) -> Result<Teardown, Error> {
        match self.broker_name() {
            Some(name) => {
                self.skipped(
                    "clean-up of queues",
                    &format!("Broker `{name}` is gone, and its queues with it"),
                )
                .await
            }
            None => Ok(Teardown::Done),
        }
    }

    /// The Broker on record, or the one asked for; whether it is there is another question.
    fn broker_name(&self) -> Option<String> {
        let status = self.tenant.status.as_ref();
        let asked = self.tenant.spec.broker.reference.as_ref();
        self.found
            .current()
            .broker
            .or_else(|| status.and_then(|status| status.broker.clone()))
            .or_else(|| asked.map(|asked| asked.name.clone()))
    }

    /// [`None`] when there is no such Broker: its queues are gone with it.
    async fn broker(
        &self,
    ) -> Result<Option<std::sync::Arc<dyn simbdp_broker::BrokerAdmin>>, Error> {
        let Some(name) = self.broker_name() else {
            return Ok(None);
        };
        match self.found.broker(&name) {
            Some(broker) => external::broker_admin(self.ctx, broker).await,
            None => Ok(None),
        }
    }

    /// The tenant's own CoreDms, or the shared one in which it has a place; [`None`] when it is gone.
    async fn coredms(&self) -> Result<Option<CoreDms>, Error> {
        match self.tenant.spec.coredms.placement {
            Placement::Dedicated => Ok(self
                .applier
                .get::<CoreDms>(Some(&self.namespace), objects::COREDMS)
                .await?),
            Placement::Shared => places::claimed(self.ctx, &self.name).await,
        }
    }

    fn shares(&self) -> bool {
        self.tenant.spec.coredms.placement == Placement::Shared
    }

    /// Keyspaces and roles of the tenant in its database. What cannot be done in one that is on its way out is skipped:
    /// it goes along, and to wait for it could be for ever. A shared one that lives on is waited for.
    async fn change_database(&self, change: Change) -> Result<Teardown, Error> {
        let Some(coredms) = self.coredms().await? else {
            return Ok(Teardown::Done);
        };
        let leaving = coredms.metadata.deletion_timestamp.is_some();
        if leaving && !self.shares() {
            return Ok(Teardown::Done);
        }
        let why = match self.try_change(&coredms, change).await {
            Ok(true) => return Ok(Teardown::Done),
            Ok(false) => "the database does not run".to_owned(),
            Err(Error::Database(error)) if leaving => error.to_string(),
            Err(error) => return Err(error),
        };
        match leaving || !self.shares() {
            true => self.skipped("clean-up of roles and keyspaces", &why).await,
            false => Ok(pending(
                "WaitingForDatabase",
                format!(
                    "CoreDms {} holds the tenant's keyspaces and roles, and {why}; if it is lost for good, delete it as well",
                    DatabasePlace::of(&coredms)
                ),
            )),
        }
    }

    /// False when the database does not run, or nobody can log in.
    async fn try_change(&self, coredms: &CoreDms, change: Change) -> Result<bool, Error> {
        // The right to the Secret in a namespace that goes may be gone already.
        if database_stage(coredms) != Stage::Done || (self.leaving && !self.shares()) {
            return Ok(false);
        }
        let Some(admin) = external::database_admin(self.ctx, coredms).await? else {
            return Ok(false);
        };
        let names = external::database_names(&self.name);
        match change {
            Change::Drop => admin.drop_tenancy(&names).await?,
            Change::Suspend => admin.suspend_tenancy(&names).await?,
        }
        Ok(true)
    }

    /// The place in a shared database becomes free for others.
    async fn release_place(&self) -> Result<Teardown, Error> {
        if self.shares()
            && let Some(coredms) = self.coredms().await?
        {
            places::release(self.ctx, &coredms, &self.name).await?;
        }
        Ok(Teardown::Done)
    }

    /// A CoreDms of the tenant's own goes, and its volumes as the Tenant's policy says now, whatever it said before.
    async fn delete_database(&self) -> Result<Teardown, Error> {
        if self.shares() {
            return Ok(Teardown::Done);
        }
        let Some(coredms) = self.coredms().await? else {
            return Ok(Teardown::Done);
        };
        let policy = self.tenant.spec.deletion_policy;
        if coredms.metadata.deletion_timestamp.is_none() {
            if coredms.spec.deletion_policy != policy {
                self.set_policy(policy).await?;
            }
            self.applier
                .delete::<CoreDms>(Some(&self.namespace), objects::COREDMS)
                .await?;
        }
        let volumes = match policy {
            DeletionPolicy::Delete => "its volumes are deleted",
            DeletionPolicy::Retain => "its volumes stay",
        };
        Ok(pending(
            "StoppingDatabase",
            format!("the database is being stopped; {volumes}"),
        ))
    }

    async fn set_policy(&self, policy: DeletionPolicy) -> Result<(), Error> {
        let api: Api<CoreDms> = Api::namespaced(self.ctx.client.clone(), &self.namespace);
        let params = PatchParams {
            field_manager: Some(apply::MANAGER.to_owned()),
            ..Default::default()
        };
        let patch = Patch::Merge(serde_json::json!({"spec": {"deletionPolicy": policy}}));
        match api.patch(objects::COREDMS, &params, &patch).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other
                .map(drop)
                .map_err(Error::reading("the database's policy")),
        }
    }

    async fn delete_namespace(&self) -> Result<Teardown, Error> {
        let Some(ObjectMeta {
            uid,
            deletion_timestamp,
            ..
        }) = self
            .found
            .namespace
            .as_ref()
            .map(|namespace| &namespace.metadata)
        else {
            return Ok(Teardown::Done);
        };
        if deletion_timestamp.is_none() {
            let api: Api<Namespace> = Api::all(self.ctx.client.clone());
            let params = DeleteParams::background().preconditions(Preconditions {
                uid: uid.clone(),
                resource_version: None,
            });
            match api.delete(&self.namespace, &params).await {
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Teardown::Done),
                other => other
                    .map(drop)
                    .map_err(Error::reading("the tenant's namespace, to delete it"))?,
            }
        }
        Ok(pending(
            "DeletingNamespace",
            format!("namespace {} is being deleted", self.namespace),
        ))
    }

    /// Objects of the tenant's namespace; of a component of ours alone when one is named.
    async fn list<K: crate::apply::Appliable>(
        &self,
        component: Option<&str>,
    ) -> Result<Vec<K>, Error> {
        let selector = component.map(|component| {
            format!(
                "{}={},{}={component}",
                labels::TENANT,
                self.name,
                labels::APP_COMPONENT
            )
        });
        Ok(self
            .applier
            .list(Some(&self.namespace), &selector.unwrap_or_default())
            .await?)
    }
}
