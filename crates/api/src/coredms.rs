//! `CoreDms`: one database that holds tenants' data.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Conditions, Engine, LocalRef, Profile, Quantity, Resources, StorageSpec, Tls};
use crate::tenant::DeletionPolicy;

/// Members of a database when none are asked.
const DEFAULT_REPLICAS: u16 = 3;

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
    doc = "A coredms: a database that holds tenants' data, of one tenant or shared by several, run by the operator or external.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Engine", type_ = "string", json_path = ".spec.engine"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Members", type_ = "string", json_path = ".status.members"),
    printcolumn(name = "Data", type_ = "string", json_path = ".status.data"),
    printcolumn(name = "Tenants", type_ = "string", json_path = ".status.tenants"),
    printcolumn(name = "Profile", type_ = "string", json_path = ".spec.profile"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message("the name of a CoreDms has 1 to 40 lower-case letters, digits and dashes, starts with a letter and ends with a letter or a digit"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.engine == oldSelf.engine").message("engine is immutable: create another CoreDms and move the data"))]
#[x_kube(validation = Rule::new("self.engine != 'MongoDB' || !has(self.replicas) || self.replicas in [3, 5, 7]").message("replicas of MongoDB are 3, 5 or 7: an even number elects no better than one less, and a replica set has 7 voters at most"))]
#[x_kube(validation = Rule::new("has(self.external) == has(oldSelf.external)").message("a database cannot change between external and one that the operator runs: create another CoreDms"))]
#[x_kube(validation = Rule::new("has(self.storage) == has(oldSelf.storage) && (!has(self.storage) || (has(self.storage.storageClassName) ? self.storage.storageClassName : '') == (has(oldSelf.storage.storageClassName) ? oldSelf.storage.storageClassName : ''))").message("storage.storageClassName cannot be changed: volumes are claimed once"))]
#[x_kube(validation = Rule::new("!has(self.storage) || !has(oldSelf.storage) || quantity(self.storage.size).compareTo(quantity(oldSelf.storage.size)) >= 0").message("storage.size can only grow: a volume cannot shrink"))]
#[x_kube(validation = Rule::new("has(self.external) || has(self.storage)").message("storage is needed: the volume of each member; or set external, for a database that the operator does not run"))]
#[x_kube(validation = Rule::new("!has(self.external) || !(has(self.storage) || has(self.replicas) || has(self.resources) || has(self.profile) || has(self.version))").message("storage, replicas, resources, profile and version belong to a database that the operator runs: leave them out with external"))]
#[x_kube(validation = Rule::new("!has(self.claims) || size(self.claims) <= (has(self.maxTenants) ? self.maxTenants : 0)").message("claims are more than maxTenants: as many tenants have places here, so set maxTenants to their number or more"))]
pub struct CoreDmsSpec {
    /// Engine of the database. Immutable.
    #[serde(default)]
    pub engine: Engine,
    /// A database that the operator does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// Most tenants that share the database. One that is shared lies in the operator's namespace; without
    /// this, tenants do not get places in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub max_tenants: Option<u16>,
    /// Places that are taken. Only the operator writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["tenant".into()]))]
    pub claims: Vec<Claim>,
    /// Version of the engine, the tag of the official image; `5.0` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), pattern(r"^[0-9]+(\.[0-9]+){0,2}$"))]
    pub version: Option<String>,
    /// Members, each with a volume of its own; 3 when absent. They are added and removed one by one; MongoDB has 3, 5
    /// or 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3, max = 15))]
    pub replicas: Option<u16>,
    /// Volume of each member; needed, unless the database is external.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSpec>,
    /// Resources of each member; chosen by the profile when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// How the database is run; Production when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Whether the volumes and the superuser's Secret outlive the CoreDms.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl CoreDmsSpec {
    /// A database that the operator runs, with what is run when nothing else is asked.
    pub fn managed(engine: Engine, storage: StorageSpec) -> Self {
        Self {
            engine,
            external: None,
            max_tenants: None,
            claims: Vec::new(),
            version: Some(engine.default_version().to_owned()),
            replicas: Some(DEFAULT_REPLICAS),
            storage: Some(storage),
            resources: None,
            profile: Some(Profile::default()),
            deletion_policy: DeletionPolicy::default(),
        }
    }

    /// Version of the engine that is run.
    pub fn version(&self) -> &str {
        self.version
            .as_deref()
            .unwrap_or(self.engine.default_version())
    }

    /// Members that are run.
    pub fn replicas(&self) -> u16 {
        self.replicas.unwrap_or(DEFAULT_REPLICAS)
    }

    /// How the members are run.
    pub fn profile(&self) -> Profile {
        self.profile.unwrap_or_default()
    }

    /// Whether a tenant has a place.
    pub fn claimed_by(&self, tenant: &str) -> bool {
        self.claims.iter().any(|claim| claim.tenant == tenant)
    }

    /// Places that are taken of those that there are, e.g. `3/10`; [`None`] where nothing is shared.
    pub fn places(&self) -> Option<String> {
        let all = self.max_tenants?;
        Some(format!("{}/{all}", self.claims.len()))
    }

    /// Places that are not taken; none where nothing is shared.
    pub fn room(&self) -> usize {
        usize::from(self.max_tenants.unwrap_or_default()).saturating_sub(self.claims.len())
    }
}

/// A place in a shared database. Names alone, as everywhere outside of the cluster: a Tenant that was retained
/// and is applied again has another UID and finds its place.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Name of the Tenant that has the place.
    #[schemars(length(min = 1, max = 40))]
    pub tenant: String,
}

/// A database that the operator does not run. The operator makes tenants' keyspaces, roles and tables in it, and
/// touches nothing else.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// Members, `host:port` each, all with the same port.
    #[schemars(
        length(min = 1, max = 16),
        inner(
            length(min = 3, max = 259),
            pattern(r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?:[0-9]{1,5}$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub addresses: Vec<String>,
    /// Secret in the namespace of the CoreDms with `username` and `password`: a login that may create keyspaces and
    /// roles, and read `system_auth`. It is never changed.
    pub secret_ref: LocalRef,
    /// Datacenter that tenants' keyspaces are replicated in; that of the member that answers when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), pattern(r"^[A-Za-z0-9_.-]+$"))]
    pub datacenter: Option<String>,
    /// Connections are made over TLS alone, by the operator as by gateways and ingest apps. Without this, none is. The
    /// certificate of each member must be for what it is reached by: for the host name in `addresses` with MongoDB, for its
    /// IP address with Cassandra, whose members tell each other's addresses alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
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
    /// Members that are ready, of those that there are, e.g. `3/3`; of an external database those that it sees up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub members: Option<String>,
    /// Datacenter of an external database, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub datacenter: Option<String>,
    /// What the data take on the disk of the member with the most, as the database says it, e.g. `37Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Quantity>,
    /// Places that are taken of those that there are, e.g. `3/10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub tenants: Option<String>,
    /// Address of the database for clients, host and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub endpoint: Option<String>,
    /// The Secret that binds a workload to the database
    /// (<https://servicebinding.io/spec/core/1.1.0/#provisioned-service>).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<LocalRef>,
}
