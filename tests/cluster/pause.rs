//! A pipeline that is paused, goes on, and is restarted.

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::cli::succeeds;
use crate::harness::{QUICK, TestTenant, condition, eventually};
use crate::main_job::{data, planes_cells, planes_ndjson, sample};
use crate::table::differences;

const PIPELINE: &str = "resting";

fn planes(paused: bool) -> Value {
    let mut spec = sample("planes.yaml", PIPELINE);
    spec["paused"] = json!(paused);
    spec
}

async fn apply(tenant: &TestTenant, paused: bool) {
    let applied = tenant
        .cluster
        .apply_pipeline(&tenant.name, PIPELINE, planes(paused));
    applied.await.unwrap();
}

/// The UIDs of its ingest apps' pods.
async fn apps(tenant: &TestTenant) -> Vec<String> {
    let pods = tenant.ingest_pods(PIPELINE).await;
    pods.iter().filter_map(ResourceExt::uid).collect()
}

#[tokio::test]
async fn a_paused_pipeline_keeps_what_comes_in_and_a_restarted_one_takes_it_anew() {
    let tenant = TestTenant::alpha().await;
    tenant.pipeline(PIPELINE, planes(false)).await;
    apply(&tenant, true).await;
    eventually("the pipeline rests", QUICK, || async {
        let pipelines = tenant.cluster.pipelines(&tenant.name);
        let status = pipelines
            .get(PIPELINE)
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        let paused = condition(&status.conditions, "Paused");
        let left = apps(&tenant).await.len();
        match (&paused, left) {
            (Some((holds, ..)), 0) if holds == "True" => Ok(()),
            _ => Err(format!("{paused:?}, {left} apps")),
        }
    })
    .await;
    let csv = data("planes.csv");
    tenant
        .post_messages(PIPELINE, "all", &planes_ndjson(&csv))
        .await;
    let key = ["tailnum"];
    assert_eq!(tenant.rows(PIPELINE, &key).await.len(), 0);
    assert_eq!(apps(&tenant).await, Vec::<String>::new());

    apply(&tenant, false).await;
    let expected = planes_cells(&csv);
    eventually("what had come in is there", QUICK, || async {
        differences(&tenant.rows(PIPELINE, &key).await, &expected)
    })
    .await;

    let before = apps(&tenant).await;
    succeeds(&tenant, &["restart", "pipeline", PIPELINE]).await;
    eventually("another app runs", QUICK, || async {
        let now = apps(&tenant).await;
        match now.len() == 1 && now != before {
            true => Ok(()),
            false => Err(format!("{now:?}, before {before:?}")),
        }
    })
    .await;
    tenant.cluster.pipeline_ready(&tenant.name, PIPELINE).await;
}
