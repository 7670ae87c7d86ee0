//! A node's pod [pure], at the restricted level, and RabbitMQ's part of it: without its image's entrypoint.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, ExecAction, Lifecycle, LifecycleHandler, PodSpec,
    ResourceRequirements, Volume, VolumeMount,
};
use simbdp_api::broker::BrokerType;
use simbdp_api::common::Profile;

use super::super::names::{self, AMQP_PORT, MANAGEMENT_PORT, METRICS_PORT};
use super::super::validate::ValidatedBroker;
use super::config::{DIRECTORY, MAIN, PLUGINS, node_name};
use super::{Platform, kafka_pod, node_labels};
use crate::objects::{
    POD_NAME, apart, cpu, empty_dir, env, memory, mount, mount_read_only, pod_name, prepare,
    resources, restricted_container, restricted_pod, secret_volume, tcp_probe,
};

/// Volume of a node's data; part of the claim's name, so it never changes.
pub const DATA_VOLUME: &str = "data";

/// User and group of the official image.
const USER: i64 = 999;
const MIB: u64 = 1 << 20;
/// HOME of the official image; the cookie lies there.
const HOME: &str = "/var/lib/rabbitmq";
const DATA: &str = "/var/lib/rabbitmq/mnesia";
/// Where the configuration is mounted to be copied from.
pub const CONFIG_SOURCE: &str = "/config";
const COOKIE_SOURCE: &str = "/cookie";
/// Of the grace that a pod has.
const QUORUM_PATIENCE_S: u16 = 60;

/// A node's pod.
pub fn build(broker: &ValidatedBroker, platform: &Platform) -> PodSpec {
    let (user, init_containers, server, volumes) = match broker.broker_type {
        BrokerType::RabbitMQ => (
            USER,
            vec![init(platform)],
            server(broker, platform),
            volumes(broker),
        ),
        BrokerType::Kafka => (
            kafka_pod::USER,
            kafka_pod::init(broker, platform),
            kafka_pod::server(broker, platform),
            kafka_pod::volumes(broker),
        ),
    };
    PodSpec {
        service_account_name: Some(names::workload(&broker.name)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(restricted_pod(user)),
        affinity: Some(apart(
            &node_labels(broker.broker_type, &broker.name),
            broker.profile == Profile::Production,
        )),
        termination_grace_period_seconds: Some(120),
        init_containers: Some(init_containers),
        containers: vec![server],
        volumes: Some(volumes),
        ..Default::default()
    }
}

fn volumes(broker: &ValidatedBroker) -> Vec<Volume> {
    vec![
        secret_volume("config-source", &names::config_secret(&broker.name)),
        secret_volume(
            "cookie-source",
            &names::nodes_secret(broker.broker_type, &broker.name),
        ),
        empty_dir("config", MIB),
        empty_dir("home", 64 * MIB),
        empty_dir("tmp", 64 * MIB),
    ]
}

/// fsGroup would let the group read a mounted cookie, which Erlang refuses: hence a copy with its own mode.
fn init(platform: &Platform) -> Container {
    let args = vec![
        format!("--from={CONFIG_SOURCE}"),
        format!("--to={DIRECTORY}"),
        "--mode=0400".to_owned(),
        format!("--from={COOKIE_SOURCE}"),
        format!("--to={HOME}"),
        "--mode=0400".to_owned(),
    ];
    let mounts = vec![
        mount_read_only("config-source", CONFIG_SOURCE),
        mount_read_only("cookie-source", COOKIE_SOURCE),
        mount("config", DIRECTORY),
        mount("home", HOME),
    ];
    prepare(&platform.own, args, mounts)
}

fn server(broker: &ValidatedBroker, platform: &Platform) -> Container {
    Container {
        name: "rabbitmq".to_owned(),
        image: Some(format!(
            "{}:{}-management",
            platform.rabbitmq, broker.version
        )),
        image_pull_policy: Some(platform.own.pull_policy.clone()),
        command: Some(vec!["rabbitmq-server".to_owned()]),
        lifecycle: (broker.nodes > 1).then(leave_a_quorum),
        env: Some(environment(broker, platform)),
        ports: Some(vec![
            port("amqp", AMQP_PORT),
            port("management", MANAGEMENT_PORT),
            port("metrics", METRICS_PORT),
        ]),
        resources: Some(needs(broker)),
        // The AMQP port opens when queues are recovered: with many messages that takes its time.
        startup_probe: Some(tcp_probe(AMQP_PORT, 1, 1800)),
        readiness_probe: Some(tcp_probe(AMQP_PORT, 3, 3)),
        liveness_probe: Some(tcp_probe(AMQP_PORT, 10, 12)),
        security_context: Some(restricted_container()),
        volume_mounts: Some(server_mounts()),
        ..Default::default()
    }
}

/// A node that is asked to stop waits until each of its queues has a quorum without it: those of the node that was restarted
/// before it catch up meanwhile. What hangs is not waited for.
fn leave_a_quorum() -> Lifecycle {
    let command = ["rabbitmq-upgrade", "await_online_quorum_plus_one", "-t"];
    let command = command.map(str::to_owned).into_iter();
    let patience = std::iter::once(QUORUM_PATIENCE_S.to_string());
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            exec: Some(ExecAction {
                command: Some(command.chain(patience).collect()),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What a node may take.
pub fn needs(broker: &ValidatedBroker) -> ResourceRequirements {
    let needs = &broker.needs;
    resources(
        &[
            ("cpu", Some(cpu(needs.cpu))),
            ("memory", Some(memory(needs.memory))),
        ],
        &[
            ("cpu", needs.cpu_limit.map(cpu)),
            ("memory", Some(memory(needs.memory_limit))),
        ],
    )
}

fn environment(broker: &ValidatedBroker, platform: &Platform) -> Vec<EnvVar> {
    let own = node_name(broker, &platform.namespace, &format!("$({POD_NAME})"));
    vec![
        pod_name(),
        env("RABBITMQ_USE_LONGNAME", true),
        env("RABBITMQ_NODENAME", own),
        env("RABBITMQ_CONFIG_FILE", format!("{DIRECTORY}/{MAIN}")),
        env(
            "RABBITMQ_ENABLED_PLUGINS_FILE",
            format!("{DIRECTORY}/{PLUGINS}"),
        ),
        env("RABBITMQ_LOGS", "-"),
        // There is no room for a dump, and nobody to fetch it.
        env("ERL_CRASH_DUMP_BYTES", 0),
    ]
}

fn server_mounts() -> Vec<VolumeMount> {
    vec![
        mount_read_only("config", DIRECTORY),
        mount("home", HOME),
        mount(DATA_VOLUME, DATA),
        mount("tmp", "/tmp"),
    ]
}

/// A port of a container.
pub fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        protocol: Some("TCP".to_owned()),
        ..Default::default()
    }
}
