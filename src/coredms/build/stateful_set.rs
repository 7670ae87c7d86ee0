//! The members' StatefulSet [pure].

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::core::ObjectMeta;

use super::super::validate::ValidatedCoreDms;
use super::{Platform, all_labels, member_labels, owned, pod};
use crate::objects::{claim, restarted_at, selector, template_annotations};

/// Builds it. `digest` is the configuration's: a change rolls the members.
pub fn build(
    coredms: &ValidatedCoreDms,
    platform: &Platform,
    digest: String,
    running: u16,
) -> StatefulSet {
    let selected = member_labels(coredms.engine, &coredms.name);
    StatefulSet {
        metadata: owned(coredms, platform, &coredms.name),
        spec: Some(StatefulSetSpec {
            replicas: Some(running.into()),
            service_name: Some(coredms.name.clone()),
            // Who has to wait for another waits in its init container; a member that is away never keeps Kubernetes
            // from starting another one again.
            pod_management_policy: Some("Parallel".to_owned()),
            // The operator restarts members one by one: it knows what the database says of the others, and takes a
            // pod away that cannot start, which a StatefulSet does not.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            selector: selector(&selected),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(all_labels(coredms, platform)),
                    annotations: Some(template_annotations(digest, restarted_at(&coredms.object))),
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
