//! Parts [pure] that the pods of the gateway and of ingest apps share: security, environment, mounts,
//! probes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
    HTTPGetAction, ObjectFieldSelector, PodSpec, Probe, ProjectedVolumeSource,
    ResourceRequirements, SecretVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use simbdp_api::mounts;
use simbdp_api::names::tenant_objects;
use simbdp_api::wire::wake;

use super::meta::Platform;
use crate::objects;

/// User and group of the `simbdp` image.
const USER: i64 = 65532;
/// Owner and group may read a mounted secret; the group is the pod's own.
const SECRET_MODE: i32 = 0o440;
/// How long a token for the operator is good; the kubelet renews it before.
const TOKEN_SECONDS: i64 = 3600;
/// Time to finish or hand back what is held.
const GRACE_SECONDS: i64 = 40;

/// A directory that a pod mounts, and from what.
pub struct Mount {
    volume: Volume,
    mount: VolumeMount,
}

impl Mount {
    fn new(name: &str, path: String, source: Volume) -> Self {
        Self {
            volume: Volume {
                name: name.to_owned(),
                ..source
            },
            mount: VolumeMount {
                name: name.to_owned(),
                mount_path: path,
                read_only: Some(true),
                ..Default::default()
            },
        }
    }

    fn secret(name: &str, path: String, secret: &str) -> Self {
        let source = Volume {
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret.to_owned()),
                default_mode: Some(SECRET_MODE),
                ..Default::default()
            }),
            ..Default::default()
        };
        Self::new(name, path, source)
    }

    /// The pipelines' files, as a directory: a subPath would never be refreshed.
    pub fn pipelines() -> Self {
        let source = Volume {
            config_map: Some(ConfigMapVolumeSource {
                name: tenant_objects::PIPELINES.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        Self::new("pipelines", mounts::PIPELINES.to_owned(), source)
    }

    /// The platform's database role.
    pub fn coredms() -> Self {
        let path = format!(
            "{}/{}",
            mounts::SERVICE_BINDING_ROOT,
            mounts::COREDMS_BINDING
        );
        Self::secret("coredms", path, tenant_objects::PLATFORM_BINDING)
    }

    /// The tenant's broker user.
    pub fn broker() -> Self {
        let path = format!(
            "{}/{}",
            mounts::SERVICE_BINDING_ROOT,
            mounts::BROKER_BINDING
        );
        Self::secret("broker", path, tenant_objects::BROKER_BINDING)
    }

    /// The token between operator, gateway and ingest apps.
    pub fn internal() -> Self {
        Self::secret(
            "internal",
            mounts::INTERNAL_TOKEN.to_owned(),
            tenant_objects::INTERNAL,
        )
    }

    /// A user's credentials, in the Secret of this name.
    pub fn user(secret: &str) -> Self {
        Self::secret("user", mounts::USER.to_owned(), secret)
    }

    /// What the operator is called with: a token for that alone, and its authority.
    pub fn operator() -> Self {
        let token = ServiceAccountTokenProjection {
            audience: Some(wake::AUDIENCE.to_owned()),
            expiration_seconds: Some(TOKEN_SECONDS),
            path: wake::TOKEN.to_owned(),
        };
        let authority = ConfigMapProjection {
            name: tenant_objects::OPERATOR_TRUST.to_owned(),
            optional: Some(true),
            ..Default::default()
        };
        let sources = vec![
            VolumeProjection {
                service_account_token: Some(token),
                ..Default::default()
            },
            VolumeProjection {
                config_map: Some(authority),
                ..Default::default()
            },
        ];
        let source = Volume {
            projected: Some(ProjectedVolumeSource {
                sources: Some(sources),
                ..Default::default()
            }),
            ..Default::default()
        };
        Self::new("operator", mounts::OPERATOR.to_owned(), source)
    }

    /// Names, roles and hashes of users.
    pub fn users() -> Self {
        Self::secret(
            "users",
            mounts::USERS.to_owned(),
            tenant_objects::GATEWAY_USERS,
        )
    }
}

/// What a program's pod is made of.
pub struct Program<'a> {
    /// Name of the container.
    pub name: &'a str,
    /// Program in the image, and its arguments.
    pub command: &'a [&'a str],
    /// ServiceAccount of the pod.
    pub account: &'a str,
    /// Ports besides the admin one, by name.
    pub ports: &'a [(&'a str, u16)],
    /// Whether it serves until it is stopped, and has the admin port; else it ends by itself.
    pub serves: bool,
    /// Environment besides tenant, namespace and pod name.
    pub env: Vec<EnvVar>,
    /// Read-only directories.
    pub mounts: Vec<Mount>,
    /// Writable directories: mounts of volumes that the workload claims.
    pub claims: Vec<VolumeMount>,
    /// CPU request, memory request, memory limit.
    pub resources: (Quantity, Quantity, Quantity),
}

impl Program<'_> {
    /// A pod that meets the restricted level and has no access to the Kubernetes API.
    pub fn pod(self, tenant: &str, platform: &Platform) -> PodSpec {
        let (volumes, mut volume_mounts): (Vec<_>, Vec<_>) =
            self.mounts.into_iter().map(|m| (m.volume, m.mount)).unzip();
        volume_mounts.extend(self.claims);
        let (cpu, memory, limit) = self.resources;
        let container = Container {
            name: self.name.to_owned(),
            image: Some(platform.image.clone()),
            image_pull_policy: Some(platform.pull_policy.clone()),
            command: Some(command(self.command)),
            env: Some(common_env(tenant).into_iter().chain(self.env).collect()),
            ports: self.serves.then(|| ports(self.ports)),
            liveness_probe: self.serves.then(|| probe("/healthz", 10, 6)),
            readiness_probe: self.serves.then(|| probe("/readyz", 5, 2)),
            resources: Some(ResourceRequirements {
                requests: Some(BTreeMap::from([
                    ("cpu".to_owned(), cpu),
                    ("memory".to_owned(), memory),
                ])),
                limits: Some(BTreeMap::from([("memory".to_owned(), limit)])),
                claims: None,
            }),
            security_context: Some(objects::restricted_container()),
            volume_mounts: Some(volume_mounts),
            ..Default::default()
        };
        PodSpec {
            containers: vec![container],
            volumes: Some(volumes),
            service_account_name: Some(self.account.to_owned()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(objects::restricted_pod(USER)),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            ..Default::default()
        }
    }
}

/// The image has no entrypoint that matters: programs are called by their paths.
fn command(command: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    if let Some(program) = words.first_mut() {
        *program = format!("/usr/local/bin/{program}");
    }
    words
}

fn common_env(tenant: &str) -> Vec<EnvVar> {
    let namespace = EnvVarSource {
        field_ref: Some(ObjectFieldSelector {
            api_version: Some("v1".to_owned()),
            field_path: "metadata.namespace".to_owned(),
        }),
        ..Default::default()
    };
    vec![
        objects::env("SIMBDP_TENANT", tenant),
        EnvVar {
            name: "SIMBDP_NAMESPACE".to_owned(),
            value: None,
            value_from: Some(namespace),
        },
        objects::pod_name(),
    ]
}

fn ports(ports: &[(&str, u16)]) -> Vec<ContainerPort> {
    ports
        .iter()
        .chain([&("admin", mounts::ADMIN_PORT)])
        .map(|(name, port)| ContainerPort {
            name: Some((*name).to_owned()),
            container_port: i32::from(*port),
            protocol: Some("TCP".to_owned()),
            ..Default::default()
        })
        .collect()
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            ..Default::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        failure_threshold: Some(failure_threshold),
        ..Default::default()
    }
}
