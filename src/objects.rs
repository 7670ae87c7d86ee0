//! Parts [pure] that objects of databases and brokers share: owner, security, probes, quantities, volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, KeyToPath, ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PodAffinityTerm, PodAntiAffinity, PodSecurityContext, Probe, ResourceRequirements,
    SeccompProfile, SecretVolumeSource, SecurityContext, ServicePort, TCPSocketAction, Volume,
    VolumeMount, VolumeResourceRequirements, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt};
use simbdp_api::labels;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What pods need to know of the operator's own image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnImage {
    /// Image of `simbdp`, for init containers.
    pub image: String,
    /// Pull policy of every image.
    pub pull_policy: String,
}

/// Makes an object the controller of another, in the same namespace or from none.
pub fn owned_by<K: Resource<DynamicType = ()>>(owner: &K) -> Option<Vec<OwnerReference>> {
    owner
        .controller_owner_ref(&())
        .map(|reference| vec![reference])
}

/// Metadata of an object.
pub fn meta(namespace: &str, name: &str, labels: &Labels) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels.clone()),
        ..Default::default()
    }
}

/// When a person last asked for a restart of the object's pods.
pub fn restarted_at<K: Resource>(object: &K) -> Option<String> {
    object.annotations().get(labels::RESTARTED_AT).cloned()
}

/// Annotations of a pod template: a change of either makes new pods.
pub fn template_annotations(digest: String, restarted_at: Option<String>) -> Labels {
    let digest = (labels::CONFIG_DIGEST.to_owned(), digest);
    let restarted = restarted_at.map(|at| (labels::RESTARTED_AT.to_owned(), at));
    [digest].into_iter().chain(restarted).collect()
}

/// Objects with all of these labels.
pub fn selector(labels: &Labels) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels.clone()),
        match_expressions: None,
    }
}

/// The same as text, for a list request.
pub fn selector_text(labels: &Labels) -> String {
    let terms: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    terms.join(",")
}

/// Bytes as Kubernetes writes them, so that what is read back is the same text.
pub fn memory(bytes: u64) -> Quantity {
    let binary = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let binary = binary
        .into_iter()
        .map(|(suffix, power)| (suffix, 1_u64 << power));
    let decimal = [("T", 12), ("G", 9), ("M", 6), ("k", 3)];
    let decimal = decimal
        .into_iter()
        .map(|(suffix, power)| (suffix, 10_u64.pow(power)));
    let fits = binary
        .chain(decimal)
        .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    Quantity(match fits {
        Some((suffix, unit)) => format!("{}{suffix}", bytes / unit),
        None => bytes.to_string(),
    })
}

/// Thousandths of a CPU as Kubernetes writes them.
pub fn cpu(millis: u64) -> Quantity {
    Quantity(match millis % 1000 {
        0 => (millis / 1000).to_string(),
        _ => format!("{millis}m"),
    })
}

/// Security of a pod of the restricted level, which runs as one user and group.
pub fn restricted_pod(user: i64) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(user),
        run_as_group: Some(user),
        fs_group: Some(user),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..Default::default()
    }
}

/// Security of a container of the restricted level.
pub fn restricted_container() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        ..Default::default()
    }
}

/// What a container asks for and gets at most.
pub fn resources(
    requests: &[(&str, Option<Quantity>)],
    limits: &[(&str, Option<Quantity>)],
) -> ResourceRequirements {
    let map = |entries: &[(&str, Option<Quantity>)]| {
        let set = entries
            .iter()
            .filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?)));
        Some(set.collect())
    };
    ResourceRequirements {
        requests: map(requests),
        limits: map(limits),
        claims: None,
    }
}

