//! `Broker`: a message broker that holds the queues of tenants.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Conditions, LocalRef, Profile, Quantity, Resources, StorageSpec, Tls};

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
    doc = "A message broker that holds the queues of tenants, run in the operator's namespace or external.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
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
#[x_kube(validation = Rule::new("has(self.external) == has(oldSelf.external)").message("a broker cannot change between external and one that the operator runs: create another Broker"))]
#[x_kube(validation = Rule::new("has(self.external) || has(self.storage)").message("storage is needed: the volume of each node; or set external, for a broker that the operator does not run"))]
#[x_kube(validation = Rule::new("!has(self.external) || !(has(self.storage) || has(self.nodes) || has(self.resources) || has(self.profile) || has(self.version))").message("storage, nodes, resources, profile and version belong to a broker that the operator runs: leave them out with external"))]
#[x_kube(validation = Rule::new("!has(self.external) || has(self.external.managementUrl) == (self.type == 'RabbitMQ')").message("external.managementUrl is needed for RabbitMQ, where the operator makes virtual hosts and users by its management API, and is for RabbitMQ alone"))]
#[x_kube(validation = Rule::new("(has(self.nodes) ? self.nodes : 1) == (has(oldSelf.nodes) ? oldSelf.nodes : 1)").message("nodes cannot be changed: they know each other from the start"))]
#[x_kube(validation = Rule::new("has(self.tenant) == has(oldSelf.tenant) && (!has(self.tenant) || self.tenant == oldSelf.tenant)").message("tenant is immutable: queues do not move; create another Broker"))]
#[x_kube(validation = Rule::new("!has(self.tenant) || !self.default").message("default must be false where tenant is set: other tenants would get a Broker that refuses them"))]
#[x_kube(validation = Rule::new("has(self.storage) == has(oldSelf.storage) && (!has(self.storage) || self.storage == oldSelf.storage)").message("storage cannot be changed: the volume is claimed once"))]
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
    /// A broker that somebody else runs. The operator makes tenants' virtual hosts or topics, users and rights in it, and
    /// touches nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalBroker>,
    /// Version of the broker; the tag of the official image. By default 4.0 for RabbitMQ and 4.1 for Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), pattern(r"^[0-9]+(\.[0-9]+){0,2}$"))]
    pub version: Option<String>,
    /// Nodes: 1, which is the default, or 3, which keep everything three times and confirm what two have. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [1, 3]))]
    pub nodes: Option<u16>,
    /// Production, which is the default: no two nodes of it run on one machine. Development: they may, and a Kafka starts
    /// faster and takes less. What is stored is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Volume of a node; needed, unless the broker is external.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSpec>,
    /// Resources of a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Most bytes that one pipeline's queue holds before the gateway answers 429.
    #[serde(default = "default_max_queue_size")]
    pub max_queue_size: Quantity,
}

/// A broker that the operator does not run.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalBroker {
    /// Nodes, `host:port` each, all with the same port: that of AMQP, or of Kafka's clients by SCRAM-SHA-512. Of a Kafka list
    /// every node that tenants' pods are to reach.
    #[schemars(
        length(min = 1, max = 16),
        inner(
            length(min = 3, max = 259),
            pattern(r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?:[0-9]{1,5}$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub addresses: Vec<String>,
    /// RabbitMQ alone: where its management API is, e.g. `https://rabbitmq.example:15671`; `https` where `tls` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 10, max = 512),
        pattern(r"^https?://[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[-A-Za-z0-9._~/]*)?$")
    )]
    pub management_url: Option<String>,
    /// Secret in the operator's namespace with `username` and `password`: an administrator of a RabbitMQ; of a Kafka a user
    /// that may alter the cluster, topics, groups and users. It is never changed.
    pub secret_ref: LocalRef,
    /// Connections are made over TLS alone, by the operator as by gateways and ingest apps. Without this, none is. The
    /// certificate of each node must be for the host that it is reached by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
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

    /// Nodes that are run.
    pub fn nodes(&self) -> u16 {
        self.nodes.unwrap_or(1)
    }

    /// How they are run.
    pub fn profile(&self) -> Profile {
        self.profile.unwrap_or_default()
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
    /// Version of the broker, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// Nodes that are ready, of those asked for, e.g. `1/1`; nothing of an external broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub nodes: Option<String>,
    /// Address inside the cluster for clients, host and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub endpoint: Option<String>,
}
