//! A member's pod [pure]: Cassandra as process 1, without its image's entrypoint, at the restricted level.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, PodSpec, Probe, Volume, VolumeMount,
};

use super::super::names::{self, CQL_PORT, STORAGE_PORT};
use super::super::validate::ValidatedCoreDms;
use super::config::{DATA, DIRECTORY, LOGBACK, RACKDC};
use super::{Platform, member_labels};
use crate::objects::{
    apart, config_map_volume, cpu, empty_dir, env, memory, mount, mount_read_only, pod_name,
    prepare, resources, restricted_container, restricted_pod, tcp_probe,
};

/// Volume of a member's data; part of the claims' names, so it never changes.
pub const DATA_VOLUME: &str = "data";

/// User and group of the official image.
const USER: i64 = 999;
const MIB: u64 = 1 << 20;
const SOURCE: &str = "/config";
const LOGS: &str = "/var/log/cassandra";

/// Fast start and little memory. The stock delays take three members 185 s, these 7 to 12 s.
const FAST: &str = "-XX:-UseG1GC -XX:+UseSerialGC -XX:-AlwaysPreTouch -XX:TieredStopAtLevel=1 \
-Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.superuser_setup_delay_ms=0 \
-Dcassandra.ring_delay_ms=1000 -Dcassandra.consistent.rangemovement=false \
-Dcassandra.shutdown_announce_in_ms=0";

/// There is no room for a heap dump, and nobody to fetch it.
const SHARED: &str = "-XX:-HeapDumpOnOutOfMemoryError";

/// A member's pod.
pub fn build(coredms: &ValidatedCoreDms, platform: &Platform) -> PodSpec {
    PodSpec {
        service_account_name: Some(coredms.name.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(restricted_pod(USER)),
        affinity: Some(apart(&member_labels(&coredms.name), !coredms.development())),
        // On SIGTERM Cassandra drains: it flushes what it holds in memory.
        termination_grace_period_seconds: Some(if coredms.development() { 60 } else { 180 }),
        init_containers: Some(vec![init(coredms, platform)]),
        containers: vec![server(coredms, platform)],
        volumes: Some(volumes(coredms)),
        ..Default::default()
    }
}

fn volumes(coredms: &ValidatedCoreDms) -> Vec<Volume> {
    vec![
        config_map_volume("source", &names::config(&coredms.name)),
        empty_dir("config", MIB),
        empty_dir("logs", 256 * MIB),
        empty_dir("tmp", 256 * MIB),
    ]
}

/// A first start waits for the first member; later ones need not, since they know the others.
fn init(coredms: &ValidatedCoreDms, platform: &Platform) -> Container {
    let mut args = vec![
        format!("--from={SOURCE}"),
        format!("--to={DIRECTORY}"),
        "--mode=0444".to_owned(),
    ];
    let mut mounts = vec![
        mount_read_only("source", SOURCE),
        mount("config", DIRECTORY),
    ];
    if coredms.development() {
        let first = names::member_host(&coredms.name, &coredms.namespace, 0);
        args.push(format!("--wait-for={first}:{CQL_PORT}"));
        args.push(format!("--wait-unless={DATA}/data"));
        mounts.push(mount_read_only(DATA_VOLUME, DATA));
    }
    prepare(&platform.own, args, mounts)
}

fn server(coredms: &ValidatedCoreDms, platform: &Platform) -> Container {
    let needs = &coredms.needs;
    Container {
        name: "cassandra".to_owned(),
        image: Some(format!("{}:{}", platform.repository, coredms.version)),
        image_pull_policy: Some(platform.own.pull_policy.clone()),
        command: Some(command()),
        env: Some(environment(coredms)),
        ports: Some(vec![port("cql", CQL_PORT), port("storage", STORAGE_PORT)]),
        resources: Some(resources(
            &[
                ("cpu", Some(cpu(needs.cpu))),
                ("memory", Some(memory(needs.memory))),
            ],
            &[
                ("cpu", needs.cpu_limit.map(cpu)),
                ("memory", Some(memory(needs.memory_limit))),
            ],
        )),
        startup_probe: Some(startup(coredms)),
        readiness_probe: Some(tcp_probe(
            CQL_PORT,
            if coredms.development() { 2 } else { 5 },
            3,
        )),
        liveness_probe: Some(tcp_probe(CQL_PORT, 10, 12)),
        security_context: Some(restricted_container()),
        volume_mounts: Some(server_mounts()),
        ..Default::default()
    }
}

/// A member opens its CQL port when it has joined: with much data, that takes its time.
fn startup(coredms: &ValidatedCoreDms) -> Probe {
    match coredms.development() {
        true => tcp_probe(CQL_PORT, 1, 600),
        false => tcp_probe(CQL_PORT, 5, 1440),
    }
}

/// Kubernetes puts the pod's name into the file's.
fn command() -> Vec<String> {
    vec![
        "/opt/cassandra/bin/cassandra".to_owned(),
        "-f".to_owned(),
        format!("-Dcassandra.config=file://{DIRECTORY}/$(SIMBDP_POD_NAME).yaml"),
        format!("-Dcassandra-rackdc.properties=file://{DIRECTORY}/{RACKDC}"),
        format!("-Dlogback.configurationFile=file:{DIRECTORY}/{LOGBACK}"),
    ]
}

fn environment(coredms: &ValidatedCoreDms) -> Vec<EnvVar> {
    let options = match coredms.development() {
        true => format!("{SHARED} {FAST}"),
        false => SHARED.to_owned(),
    };
    vec![
        pod_name(),
        env("MAX_HEAP_SIZE", format!("{}M", coredms.needs.heap / MIB)),
        env("JVM_EXTRA_OPTS", options),
        env(
            "MALLOC_ARENA_MAX",
            if coredms.development() { 2 } else { 4 },
        ),
        env("CASSANDRA_LOG_DIR", LOGS),
    ]
}

fn server_mounts() -> Vec<VolumeMount> {
    vec![
        mount(DATA_VOLUME, DATA),
        mount_read_only("config", DIRECTORY),
        mount("logs", LOGS),
        mount("tmp", "/tmp"),
    ]
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        protocol: Some("TCP".to_owned()),
        ..Default::default()
    }
}
