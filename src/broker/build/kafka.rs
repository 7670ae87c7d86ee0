//! Configuration of Kafka [pure]: a file for each node, which is broker and controller.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::super::credentials::Credentials;
use super::super::names::{self, ADMIN, KAFKA_CONTROLLER_PORT, KAFKA_NODES_PORT, KAFKA_PORT};
use super::super::validate::ValidatedBroker;

/// What the nodes are called among themselves.
const NODE: &str = "simbdp-node";
/// Where a node logs to.
pub const LOGGING: &str = "log4j2.yaml";
/// Below the volume, since the volume's own directory has a `lost+found`.
pub const DATA: &str = "/var/lib/kafka/data/log";
/// Largest record: what a message POST takes, and its headers.
const LARGEST_RECORD: u64 = 17 << 20;
const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required";

const LOGGING_CONFIG: &str = "\
Configuration:
  Appenders:
    Console:
      name: STDOUT
      PatternLayout:
        pattern: \"%d %p %m (%c)%n\"
  Loggers:
    Root:
      level: INFO
      AppenderRef:
        - ref: STDOUT
";

/// The file of the node of this number.
pub fn file_name(node: &str) -> String {
    format!("server-{node}.properties")
}

/// Every file.
pub fn files(
    broker: &ValidatedBroker,
    namespace: &str,
    credentials: &Credentials,
) -> BTreeMap<String, String> {
    let nodes = (0..broker.nodes).map(|node| {
        let text = node_config(broker, namespace, credentials, node);
        (file_name(&node.to_string()), text)
    });
    let logging = (LOGGING.to_owned(), LOGGING_CONFIG.to_owned());
    nodes.chain([logging]).collect()
}

/// The cluster's id, which nodes check each other by: 16 bytes, the same for as long as there is this Broker.
pub fn cluster_id(broker: &ValidatedBroker) -> String {
    let uid = broker.object.metadata.uid.as_deref().unwrap_or_default();
    let mut digest = Sha256::digest(uid);
    // An id that began with a dash would be taken for an option.
    digest[0] &= 0x3f;
    URL_SAFE_NO_PAD.encode(&digest[..16])
}

fn node_config(
    broker: &ValidatedBroker,
    namespace: &str,
    credentials: &Credentials,
    node: u16,
) -> String {
    let nodes = broker.nodes;
    let host = |node| names::node_host(&broker.name, namespace, &names::pod(&broker.name, node));
    let voters = (0..nodes).map(|node| format!("{node}@{}:{KAFKA_CONTROLLER_PORT}", host(node)));
    let own = host(node);
    let mut text = String::new();
    let mut set = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{name}={value}");
    };
    set("process.roles", &"broker,controller");
    set("node.id", &node);
    set(
        "controller.quorum.voters",
        &voters.collect::<Vec<_>>().join(","),
    );
    set(
        "listeners",
        &format!(
            "CLIENTS://:{KAFKA_PORT},NODES://:{KAFKA_NODES_PORT},CONTROLLER://:{KAFKA_CONTROLLER_PORT}"
        ),
    );
    set(
        "advertised.listeners",
        &format!(
            "CLIENTS://{own}:{KAFKA_PORT},NODES://{own}:{KAFKA_NODES_PORT},CONTROLLER://{own}:{KAFKA_CONTROLLER_PORT}"
        ),
    );
    set(
        "listener.security.protocol.map",
        &"CLIENTS:SASL_PLAINTEXT,NODES:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
    );
    set("log.dirs", &DATA);
    logins(&mut set, credentials);
    safety(&mut set, nodes);
    text
}

/// Tenants by SCRAM. The administrator, and nodes among themselves, by what is in this file: a credential of SCRAM is a
/// record of a cluster that has to be there first.
fn logins(set: &mut dyn FnMut(&str, &dyn std::fmt::Display), credentials: &Credentials) {
    let Credentials { password, nodes } = credentials;
    let own = format!("{PLAIN} username=\"{NODE}\" password=\"{nodes}\" user_{NODE}=\"{nodes}\";");
    set("controller.listener.names", &"CONTROLLER");
    set("inter.broker.listener.name", &"NODES");
    set("sasl.mechanism.inter.broker.protocol", &"PLAIN");
    set("sasl.mechanism.controller.protocol", &"PLAIN");
    set("listener.name.nodes.sasl.enabled.mechanisms", &"PLAIN");
    set("listener.name.nodes.plain.sasl.jaas.config", &own);
    set("listener.name.controller.sasl.enabled.mechanisms", &"PLAIN");
    set("listener.name.controller.plain.sasl.jaas.config", &own);
    set(
        "listener.name.clients.sasl.enabled.mechanisms",
        &"SCRAM-SHA-512,PLAIN",
    );
    set(
        "listener.name.clients.scram-sha-512.sasl.jaas.config",
        &format!("{SCRAM};"),
    );
    set(
        "listener.name.clients.plain.sasl.jaas.config",
        &format!("{PLAIN} user_{ADMIN}=\"{password}\";"),
    );
    set(
        "authorizer.class.name",
        &"org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    );
    set("super.users", &format!("User:{NODE};User:{ADMIN}"));
}

/// Three nodes: what is confirmed is on two. Offsets are kept for as long as the group's topic is there: a pipeline may
/// have no consumer for weeks.
fn safety(set: &mut dyn FnMut(&str, &dyn std::fmt::Display), nodes: u16) {
    let in_step = if nodes == 1 { 1 } else { 2 };
    set("default.replication.factor", &nodes);
    set("min.insync.replicas", &in_step);
    set("offsets.topic.replication.factor", &nodes);
    set("transaction.state.log.replication.factor", &nodes);
    set("transaction.state.log.min.isr", &in_step);
    set("offsets.retention.minutes", &i32::MAX);
    set("offsets.topic.num.partitions", &10);
    set("auto.create.topics.enable", &false);
    set("unclean.leader.election.enable", &false);
    set("message.max.bytes", &LARGEST_RECORD);
    set("replica.fetch.max.bytes", &LARGEST_RECORD);
    // An app that wakes is alone in its group: nobody is waited for.
    set("group.initial.rebalance.delay.ms", &0);
    // How often disk space of what was deleted is given back.
    set("log.retention.check.interval.ms", &60_000);
}
