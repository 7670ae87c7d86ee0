//! A node's containers and volumes [pure]: Kafka without its image's entrypoint.

use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, ObjectFieldSelector, Volume, VolumeMount,
};

use simbdp_api::common::Profile;

use super::super::names::{self, KAFKA_CONTROLLER_PORT, KAFKA_NODES_PORT, KAFKA_PORT};
use super::super::validate::ValidatedBroker;
use super::Platform;
use super::config::DIRECTORY;
use super::kafka::{LOGGING, cluster_id, file_name};
use super::pod::{CONFIG_SOURCE, DATA_VOLUME, needs, port};
use crate::objects::{
    empty_dir, env, mount, mount_read_only, prepare, restricted_container, secret_volume, tcp_probe,
};

/// User and group of the official image.
pub const USER: i64 = 1000;
const MIB: u64 = 1 << 20;
const MOUNT: &str = "/var/lib/kafka/data";
const BIN: &str = "/opt/kafka/bin";
/// Variable with options of the JVM in place of the image's own.
const JVM: &str = "KAFKA_JVM_PERFORMANCE_OPTS";
/// Starts quickly and takes little.
const FAST: &str =
    "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Djava.awt.headless=true";
/// Variable with the number of the pod.
const INDEX: &str = "SIMBDP_POD_INDEX";

/// Volumes besides the data's.
pub fn volumes(broker: &ValidatedBroker) -> Vec<Volume> {
    vec![
        secret_volume("config-source", &names::config_secret(&broker.name)),
        empty_dir("config", MIB),
        empty_dir("tmp", 64 * MIB),
    ]
}

/// Copies the configuration, which has passwords in it, and makes an empty volume a node's.
pub fn init(broker: &ValidatedBroker, platform: &Platform) -> Vec<Container> {
    let args = vec![
        format!("--from={CONFIG_SOURCE}"),
        format!("--to={DIRECTORY}"),
        "--mode=0400".to_owned(),
    ];
    let mounts = vec![
        mount_read_only("config-source", CONFIG_SOURCE),
        mount("config", DIRECTORY),
    ];
    let format = Container {
        name: "format".to_owned(),
        command: Some(vec![
            format!("{BIN}/kafka-storage.sh"),
            "format".to_owned(),
            "--ignore-formatted".to_owned(),
            "--cluster-id".to_owned(),
            cluster_id(broker),
            "--config".to_owned(),
            file(),
        ]),
        ..container(broker, platform)
    };
    vec![prepare(&platform.own, args, mounts), format]
}

/// The node itself.
pub fn server(broker: &ValidatedBroker, platform: &Platform) -> Container {
    Container {
        name: "kafka".to_owned(),
        command: Some(vec![format!("{BIN}/kafka-server-start.sh"), file()]),
        ports: Some(vec![
            port("clients", KAFKA_PORT),
            port("nodes", KAFKA_NODES_PORT),
            port("controller", KAFKA_CONTROLLER_PORT),
        ]),
        // The port opens when the logs are recovered: after a crash that takes its time.
        startup_probe: Some(tcp_probe(KAFKA_PORT, 1, 1800)),
        readiness_probe: Some(tcp_probe(KAFKA_PORT, 3, 3)),
        liveness_probe: Some(tcp_probe(KAFKA_PORT, 10, 12)),
        ..container(broker, platform)
    }
}

/// The kubelet puts the pod's number in.
fn file() -> String {
    format!("{DIRECTORY}/{}", file_name(&format!("$({INDEX})")))
}

fn container(broker: &ValidatedBroker, platform: &Platform) -> Container {
    Container {
        image: Some(format!("{}:{}", platform.kafka, broker.version)),
        image_pull_policy: Some(platform.own.pull_policy.clone()),
        env: Some(environment(broker)),
        resources: Some(needs(broker)),
        security_context: Some(restricted_container()),
        volume_mounts: Some(mounts()),
        ..Default::default()
    }
}

/// Half of the memory is the heap; the rest is for what lies beside it, and for the page cache that Kafka lives by.
fn environment(broker: &ValidatedBroker) -> Vec<EnvVar> {
    let heap = broker.needs.memory_limit / 2 / MIB;
    let mut environment = vec![
        EnvVar {
            name: INDEX.to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: "metadata.labels['apps.kubernetes.io/pod-index']".to_owned(),
                }),
                ..Default::default()
            }),
            ..Default::default()
        },
        env("KAFKA_HEAP_OPTS", format!("-Xms{heap}m -Xmx{heap}m")),
        env(
            "KAFKA_LOG4J_OPTS",
            format!("-Dlog4j2.configurationFile={DIRECTORY}/{LOGGING}"),
        ),
        env("LOG_DIR", "/tmp/logs"),
    ];
    environment.extend((broker.profile == Profile::Development).then(|| env(JVM, FAST)));
    environment
}

fn mounts() -> Vec<VolumeMount> {
    vec![
        mount_read_only("config", DIRECTORY),
        mount(DATA_VOLUME, MOUNT),
        mount("tmp", "/tmp"),
    ]
}
