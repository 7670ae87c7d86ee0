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
    insta::assert_debug_snapshot!(queues(&tenant, &name, 1 << 20));
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
