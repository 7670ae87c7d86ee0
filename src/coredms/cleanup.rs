//! Cleanup [IO]: members stop, then volumes and Secret go if the policy says so. Needs names and the policy
//! alone, so that a spec that is no longer valid never blocks a deletion.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::ResourceExt;
use simbdp_api::CoreDms;
use simbdp_api::tenant::DeletionPolicy;

use super::build::member_labels;
use super::error::Error;
use super::names;
use crate::apply::{Applier, ApplyError};
use crate::controller_runtime::Teardown;
use crate::objects::{namespace_of, selector_text};

/// Pods and volumes that go are watched; this is the safety net.
const AGAIN: Duration = Duration::from_secs(5);

/// One step further.
pub async fn cleanup(applier: &Applier, coredms: &CoreDms) -> Result<Teardown, Error> {
    let (name, namespace) = (coredms.name_any(), namespace_of(coredms));
    let namespace = Some(namespace.as_str());
    let labels = selector_text(&member_labels(&name));
    let gone = applier.delete::<StatefulSet>(namespace, &name).await?;
    let pods: Vec<Pod> = applier.list(namespace, &labels).await?;
    if !gone || !pods.is_empty() {
        return Ok(pending(
            "StoppingMembers",
            format!("{} members are still stopping", pods.len()),
        ));
    }
    if coredms.spec.deletion_policy == DeletionPolicy::Retain {
        return Ok(Teardown::Done);
    }
    applier
        .prune::<PersistentVolumeClaim>(namespace, &labels, &[])
        .await?;
    let volumes: Vec<PersistentVolumeClaim> = applier.list(namespace, &labels).await?;
    if !volumes.is_empty() {
        return Ok(pending(
            "DeletingVolumes",
            format!("{} volumes are still being deleted", volumes.len()),
        ));
    }
    let secret = names::superuser_secret(&name);
    match applier.delete::<Secret>(namespace, &secret).await {
        // In a namespace that is being deleted the operator's right to Secrets may have gone first; the
        // Secret goes with the namespace, and nothing must wait for it.
        Err(ApplyError::Delete { source, .. }) if source.code() == Some(403) => Ok(Teardown::Done),
        other => other.map(|_| Teardown::Done).map_err(Error::from),
    }
}

fn pending(stage: &'static str, message: String) -> Teardown {
    Teardown::Pending {
        stage,
        message,
        again: AGAIN,
    }
}
