//! Cleanup [IO]: a Broker goes when no tenant has queues in it; then node, volume, Secrets. In an external one nothing is touched.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use simbdp_api::Broker;

use super::build::node_labels;
use super::dereference;
use super::error::Error;
use super::names;
use super::status::IN_USE;
use crate::apply::Applier;
use crate::controller_runtime::Teardown;
use crate::objects::selector_text;

/// Pods and tenants that go are watched; this is the safety net.
const AGAIN: Duration = Duration::from_secs(5);
/// A retained namespace that somebody deletes has no event here.
const IN_USE_AGAIN: Duration = Duration::from_secs(60);

/// One step further.
pub async fn cleanup(
    applier: &Applier,
    namespace: &str,
    broker: &Broker,
) -> Result<Teardown, Error> {
    let name = broker.name_any();
    let users = dereference::users(applier, &name).await?;
    if !users.is_empty() {
        return Ok(Teardown::Pending {
            stage: IN_USE,
            message: in_use(&users),
            again: IN_USE_AGAIN,
        });
    }
    if broker.spec.external.is_some() {
        return Ok(Teardown::Done);
    }
    let namespace = Some(namespace);
    let labels = selector_text(&node_labels(broker.spec.broker_type, &name));
    let gone = applier
        .delete_own::<StatefulSet>(namespace, &names::workload(&name), broker)
        .await?;
    let pods: Vec<Pod> = applier.list(namespace, &labels).await?;
    if !gone || !pods.is_empty() {
        return Ok(pending("StoppingNode", "the node is still stopping"));
    }
    applier
        .prune::<PersistentVolumeClaim>(namespace, &labels, &[])
        .await?;
    let volumes: Vec<PersistentVolumeClaim> = applier.list(namespace, &labels).await?;
    match volumes.is_empty() {
        // Secrets, Services and the rest have the Broker as their owner.
        true => Ok(Teardown::Done),
        false => Ok(pending(
            "DeletingVolume",
            "the volume is still being deleted",
        )),
    }
}

/// Who keeps a Broker from going [pure].
pub fn in_use(users: &[String]) -> String {
    format!(
        "it goes on as it is until these tenants are gone, since it holds their queues: {}",
        users.join(", ")
    )
}

fn pending(stage: &'static str, message: &str) -> Teardown {
    Teardown::Pending {
        stage,
        message: message.to_owned(),
        again: AGAIN,
    }
}
