//! The gateway [pure]: a StatefulSet with a staging volume a replica, its Services and budget.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
};
use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodAffinityTerm,
    PodAntiAffinity, PodTemplateSpec, Service, ServicePort, ServiceSpec, VolumeMount,
    VolumeResourceRequirements, WeightedPodAffinityTerm,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;
use simbdp_api::common::StorageSpec;
use simbdp_api::mounts::{GATEWAY_INTERNAL_PORT, GATEWAY_PORT, STAGING};
use simbdp_api::names::tenant_objects as objects;

use super::meta::{Owner, Platform, pods};
use super::pod::{Mount, Program};
use crate::activation::authority;
use crate::objects::{env, template_annotations};
use crate::tenant::validate::ValidatedTenant;

/// CPU request of a gateway replica, in thousandths of a core.
pub const CPU_REQUEST_MILLIS: u64 = 50;
/// Memory limit of a gateway replica, in bytes.
pub const MEMORY_LIMIT: u64 = 256 << 20;
/// Name of the staging volume.
const VOLUME: &str = "staging";
const COMPONENT: &str = "gateway";

/// The gateway. `digest` is that of what its pods read at their start.
pub fn stateful_set(
    owner: &Owner,
    tenant: &ValidatedTenant,
    replicas: u16,
    digest: &str,
    platform: &Platform,
) -> StatefulSet {
    StatefulSet {
        metadata: owner.meta(objects::GATEWAY, COMPONENT),
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::from(replicas)),
            service_name: Some(objects::GATEWAY_REPLICAS.to_owned()),
            selector: pods(owner.selector(COMPONENT)),
            // Replicas do not know each other: they start and stop together.
            pod_management_policy: Some("Parallel".to_owned()),
            template: template(owner, tenant, replicas, digest, platform),
            volume_claim_templates: Some(vec![staging(owner, &tenant.gateway.staging)]),
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

fn template(
    owner: &Owner,
    tenant: &ValidatedTenant,
    replicas: u16,
    digest: &str,
    platform: &Platform,
) -> PodTemplateSpec {
    let program = Program {
        name: COMPONENT,
        command: &["simbdp-gateway"],
        account: objects::GATEWAY,
        ports: &[("http", GATEWAY_PORT), ("internal", GATEWAY_INTERNAL_PORT)],
        serves: true,
        env: environment(tenant, replicas, platform),
        mounts: vec![
            Mount::coredms(),
            Mount::broker(),
            Mount::internal(),
            Mount::users(),
            Mount::pipelines(),
            Mount::operator(),
        ],
        claims: vec![VolumeMount {
            name: VOLUME.to_owned(),
            mount_path: STAGING.to_owned(),
            ..Default::default()
        }],
        resources: (
            Quantity(format!("{CPU_REQUEST_MILLIS}m")),
            Quantity("64Mi".to_owned()),
            Quantity(format!("{}Mi", MEMORY_LIMIT >> 20)),
        ),
    };
    let mut pod = program.pod(owner.name().as_str(), platform);
    pod.affinity = Some(apart(owner.selector(COMPONENT)));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(owner.labels(COMPONENT)),
            annotations: Some(template_annotations(
                digest.to_owned(),
                tenant.restarted_at.clone(),
            )),
            ..Default::default()
        }),
        spec: Some(pod),
    }
}

/// Quotas are the tenant's: each replica takes its share of them.
fn environment(tenant: &ValidatedTenant, replicas: u16, platform: &Platform) -> Vec<EnvVar> {
    let quota = &tenant.quota;
    [
        Some(env("SIMBDP_GATEWAY_REPLICAS", replicas)),
        Some(env(
            "SIMBDP_OPERATOR",
            authority::url(&platform.service, &platform.namespace),
        )),
        quota
            .requests_per_second
            .map(|rate| env("SIMBDP_REQUESTS_PER_SECOND", rate)),
        quota
            .staged_files
            .map(|files| env("SIMBDP_STAGED_FILES", files)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Replicas on distinct nodes where there are as many.
pub fn apart(selector: BTreeMap<String, String>) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: PodAffinityTerm {
                        label_selector: Some(pods(selector)),
                        topology_key: "kubernetes.io/hostname".to_owned(),
                        ..Default::default()
                    },
                },
            ]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn staging(owner: &Owner, storage: &StorageSpec) -> PersistentVolumeClaim {
    // Only labels that never change: a claim template is immutable.
    let size = Quantity(storage.size.canonical().0);
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(VOLUME.to_owned()),
            labels: Some(owner.selector(COMPONENT)),
            ..Default::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
                limits: None,
            }),
            ..Default::default()
        }),
        status: None,
    }
}

/// The tenant's API.
pub fn service(owner: &Owner) -> Service {
    Service {
        metadata: owner.meta(objects::GATEWAY, COMPONENT),
        spec: Some(ServiceSpec {
            selector: Some(owner.selector(COMPONENT)),
            ports: Some(vec![port("http", GATEWAY_PORT)]),
            ..Default::default()
        }),
        status: None,
    }
}

/// Names each replica, also one that is not ready: ingest apps fetch what it has staged.
pub fn replicas_service(owner: &Owner) -> Service {
    Service {
        metadata: owner.meta(objects::GATEWAY_REPLICAS, COMPONENT),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(owner.selector(COMPONENT)),
            ports: Some(vec![port("internal", GATEWAY_INTERNAL_PORT)]),
            ..Default::default()
        }),
        status: None,
    }
}

/// One replica at a time.
pub fn budget(owner: &Owner) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: owner.meta(objects::GATEWAY, COMPONENT),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(pods(owner.selector(COMPONENT))),
            ..Default::default()
        }),
        status: None,
    }
}

fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..Default::default()
    }
}
