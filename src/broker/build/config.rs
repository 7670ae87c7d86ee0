//! Configuration of RabbitMQ [pure].

use std::collections::BTreeMap;

use super::super::names::{
    self, ADMIN, AMQP_PORT, DISTRIBUTION_PORT, MANAGEMENT_PORT, METRICS_PORT,
};
use super::super::validate::ValidatedBroker;

/// Where a node finds its configuration.
pub const DIRECTORY: &str = "/etc/simbdp";
/// Main file.
pub const MAIN: &str = "rabbitmq.conf";
/// Plug-ins.
pub const PLUGINS: &str = "enabled_plugins";

const MIB: u64 = 1 << 20;
/// A message may be held as long as the longest file takes: a day.
const CONSUMER_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1000;
/// How often each queue is looked at for replicas that it lacks.
const RECONCILED_MS: u64 = 60_000;

/// Every file.
pub fn files(
    broker: &ValidatedBroker,
    namespace: &str,
    password: &str,
) -> BTreeMap<String, String> {
    let main = main(broker, password) + &cluster(broker, namespace);
    BTreeMap::from([
        (MAIN.to_owned(), main),
        (
            PLUGINS.to_owned(),
            "[rabbitmq_management,rabbitmq_prometheus].\n".to_owned(),
        ),
    ])
}

/// RabbitMQ does not see the container's limit, so it is told. With a default user there is no `guest`.
fn main(broker: &ValidatedBroker, password: &str) -> String {
    let memory = broker.needs.memory_limit;
    let disk = (broker.needs.storage / 10).clamp(50 * MIB, 2048 * MIB);
    format!(
        "\
cluster_name = {name}
listeners.tcp.default = {AMQP_PORT}
management.tcp.port = {MANAGEMENT_PORT}
prometheus.tcp.port = {METRICS_PORT}
default_user = {ADMIN}
default_pass = {password}
default_user_tags.administrator = true
default_permissions.configure = .*
default_permissions.read = .*
default_permissions.write = .*
log.console = true
log.file = false
total_memory_available_override_value = {memory}
vm_memory_high_watermark.relative = 0.6
disk_free_limit.absolute = {disk}
consumer_timeout = {CONSUMER_TIMEOUT_MS}
message_interceptors.incoming.set_header_timestamp.overwrite = true
",
        name = broker.name,
    )
}

/// Nodes that know each other from the start. Who is with the fewer of them stops until they meet again; a queue that was
/// declared while a node was away gets its replica there later.
fn cluster(broker: &ValidatedBroker, namespace: &str) -> String {
    if broker.nodes == 1 {
        return String::new();
    }
    let nodes: String = (0..broker.nodes)
        .map(|node| {
            let name = node_name(broker, namespace, &names::pod(&broker.name, node));
            format!(
                "cluster_formation.classic_config.nodes.{} = {name}\n",
                node + 1
            )
        })
        .collect();
    format!(
        "\
cluster_formation.peer_discovery_backend = classic_config
{nodes}cluster_formation.target_cluster_size_hint = {wanted}
cluster_partition_handling = pause_minority
quorum_queue.continuous_membership_reconciliation.enabled = true
quorum_queue.continuous_membership_reconciliation.target_group_size = {wanted}
quorum_queue.continuous_membership_reconciliation.interval = {RECONCILED_MS}
distribution.listener.port_range.min = {DISTRIBUTION_PORT}
distribution.listener.port_range.max = {DISTRIBUTION_PORT}
",
        wanted = broker.nodes,
    )
}

/// Part of the path of a node's data, so it must never change: it derives from the pod's.
pub fn node_name(broker: &ValidatedBroker, namespace: &str, pod: &str) -> String {
    let host = names::node_host(&broker.name, namespace, pod);
    format!("rabbit@{host}")
}
