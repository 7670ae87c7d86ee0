//! One watch per kind [IO]. What changes triggers a reconcile of what it belongs to; only this project's
//! own custom resources are kept in memory.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, LimitRange, Namespace, Pod, PodTemplateSpec, ResourceQuota, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use simbdp_api::names::{PipelineName, TenantName};
use simbdp_api::tenant::Placement;
use simbdp_api::{Broker, CoreDms, IngestPipeline, Tenant, labels};
use tokio::task::JoinSet;

use crate::activation::workload::Workload;
use crate::conditions::{READY, holds};
use crate::context::Context;
use crate::controller_runtime::Managed;
use crate::requeue::Key;
use crate::tenant::isolation::{is_alone, is_ready};
use crate::tenant::status::DATABASE_READY;
use crate::triggers::{MANAGED, Target, Triggers, tenant_of_namespace};

/// Every custom resource of this project.
#[derive(Clone)]
pub struct Stores {
    /// Tenants.
    pub tenants: Store<Tenant>,
    /// IngestPipelines.
    pub pipelines: Store<IngestPipeline>,
    /// CoreDms.
    pub coredms: Store<CoreDms>,
    /// Brokers.
    pub brokers: Store<Broker>,
    /// Deployments of ingest apps, with what activation needs of them alone.
    pub ingest: Store<Deployment>,
}

