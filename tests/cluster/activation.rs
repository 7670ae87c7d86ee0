//! No ingest app runs while nothing comes in; the first message starts one; what came for more is done when they have gone
//! again, whoever dies meanwhile.

use serde_json::{Value, json};

use crate::harness::{QUICK, SLOW, TestTenant, condition, eventually};
use crate::lifecycle::kill_operators;
use crate::main_job::{data, head, planes_cells, planes_ndjson, sample};
use crate::table::differences;

for_each_engine!(apps_come_with_messages_and_go_and_nothing_is_lost_when_operators_die);

const PIPELINE: &str = "sleeper";
const KEY: [&str; 1] = ["tailnum"];

fn planes() -> Value {
    let mut spec = sample("planes.yaml", PIPELINE);
    spec["scaling"] = json!({"maxReplicas": 2, "targetBacklog": 1, "cooldownSeconds": 10});
    spec
}

async fn active(tenant: &TestTenant) -> (String, String) {
    let pipelines = tenant.cluster.pipelines(&tenant.name);
    let pipeline = pipelines.get(PIPELINE).await.unwrap();
    let status = pipeline.status.unwrap_or_default();
    let (holds, reason, _) = condition(&status.conditions, "Active").unwrap_or_default();
    (holds, reason)
}

async fn until_idle(tenant: &TestTenant) {
    eventually("no ingest app runs", QUICK, || async {
        let (active, pods) = (active(tenant).await, tenant.ingest_pods(PIPELINE).await);
        match (active.1.as_str(), pods.len()) {
            ("Idle", 0) => Ok(()),
            _ => Err(format!("{active:?}, {} pods", pods.len())),
        }
    })
    .await;
}

/// Waits until the table has the rows of a CSV.
async fn assert_rows(tenant: &TestTenant, csv: &str) {
    let expected = planes_cells(csv);
    eventually("every row is there", SLOW, || async {
        differences(&tenant.rows(PIPELINE, &KEY).await, &expected)
    })
    .await;
}

async fn apps_come_with_messages_and_go_and_nothing_is_lost_when_operators_die(tenant: TestTenant) {
    tenant.pipeline(PIPELINE, planes()).await;
    until_idle(&tenant).await;
    let csv = data("planes.csv");
    let first = head(&csv, 1);
    tenant
        .post_messages(PIPELINE, "first", &planes_ndjson(&first))
        .await;
    assert_rows(&tenant, &first).await;

    // The same rows again and again, until more than one app is asked for.
    let all = planes_ndjson(&csv);
    let mut posted = 0;
    while tenant.replicas(PIPELINE).await < 2 {
        assert!(posted < 60, "no second app is started");
        posted += 1;
        let key = format!("all-{posted}");
        tenant.post_messages(PIPELINE, &key, &all).await;
    }
    eventually("an app is stopped", SLOW, || async {
        match tenant.replicas(PIPELINE).await {
            2 => Err("2 are to run".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    kill_operators(&tenant).await;
    assert_rows(&tenant, &csv).await;
    until_idle(&tenant).await;
    assert_rows(&tenant, &csv).await;
    tenant.cluster.pipeline_ready(&tenant.name, PIPELINE).await;
}
