//! Who may reach a broker [pure]: tenants with their messages, the operator to administer it, monitoring, and its nodes
//! each other.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule,
};
use kube::core::ObjectMeta;
use simbdp_api::broker::BrokerType;

use super::super::names::{
    AMQP_PORT, DISTRIBUTION_PORT, EPMD_PORT, KAFKA_CONTROLLER_PORT, KAFKA_NODES_PORT, KAFKA_PORT,
    MANAGEMENT_PORT, METRICS_PORT,
};
use super::super::validate::ValidatedBroker;
use crate::network::{self, allow_from, allow_names, allow_to, of_tenants};
use crate::objects::{Labels, selector};

/// The policy of a broker's nodes.
pub fn build(broker: &ValidatedBroker, metadata: ObjectMeta, nodes: &Labels) -> NetworkPolicy {
    let (mut from, among) = match broker.broker_type {
        BrokerType::RabbitMQ => (
            clients_of_rabbitmq(),
            match broker.nodes {
                1 => vec![],
                _ => vec![EPMD_PORT, DISTRIBUTION_PORT],
            },
        ),
        // Even a single one talks to itself by its name.
        BrokerType::Kafka => (
            clients_of_kafka(),
            vec![KAFKA_NODES_PORT, KAFKA_CONTROLLER_PORT],
        ),
    };
    let mut to: Vec<NetworkPolicyEgressRule> = Vec::new();
    if !among.is_empty() {
        from.push(allow_from(vec![network::pods(nodes)], &among));
        to.push(allow_to(vec![network::pods(nodes)], &among));
    }
    to.push(allow_names(network::any_namespace()));
    network::policy(metadata, selector(nodes), from, to)
}

fn clients_of_kafka() -> Vec<NetworkPolicyIngressRule> {
    let clients = vec![of_tenants(true), network::pods(&network::operator())];
    vec![allow_from(clients, &[KAFKA_PORT])]
}

fn clients_of_rabbitmq() -> Vec<NetworkPolicyIngressRule> {
    vec![
        allow_from(vec![of_tenants(true)], &[AMQP_PORT]),
        allow_from(
            vec![network::pods(&network::operator())],
            &[MANAGEMENT_PORT],
        ),
        allow_from(vec![of_tenants(false)], &[METRICS_PORT]),
    ]
}
