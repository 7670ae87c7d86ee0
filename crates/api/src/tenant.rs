//! `Tenant`: one customer of the platform, with a database or a place in a shared one, and with queues, a
//! gateway and credentials of its own.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{
    Conditions, Engine, LocalRef, ObjectRef, Profile, Quantity, Resources, StorageSpec,
};
use crate::pipeline::{FileCount, Format};

/// What a platform engineer declares of a tenant.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "simbdp.dev",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    shortname = "tn",
    category = "simbdp",
    status = "TenantStatus",
    derive = "PartialEq",
    doc = "A tenant: a namespace with a coredms, broker queues, a gateway and credentials of its own.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Engine", type_ = "string", json_path = ".spec.coredms.engine"),
    printcolumn(name = "Database", type_ = "string", json_path = ".status.database"),
    printcolumn(name = "Broker", type_ = "string", json_path = ".status.broker"),
    printcolumn(name = "Placement", type_ = "string", json_path = ".spec.coredms.placement"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message("the name of a Tenant has 1 to 40 lower-case letters, digits and dashes, starts with a letter and ends with a letter or a digit"),
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// The tenant's database.
    pub coredms: TenantCoreDms,
    /// The broker that holds the tenant's queues; the Broker marked default when absent.
    #[serde(default)]
    pub broker: TenantBroker,
    /// Who may use the tenant's gateway. A Secret `user-<name>` in the tenant's namespace holds each one's password and token.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub users: Vec<User>,
    /// What the tenant may use at most.
    #[serde(default)]
    pub quota: Quota,
    /// The platform's ceilings on files: a pipeline may only narrow them.
    #[serde(default)]
    pub constraints: Ceilings,
    /// The tenant's REST front end.
    #[serde(default)]
    pub gateway: GatewaySpec,
    /// Whether all of the tenant's pipelines are paused: their ingest apps are stopped, and what comes in is
    /// accepted and kept in the queues.
    #[serde(default)]
    pub paused: bool,
    /// Whether the tenant's data outlives the Tenant.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// The tenant's database.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.engine == oldSelf.engine").message("engine is immutable: create another Tenant and move the data"))]
#[x_kube(validation = Rule::new("self.placement == oldSelf.placement").message("placement is immutable: create another Tenant and move the data"))]
#[x_kube(validation = Rule::new("self.engine != 'MongoDB' || !has(self.replicas) || self.replicas in [3, 5, 7]").message("replicas of MongoDB are 3, 5 or 7: an even number elects no better than one less, and a replica set has 7 voters at most"))]
#[x_kube(validation = Rule::new("has(self.storage) == has(oldSelf.storage) && (!has(self.storage) || (has(self.storage.storageClassName) ? self.storage.storageClassName : '') == (has(oldSelf.storage.storageClassName) ? oldSelf.storage.storageClassName : ''))").message("storage.storageClassName cannot be changed: volumes are claimed once"))]
#[x_kube(validation = Rule::new("!has(self.storage) || !has(oldSelf.storage) || quantity(self.storage.size).compareTo(quantity(oldSelf.storage.size)) >= 0").message("storage.size can only grow: a volume cannot shrink"))]
#[x_kube(validation = Rule::new("self.placement != 'Dedicated' || has(self.storage)").message("placement Dedicated needs storage: the volume of each member"))]
#[x_kube(validation = Rule::new("self.placement != 'Shared' || !(has(self.storage) || has(self.replicas) || has(self.resources) || has(self.profile) || has(self.version))").message("storage, replicas, resources, profile and version belong to placement Dedicated: a shared CoreDms has its own, so leave them out"))]
#[x_kube(validation = Rule::new("self.placement == 'Shared' || !has(self.ref)").message("ref names a shared CoreDms: set placement to Shared, or leave ref out"))]
pub struct TenantCoreDms {
    /// Engine of the database. Immutable.
    #[serde(default)]
    pub engine: Engine,
    /// Whether the tenant has a database of its own, or a place in a shared one. Immutable.
    #[serde(default)]
    pub placement: Placement,
    /// With Shared: the CoreDms in the operator's namespace to have a place in; the emptiest ready one
    /// with room when absent.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<LocalRef>,
    /// With Dedicated: version of the engine, the tag of the official image; `5.0` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), pattern(r"^[0-9]+(\.[0-9]+){0,2}$"))]
    pub version: Option<String>,
    /// With Dedicated: members of the database, each with a volume of its own; 3 when absent. They are added and
    /// removed one by one; MongoDB has 3, 5 or 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3, max = 15))]
    pub replicas: Option<u16>,
    /// With Dedicated, which needs it: volume of each member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSpec>,
    /// With Dedicated: resources of each member; chosen by the profile when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// With Dedicated: how the database is run; Production when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// Where a tenant's database is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Placement {
    /// A database of the tenant's own, in its namespace.
    #[default]
    Dedicated,
    /// A place in a database that several tenants share, in the operator's namespace.
    Shared,
}

/// The broker that holds the tenant's queues.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantBroker {
    /// A Broker by name; the one marked default when absent.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<LocalRef>,
}

/// A user of the tenant's gateway.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Name to log in with.
    #[schemars(
        length(min = 1, max = 40),
        pattern(r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")
    )]
    pub name: String,
    /// What the user may do.
    pub role: Role,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Role {
    /// Upload files, post messages, and all that a Reader may.
    Writer,
    /// Read rows, constraints and the ledger.
    Reader,
}

/// What the tenant may use at most. What is absent is not limited.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Sum of all volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Quantity>,
    /// Requests to the gateway, shared out evenly among its replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_second: Option<u32>,
    /// Files that wait in staging, shared out evenly among the gateway's replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub staged_files: Option<u32>,
    /// Pods in the tenant's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub pods: Option<u32>,
    /// Sum of all CPU requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Sum of all memory limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// The platform's ceilings on a tenant's files. What is absent is not limited here.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ceilings {
    /// Largest file, uncompressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_file_size: Option<Quantity>,
    /// Most files in a period, over all pipelines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_files: Option<FileCount>,
    /// Formats that pipelines may choose from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub formats: Option<Vec<Format>>,
}

/// The tenant's REST front end.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Replicas, each with a staging volume.
    #[serde(default = "default_gateway_replicas")]
    #[schemars(range(min = 1, max = 9))]
    pub replicas: u16,
    /// Staging volume of each replica.
    #[serde(default = "default_staging")]
    pub staging: StorageSpec,
}

impl Default for GatewaySpec {
    fn default() -> Self {
        Self {
            replicas: default_gateway_replicas(),
            staging: default_staging(),
        }
    }
}

fn default_gateway_replicas() -> u16 {
    1
}

fn default_staging() -> StorageSpec {
    StorageSpec {
        size: "10Gi".into(),
        storage_class_name: None,
    }
}

/// Whether data outlives its owner.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// Workloads stop; namespace, volumes, credentials and queues stay, and the same Tenant applied again finds them.
    #[default]
    Retain,
    /// Nothing stays.
    Delete,
}

/// What the operator has seen of a tenant.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The latest observations.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// The tenant's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// UID of the namespace: another one of that name is not the tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub namespace_uid: Option<String>,
    /// The CoreDms that holds the tenant's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coredms: Option<ObjectRef>,
    /// Why a shared CoreDms was chosen, e.g. `shared-cassandra-1: 3 of 10 places taken; emptiest of 4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub placement: Option<String>,
    /// The CoreDms with its ready members, e.g. `coredms 3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub database: Option<String>,
    /// The Broker that holds the tenant's queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub broker: Option<String>,
    /// URL of the gateway inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub endpoint: Option<String>,
}