/// Starts every watch; they end when the set is dropped.
pub fn start(ctx: &Arc<Context>, triggers: &Triggers) -> (Stores, JoinSet<()>) {
    let (tenants, tenant_writer) = reflector::store();
    let (pipelines, pipeline_writer) = reflector::store();
    let (coredms, coredms_writer) = reflector::store();
    let (brokers, broker_writer) = reflector::store();
    let (ingest, ingest_writer) = reflector::store();
    let stores = Stores {
        tenants,
        pipelines,
        coredms,
        brokers,
        ingest,
    };
    let own = || Own {
        ctx: ctx.clone(),
        stores: stores.clone(),
        triggers: triggers.clone(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(own().follow(tenant_writer, Stores::touched_by_tenant));
    tasks.spawn(own().follow(pipeline_writer, Stores::touched_by_pipeline));
    tasks.spawn(own().follow(coredms_writer, Stores::touched_by_coredms));
    tasks.spawn(own().follow(broker_writer, Stores::touched_by_broker));
    tasks.spawn(ingest_apps(ctx.client.clone(), ingest_writer));
    children(&ctx.client, triggers, &mut tasks);
    tasks.spawn(namespaces(ctx.clone(), triggers.clone()));
    (stores, tasks)
}

impl Stores {
    /// Waits until every kind was listed once. False when a watch ended before.
    pub async fn ready(&self) -> bool {
        self.tenants.wait_until_ready().await.is_ok()
            && self.pipelines.wait_until_ready().await.is_ok()
            && self.coredms.wait_until_ready().await.is_ok()
            && self.brokers.wait_until_ready().await.is_ok()
            && self.ingest.wait_until_ready().await.is_ok()
    }

    /// The pipelines of a Broker whose ingest apps are scaled.
    pub fn workloads(&self, broker: &str) -> Vec<Workload> {
        let uses = |tenant: &Tenant| {
            let status = tenant.status.as_ref();
            status.and_then(|status| status.broker.as_deref()) == Some(broker)
        };
        let tenants = self.tenants.state().into_iter();
        let namespaces: HashSet<_> = tenants
            .filter(|tenant| uses(tenant))
            .filter_map(|tenant| TenantName::new(tenant.name_any()).ok())
            .map(|tenant| tenant.namespace())
            .collect();
        let workload = |pipeline: &IngestPipeline| {
            let namespace = pipeline.namespace()?;
            let name = PipelineName::new(pipeline.name_any()).ok()?;
            let reference = ObjectRef::new(&name.ingest_workload()).within(&namespace);
            Workload::of(pipeline, &*self.ingest.get(&reference)?)
        };
        let pipelines = self.pipelines.state().into_iter();
        pipelines
            .filter(|pipeline| namespaces.contains(&pipeline.namespace().unwrap_or_default()))
            .filter_map(|pipeline| workload(&pipeline))
            .collect()
    }

    /// Its pipelines follow a Tenant's state, its Broker may wait for it to go, and others for a neighbour.
    fn touched_by_tenant(&self, tenant: &Tenant, _declared: bool) -> Vec<Target> {
        let namespace = TenantName::new(tenant.name_any())
            .map(|name| name.namespace())
            .ok();
        let pipelines = self.pipelines.state().into_iter();
        let broker = tenant
            .status
            .as_ref()
            .and_then(|status| status.broker.clone());
        let others = self.tenants.state().into_iter();
        pipelines
            .filter(|pipeline| pipeline.namespace() == namespace)
            .map(|pipeline| Target::Pipeline(ObjectRef::from_obj(&*pipeline)))
            .chain(broker.map(|name| Target::Broker(ObjectRef::new(&name))))
            .chain(
                others
                    .filter(|other| is_ready(tenant) && is_alone(other))
                    .filter(|other| other.name_any() != tenant.name_any())
                    .map(|other| Target::Tenant(ObjectRef::from_obj(&*other))),
            )
            .collect()
    }

    /// The pipelines that share a table agree on it, and the Tenant waits for its pipelines to go. What a
    /// pipeline's status says concerns nobody else.
    fn touched_by_pipeline(&self, pipeline: &IngestPipeline, declared: bool) -> Vec<Target> {
        if !declared {
            return Vec::new();
        }
        let own = ObjectRef::from_obj(pipeline);
        let others = self.pipelines.state().into_iter();
        others
            .filter(|other| other.namespace() == pipeline.namespace())
            .filter(|other| other.spec.table.name == pipeline.spec.table.name)
            .map(|other| ObjectRef::from_obj(&*other))
            .filter(|other| *other != own)
            .map(Target::Pipeline)
            .chain(tenant_of_namespace(pipeline.namespace().as_deref()))
            .collect()
    }

    /// A Tenant follows its database's state. Those that look for a place in a shared one follow every one.
    fn touched_by_coredms(&self, coredms: &CoreDms, _declared: bool) -> Vec<Target> {
        let own = tenant_of_namespace(coredms.namespace().as_deref());
        if own.is_some() {
            return own.into_iter().collect();
        }
        let tenants = self.tenants.state().into_iter();
        tenants
            .filter(|tenant| concerned(tenant, coredms))
            .map(|tenant| Target::Tenant(ObjectRef::from_obj(&*tenant)))
            .collect()
    }

    /// Tenants follow their Broker's state; Brokers must agree which one is the default.
    fn touched_by_broker(&self, broker: &Broker, declared: bool) -> Vec<Target> {
        let own = ObjectRef::from_obj(broker);
        let tenants = self.tenants.state().into_iter();
        let others = self.brokers.state().into_iter();
        tenants
            .map(|tenant| Target::Tenant(ObjectRef::from_obj(&*tenant)))
            .chain(
                others
                    .map(|other| ObjectRef::from_obj(&*other))
                    .filter(|other| declared && *other != own)
                    .map(Target::Broker),
            )
            .collect()
    }
}

/// Whether a shared CoreDms has news for a Tenant [pure]. Whoever takes or gives up a place changes it for all that have
/// one; it is no news to those that are well and see it as well as before.
fn concerned(tenant: &Tenant, coredms: &CoreDms) -> bool {
    if tenant.spec.coredms.placement != Placement::Shared {
        return false;
    }
    let status = tenant.status.as_ref();
    let Some(place) = status.and_then(|status| status.coredms.as_ref()) else {
        return true;
    };
    if place.name != coredms.name_any() || Some(&place.namespace) != coredms.namespace().as_ref() {
        return false;
    }
    let said = coredms.status.as_ref();
    let well = said.is_some_and(|said| holds(&said.conditions.conditions, READY))
        && status.is_some_and(|status| holds(&status.conditions.conditions, DATABASE_READY));
    let members = said.and_then(|said| said.members.as_deref());
    let shown = format!("{} {}", place.name, members.unwrap_or_default());
    let same = status.and_then(|status| status.database.as_deref()) == Some(shown.trim_end());
    !(well && same) || tenant.metadata.deletion_timestamp.is_some()
}

/// Follows one of this project's own kinds.
struct Own {
    ctx: Arc<Context>,
    stores: Stores,
    triggers: Triggers,
}

/// A kind that has a controller.
trait Controlled: Managed {
    fn target(object: ObjectRef<Self>) -> Target;
}

impl Controlled for Tenant {
    fn target(object: ObjectRef<Self>) -> Target {
        Target::Tenant(object)
    }
}

impl Controlled for IngestPipeline {
    fn target(object: ObjectRef<Self>) -> Target {
        Target::Pipeline(object)
    }
}

impl Controlled for CoreDms {
    fn target(object: ObjectRef<Self>) -> Target {
        Target::CoreDms(object)
    }
}

impl Controlled for Broker {
    fn target(object: ObjectRef<Self>) -> Target {
        Target::Broker(object)
    }
}

impl Own {
    /// Triggers the object's own controller when more than its status changed, and those that `others` names.
    async fn follow<K: Controlled>(
        self,
        writer: reflector::store::Writer<K>,
        others: fn(&Stores, &K, bool) -> Vec<Target>,
    ) {
        let mut seen: HashMap<ObjectRef<K>, Declared> = HashMap::new();
        // While kinds are listed, the store still has what was there before.
        let mut listed = Vec::new();
        let mut events = watcher(
            Api::all(self.ctx.client.clone()),
            watcher::Config::default(),
        )
        .default_backoff()
        .reflect(writer)
        .boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => listed.push(object),
                Ok(watcher::Event::InitDone) => {
                    for object in listed.drain(..) {
                        self.changed(&mut seen, &object, others).await;
                    }
                }
                Ok(watcher::Event::Apply(object)) => self.changed(&mut seen, &object, others).await,
                Ok(watcher::Event::Delete(object)) => {
                    self.forget(&object);
                    seen.remove(&ObjectRef::from_obj(&object));
                    self.tell(others(&self.stores, &object, true)).await;
                }
                Err(error) => tracing::warn!(%error, kind = %K::kind(&()), "the watch pauses"),
            }
        }
    }

    async fn changed<K: Controlled>(
        &self,
        seen: &mut HashMap<ObjectRef<K>, Declared>,
        object: &K,
        others: fn(&Stores, &K, bool) -> Vec<Target>,
    ) {
        let reference = ObjectRef::from_obj(object);
        let now = Declared::of(object.meta());
        let declared = seen.insert(reference.clone(), now.clone()) != Some(now);
        self.tell(others(&self.stores, object, declared)).await;
        if declared {
            self.triggers.send(K::target(reference)).await;
        }
    }

    async fn tell(&self, targets: Vec<Target>) {
        for target in targets {
            self.triggers.send(target).await;
        }
    }

    fn forget<K: Controlled>(&self, object: &K) {
        let key = Key::of(object);
        self.ctx.metrics.forget(&key);
        self.ctx.backoff.reset(&key);
    }
}

