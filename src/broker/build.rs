//! Build [pure, infallible]: [`ValidatedBroker`] → every object of a broker in the operator's namespace.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;
use sha2::{Digest, Sha256};
use simbdp_api::broker::BrokerType;
use simbdp_api::{Broker, labels};

use super::credentials::Credentials;
use super::names::{self, AMQP_PORT, KAFKA_PORT, MANAGEMENT_PORT, METRICS_PORT};
use super::validate::ValidatedBroker;
use crate::apply::MANAGED_BY;
use crate::objects::{Labels, OwnImage, meta, owned_by, selector, service_port};

mod config;
mod kafka;
mod kafka_pod;
mod network;
mod pod;
mod stateful_set;

/// What the objects are before they are applied.
#[derive(Clone, Debug)]
pub struct Prepared;

/// What they are afterwards: as the API server returned them, with their status.
#[derive(Clone, Debug)]
pub struct Applied;

/// Every object of a broker, in the order in which they are applied.
#[derive(Clone, Debug)]
pub struct Resources<State> {
    /// Without rights; the node runs as it.
    pub account: ServiceAccount,
    /// Configuration: a Secret, since the administrator's password is in it.
    pub config: Secret,
    /// Tenants and the operator alone come in.
    pub network: NetworkPolicy,
    /// Names the nodes, also those that are not ready yet.
    pub nodes_service: Service,
    /// Where clients connect.
    pub service: Service,
    /// One node at a time.
    pub budget: PodDisruptionBudget,
    /// The node.
    pub nodes: StatefulSet,
    /// Prepared or applied.
    pub state: PhantomData<State>,
}

/// What else pods and configuration depend on.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Namespace of the operator.
    pub namespace: String,
    /// Image for init containers, and pull policy.
    pub own: OwnImage,
    /// Repository of RabbitMQ's image.
    pub rabbitmq: String,
    /// Repository of Kafka's image.
    pub kafka: String,
    /// Version of the operator.
    pub version: String,
}

/// Builds every object.
pub fn build(
    broker: &ValidatedBroker,
    platform: &Platform,
    credentials: &Credentials,
) -> Resources<Prepared> {
    let broker_type = broker.broker_type;
    let metadata = |name: &str| owned(broker, &platform.namespace, &platform.version, name);
    let workload = names::workload(&broker.name);
    let own_labels = node_labels(broker_type, &broker.name);
    Resources {
        account: ServiceAccount {
            metadata: metadata(&workload),
            automount_service_account_token: Some(false),
            ..Default::default()
        },
        config: Secret {
            metadata: metadata(&names::config_secret(&broker.name)),
            type_: Some("Opaque".to_owned()),
            data: Some(
                files(broker, platform, credentials)
                    .into_iter()
                    .map(|(name, text)| (name, ByteString(text.into_bytes())))
                    .collect(),
            ),
            ..Default::default()
        },
        network: network::build(broker, metadata(&workload), &own_labels),
        nodes_service: Service {
            metadata: metadata(&names::nodes(&broker.name)),
            spec: Some(ServiceSpec {
                cluster_ip: Some("None".to_owned()),
                publish_not_ready_addresses: Some(true),
                selector: Some(own_labels.clone()),
                ports: Some(ports(broker_type).into_iter().take(1).collect()),
                ..Default::default()
            }),
            status: None,
        },
        service: service(metadata(&workload), broker_type, &own_labels),
        budget: PodDisruptionBudget {
            metadata: metadata(&workload),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(selector(&own_labels)),
                ..Default::default()
            }),
            status: None,
        },
        nodes: stateful_set::build(broker, platform, digest(broker, platform)),
        state: PhantomData,
    }
}

fn files(
    broker: &ValidatedBroker,
    platform: &Platform,
    credentials: &Credentials,
) -> BTreeMap<String, String> {
    match broker.broker_type {
        BrokerType::RabbitMQ => config::files(broker, &platform.namespace, &credentials.password),
        BrokerType::Kafka => kafka::files(broker, &platform.namespace, credentials),
    }
}

/// Ports of clients, the first one that of messages.
fn ports(broker_type: BrokerType) -> Vec<ServicePort> {
    match broker_type {
        BrokerType::RabbitMQ => vec![
            service_port("amqp", AMQP_PORT),
            service_port("management", MANAGEMENT_PORT),
            service_port("metrics", METRICS_PORT),
        ],
        BrokerType::Kafka => vec![service_port("clients", KAFKA_PORT)],
    }
}

fn service(metadata: ObjectMeta, broker_type: BrokerType, selected: &Labels) -> Service {
    Service {
        metadata,
        spec: Some(ServiceSpec {
            selector: Some(selected.clone()),
            ports: Some(ports(broker_type)),
            ..Default::default()
        }),
        status: None,
    }
}

/// Labels by which nodes, and their volumes, are selected; they never change.
pub fn node_labels(broker_type: BrokerType, broker: &str) -> Labels {
    Labels::from([
        (
            labels::APP_NAME.to_owned(),
            broker_type.as_str().to_lowercase(),
        ),
        (labels::APP_INSTANCE.to_owned(), broker.to_owned()),
        (labels::BROKER.to_owned(), broker.to_owned()),
    ])
}

fn all_labels(broker_type: BrokerType, broker: &str, version: &str) -> Labels {
    let mut all = node_labels(broker_type, broker);
    all.extend([
        (labels::APP_COMPONENT.to_owned(), "broker".to_owned()),
        (labels::APP_PART_OF.to_owned(), "simbdp".to_owned()),
        (labels::APP_MANAGED_BY.to_owned(), MANAGED_BY.to_owned()),
        (labels::APP_VERSION.to_owned(), version.to_owned()),
    ]);
    all
}

/// Metadata of an object that goes with its Broker.
pub fn owned(broker: &ValidatedBroker, namespace: &str, version: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        owner_references: owned_by::<Broker>(&broker.object),
        ..meta(
            namespace,
            name,
            &all_labels(broker.broker_type, &broker.name, version),
        )
    }
}

/// A node reads its configuration at its start: a change rolls it. Passwords are generated once.
fn digest(broker: &ValidatedBroker, platform: &Platform) -> String {
    let mut hash = Sha256::new();
    for (name, text) in files(broker, platform, &Credentials::default()) {
        hash.update(name);
        hash.update([0]);
        hash.update(text);
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests;
