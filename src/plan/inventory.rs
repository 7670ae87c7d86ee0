//! Everything that is in a namespace [IO], whoever made it: when the namespace goes, it goes as well. The API server
//! names the kinds.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject};
use kube::discovery::{Discovery, Scope, verbs};
use simbdp_api::{GROUP, labels};

use super::built::size;
use super::cluster::Cluster;
use super::error::PlanError;
use super::report::{CLAIM, Item};
use crate::objects::Labels;

/// An object of a namespace.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it is; of a claim with its size.
    pub item: Item,
    /// Its labels.
    pub labels: Labels,
    /// UIDs of those that it goes with.
    pub owners: Vec<String>,
}

impl Found {
    /// Whether it has all of these labels.
    pub fn has(&self, labels: &Labels) -> bool {
        labels
            .iter()
            .all(|(key, value)| self.labels.get(key) == Some(value))
    }

    /// Whether it is of a component of the operator's.
    pub fn is_component(&self, kind: &str, component: &str) -> bool {
        self.item.kind == kind
            && self.labels.get(labels::APP_COMPONENT).map(String::as_str) == Some(component)
    }
}

/// Lists what is in a namespace, but for what Kubernetes itself makes of the rest.
pub async fn inventory(cluster: &Cluster, namespace: &str) -> Result<Vec<Found>, PlanError> {
    let discovery = Discovery::new(cluster.client().clone())
        .run_aggregated()
        .await
        .map_err(PlanError::reading("which kinds there are"))?;
    let mut found = Vec::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let kept = capabilities.scope == Scope::Namespaced
                && capabilities.supports_operation(verbs::LIST)
                && capabilities.supports_operation(verbs::DELETE);
            if kept {
                let objects = list(cluster, &resource, namespace).await?;
                found.extend(objects.iter().filter_map(|one| found_as(&resource, one)));
            }
        }
    }
    found.sort_by(|one, other| one.item.cmp(&other.item));
    found.dedup_by(|one, other| one.item == other.item);
    Ok(found)
}

/// A kind that was taken away meanwhile, or is served by something that does not answer, has nothing to say.
async fn list(
    cluster: &Cluster,
    resource: &ApiResource,
    namespace: &str,
) -> Result<Vec<DynamicObject>, PlanError> {
    match cluster.list(resource, Some(namespace), "").await {
        Err(error) if matches!(error.answer(), Some(kube::Error::Api(status)) if matches!(status.code, 404 | 405)) => {
            Ok(Vec::new())
        }
        other => other,
    }
}

/// [`None`] for what comes and goes with other objects by Kubernetes' own doing.
fn found_as(resource: &ApiResource, object: &DynamicObject) -> Option<Found> {
    let name = object.name_any();
    let owners = object.owner_references();
    let by_kubernetes = |owner: &OwnerReference| {
        owner.controller == Some(true) && !owner.api_version.starts_with(&format!("{GROUP}/"))
    };
    let own = matches!(
        (resource.kind.as_str(), name.as_str()),
        ("Event" | "Endpoints", _)
            | ("ConfigMap", "kube-root-ca.crt")
            | ("ServiceAccount", "default")
    );
    if own || owners.iter().any(by_kubernetes) {
        return None;
    }
    let item = Item::object(&resource.kind, object.namespace().as_deref(), name);
    Some(Found {
        item: match resource.kind == CLAIM {
            true => item.with(claimed(object)),
            false => item,
        },
        labels: object.labels().clone(),
        owners: owners.iter().map(|owner| owner.uid.clone()).collect(),
    })
}

fn claimed(object: &DynamicObject) -> String {
    let claim = serde_json::to_value(object).and_then(serde_json::from_value);
    claim
        .map(|claim: PersistentVolumeClaim| size(&claim))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(kind: &str, object: serde_json::Value) -> Option<Found> {
        let gvk = kube::core::GroupVersionKind::gvk("", "v1", kind);
        found_as(
            &ApiResource::from_gvk(&gvk),
            &serde_json::from_value(object).unwrap(),
        )
    }

    fn owned(api_version: &str) -> serde_json::Value {
        let owner = json!({
            "apiVersion": api_version, "kind": "K", "name": "o", "uid": "u", "controller": true,
        });
        json!({"metadata": {"name": "a", "namespace": "n", "ownerReferences": [owner]}})
    }

    #[test]
    fn what_kubernetes_makes_of_other_objects_is_left_out() {
        assert!(found("Pod", owned("apps/v1")).is_none());
        assert_eq!(
            found("Service", owned("simbdp.dev/v1alpha1"))
                .unwrap()
                .owners,
            ["u"]
        );
        assert!(
            found(
                "ConfigMap",
                json!({"metadata": {"name": "kube-root-ca.crt"}})
            )
            .is_none()
        );
    }

    #[test]
    fn a_claim_is_told_with_its_size() {
        let claim = json!({
            "metadata": {"name": "data-0", "namespace": "n"},
            "spec": {"resources": {"requests": {"storage": "1Gi"}}},
        });
        let item = found(CLAIM, claim).unwrap().item;
        assert_eq!(item.detail.as_deref(), Some("1Gi"));
    }
}
