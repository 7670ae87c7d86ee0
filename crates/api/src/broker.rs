//! `Broker`: a message broker that holds the queues of tenants.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Conditions, Profile, Quantity, Resources, StorageSpec};

/// What is declared of a broker.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "simbdp.dev",
    version = "v1alpha1",
    kind = "Broker",
    plural = "brokers",
    shortname = "bk",
    category = "simbdp",
    status = "BrokerStatus",
    derive = "PartialEq",
    doc = "A message broker, run in the operator's namespace, that holds the queues of tenants.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Default", type_ = "boolean", json_path = ".spec.default"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", priority = 1),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenant", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')").message("the name of a Broker has 1 to 40 lower-case letters, digits and dashes, starts with a letter and ends with a letter or a digit"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type == oldSelf.type").message("type is immutable: create another Broker"))]
#[x_kube(validation = Rule::new("self.nodes == oldSelf.nodes").message("nodes cannot be changed: they know each other from the start"))]
#[x_kube(validation = Rule::new("has(self.tenant) == has(oldSelf.tenant) && (!has(self.tenant) || self.tenant == oldSelf.tenant)").message("tenant is immutable: queues do not move; create another Broker"))]
#[x_kube(validation = Rule::new("!has(self.tenant) || !self.default").message("default must be false where tenant is set: other tenants would get a Broker that refuses them"))]
#[x_kube(validation = Rule::new("self.storage == oldSelf.storage").message("storage cannot be changed: the volume is claimed once"))]
pub struct BrokerSpec {
    /// What kind of broker it is. Immutable.
    #[serde(default, rename = "type")]
    pub broker_type: BrokerType,
    /// Whether tenants that name no Broker get this one.
    #[serde(default)]
    pub default: bool,
    /// The only tenant that it is for, which gets it without naming it; all tenants when absent. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 40),
        pattern(r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")
    )]
    pub tenant: Option<String>,
    /// Version of the broker; the tag of the official image. By default 4.0 for RabbitMQ and 4.1 for Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), pattern(r"^[0-9]+(\.[0-9]+){0,2}$"))]
    pub version: Option<String>,
    /// Nodes: 1, or 3, which keep everything three times and confirm what two have. Immutable.
    #[serde(default = "default_nodes")]
    #[schemars(extend("enum" = [1, 3]))]
    pub nodes: u16,
    /// Production: no two nodes of it run on one machine. Development: they may. What is stored is the same.
    #[serde(default)]
    pub profile: Profile,
    /// Volume of a node.
    pub storage: StorageSpec,
    /// Resources of a node.
    #[serde(default)]
    pub resources: Resources,
    /// Most bytes that one pipeline's queue holds before the gateway answers 429.
    #[serde(default = "default_max_queue_size")]
    pub max_queue_size: Quantity,
}

/// Kind of broker.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum BrokerType {
    /// RabbitMQ with quorum queues.
    #[default]
    RabbitMQ,
    /// Kafka in KRaft mode: a topic for each queue.
    Kafka,
}

impl BrokerSpec {
    /// Version that is run.
    pub fn version(&self) -> &str {
        self.version.as_deref().unwrap_or(match self.broker_type {
            BrokerType::RabbitMQ => "4.0",
            BrokerType::Kafka => "4.1",
        })
    }
}

impl BrokerType {
    /// As a person writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RabbitMQ => "RabbitMQ",
            Self::Kafka => "Kafka",
        }
    }
}

fn default_nodes() -> u16 {
    1
}

fn default_max_queue_size() -> Quantity {
    "256Mi".into()
}

/// What the operator has seen of a broker.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The latest observations.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// Nodes that are ready, of those asked for, e.g. `1/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub nodes: Option<String>,
    /// Address inside the cluster for clients, host and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub endpoint: Option<String>,
}
