//! The members' StatefulSet [pure].

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::core::ObjectMeta;
use simbdp_api::labels;

use super::super::validate::ValidatedCoreDms;
use super::{Platform, all_labels, member_labels, owned, pod};
use crate::objects::{claim, selector};

/// Builds it. `digest` is the configuration's: a change rolls the members.
pub fn build(coredms: &ValidatedCoreDms, platform: &Platform, digest: String) -> StatefulSet {
    let selected = member_labels(&coredms.name);
    // Members that join one after the other need no luck. In Development, all but the first wait for it in
    // their init container and then start together.
    let start = match coredms.development() {
        true => "Parallel",
        false => "OrderedReady",
    };
    StatefulSet {
        metadata: owned(coredms, platform, &coredms.name),
        spec: Some(StatefulSetSpec {
            replicas: Some(coredms.replicas.into()),
            service_name: Some(coredms.name.clone()),
            pod_management_policy: Some(start.to_owned()),
            selector: selector(&selected),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(all_labels(coredms, platform)),
                    annotations: Some(BTreeMap::from([(labels::CONFIG_DIGEST.to_owned(), digest)])),
                    ..Default::default()
                }),
                spec: Some(pod::build(coredms, platform)),
            },
            volume_claim_templates: Some(vec![claim(
                pod::DATA_VOLUME,
                &selected,
                coredms.needs.storage,
                coredms.storage_class.clone(),
            )]),
            // The operator itself deletes volumes, when the policy says so at that moment: a StatefulSet that
            // somebody deletes never takes them along.
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