/// The init container that copies configuration, with `args` of `simbdp-operator prepare`.
pub fn prepare(own: &OwnImage, args: Vec<String>, mounts: Vec<VolumeMount>) -> Container {
    Container {
        name: "prepare".to_owned(),
        image: Some(own.image.clone()),
        image_pull_policy: Some(own.pull_policy.clone()),
        command: Some(vec![
            "/usr/local/bin/simbdp-operator".to_owned(),
            "prepare".to_owned(),
        ]),
        args: Some(args),
        env: Some(vec![pod_name()]),
        resources: Some(resources(
            &[("cpu", Some(cpu(10))), ("memory", Some(memory(16 << 20)))],
            &[("memory", Some(memory(64 << 20)))],
        )),
        security_context: Some(restricted_container()),
        volume_mounts: Some(mounts),
        ..Default::default()
    }
}

/// A variable with a fixed value.
pub fn env(name: &str, value: impl ToString) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_string()),
        ..Default::default()
    }
}

/// Variable with the pod's own name.
pub const POD_NAME: &str = "SIMBDP_POD_NAME";

/// The pod's own name.
pub fn pod_name() -> EnvVar {
    EnvVar {
        name: POD_NAME.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: "metadata.name".to_owned(),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A probe that connects: it starts no process in the container.
pub fn tcp_probe(port: u16, period: i32, failures: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::Int(port.into()),
            host: None,
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(period.min(5)),
        failure_threshold: Some(failures),
        ..Default::default()
    }
}

/// A named port of a Service, the same in the pod.
pub fn service_port(name: &str, port: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: port.into(),
        target_port: Some(IntOrString::Int(port.into())),
        protocol: Some("TCP".to_owned()),
        ..Default::default()
    }
}

/// A mount.
pub fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        ..Default::default()
    }
}

/// A mount that cannot be written to.
pub fn mount_read_only(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        read_only: Some(true),
        ..mount(volume, path)
    }
}

/// A volume that lives as long as the pod, of at most so many bytes.
pub fn empty_dir(name: &str, limit: u64) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: None,
            size_limit: Some(memory(limit)),
        }),
        ..Default::default()
    }
}

/// A ConfigMap as a volume.
pub fn config_map_volume(name: &str, config_map: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map.to_owned(),
            default_mode: Some(0o444),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A ConfigMap as a volume, empty while there is none.
pub fn optional_config_map_volume(name: &str, config_map: &str) -> Volume {
    let mut volume = config_map_volume(name, config_map);
    if let Some(source) = &mut volume.config_map {
        source.optional = Some(true);
    }
    volume
}

/// A Secret as a volume that the pod's group can read.
pub fn secret_volume(name: &str, secret: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            default_mode: Some(0o440),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// One file of a Secret as a volume that the pod's group can read.
pub fn secret_file_volume(name: &str, secret: &str, key: &str) -> Volume {
    let mut volume = secret_volume(name, secret);
    if let Some(source) = &mut volume.secret {
        source.items = Some(vec![KeyToPath {
            key: key.to_owned(),
            path: key.to_owned(),
            mode: None,
        }]);
    }
    volume
}

/// A template of a volume for each pod of a StatefulSet.
pub fn claim(
    name: &str,
    labels: &Labels,
    bytes: u64,
    class: Option<String>,
) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.clone()),
            ..Default::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: class,
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), memory(bytes))])),
                limits: None,
            }),
            ..Default::default()
        }),
        status: None,
    }
}

/// Keeps pods of these labels on distinct nodes: required, or only preferred.
pub fn apart(labels: &Labels, required: bool) -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(selector(labels)),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..Default::default()
    };
    let rule = match required {
        true => PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![term]),
            ..Default::default()
        },
        false => PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: term,
                },
            ]),
            ..Default::default()
        },
    };
    Affinity {
        pod_anti_affinity: Some(rule),
        ..Default::default()
    }
}

/// Namespace of an object that is in one.
pub fn namespace_of<K: Resource>(object: &K) -> String {
    object.namespace().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_kubernetes_reads_them_back() {
        let texts = [4 << 30, 1536 << 20, 1_000_000_000, 1_024_000, 7].map(|bytes| memory(bytes).0);
        assert_eq!(texts, ["4Gi", "1536Mi", "1G", "1000Ki", "7"]);
        assert_eq!([cpu(1500).0, cpu(2000).0], ["1500m", "2"]);
    }
}
