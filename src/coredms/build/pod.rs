//! A member's pod [pure]: the server as process 1, without its image's entrypoint, at the restricted level.

use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec, VolumeMount};

use super::super::names::{self, application, client_port, ports};
use super::super::validate::ValidatedCoreDms;
use super::engine::{self, CONFIG, Server};
use super::{Platform, member_labels};
use crate::objects::{
    apart, config_map_volume, cpu, empty_dir, memory, mount, mount_read_only, prepare, resources,
    restricted_container, restricted_pod, tcp_probe,
};

/// Volume of a member's data; part of the claims' names, so it never changes.
pub const DATA_VOLUME: &str = "data";

/// User and group of the official images.
const USER: i64 = 999;
const MIB: u64 = 1 << 20;
const SOURCE: &str = "/config";

/// A member's pod.
pub fn build(coredms: &ValidatedCoreDms, platform: &Platform) -> PodSpec {
    let mut server = engine::server(coredms);
    let mut volumes = vec![
        config_map_volume("source", &names::config(&coredms.name)),
        empty_dir("config", MIB),
        empty_dir("tmp", 256 * MIB),
    ];
    volumes.append(&mut server.volumes);
    PodSpec {
        service_account_name: Some(coredms.name.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(restricted_pod(USER)),
        affinity: Some(apart(
            &member_labels(coredms.engine, &coredms.name),
            !coredms.development(),
        )),
        termination_grace_period_seconds: Some(server.grace_seconds),
        init_containers: Some(vec![init(&mut server, platform)]),
        containers: vec![container(coredms, server, platform)],
        volumes: Some(volumes),
        ..Default::default()
    }
}

fn init(server: &mut Server, platform: &Platform) -> Container {
    let mut args = vec![
        format!("--from={SOURCE}"),
        format!("--to={CONFIG}"),
        "--mode=0444".to_owned(),
    ];
    args.append(&mut server.prepare);
    let mut mounts = vec![mount_read_only("source", SOURCE), mount("config", CONFIG)];
    mounts.append(&mut server.prepare_mounts);
    prepare(&platform.own, args, mounts)
}

fn container(coredms: &ValidatedCoreDms, server: Server, platform: &Platform) -> Container {
    let needs = &coredms.needs;
    let port = client_port(coredms.engine);
    let (startup, readiness_period) = match coredms.development() {
        true => (tcp_probe(port, 1, 600), 2),
        false => (tcp_probe(port, 5, 1440), 5),
    };
    Container {
        name: application(coredms.engine).to_owned(),
        image: Some(format!("{}:{}", platform.repository, coredms.version)),
        image_pull_policy: Some(platform.own.pull_policy.clone()),
        command: Some(server.command),
        env: Some(server.environment),
        ports: Some(ports(coredms.engine).iter().map(container_port).collect()),
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
        // A member opens its port when it has joined: with much data, that takes its time.
        startup_probe: Some(startup),
        readiness_probe: Some(tcp_probe(port, readiness_period, 3)),
        liveness_probe: Some(tcp_probe(port, 10, 12)),
        security_context: Some(restricted_container()),
        volume_mounts: Some(mounts(server.data, server.mounts)),
        ..Default::default()
    }
}

fn mounts(data: &str, own: Vec<VolumeMount>) -> Vec<VolumeMount> {
    let mut mounts = vec![
        mount(DATA_VOLUME, data),
        mount_read_only("config", CONFIG),
        mount("tmp", "/tmp"),
    ];
    mounts.extend(own);
    mounts
}

fn container_port((name, number): &(&'static str, u16)) -> ContainerPort {
    ContainerPort {
        name: Some((*name).to_owned()),
        container_port: (*number).into(),
        protocol: Some("TCP".to_owned()),
        ..Default::default()
    }
}
