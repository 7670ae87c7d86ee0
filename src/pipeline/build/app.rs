//! The pod of a pipeline with the tenant's own program [pure]: the runner, in the platform's image, with
//! everything that is secret; and the program, in the tenant's, with none of it. Between them are a socket
//! and, for files, a directory, neither of which the program can write to.

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, EnvVar, PodSpec, Volume, VolumeMount,
};
use simbdp_api::mounts;
use simbdp_api::names::tenant_objects;
use simbdp_api::wire::config::Mode;

use crate::objects::{
    OwnImage, cpu, empty_dir, env, memory, mount, mount_read_only, prepare, resources,
    restricted_container, secret_volume,
};
use crate::pipeline::validate::ValidatedPipeline;
use crate::pipeline::validate::app::ValidatedApp;
use crate::tenant::build::meta::Platform;

/// Name of the program's container.
const APP: &str = "app";
const SOCKET: &str = "runner";
const FILES: &str = "files";
const LAUNCHER: &str = "launcher";
const SCRATCH: &str = "scratch";
const BINDING: &str = "app-coredms";
const MIB: u64 = 1 << 20;
/// A socket takes no room.
const SOCKET_BYTES: u64 = MIB;
const LAUNCHER_BYTES: u64 = 64 * MIB;
/// In memory, so that a program that fills it gets an error, and its pod is not evicted.
const SCRATCH_BYTES: u64 = 64 * MIB;
/// Room beside the largest file: the runner itself keeps to the limit, and eviction is for what it did not foresee.
const FILES_SLACK: u64 = 16 * MIB;

/// What the runner's own container mounts besides, to write to.
pub fn runner_mounts(mode: &Mode) -> Vec<VolumeMount> {
    let socket = mount(SOCKET, mounts::APP_SOCKET);
    let files = matches!(mode, Mode::Batch(_)).then(|| mount(FILES, mounts::APP_FILES));
    [socket].into_iter().chain(files).collect()
}

/// Adds the program to the runner's pod.
pub fn add(
    pod: &mut PodSpec,
    pipeline: &ValidatedPipeline,
    app: &ValidatedApp,
    platform: &Platform,
) {
    pod.init_containers = Some(vec![launcher(platform)]);
    pod.containers.push(container(pipeline, app));
    let volumes = pod.volumes.get_or_insert_default();
    volumes.extend([
        empty_dir(SOCKET, SOCKET_BYTES),
        empty_dir(LAUNCHER, LAUNCHER_BYTES),
        scratch(),
    ]);
    if let Mode::Batch(constraints) = &pipeline.mode {
        let largest = constraints.max_file_size.div_ceil(MIB) * MIB;
        volumes.push(empty_dir(FILES, largest + FILES_SLACK));
    }
    if app.writes_itself() {
        volumes.push(secret_volume(BINDING, tenant_objects::COREDMS_BINDING));
    }
}

/// Copies the launcher, which is linked statically, to where any image can start it.
fn launcher(platform: &Platform) -> Container {
    const TO: &str = "/launcher";
    let own = OwnImage {
        image: platform.image.clone(),
        pull_policy: platform.pull_policy.clone(),
    };
    let args = ["--from", mounts::APP_LAUNCHER, "--to", TO, "--mode", "0555"];
    let args = args.map(str::to_owned).to_vec();
    prepare(&own, args, vec![mount(LAUNCHER, TO)])
}

fn scratch() -> Volume {
    Volume {
        name: SCRATCH.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(memory(SCRATCH_BYTES)),
        }),
        ..Default::default()
    }
}

fn container(pipeline: &ValidatedPipeline, app: &ValidatedApp) -> Container {
    let needs = &app.needs;
    Container {
        name: APP.to_owned(),
        image: Some(app.image.clone()),
        command: Some(command(app)),
        env: Some(variables(pipeline, app)),
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
        security_context: Some(restricted_container()),
        volume_mounts: Some(app_mounts(&pipeline.mode, app)),
        ..Default::default()
    }
}

/// The launcher, and what it starts.
fn command(app: &ValidatedApp) -> Vec<String> {
    let launcher = [
        format!("{}/{}", mounts::APP_LAUNCHER, mounts::APP_LAUNCHER_NAME),
        format!("{}/{}", mounts::APP_SOCKET, mounts::APP_SOCKET_NAME),
        mounts::APP_SCRATCH.to_owned(),
    ];
    launcher.into_iter().chain(app.command.clone()).collect()
}

/// What a program can know from its start; the runner adds what concerns a file.
fn variables(pipeline: &ValidatedPipeline, app: &ValidatedApp) -> Vec<EnvVar> {
    let mode = match pipeline.mode {
        Mode::Batch(_) => "batch",
        Mode::Stream(_) => "stream",
    };
    let own = [
        env("SIMBDP_TENANT", &pipeline.tenant),
        env("SIMBDP_PIPELINE", &pipeline.name),
        env("SIMBDP_MODE", mode),
        env("SIMBDP_TABLE", &pipeline.table.name),
        env("SIMBDP_KEYSPACE", pipeline.tenant.keyspace()),
        env("HOME", mounts::APP_SCRATCH),
    ];
    let root = app
        .writes_itself()
        .then(|| env("SERVICE_BINDING_ROOT", mounts::SERVICE_BINDING_ROOT));
    let declared = app.env.iter().map(|one| env(&one.name, &one.value));
    let named: Vec<EnvVar> = own.into_iter().chain(root).collect();
    // A declared variable of the same name, as HOME, takes the place of the default.
    let declared: Vec<EnvVar> = declared.collect();
    let mut all: Vec<EnvVar> = named
        .into_iter()
        .filter(|one| !declared.iter().any(|other| other.name == one.name))
        .collect();
    all.extend(declared);
    all
}

fn app_mounts(mode: &Mode, app: &ValidatedApp) -> Vec<VolumeMount> {
    let always = [
        mount_read_only(LAUNCHER, mounts::APP_LAUNCHER),
        mount_read_only(SOCKET, mounts::APP_SOCKET),
        mount(SCRATCH, mounts::APP_SCRATCH),
    ];
    let files = matches!(mode, Mode::Batch(_)).then(|| mount_read_only(FILES, mounts::APP_FILES));
    let binding = app.writes_itself().then(|| {
        let path = format!(
            "{}/{}",
            mounts::SERVICE_BINDING_ROOT,
            mounts::COREDMS_BINDING
        );
        mount_read_only(BINDING, &path)
    });
    always.into_iter().chain(files).chain(binding).collect()
}