/// What changes of an object's metadata when somebody declares something, and not when a status is written.
#[derive(Clone, Debug, PartialEq)]
struct Declared(ObjectMeta);

impl Declared {
    fn of(meta: &ObjectMeta) -> Self {
        Self(ObjectMeta {
            resource_version: None,
            managed_fields: None,
            ..meta.clone()
        })
    }
}

/// Follows every kind that the operator makes, by metadata alone: a reconcile reads what it needs.
fn children(client: &Client, triggers: &Triggers, tasks: &mut JoinSet<()>) {
    let both = || (client.clone(), triggers.clone());
    tasks.spawn(child::<StatefulSet>(both()));
    tasks.spawn(child::<Deployment>(both()));
    tasks.spawn(child::<Job>(both()));
    tasks.spawn(child::<Pod>(both()));
    tasks.spawn(child::<Service>(both()));
    tasks.spawn(child::<ConfigMap>(both()));
    tasks.spawn(child::<ServiceAccount>(both()));
    tasks.spawn(child::<NetworkPolicy>(both()));
    tasks.spawn(child::<PodDisruptionBudget>(both()));
    tasks.spawn(child::<RoleBinding>(both()));
    tasks.spawn(child::<ResourceQuota>(both()));
    tasks.spawn(child::<LimitRange>(both()));
}

