//! What there is at the end, without what differs from run to run: two runs that ended the same give the
//! same text.

use kube::api::{Api, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::{Value, json};
use simbdp_testkit::fake_broker::BrokerState;
use simbdp_testkit::fake_coredms::StoreState;

use crate::world::World;

/// Kinds that are compared: group, version, kind, plural.
pub const KINDS: [(&str, &str, &str, &str); 14] = [
    ("", "v1", "ConfigMap", "configmaps"),
    ("", "v1", "LimitRange", "limitranges"),
    ("", "v1", "ResourceQuota", "resourcequotas"),
    ("", "v1", "Secret", "secrets"),
    ("", "v1", "Service", "services"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("apps", "v1", "Deployment", "deployments"),
    ("apps", "v1", "StatefulSet", "statefulsets"),
    (
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
    ),
    (
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "RoleBinding",
        "rolebindings",
    ),
    ("simbdp.dev", "v1alpha1", "CoreDms", "coredms"),
    (
        "simbdp.dev",
        "v1alpha1",
        "IngestPipeline",
        "ingestpipelines",
    ),
];

impl World {
    /// Everything of the test's tenant or operator namespace, and of its servers.
    pub async fn end_state(&self, namespace: &str) -> String {
        let mut state = Vec::new();
        for (group, version, kind, plural) in KINDS {
            let gvk = GroupVersionKind::gvk(group, version, kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), namespace, &resource);
            for object in api.list(&ListParams::default()).await.unwrap() {
                if let Some(object) = normal(kind, serde_json::to_value(object).unwrap()) {
                    state.push(object);
                }
            }
        }
        state.extend(self.brokers.states().into_values().map(broker));
        state.extend(self.stores.states().into_values().map(store));
        let text = serde_json::to_string_pretty(&state).unwrap();
        let underscored = self.name.replace('-', "_");
        text.replace(&self.name, "NAME")
            .replace(&underscored, "NAME")
    }
}

/// An object without what the API server or chance gives it.
fn normal(kind: &str, mut object: Value) -> Option<Value> {
    let labels = &object["metadata"]["labels"];
    let ours = labels["app.kubernetes.io/managed-by"] == "simbdp-operator";
    if !ours && !matches!(kind, "PersistentVolumeClaim" | "IngestPipeline") {
        return None;
    }
    let metadata = &mut object["metadata"];
    let annotations = metadata["annotations"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    // Digests follow random texts and names.
    let annotations: serde_json::Map<_, _> = annotations
        .into_iter()
        .filter(|(key, _)| !key.ends_with("digest"))
        .collect();
    let kept = json!({
        "name": metadata["name"], "labels": metadata["labels"], "annotations": annotations,
        "finalizers": metadata["finalizers"],
        "owners": metadata["ownerReferences"].as_array().map(Vec::len),
    });
    let mut spec = object["spec"].clone();
    for generated in ["clusterIP", "clusterIPs", "volumeName"] {
        if let Some(spec) = spec.as_object_mut() {
            spec.remove(generated);
        }
    }
    if let Some(annotations) = spec.pointer_mut("/template/metadata/annotations") {
        *annotations = json!(
            annotations
                .as_object()
                .map(|all| all.keys().collect::<Vec<_>>())
        );
    }
    let data = match kind {
        "Secret" => json!(
            object["data"]
                .as_object()
                .map(|data| data.keys().collect::<Vec<_>>())
        ),
        _ => without_uids(object["data"].clone()),
    };
    let conditions = object["status"]["conditions"].as_array().map(|conditions| {
        let mut told: Vec<String> = conditions
            .iter()
            .map(|condition| {
                format!(
                    "{}={} {}",
                    condition["type"], condition["status"], condition["reason"]
                )
            })
            .collect();
        told.sort();
        told
    });
    let conditions = conditions.filter(|_| kind == "IngestPipeline");
    Some(
        json!({"kind": kind, "metadata": kept, "spec": spec, "data": data, "conditions": conditions}),
    )
}

/// Files of pipelines, each of which names the UID of its IngestPipeline, and members, each of which has a volume of some id.
fn without_uids(mut data: Value) -> Value {
    for file in data
        .as_object_mut()
        .into_iter()
        .flat_map(|all| all.values_mut())
    {
        let parsed = file.as_str().map(serde_json::from_str::<Value>);
        let Some(Ok(mut parsed)) = parsed else {
            continue;
        };
        for key in ["uid", "volume"] {
            if parsed[key].is_string() {
                parsed[key] = json!("ID");
                *file = parsed.clone();
            }
        }
    }
    data
}

fn broker(state: BrokerState) -> Value {
    let users: Vec<_> = state.users.keys().collect();
    json!({"broker": format!("{:#?}", state.vhosts), "users": users})
}

fn store(state: StoreState) -> Value {
    let roles: Vec<_> = state
        .roles
        .iter()
        .map(|(name, role)| format!("{name} login={} on {:?}", role.login, role.keyspaces))
        .collect();
    json!({"database": format!("{:#?}", state.keyspaces), "roles": roles})
}
