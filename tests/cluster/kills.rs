//! Whatever is killed, nothing acknowledged is lost and nothing shows twice: every cell is compared afterwards.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use reqwest::Method;
use serde_json::json;
use simbdp_api::common::Engine;
use simbdp_api::labels;
use simbdp_api::names::tenant_objects;
use simbdp_api::wire::rest::FileState;

use crate::brokers::{OPERATOR_NAMESPACE, kafka_leader, rabbitmq_leader};
use crate::harness::{QUICK, SLOW, TestTenant, eventually};
use crate::main_job::{
    WEATHER_DOUBLES, WEATHER_KEY, data, head, ndjson, planes_cells, planes_ndjson, sample,
};
use crate::table::{Cells, differences, from_csv};
use crate::turns;

for_each_engine!(
    a_member_killed_under_load,
    a_message_newer_than_the_file_wins_over_it,
    every_ingest_app_killed_at_once,
    gateway_killed_between_confirmation_and_reply,
    ingest_killed_between_write_and_acknowledgement_of_a_file,
    ingest_killed_between_write_and_acknowledgement_of_messages,
    ingest_killed_in_the_middle_of_a_file,
    the_same_file_twice_at_once_is_one_file,
);

const FLIGHT_NUMBERS: [&str; 14] = [
    "year",
    "month",
    "day",
    "dep_time",
    "sched_dep_time",
    "dep_delay",
    "arr_time",
    "sched_arr_time",
    "arr_delay",
    "flight",
    "air_time",
    "distance",
    "hour",
    "minute",
];
const FLIGHT_KEY: [&str; 6] = ["origin", "year", "month", "day", "carrier", "flight"];

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// The pod of a pipeline with one ingest app, once it is ready.
async fn ingest_pod(tenant: &TestTenant, pipeline: &str) -> Pod {
    eventually("one ready ingest pod", QUICK, || async {
        let pods = tenant.ingest_pods(pipeline).await;
        let ready = pods.into_iter().find(is_ready);
        ready.ok_or_else(|| "none is ready".to_owned())
    })
    .await
}

/// Waits until the pod tells how often a failpoint killed its app: its status lags behind what the app does.
async fn restarted(tenant: &TestTenant, pod: &str, times: i32) {
    eventually("the app was restarted", QUICK, || async {
        match tenant.restarts(pod).await {
            n if n == times => Ok(()),
            n => Err(format!("{n} restarts")),
        }
    })
    .await;
}

/// Waits until a table has every cell as expected.
async fn assert_table(tenant: &TestTenant, table: &str, key: &[&str], expected: &Cells) {
    eventually(&format!("{table} is as its sources"), SLOW, || async {
        differences(&tenant.rows(table, key).await, expected)
    })
    .await;
}

async fn assert_weather(tenant: &TestTenant, table: &str, csv: &str) {
    let expected = from_csv(csv, &WEATHER_KEY, &WEATHER_DOUBLES);
    assert_table(tenant, table, &WEATHER_KEY, &expected).await;
}

async fn assert_planes(tenant: &TestTenant, table: &str, csv: &str) {
    assert_table(tenant, table, &["tailnum"], &planes_cells(csv)).await;
}

async fn file_survives(tenant: &TestTenant, pipeline: &str, failpoint: &str, action: &str) {
    tenant
        .pipeline(
            pipeline,
            sample("flights.yaml", &pipeline.replace('-', "_")),
        )
        .await;
    let pod = ingest_pod(tenant, pipeline).await;
    tenant.arm(&pod, failpoint, action).await;
    let csv = head(&data("flights.csv"), 8_000);
    let upload = tenant.upload(pipeline, "flights.csv", csv.as_bytes()).await;
    let record = tenant.ended(upload.id).await;
    assert_eq!(record.state, FileState::Done, "{:?}", record.error);
    assert_eq!((record.accepted, record.rejected), (Some(8_000), Some(0)));
    restarted(tenant, &pod.name_any(), 1).await;
    assert_table(
        tenant,
        &pipeline.replace('-', "_"),
        &FLIGHT_KEY,
        &from_csv(&csv, &FLIGHT_KEY, &[]),
    )
    .await;
}

async fn ingest_killed_in_the_middle_of_a_file(tenant: TestTenant) {
    file_survives(&tenant, "kill-mid-file", "mid-file", "abort").await;
}

async fn ingest_killed_between_write_and_acknowledgement_of_a_file(tenant: TestTenant) {
    file_survives(&tenant, "kill-after-write", "after-write", "abort").await;
}

