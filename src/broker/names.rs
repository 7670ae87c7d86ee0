//! Names [pure] of what a Broker has in the operator's namespace, derived from its own.

use simbdp_api::broker::BrokerType;
use simbdp_broker::kafka::managed_url;

/// Administrator of every broker.
pub const ADMIN: &str = "simbdp-operator";
/// Clients of Kafka, the administrator among them.
pub const KAFKA_PORT: u16 = 9092;
/// Nodes of a Kafka among themselves.
pub const KAFKA_NODES_PORT: u16 = 9091;
/// Controllers of a Kafka.
pub const KAFKA_CONTROLLER_PORT: u16 = 9093;
/// Key of what the nodes of a Kafka know each other by.
pub const NODES_PASSWORD: &str = "nodes-password";
/// Where nodes of a RabbitMQ ask for each other's port.
pub const EPMD_PORT: u16 = 4369;
/// Nodes of a RabbitMQ among themselves.
pub const DISTRIBUTION_PORT: u16 = 25672;
/// AMQP.
pub const AMQP_PORT: u16 = 5672;
/// Management API.
pub const MANAGEMENT_PORT: u16 = 15672;
/// Prometheus metrics.
pub const METRICS_PORT: u16 = 15692;
/// Key of the Erlang cookie in its Secret, and its file's name.
pub const COOKIE: &str = ".erlang.cookie";

/// StatefulSet, Service, ServiceAccount, PodDisruptionBudget, NetworkPolicy.
pub fn workload(broker: &str) -> String {
    format!("broker-{broker}")
}

/// Headless Service that names the nodes.
pub fn nodes(broker: &str) -> String {
    format!("broker-{broker}-nodes")
}

/// Pod of the node of this number.
pub fn pod(broker: &str, node: u16) -> String {
    format!("{}-{node}", workload(broker))
}

/// Host of the node in this pod, the same for as long as there is this Broker.
pub fn node_host(broker: &str, namespace: &str, pod: &str) -> String {
    format!("{pod}.{}.{namespace}.svc", nodes(broker))
}

/// Secret of the administrator.
pub fn admin_secret(broker: &str) -> String {
    format!("broker-{broker}-admin")
}

/// Secret of what nodes know each other by: the Erlang cookie of a RabbitMQ, a password of a Kafka.
pub fn nodes_secret(broker_type: BrokerType, broker: &str) -> String {
    match broker_type {
        BrokerType::RabbitMQ => format!("broker-{broker}-erlang-cookie"),
        BrokerType::Kafka => format!("broker-{broker}-nodes"),
    }
}

/// Key of it.
pub fn nodes_secret_key(broker_type: BrokerType) -> &'static str {
    match broker_type {
        BrokerType::RabbitMQ => COOKIE,
        BrokerType::Kafka => NODES_PASSWORD,
    }
}

/// Port of clients.
pub fn client_port(broker_type: BrokerType) -> u16 {
    match broker_type {
        BrokerType::RabbitMQ => AMQP_PORT,
        BrokerType::Kafka => KAFKA_PORT,
    }
}

/// Secret of the configuration, which has the administrator's password in it.
pub fn config_secret(broker: &str) -> String {
    format!("broker-{broker}-config")
}

/// Host of the broker, for clients.
pub fn host(broker: &str, namespace: &str) -> String {
    format!("{}.{namespace}.svc", workload(broker))
}

/// Address of the broker, for clients.
pub fn endpoint(broker_type: BrokerType, broker: &str, namespace: &str) -> String {
    let port = client_port(broker_type);
    format!("{}:{port}", host(broker, namespace))
}

/// Where the administrator finds the broker.
pub fn management_url(broker_type: BrokerType, broker: &str, namespace: &str) -> String {
    match broker_type {
        BrokerType::RabbitMQ => format!("http://{}:{MANAGEMENT_PORT}", host(broker, namespace)),
        BrokerType::Kafka => managed_url(&endpoint(broker_type, broker, namespace)),
    }
}
