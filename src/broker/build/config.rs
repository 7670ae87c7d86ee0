//! Configuration of RabbitMQ [pure].

use std::collections::BTreeMap;

use super::super::names::{ADMIN, AMQP_PORT, MANAGEMENT_PORT, METRICS_PORT};
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

/// Every file.
pub fn files(broker: &ValidatedBroker, password: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MAIN.to_owned(), main(broker, password)),
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
",
        name = broker.name,
    )
}