async fn ingest_killed_between_write_and_acknowledgement_of_messages(tenant: TestTenant) {
    tenant
        .pipeline("kill-stream", sample("planes.yaml", "kill_stream"))
        .await;
    let pod = ingest_pod(&tenant, "kill-stream").await;
    tenant.arm(&pod, "after-write", "abort").await;
    let csv = data("planes.csv");
    tenant
        .post_messages("kill-stream", "all", &planes_ndjson(&csv))
        .await;
    assert_planes(&tenant, "kill_stream", &csv).await;
    restarted(&tenant, &pod.name_any(), 1).await;
}

/// Two apps are killed when rows are written and none of the messages is acknowledged.
async fn every_ingest_app_killed_at_once(tenant: TestTenant) {
    let mut spec = sample("planes.yaml", "kill_all");
    spec["scaling"] = json!({"minReplicas": 2, "maxReplicas": 2});
    tenant.pipeline("kill-all", spec).await;
    let pods = eventually("two ready ingest pods", QUICK, || async {
        let mut pods = tenant.ingest_pods("kill-all").await;
        pods.retain(is_ready);
        if pods.len() == 2 {
            Ok(pods)
        } else {
            Err(pods.len().to_string())
        }
    })
    .await;
    for pod in &pods {
        tenant.arm(pod, "after-write", "sleep(60000)").await;
    }
    let csv = data("planes.csv");
    tenant
        .post_messages("kill-all", "all", &planes_ndjson(&csv))
        .await;
    eventually("rows are written", QUICK, || async {
        match tenant.rows("kill_all", &["tailnum"]).await.len() {
            0 => Err("none is".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    let namespace = tenant.name.namespace();
    for pod in &pods {
        tenant.cluster.kill_pod(&namespace, &pod.name_any()).await;
    }
    assert_planes(&tenant, "kill_all", &csv).await;
    let letters: serde_json::Value = tenant.get("/v1/pipelines/kill-all/dead-letters").await;
    assert_eq!(letters["letters"], json!([]), "{letters}");
}

async fn gateway_killed_between_confirmation_and_reply(tenant: TestTenant) {
    tenant
        .pipeline("kill-confirm", sample("planes.yaml", "kill_confirm"))
        .await;
    let namespace = tenant.name.namespace();
    let gateway = tenant
        .cluster
        .pods(&namespace)
        .get("gateway-0")
        .await
        .unwrap();
    let restarts = tenant.restarts("gateway-0").await;
    tenant.arm(&gateway, "after-confirm", "abort").await;
    let csv = head(&data("planes.csv"), 500);
    let path = "/v1/pipelines/kill-confirm/messages";
    let cut = tenant
        .request("loader", Method::POST, path)
        .await
        .header("idempotency-key", "all")
        .header("content-type", "application/x-ndjson")
        .body(planes_ndjson(&csv))
        .send()
        .await;
    assert!(cut.is_err(), "the gateway answered: {cut:?}");
    tenant
        .post_messages("kill-confirm", "all", &planes_ndjson(&csv))
        .await;
    restarted(&tenant, "gateway-0", restarts + 1).await;
    assert_planes(&tenant, "kill_confirm", &csv).await;
}

#[tokio::test]
async fn gateway_killed_between_staging_and_queueing_keeps_the_file() {
    let tenant = TestTenant::alpha().await;
    tenant
        .pipeline("kill-staged", sample("weather.yaml", "kill_staged"))
        .await;
    let gateway = tenant
        .cluster
        .pods(&tenant.name.namespace())
        .get("gateway-0")
        .await
        .unwrap();
    tenant.arm(&gateway, "after-staged", "abort").await;
    let csv = head(&data("weather.csv"), 1_000);
    let path = "/v1/pipelines/kill-staged/files/weather.csv";
    let cut = tenant
        .request("loader", Method::PUT, path)
        .await
        .body(csv.clone())
        .send()
        .await;
    assert!(cut.is_err(), "the gateway answered: {cut:?}");
    let again = tenant
        .upload("kill-staged", "weather.csv", csv.as_bytes())
        .await;
    let record = tenant.ended(again.id).await;
    assert_eq!(record.state, FileState::Done, "{record:?}");
    let files: serde_json::Value = tenant
        .get("/v1/files?pipeline=kill-staged&state=Done")
        .await;
    assert_eq!(files["files"].as_array().unwrap().len(), 1, "{files}");
    assert_weather(&tenant, "kill_staged", &csv).await;
}

/// Uploads two files while a pod is killed, and sends a message that is newer than its row in the second file and
/// may well be written before it.
/// `victim` is asked for once the pipelines are there.
async fn load_survives(
    tenant: &TestTenant,
    pipeline: &str,
    namespace: &str,
    victim: impl AsyncFnOnce() -> String,
) {
    let table = pipeline.replace('-', "_");
    tenant
        .pipeline(pipeline, sample("flights.yaml", &table))
        .await;
    let mut stream = sample("flights.yaml", &table);
    stream.as_object_mut().unwrap().remove("batch");
    stream["stream"] = json!({});
    let messages = format!("{pipeline}-message");
    tenant.pipeline(&messages, stream).await;
    let csv = data("flights.csv");
    let first = head(&csv, 20_000);
    let header = head(&csv, 0);
    let second: String = header
        + &csv
            .split_inclusive('\n')
            .skip(20_001)
            .take(20_000)
            .collect::<String>();
    let one = tenant
        .upload(pipeline, "flights-1.csv", first.as_bytes())
        .await;
    tenant.cluster.kill_pod(namespace, &victim().await).await;
    let two = tenant
        .upload(pipeline, "flights-2.csv", second.as_bytes())
        .await;
    let last = csv.lines().nth(40_000).unwrap();
    let mut fields: Vec<&str> = last.split(',').collect();
    assert_ne!(fields[15], "1");
    fields[15] = "1";
    let newer = format!("{}{}\n", head(&csv, 0), fields.join(","));
    tenant
        .post_messages(&messages, "newer", &ndjson(&newer, &FLIGHT_NUMBERS))
        .await;
    for id in [one.id, two.id] {
        let record = tenant.ended(id).await;
        assert_eq!(record.state, FileState::Done, "{:?}", record.error);
        assert_eq!(record.accepted, Some(20_000));
    }
    let mut expected = from_csv(&head(&csv, 40_000), &FLIGHT_KEY, &[]);
    expected.extend(from_csv(&newer, &FLIGHT_KEY, &[]));
    assert_table(tenant, &table, &FLIGHT_KEY, &expected).await;
}

/// For MongoDB the one that takes the writes.
async fn a_member_killed_under_load(tenant: TestTenant) {
    let namespace = tenant.name.namespace();
    let victim = match tenant.engine {
        Engine::Cassandra => last_member(&tenant).await,
        Engine::MongoDB => eventually("a primary", QUICK, || tenant.primary()).await,
    };
    load_survives(&tenant, "kill-member", &namespace, async || victim).await;
    tenant.cluster.tenant_ready(&tenant.name).await;
}

/// The newest member's name.
async fn last_member(tenant: &TestTenant) -> String {
    let selector = format!("{}={}", labels::COREDMS, tenant_objects::COREDMS);
    let mut names = tenant
        .cluster
        .pod_names(&tenant.name.namespace(), &selector)
        .await;
    names.sort();
    names.pop().unwrap()
}

#[tokio::test]
async fn a_cassandra_pod_that_is_asked_to_stop_drains_by_itself() {
    let tenant = TestTenant::alpha().await;
    tenant
        .pipeline("drain", sample("weather.yaml", "drain"))
        .await;
    let csv = head(&data("weather.csv"), 2_000);
    let upload = tenant.upload("drain", "weather.csv", csv.as_bytes()).await;
    assert_eq!(tenant.ended(upload.id).await.accepted, Some(2_000));
    let pods = tenant.cluster.pods(&tenant.name.namespace());
    let member = last_member(&tenant).await;
    let before = pods.get(&member).await.unwrap().uid();
    pods.delete(&member, &Default::default()).await.unwrap();
    eventually("the member is back", SLOW, || async {
        match pods.get_opt(&member).await.unwrap() {
            Some(pod) if pod.uid() != before && is_ready(&pod) => Ok(()),
            _ => Err("it is not ready".to_owned()),
        }
    })
    .await;
    // Everything was in its tables when it stopped: there is nothing to replay. A member that is killed
    // says `Replaying` and how many mutations that were.
    let log = pods.logs(&member, &Default::default()).await.unwrap();
    let drained = [
        "No commitlog files found",
        "Log replay complete, 0 replayed",
    ];
    assert!(
        drained.iter().any(|line| log.contains(line)),
        "the member replayed its commit log: {:?}",
        log.lines().find(|line| line.contains("replay")),
    );
}

const KILL_BROKER: &str = "kill-broker";

/// The leader of the queue that files come by.
#[tokio::test]
async fn the_rabbitmq_node_that_leads_killed_under_load() {
    turns::alone().await;
    let tenant = TestTenant::alpha().await;
    let leader = async || rabbitmq_leader(&tenant, KILL_BROKER).await;
    load_survives(&tenant, KILL_BROKER, OPERATOR_NAMESPACE, leader).await;
}

/// The leader of the topic's first partition.
#[tokio::test]
async fn the_kafka_node_that_leads_killed_under_load() {
    turns::alone().await;
    let tenant = TestTenant::of(Engine::MongoDB).await;
    let leader = async || kafka_leader(&tenant, KILL_BROKER).await;
    load_survives(&tenant, KILL_BROKER, OPERATOR_NAMESPACE, leader).await;
}

#[tokio::test]
async fn an_upload_cut_in_the_middle_leaves_nothing() {
    let tenant = TestTenant::alpha().await;
    tenant.pipeline("cut", sample("weather.yaml", "cut")).await;
    let csv = data("weather.csv");
    let half = csv.as_bytes()[..csv.len() / 2].to_vec();
    let body = futures::stream::iter([Ok(half), Err(std::io::Error::other("the client is gone"))]);
    let path = "/v1/pipelines/cut/files/weather.csv";
    let cut = tenant
        .request("loader", Method::PUT, path)
        .await
        .body(reqwest::Body::wrap_stream(body))
        .send()
        .await;
    assert!(cut.is_err());
    let files: serde_json::Value = tenant.get("/v1/files?pipeline=cut").await;
    assert_eq!(files["files"], json!([]));
    let upload = tenant.upload("cut", "weather.csv", csv.as_bytes()).await;
    assert!(!upload.duplicate);
    assert_eq!(tenant.ended(upload.id).await.accepted, Some(26_115));
    assert_weather(&tenant, "cut", &csv).await;
}

async fn the_same_file_twice_at_once_is_one_file(tenant: TestTenant) {
    tenant
        .pipeline("twice", sample("weather.yaml", "twice"))
        .await;
    let csv = data("weather.csv");
    let names: Vec<String> = (0..4).map(|n| format!("weather-{n}.csv")).collect();
    let uploads = names
        .iter()
        .map(|name| tenant.upload("twice", name, csv.as_bytes()));
    let uploads = futures::future::join_all(uploads).await;
    let distinct: std::collections::BTreeSet<_> = uploads.iter().map(|upload| upload.id).collect();
    let mut done = 0;
    for id in distinct {
        match tenant.ended(id).await.state {
            FileState::Done => done += 1,
            FileState::Duplicate => (),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(done, 1);
    assert_weather(&tenant, "twice", &csv).await;
}

async fn a_message_newer_than_the_file_wins_over_it(tenant: TestTenant) {
    let mut batch = sample("planes.yaml", "race");
    batch.as_object_mut().unwrap().remove("stream");
    batch["batch"] = json!({});
    tenant.pipeline("race-file", batch).await;
    tenant
        .pipeline("race-message", sample("planes.yaml", "race"))
        .await;
    let csv = data("planes.csv");
    let pod = ingest_pod(&tenant, "race-file").await;
    // The app dies with the file half written, so that the file's last rows are written after the message's.
    tenant.arm(&pod, "mid-file", "abort").await;
    let upload = tenant
        .upload("race-file", "planes.csv", csv.as_bytes())
        .await;
    let newer = r#"{"tailnum":"N10156","year":1999,"type":"t","manufacturer":"m","model":"o","engines":1,"seats":2,"speed":"NA","engine":"e"}"#;
    tenant.post_messages("race-message", "newer", newer).await;
    assert_eq!(tenant.ended(upload.id).await.state, FileState::Done);
    let mut expected = planes_cells(&csv);
    let row = expected.get_mut(&vec!["N10156".to_owned()]).unwrap();
    for (column, cell) in [
        ("built", "1999"),
        ("type", "t"),
        ("manufacturer", "m"),
        ("model", "o"),
        ("engines", "1"),
        ("seats", "2"),
        ("engine", "e"),
    ] {
        row.insert(column.to_owned(), Some(cell.to_owned()));
    }
    row.insert("speed".to_owned(), None);
    assert_table(&tenant, "race", &["tailnum"], &expected).await;
}
