//! Cleanup [IO]: a CoreDms goes when no tenant has a place in it; then members stop, and volumes and Secret go if the
//! policy says so. Needs names, claims and the policy alone, so that a spec that is no longer valid never blocks a
//! deletion. In an external database nothing is touched.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret};
use kube::ResourceExt;
use simbdp_api::coredms::Claim;
use simbdp_api::tenant::DeletionPolicy;
use simbdp_api::{CoreDms, Tenant};

use super::build::member_labels;
use super::error::Error;
use super::names;
use super::status::IN_USE;
use crate::apply::{Applier, ApplyError};
use crate::controller_runtime::Teardown;
use crate::objects::{namespace_of, selector_text};

/// Pods and volumes that go are watched; this is the safety net.
const AGAIN: Duration = Duration::from_secs(5);

/// A retained Tenant that is applied again has an event here only when it gives its place up.
const IN_USE_AGAIN: Duration = Duration::from_secs(60);

/// One step further.
pub async fn cleanup(applier: &Applier, coredms: &CoreDms) -> Result<Teardown, Error> {
    if !coredms.spec.claims.is_empty() {
        let tenants: Vec<Tenant> = applier.list(None, "").await?;
        return Ok(Teardown::Pending {
            stage: IN_USE,
            message: in_use(&coredms.spec.claims, &tenants),
            again: IN_USE_AGAIN,
        });
    }
    if coredms.spec.external.is_some() {
        return Ok(Teardown::Done);
    }
    let (name, namespace) = (coredms.name_any(), namespace_of(coredms));
    let namespace = Some(namespace.as_str());
    let labels = selector_text(&member_labels(coredms.spec.engine, &name));
    let gone = applier
        .delete_own::<StatefulSet>(namespace, &name, coredms)
        .await?;
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
    applier
        .delete::<ConfigMap>(namespace, &names::members(&name))
        .await?;
    let secret = names::superuser_secret(&name);
    match applier.delete::<Secret>(namespace, &secret).await {
        // In a namespace that is being deleted the operator's right to Secrets may have gone first; the
        // Secret goes with the namespace, and nothing must wait for it.
        Err(ApplyError::Delete { source, .. }) if source.code() == Some(403) => Ok(Teardown::Done),
        other => other.map(|_| Teardown::Done).map_err(Error::from),
    }
}

/// Who keeps a CoreDms from going, and what to do [pure].
pub fn in_use(claims: &[Claim], tenants: &[Tenant]) -> String {
    let name = |claim: &Claim| match tenants.iter().any(|t| t.name_any() == claim.tenant) {
        true => claim.tenant.clone(),
        false => format!("{} (retained)", claim.tenant),
    };
    let mut names: Vec<_> = claims.iter().map(name).collect();
    names.sort();
    format!(
        "it goes on as it is until these tenants are gone, since it holds their data: {}; delete them, and apply a retained one again with deletionPolicy Delete before that",
        names.join(", ")
    )
}

fn pending(stage: &'static str, message: String) -> Teardown {
    Teardown::Pending {
        stage,
        message,
        again: AGAIN,
    }
}
