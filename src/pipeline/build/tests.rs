use simbdp_api::IngestPipeline;
use simbdp_api::names::TenantName;

use super::*;
use crate::activation::workload;
use crate::pipeline::validate::validate;
use crate::tenant::validate::ValidatedCeilings;

const SMALLEST: &str = r"
apiVersion: simbdp.dev/v1alpha1
kind: IngestPipeline
metadata: {name: flights, namespace: tenant-acme, generation: 2, uid: uid-1}
spec:
  batch: {}
  table:
    name: flights
    columns: [{name: id, type: bigint}, {name: tail, type: text, nullValues: [NA]}]
    primaryKey: {partition: [id]}
";

fn platform() -> Platform {
    Platform {
        namespace: "simbdp-system".into(),
        service_account: "simbdp".into(),
        image: "example/simbdp:1".into(),
        pull_policy: "IfNotPresent".into(),
        version: "1".into(),
        service: "simbdp-operator".into(),
        authority: Some("certificate".into()),
    }
}

fn pipeline(edit: impl FnOnce(&mut IngestPipeline)) -> ValidatedPipeline {
    let mut pipeline: IngestPipeline = serde_yaml::from_str(SMALLEST).unwrap();
    edit(&mut pipeline);
    let tenant = TenantName::new("acme").unwrap();
    validate(&pipeline, &tenant, false, &ValidatedCeilings::default()).unwrap()
}

fn digest_of(pipeline: &ValidatedPipeline, credentials: &str) -> String {
    let built = build(pipeline, credentials, &platform());
    let annotations = built
        .ingest
        .spec
        .unwrap()
        .template
        .metadata
        .unwrap()
        .annotations
        .unwrap();
    annotations[simbdp_api::labels::CONFIG_DIGEST].clone()
}

#[test]
fn the_ingest_app() {
    let built = build(&pipeline(|_| ()), "credentials", &platform());
    insta::assert_snapshot!(serde_yaml::to_string(&built.ingest).unwrap());
}

#[test]
fn the_pipeline_s_own_key_and_nothing_else_of_the_config_map() {
    let built = build(&pipeline(|_| ()), "credentials", &platform());
    insta::assert_snapshot!(serde_yaml::to_string(&built.config).unwrap());
}

#[test]
fn the_queues() {
    let tenant = TenantName::new("acme").unwrap();
    let name = PipelineName::new("flights").unwrap();
    insta::assert_debug_snapshot!(queues(&tenant, &name, 1 << 20, 5));
}

#[test]
fn apps_are_rolled_for_what_concerns_them_alone() {
    let first = digest_of(&pipeline(|_| ()), "credentials");
    let scaled = pipeline(|pipeline| {
        pipeline.metadata.generation = Some(3);
        pipeline.spec.scaling.min_replicas = 2;
    });
    assert_eq!(digest_of(&scaled, "credentials"), first);
    let table = pipeline(|pipeline| pipeline.spec.table.columns[1].null_values.clear());
    assert_ne!(digest_of(&table, "credentials"), first);
    assert_ne!(digest_of(&pipeline(|_| ()), "rotated"), first);
}

#[test]
fn a_pipeline_that_goes_owns_nothing_of_the_config_map() {
    let name = PipelineName::new("flights").unwrap();
    let map = config_map(&TenantName::new("acme").unwrap(), &name, None);
    assert_eq!(map.data, None);
}

#[test]
fn a_paused_pipeline_says_so_on_its_app_and_its_pods_are_the_same_afterwards() {
    let built = |valid: &ValidatedPipeline| build(valid, "digest", &platform()).ingest;
    let running = built(&pipeline(|_| ()));
    let paused = built(&pipeline(|pipeline| pipeline.spec.paused = true));
    assert!(workload::paused(&running).is_none());
    assert!(workload::paused(&paused).unwrap().contains("spec.paused"));
    let (running, paused) = (running.spec.unwrap(), paused.spec.unwrap());
    assert_eq!(running.template, paused.template);
    assert_eq!((running.replicas, paused.replicas), (None, None));
}

fn with_app(pipeline: &mut IngestPipeline) {
    let app = r"
image: team/app:1
command: [python3, /app.py]
args: [--verbose]
env: [{name: COLOUR, value: green}, {name: HOME, value: /tmp/home}]
output: None
resources: {limits: {cpu: '1', memory: 512Mi}}
";
    pipeline.spec.app = Some(serde_yaml::from_str(app).unwrap());
}

#[test]
fn a_program_of_the_tenant_beside_its_runner() {
    let built = build(&pipeline(with_app), "credentials", &platform());
    let pod = built.ingest.spec.unwrap().template.spec.unwrap();
    insta::assert_snapshot!(serde_yaml::to_string(&pod).unwrap());
}

#[test]
fn a_program_that_prints_rows_gets_no_login_and_one_of_messages_no_files() {
    let stream = pipeline(|pipeline| {
        with_app(pipeline);
        pipeline.spec.batch = None;
        pipeline.spec.stream = Some(serde_yaml::from_str("{}").unwrap());
        if let Some(app) = &mut pipeline.spec.app {
            app.output = simbdp_api::app::AppOutput::Rows;
        }
    });
    let built = build(&stream, "credentials", &platform());
    let pod = built.ingest.spec.unwrap().template.spec.unwrap();
    let app = pod.containers.iter().find(|one| one.name == "app").unwrap();
    let mounts: Vec<_> = app.volume_mounts.iter().flatten().collect();
    let paths: Vec<_> = mounts.iter().map(|one| one.mount_path.as_str()).collect();
    assert_eq!(paths, ["/opt/simbdp/launcher", "/run/simbdp", "/tmp"]);
    let writable = mounts.iter().filter(|one| one.read_only != Some(true));
    assert_eq!(writable.count(), 1, "its scratch directory");
    let volumes = pod.volumes.unwrap();
    assert!(
        volumes
            .iter()
            .all(|one| one.name != "files" && one.name != "app-coredms")
    );
}

#[test]
fn a_program_s_container_sees_no_secret_but_the_tenant_s_own_binding() {
    let built = build(&pipeline(with_app), "credentials", &platform());
    let pod = built.ingest.spec.unwrap().template.spec.unwrap();
    let app = pod.containers.iter().find(|one| one.name == "app").unwrap();
    let mounted: Vec<_> = app
        .volume_mounts
        .iter()
        .flatten()
        .map(|one| &one.name)
        .collect();
    let secrets: Vec<_> = pod
        .volumes
        .iter()
        .flatten()
        .filter(|volume| mounted.contains(&&volume.name))
        .filter_map(|volume| volume.secret.as_ref()?.secret_name.clone())
        .collect();
    assert_eq!(secrets, ["coredms-binding"]);
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert!(app.env.iter().flatten().all(|one| one.value_from.is_none()));
}
