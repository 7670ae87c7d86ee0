//! Scales ingest apps [IO] through the `scale` subresource of their Deployments, by a field manager of its own: the
//! IngestPipeline controller applies everything of a Deployment but its number of replicas.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::core::ObjectMeta;
use serde_json::json;

use crate::apply::ApplyError;

/// Field manager of the number of replicas.
pub const MANAGER: &str = "simbdp-activation";

/// What came of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scaled {
    /// So many are to run now.
    Done,
    /// It is another one than was looked at: look again.
    Changed,
    /// There is none.
    Gone,
}

/// Sets how many ingest apps are to run. With the `version` that was looked at, only if nothing changed since.
pub async fn scale(
    client: &Client,
    namespace: &str,
    workload: &str,
    replicas: u16,
    version: Option<&str>,
) -> Result<Scaled, ApplyError> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let mut body = json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": workload, "namespace": namespace},
        "spec": {"replicas": replicas},
    });
    if let Some(version) = version {
        body["metadata"]["resourceVersion"] = json!(version);
    }
    let params = PatchParams::apply(MANAGER).force();
    match api
        .patch_scale(workload, &params, &Patch::Apply(&body))
        .await
    {
        Ok(_) => Ok(Scaled::Done),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Scaled::Gone),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Scaled::Changed),
        Err(error) => Err(ApplyError::Write {
            object: format!("scale of Deployment {workload}"),
            source: error.into(),
        }),
    }
}

/// Whether somebody else than `manager` has set the number of replicas. Until then it must go on applying it: a field that
/// nobody has is taken away, and the API server's default is one.
pub fn is_kept_by_others(metadata: &ObjectMeta, manager: &str) -> bool {
    let entries = metadata.managed_fields.iter().flatten();
    entries
        .filter(|entry| entry.manager.as_deref() != Some(manager))
        .any(sets_replicas)
}

fn sets_replicas(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref();
    fields.is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(managed: serde_json::Value) -> ObjectMeta {
        serde_json::from_value(json!({"managedFields": managed})).unwrap()
    }

    #[test]
    fn replicas_are_kept_by_whoever_else_has_set_them() {
        let entry = |manager: &str, fields: serde_json::Value| json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let template = json!({"f:spec": {"f:template": {}}});
        for (managed, kept) in [
            (json!([]), false),
            (json!([entry("ours", replicas.clone())]), false),
            (
                json!([entry("ours", replicas.clone()), entry("other", template)]),
                false,
            ),
            (json!([entry(MANAGER, replicas)]), true),
        ] {
            assert_eq!(
                is_kept_by_others(&metadata(managed.clone()), "ours"),
                kept,
                "{managed}"
            );
        }
    }
}
