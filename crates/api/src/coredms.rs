//! `CoreDms`: one database that holds tenants' data.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::common::{Conditions, Engine, LocalRef, Profile, Resources, StorageSpec};
use crate::tenant::{DeletionPolicy, default_cassandra_version, default_replicas};

/// What is declared of a database.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "simbdp.dev",
    version = "v1alpha1",
    kind = "CoreDms",
    plural = "coredms",
    singular = "coredms",
    shortname = "cdms",
    category = "simbdp",
    namespaced,
    status = "CoreDmsStatus",
    derive = "PartialEq",
    doc = "A coredms: a database of three or more members that holds tenants' data.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Engine", type_ = "string", json_path = ".spec.engine"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Members", type_ = "string", json_path = ".status.members"),
    printcolumn(name = "Profile", type_ = "string", json_path = ".spec.profile"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message("the name of a CoreDms has 1 to 40 lower-case letters, digits and dashes, starts with a letter and ends with a letter or a digit"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.engine == oldSelf.engine").message("engine is immutable: create another CoreDms and move the data"))]
#[x_kube(validation = Rule::new("self.replicas == oldSelf.replicas").message("replicas cannot be changed yet: members are neither added nor removed"))]
#[x_kube(validation = Rule::new("self.storage == oldSelf.storage").message("storage cannot be changed: volumes are claimed once"))]
pub struct CoreDmsSpec {
    /// Engine of the database. Immutable.
    #[serde(default)]
    pub engine: Engine,
    /// Version of the engine; the tag of the official image.
    #[serde(default = "default_cassandra_version")]
    #[schemars(length(min = 1, max = 32), pattern(r"^[0-9]+(\.[0-9]+){0,2}$"))]
    pub version: String,
    /// Members, each with a volume of its own.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 3, max = 15))]
    pub replicas: u16,
    /// Volume of each member.
    pub storage: StorageSpec,
    /// Resources of each member; chosen by the profile when absent.
    #[serde(default)]
    pub resources: Resources,
    /// How the database is run.
    #[serde(default)]
    pub profile: Profile,
    /// Whether the volumes and the superuser's Secret outlive the CoreDms.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// What the operator has seen of a database.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CoreDmsStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The latest observations.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// Members that are ready, of those asked for, e.g. `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub members: Option<String>,
    /// Address of the database inside the cluster, host and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub endpoint: Option<String>,
    /// The Secret that binds a workload to the database
    /// (<https://servicebinding.io/spec/core/1.1.0/#provisioned-service>).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<LocalRef>,
}
