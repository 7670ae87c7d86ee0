//! The node's StatefulSet [pure].

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::core::ObjectMeta;
use simbdp_api::labels;

use super::super::names;
use super::super::validate::ValidatedBroker;
use super::{Platform, all_labels, node_labels, owned, pod};
use crate::objects::{claim, selector};

/// Builds it. `digest` is the configuration's: a change rolls the node.
pub fn build(broker: &ValidatedBroker, platform: &Platform, digest: String) -> StatefulSet {
    let selected = node_labels(broker.broker_type, &broker.name);
    let name = names::workload(&broker.name);
    StatefulSet {
        metadata: owned(broker, &platform.namespace, &platform.version, &name),
        spec: Some(StatefulSetSpec {
            replicas: Some(broker.nodes.into()),
            // Three nodes of a Kafka are ready when two of them have found each other: one after the other they never are.
            pod_management_policy: (broker.nodes > 1).then(|| "Parallel".to_owned()),
            service_name: Some(names::nodes(&broker.name)),
            selector: selector(&selected),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(all_labels(
                        broker.broker_type,
                        &broker.name,
                        &platform.version,
                    )),
                    annotations: Some(BTreeMap::from([(labels::CONFIG_DIGEST.to_owned(), digest)])),
                    ..Default::default()
                }),
                spec: Some(pod::build(broker, platform)),
            },
            volume_claim_templates: Some(vec![claim(
                pod::DATA_VOLUME,
                &selected,
                broker.needs.storage,
                broker.storage_class.clone(),
            )]),
            // The operator itself deletes the volume, when no tenant has queues in it any more.
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some("Retain".to_owned()),
                    when_scaled: Some("Retain".to_owned()),
                },
            ),
            ..Default::default()
        }),
        status: None,
    }
}
