//! Who may reach a broker [pure]: tenants with their messages, the operator to administer it, and monitoring.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::ObjectMeta;

use super::super::names::{
    AMQP_PORT, KAFKA_CONTROLLER_PORT, KAFKA_NODES_PORT, KAFKA_PORT, MANAGEMENT_PORT, METRICS_PORT,
};
use crate::network::{self, allow_from, allow_names, allow_to, of_tenants};
use crate::objects::{Labels, selector};

/// The policy of a Kafka's nodes. They talk to each other, and to nobody else.
pub fn of_kafka(metadata: ObjectMeta, nodes: &Labels) -> NetworkPolicy {
    let among = [KAFKA_NODES_PORT, KAFKA_CONTROLLER_PORT];
    let clients = vec![of_tenants(true), network::pods(&network::operator())];
    network::policy(
        metadata,
        selector(nodes),
        vec![
            allow_from(clients, &[KAFKA_PORT]),
            allow_from(vec![network::pods(nodes)], &among),
        ],
        vec![
            allow_to(vec![network::pods(nodes)], &among),
            allow_names(network::any_namespace()),
        ],
    )
}

/// The policy of a RabbitMQ's node. Nothing goes out but names: one node talks to nobody.
pub fn of_rabbitmq(metadata: ObjectMeta, nodes: &Labels) -> NetworkPolicy {
    network::policy(
        metadata,
        selector(nodes),
        vec![
            allow_from(vec![of_tenants(true)], &[AMQP_PORT]),
            allow_from(
                vec![network::pods(&network::operator())],
                &[MANAGEMENT_PORT],
            ),
            allow_from(vec![of_tenants(false)], &[METRICS_PORT]),
        ],
        vec![allow_names(network::any_namespace())],
    )
}
