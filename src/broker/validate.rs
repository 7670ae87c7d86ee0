//! Validate [pure]: a Broker as declared → [`ValidatedBroker`], in bytes and thousandths of a CPU.

use kube::ResourceExt;
use simbdp_api::Broker;
use simbdp_api::broker::BrokerType;
use simbdp_api::common::{Profile, StorageSpec};

use crate::coredms::validate::{Invalid as Quantity, bytes, cpu};
use crate::error::{Class, Classified};
use crate::outside::Unusable;

const MIB: u64 = 1 << 20;

/// RabbitMQ alone takes about 140 MiB, Kafka with its smallest heap about 350.
fn least_memory(broker_type: BrokerType) -> u64 {
    match broker_type {
        BrokerType::RabbitMQ => 256 * MIB,
        BrokerType::Kafka => 512 * MIB,
    }
}

/// A Broker that cannot be run as declared.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// A quantity does not parse, or a request is above its limit.
    #[error(transparent)]
    Quantity(#[from] Quantity),
    /// A node would not start.
    #[error(
        "spec.resources.limits.memory ({limit}) is too little for a node: give it {least} or more"
    )]
    TooLittleMemory {
        /// The limit.
        limit: String,
        /// What it needs.
        least: String,
    },
    /// A number of nodes that brokers are not run with.
    #[error("spec.nodes ({0}) must be 1 or 3: with 2 the loss of either stops all")]
    Nodes(u16),
    /// The volume of a node is not declared, nor is the broker external.
    #[error(
        "spec.storage is missing: set the size of each node's volume, or spec.external for a broker that the operator does not run"
    )]
    StorageMissing,
    /// An external broker that cannot be reached as declared.
    #[error(transparent)]
    External(#[from] Unusable),
    /// Messages go over TLS, and the administrator's password would not.
    #[error(
        "spec.external.managementUrl ({0}) must begin with https:// where spec.external.tls is set: passwords of tenants are sent to it"
    )]
    ManagementWithoutTls(String),
    /// One pipeline's queue could fill the volume.
    #[error(
        "spec.maxQueueSize ({queue}) is more than half of spec.storage.size ({storage}): one pipeline's queue could fill the volume"
    )]
    QueueAboveStorage {
        /// Of a queue.
        queue: String,
        /// Of the volume.
        storage: String,
    },
}

impl Classified for Invalid {
    fn class(&self) -> Class {
        Class::Invalid
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::Quantity(error) => error.reason(),
            Self::TooLittleMemory { .. } => "TooLittleMemory",
            Self::Nodes(_) => "Nodes",
            Self::StorageMissing => "StorageMissing",
            Self::External(error) => error.reason(),
            Self::ManagementWithoutTls(_) => "ManagementWithoutTls",
            Self::QueueAboveStorage { .. } => "QueueAboveStorage",
        }
    }
}

/// What a node needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NodeNeeds {
    /// CPU request, thousandths.
    pub cpu: u64,
    /// CPU limit, thousandths, if there is one.
    pub cpu_limit: Option<u64>,
    /// Memory request, bytes.
    pub memory: u64,
    /// Memory limit, bytes.
    pub memory_limit: u64,
    /// Volume, bytes.
    pub storage: u64,
}

/// A Broker that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedBroker {
    /// Kind of broker.
    pub broker_type: BrokerType,
    /// Nodes.
    pub nodes: u16,
    /// How they are run.
    pub profile: Profile,
    /// The object: owner of what is built.
    pub object: Broker,
    /// Name.
    pub name: String,
    /// Version, from which the image's tag is made.
    pub version: String,
    /// What a node needs.
    pub needs: NodeNeeds,
    /// StorageClass of the volume.
    pub storage_class: Option<String>,
}

/// Validates what is declared.
pub fn validate(broker: &Broker) -> Result<ValidatedBroker, Invalid> {
    let storage = broker.spec.storage.as_ref();
    let storage = storage.ok_or(Invalid::StorageMissing)?;
    let needs = node_needs(broker, storage)?;
    let queue = bytes(&broker.spec.max_queue_size, "maxQueueSize")?;
    if queue > needs.storage / 2 {
        return Err(Invalid::QueueAboveStorage {
            queue: crate::objects::memory(queue).0,
            storage: crate::objects::memory(needs.storage).0,
        });
    }
    check_nodes(broker)?;
    Ok(ValidatedBroker {
        broker_type: broker.spec.broker_type,
        nodes: broker.spec.nodes(),
        profile: broker.spec.profile(),
        object: broker.clone(),
        name: broker.name_any(),
        version: broker.spec.version().to_owned(),
        needs,
        storage_class: storage.storage_class_name.clone(),
    })
}

fn check_nodes(broker: &Broker) -> Result<(), Invalid> {
    match broker.spec.nodes() {
        1 | 3 => Ok(()),
        nodes => Err(Invalid::Nodes(nodes)),
    }
}

fn node_needs(broker: &Broker, storage: &StorageSpec) -> Result<NodeNeeds, Invalid> {
    let resources = broker.spec.resources.clone().unwrap_or_default();
    let (requests, limits) = (&resources.requests, &resources.limits);
    let memory =
        |quantity: &Option<_>, field| quantity.as_ref().map(|q| bytes(q, field)).transpose();
    let asked = memory(&requests.memory, "resources.requests.memory")?;
    let memory_limit = memory(&limits.memory, "resources.limits.memory")?
        .unwrap_or_else(|| asked.unwrap_or_default().max(1024 * MIB));
    let cpu_limit = cpu(limits, "resources.limits.cpu")?;
    let needs = NodeNeeds {
        cpu: cpu(requests, "resources.requests.cpu")?
            .unwrap_or_else(|| cpu_limit.unwrap_or(100).min(100)),
        cpu_limit,
        memory: asked.unwrap_or(memory_limit / 2),
        memory_limit,
        storage: bytes(&storage.size, "storage.size")?,
    };
    check(needs, least_memory(broker.spec.broker_type))?;
    Ok(needs)
}

fn check(needs: NodeNeeds, least: u64) -> Result<(), Invalid> {
    let text = |bytes| crate::objects::memory(bytes).0;
    if needs.memory > needs.memory_limit {
        return Err(Invalid::Quantity(Quantity::RequestAboveLimit {
            what: "memory",
            request: text(needs.memory),
            limit: text(needs.memory_limit),
        }));
    }
    if let Some(limit) = needs.cpu_limit.filter(|limit| *limit < needs.cpu) {
        return Err(Invalid::Quantity(Quantity::RequestAboveLimit {
            what: "cpu",
            request: crate::objects::cpu(needs.cpu).0,
            limit: crate::objects::cpu(limit).0,
        }));
    }
    match needs.memory_limit < least {
        true => Err(Invalid::TooLittleMemory {
            limit: text(needs.memory_limit),
            least: text(least),
        }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
