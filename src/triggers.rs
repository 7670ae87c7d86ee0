//! From an object that changed to the objects to reconcile: by labels for what the operator made, by
//! names for its custom resources.

use kube::core::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use simbdp_api::names::TenantName;
use simbdp_api::{Broker, CoreDms, IngestPipeline, Tenant, labels};
use tokio::sync::mpsc;

/// Selects what the operator made.
pub const MANAGED: &str = "app.kubernetes.io/managed-by=simbdp-operator";
/// Requests that wait for a controller; it takes them at once and drops doubles.
const WAITING: usize = 1024;

/// Where requests to reconcile go.
#[derive(Clone)]
pub struct Triggers {
    tenants: mpsc::Sender<ObjectRef<Tenant>>,
    pipelines: mpsc::Sender<ObjectRef<IngestPipeline>>,
    coredms: mpsc::Sender<ObjectRef<CoreDms>>,
    brokers: mpsc::Sender<ObjectRef<Broker>>,
}

/// Where controllers take them from.
pub struct Requests {
    /// For the Tenant controller.
    pub tenants: mpsc::Receiver<ObjectRef<Tenant>>,
    /// For the IngestPipeline controller.
    pub pipelines: mpsc::Receiver<ObjectRef<IngestPipeline>>,
    /// For the CoreDms controller.
    pub coredms: mpsc::Receiver<ObjectRef<CoreDms>>,
    /// For the Broker controller.
    pub brokers: mpsc::Receiver<ObjectRef<Broker>>,
}

/// What an object that the operator made belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// A Tenant.
    Tenant(ObjectRef<Tenant>),
    /// An IngestPipeline.
    Pipeline(ObjectRef<IngestPipeline>),
    /// A CoreDms.
    CoreDms(ObjectRef<CoreDms>),
    /// A Broker.
    Broker(ObjectRef<Broker>),
}

/// Both ends.
pub fn channels() -> (Triggers, Requests) {
    let (tenants, tenant_requests) = mpsc::channel(WAITING);
    let (pipelines, pipeline_requests) = mpsc::channel(WAITING);
    let (coredms, coredms_requests) = mpsc::channel(WAITING);
    let (brokers, broker_requests) = mpsc::channel(WAITING);
    let triggers = Triggers {
        tenants,
        pipelines,
        coredms,
        brokers,
    };
    let requests = Requests {
        tenants: tenant_requests,
        pipelines: pipeline_requests,
        coredms: coredms_requests,
        brokers: broker_requests,
    };
    (triggers, requests)
}

impl Triggers {
    /// Something that the operator made changed.
    pub async fn child(&self, meta: &ObjectMeta) {
        if let Some(target) = target(meta) {
            self.send(target).await;
        }
    }

    /// Asks for a reconcile. A controller that has ended takes no more: that is fine.
    pub async fn send(&self, target: Target) {
        match target {
            Target::Tenant(object) => drop(self.tenants.send(object).await),
            Target::Pipeline(object) => drop(self.pipelines.send(object).await),
            Target::CoreDms(object) => drop(self.coredms.send(object).await),
            Target::Broker(object) => drop(self.brokers.send(object).await),
        }
    }
}

/// What an object belongs to, by its labels [pure]: the nearest of Broker, CoreDms, pipeline and Tenant.
pub fn target(meta: &ObjectMeta) -> Option<Target> {
    let label = |key: &str| meta.labels.as_ref()?.get(key).map(String::as_str);
    let namespace = meta.namespace.as_deref();
    if let Some(name) = label(labels::BROKER) {
        return Some(Target::Broker(ObjectRef::new(name)));
    }
    if let (Some(name), Some(namespace)) = (label(labels::COREDMS), namespace) {
        return Some(Target::CoreDms(ObjectRef::new(name).within(namespace)));
    }
    if let (Some(name), Some(namespace)) = (label(labels::PIPELINE), namespace) {
        return Some(Target::Pipeline(ObjectRef::new(name).within(namespace)));
    }
    label(labels::TENANT).map(|name| Target::Tenant(ObjectRef::new(name)))
}

/// The Tenant whose namespace an object is in [pure].
pub fn tenant_of_namespace(namespace: Option<&str>) -> Option<Target> {
    let tenant = TenantName::from_namespace(namespace?)?;
    Some(Target::Tenant(ObjectRef::new(tenant.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(namespace: Option<&str>, labels: &[(&str, &str)]) -> ObjectMeta {
        ObjectMeta {
            namespace: namespace.map(str::to_owned),
            labels: Some(
                labels
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
            ),
            ..Default::default()
        }
    }

    #[test]
    fn an_object_belongs_to_the_nearest_owner_that_its_labels_name() {
        let pod = meta(
            Some("tenant-a"),
            &[(labels::TENANT, "a"), (labels::COREDMS, "coredms")],
        );
        let coredms = Target::CoreDms(ObjectRef::new("coredms").within("tenant-a"));
        assert_eq!(target(&pod), Some(coredms));
        let secret = meta(Some("tenant-a"), &[(labels::TENANT, "a")]);
        assert_eq!(target(&secret), Some(Target::Tenant(ObjectRef::new("a"))));
        assert_eq!(target(&meta(Some("x"), &[])), None);
    }

    #[test]
    fn a_tenant_s_namespace_names_its_tenant() {
        let tenant = Some(Target::Tenant(ObjectRef::new("a")));
        assert_eq!(tenant_of_namespace(Some("tenant-a")), tenant);
        assert_eq!(tenant_of_namespace(Some("default")), None);
    }
}
