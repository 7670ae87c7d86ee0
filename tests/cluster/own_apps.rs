//! Tenants' own programs, in images of their own: the samples, and one that does what it should not.

use std::fmt::Write as _;

use kube::api::LogParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use simbdp_api::wire::rest::FileState;

use crate::harness::{QUICK, TestTenant, eventually};
use crate::main_job::sample;

/// An image that `make images` builds, wherever the cluster gets it from.
fn image(name: &str) -> String {
    let registry = std::env::var("SIMBDP_REGISTRY").unwrap_or("docker.io/simbdp".to_owned());
    format!("{registry}/{name}:0.1.0")
}

fn own_app(name: &str, table: &str) -> Value {
    let mut spec = sample(&format!("apps/{name}/pipeline.yaml"), table);
    spec["app"]["image"] = json!(image(name));
    spec
}

#[tokio::test]
async fn the_samples_write_every_row_once_by_themselves_and_through_the_runner() {
    let tenant = TestTenant::alpha().await;
    let readings = own_app("clientbatchingestapp", "readings");
    let stations = own_app("clientstreamingestapp", "stations");
    tenant.pipeline("readings", readings).await;
    tenant.pipeline("stations", stations).await;

    let mut csv = String::from("sensor,second,fahrenheit\n");
    for second in 0..1_000 {
        writeln!(csv, "s{},{second},{}", second % 7, 32 + second).unwrap();
    }
    csv.push_str("s1,7,cold\n");
    let upload = tenant
        .upload("readings", "readings.csv", csv.as_bytes())
        .await;
    let mut messages = String::new();
    for minute in 0..50 {
        let at = format!("2013-01-01T00:{minute:02}:00Z");
        let measurements = json!({"temp": minute, "wind": 1.5, "rain": 0, "sun": 9.25});
        let message = json!({"station": "JFK", "at": at, "measurements": measurements});
        writeln!(messages, "{message}").unwrap();
    }
    messages.push_str("{\"station\": \"JFK\"}\n");
    // Twice, under one key: each row shows once.
    for _ in 0..2 {
        tenant.post_messages("stations", "all", &messages).await;
    }

    let record = tenant.ended(upload.id).await;
    assert_eq!(record.state, FileState::Done, "{record:?}");
    assert_eq!((record.accepted, record.rejected), (Some(1_000), Some(1)));
    assert_eq!(record.rejects, None);
    let rows = tenant.rows("readings", &["sensor", "second"]).await;
    assert_eq!(rows.len(), 1_000);
    let boiling = &rows[&vec!["s5".to_owned(), "180".to_owned()]];
    assert_eq!(boiling["celsius"].as_deref(), Some("100"));

    eventually("200 measurements", QUICK, || async {
        let rows = tenant.rows("stations", &["station", "at", "name"]).await;
        match rows.len() {
            200 => Ok(()),
            rows => Err(format!("{rows} rows")),
        }
    })
    .await;
    eventually("both refusals are counted", QUICK, || async {
        let pipelines = tenant.cluster.pipelines(&tenant.name);
        let status = pipelines
            .get("stations")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        match (status.rows, status.rejected, status.backlog) {
            // The message that the program refuses came twice.
            (Some(400), Some(2), Some(0)) => Ok(()),
            figures => Err(format!("{figures:?}")),
        }
    })
    .await;
}

/// What it does depends on the file's name.
const SCRIPT: &str = r#"
import json, os, sys, time
name = os.environ["SIMBDP_FILE_NAME"]
print("reading", name, file=sys.stderr, flush=True)
if name == "memory.csv":
    held = []
    while True:
        held.append(b"x" * (1 << 20))
if name == "forks.csv":
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open("/tmp/left", "w").close()
            time.sleep(1000)
        os._exit(0)
    os.wait()
    sys.exit(7)
if name == "disk.csv":
    with open("/tmp/full", "wb") as file:
        while True:
            file.write(b"x" * (1 << 20))
seen = [p for p in os.listdir("/proc") if p.isdigit() and int(p) not in (1, os.getpid())]
seen += [p for p in ("/bindings", "/etc/simbdp", "/var/run/secrets", "/tmp/left") if os.path.exists(p)]
seen += [v for v in os.environ if "PASSWORD" in v or "TOKEN" in v]
for path in ("/x", "/files/x", "/run/simbdp/x", "/opt/simbdp/launcher/x", sys.argv[-1]):
    try:
        open(path, "a").close()
        seen.append(path)
    except OSError:
        pass
print(json.dumps({"id": 1, "seen": json.dumps(seen), "uid": os.getuid()}))
"#;

#[tokio::test]
async fn a_program_without_measure_fails_its_own_file_and_sees_nothing_that_is_secret() {
    let tenant = TestTenant::alpha().await;
    let spec = json!({
        "batch": {},
        "app": {
            "image": image("clientstreamingestapp"),
            "command": ["python3", "-c"],
            "args": [SCRIPT],
            "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "96Mi"}},
        },
        "delivery": {"maxAttempts": 1},
        "table": {
            "name": "measure",
            "columns": [
                {"name": "id", "type": "int"}, {"name": "seen", "type": "text"}, {"name": "uid", "type": "int"},
            ],
            "primaryKey": {"partition": ["id"]},
        },
    });
    tenant.pipeline("measure", spec).await;
    for (name, reason) in [
        ("memory.csv", "used up its memory"),
        ("forks.csv", "exited with code 7"),
        ("disk.csv", "exited with code 1; its last lines"),
    ] {
        let upload = tenant.upload("measure", name, name.as_bytes()).await;
        let record = tenant.ended(upload.id).await;
        assert_eq!(record.state, FileState::Failed, "{record:?}");
        let error = record.error.unwrap();
        assert!(
            error.contains(reason) && error.contains(&format!("reading {name}")),
            "{error}"
        );
    }
    let upload = tenant.upload("measure", "good.csv", b"good").await;
    let record = tenant.ended(upload.id).await;
    assert_eq!(
        (record.state, record.accepted),
        (FileState::Done, Some(1)),
        "{record:?}"
    );
    let rows = tenant.rows("measure", &["id"]).await;
    let row = &rows[&vec!["1".to_owned()]];
    assert_eq!(row["seen"].as_deref(), Some("[]"));
    assert_eq!(row["uid"].as_deref(), Some("65532"));

    let pods = tenant.ingest_pods("measure").await;
    let statuses = pods[0]
        .status
        .as_ref()
        .unwrap()
        .container_statuses
        .as_ref()
        .unwrap();
    let runner = statuses.iter().find(|one| one.name == "ingest").unwrap();
    assert_eq!(runner.restart_count, 0);
    let api: Api<k8s_openapi::api::core::v1::Pod> = tenant.cluster.pods(&tenant.name.namespace());
    let params = LogParams {
        container: Some("ingest".to_owned()),
        ..Default::default()
    };
    let log = api.logs(&pods[0].name_any(), &params).await.unwrap();
    assert!(log.contains(&format!("file {}", upload.id)) && log.contains("reading good.csv"));
}