async fn child<K>((client, triggers): (Client, Triggers))
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::all(client);
    let mut events = watcher(api, watcher::Config::default().labels(MANAGED))
        .default_backoff()
        .touched_objects()
        .boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(object) => triggers.child(&object.metadata).await,
            Err(error) => tracing::warn!(%error, kind = %K::kind(&()), "the watch pauses"),
        }
    }
}

/// Ingest apps: their numbers of replicas, which no metadata tells.
async fn ingest_apps(client: Client, writer: reflector::store::Writer<Deployment>) {
    let selector = format!("{MANAGED},{}=ingest", labels::APP_COMPONENT);
    let mut events = watcher(
        Api::<Deployment>::all(client),
        watcher::Config::default().labels(&selector),
    )
    .default_backoff()
    .modify(|ingest| {
        ingest.metadata.managed_fields = None;
        ingest.status = None;
        if let Some(spec) = &mut ingest.spec {
            spec.template = PodTemplateSpec::default();
        }
    })
    .reflect(writer)
    .boxed();
    while let Some(event) = events.next().await {
        if let Err(error) = event {
            tracing::warn!(%error, kind = "Deployment", "the watch pauses");
        }
    }
}

/// Tenants' namespaces; with one that goes, the watch on its Secrets ends.
async fn namespaces(ctx: Arc<Context>, triggers: Triggers) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(ctx.client.clone());
    let mut events = watcher(api, watcher::Config::default().labels(MANAGED))
        .default_backoff()
        .boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Delete(namespace)) => {
                ctx.secrets.forget(&namespace.name_any());
                triggers.child(&namespace.metadata).await;
            }
            Ok(watcher::Event::Apply(namespace) | watcher::Event::InitApply(namespace)) => {
                triggers.child(&namespace.metadata).await;
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => tracing::warn!(%error, kind = "Namespace", "the watch pauses"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: &str) -> String {
        format!(
            "conditions: [{{type: {kind}, status: '{status}', reason: X, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}]"
        )
    }

    fn coredms(ready: &str, members: &str) -> CoreDms {
        let status = format!("members: {members}, {}", condition("Ready", ready));
        let text = format!(
            "{{metadata: {{name: shared-1, namespace: simbdp-system}}, spec: {{}}, status: {{{status}}}}}"
        );
        serde_yaml::from_str(&text).unwrap()
    }

    fn tenant(placement: &str, status: &str) -> Tenant {
        let text = format!(
            "{{metadata: {{name: acme}}, spec: {{coredms: {{placement: {placement}}}}}, status: {{{status}}}}}"
        );
        serde_yaml::from_str(&text).unwrap()
    }

    #[test]
    fn a_shared_database_has_news_for_those_who_wait_and_those_it_is_otherwise_for() {
        let in_place = |name: &str| {
            let place = format!("coredms: {{namespace: simbdp-system, name: {name}}}");
            let status = format!("{place}, database: {name} 3/3");
            tenant(
                "Shared",
                &format!("{status}, {}", condition("DatabaseReady", "True")),
            )
        };
        let well = in_place("shared-1");
        assert!(!concerned(&well, &coredms("True", "3/3")));
        assert!(concerned(&well, &coredms("True", "2/3")));
        assert!(concerned(&well, &coredms("False", "3/3")));
        assert!(concerned(&tenant("Shared", ""), &coredms("True", "3/3")));
        assert!(!concerned(
            &tenant("Dedicated", ""),
            &coredms("True", "3/3")
        ));
        assert!(!concerned(&in_place("shared-2"), &coredms("False", "0/3")));
    }
}
