//! The command line on a real cluster: the gateway and the credentials come from the kubeconfig alone.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{QUICK, TestTenant, eventually};
use crate::main_job::{WEATHER_DOUBLES, WEATHER_KEY, data, head, planes_cells, sample};
use crate::table::{Cells, assert_same, from_csv};

for_each_engine!(
    files_go_in_and_rows_come_out,
    messages_go_in_once_however_often_they_are_sent,
);

/// The program next to this test: `make images` builds it with those of the cluster's image. It is not built from here,
/// since cargo's variables of a running test would have it compile half of the dependencies anew.
fn program() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let program = this
        .ancestors()
        .nth(2)
        .expect("deps of a profile")
        .join("simbdp");
    assert!(
        program.exists(),
        "{}: `make images` builds it",
        program.display()
    );
    program
}

/// Runs the program on a tenant; its exit code and the JSON that it prints, which is all that it prints there.
pub async fn simbdp(tenant: &TestTenant, args: &[&str]) -> (i32, Value) {
    let mut command = Command::new(program());
    for variable in [
        "SERVER",
        "USER",
        "TOKEN",
        "TOKEN_FILE",
        "PASSWORD",
        "PASSWORD_FILE",
    ] {
        command.env_remove(format!("SIMBDP_{variable}"));
    }
    command
        .args(["--tenant", tenant.name.as_str(), "-o", "json"])
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output: Output = tokio::time::timeout(2 * QUICK, command.output())
        .await
        .unwrap_or_else(|_| panic!("{args:?} does not end"))
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code().unwrap_or(-1);
    let printed = serde_json::from_slice(&output.stdout);
    (
        code,
        printed.unwrap_or_else(|e| panic!("{args:?}: exit code {code}: {e}: {stderr}")),
    )
}

/// The same, which must exit with 0.
pub async fn succeeds(tenant: &TestTenant, args: &[&str]) -> Value {
    let (code, printed) = simbdp(tenant, args).await;
    assert_eq!(code, 0, "{args:?}: {printed}");
    printed
}

/// Printed rows by their key, each cell as text.
fn cells(rows: &Value, key: &[&str]) -> Cells {
    let rows = rows.as_array().unwrap().iter().map(|row| {
        let row = row.as_object().unwrap().iter();
        row.map(|(column, value)| (column.clone(), text(value)))
            .collect()
    });
    let keyed = |row: std::collections::BTreeMap<String, Option<String>>| {
        (
            key.iter()
                .map(|column| row[*column].clone().unwrap())
                .collect(),
            row,
        )
    };
    rows.map(keyed).collect()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(match text.parse::<DateTime<Utc>>() {
            Ok(time) => time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            Err(_) => text.clone(),
        }),
        Value::Number(number) if number.is_f64() => number.as_f64().map(|n| n.to_string()),
        other => Some(other.to_string()),
    }
}

async fn files_go_in_and_rows_come_out(tenant: TestTenant) {
    let spec = sample("weather.yaml", "cli_weather");
    tenant.pipeline("cliweather", spec).await;
    let csv = head(&data("weather.csv"), 300);
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("weather.csv"), &csv).unwrap();
    std::fs::write(directory.path().join("notes.txt"), "no weather").unwrap();
    let path = directory.path().to_str().unwrap();

    let (code, fetched) = simbdp(&tenant, &["fetchdata", path, "-p", "cliweather", "--wait"]).await;
    assert_eq!(code, 1, "one of them is no weather: {fetched}");
    assert_eq!(fetched[0]["result"], json!("does not conform"), "{fetched}");
    let done = &fetched[1];
    assert_eq!(
        (&done["result"], &done["accepted"], &done["rejected"]),
        (&json!("done"), &json!(300), &json!(0)),
        "{fetched}"
    );

    let rows = succeeds(
        &tenant,
        &["query", "cli_weather", "--where", "origin=EWR", "--all"],
    )
    .await;
    let mut expected = from_csv(&csv, &WEATHER_KEY, &WEATHER_DOUBLES);
    expected.retain(|key, _| key[0] == "EWR");
    assert!(!expected.is_empty());
    assert_same(&cells(&rows, &WEATHER_KEY), &expected);

    let ledger = succeeds(&tenant, &["ledger", "--pipeline", "cliweather"]).await;
    let entry = ledger
        .as_array()
        .unwrap()
        .iter()
        .find(|file| file["id"] == done["id"]);
    assert_eq!(entry.unwrap()["state"], json!("Done"), "{ledger}");
    let id = done["id"].as_str().unwrap();
    assert_eq!(
        succeeds(&tenant, &["ledger", id]).await["accepted"],
        json!(300)
    );

    let constraints = succeeds(&tenant, &["constraints", "cliweather"]).await;
    assert_eq!(
        constraints[0]["table"],
        json!("cli_weather"),
        "{constraints}"
    );
    // Pipelines of earlier tests may still be on their way out.
    let status = eventually("everything is ready", QUICK, || async {
        let (code, lines) = simbdp(&tenant, &["status"]).await;
        if code == 0 {
            Ok(lines)
        } else {
            Err(lines.to_string())
        }
    })
    .await;
    let kinds: Vec<_> = status
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["Tenant", "CoreDms", "IngestPipeline"]);
}

async fn messages_go_in_once_however_often_they_are_sent(tenant: TestTenant) {
    let spec = sample("planes.yaml", "cli_planes");
    tenant.pipeline("cliplanes", spec).await;
    let csv = head(&data("planes.csv"), 50);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("planes.csv");
    std::fs::write(&path, &csv).unwrap();
    let path = path.to_str().unwrap();
    for _ in 0..2 {
        let args = [
            "ingestmessage",
            "cliplanes",
            path,
            "--batch",
            "20",
            "--key",
            "cli-planes",
        ];
        let sent = succeeds(&tenant, &args).await;
        let expected = json!({"key": "cli-planes", "accepted": 50, "rejected": 0, "errors": []});
        assert_eq!(sent, expected);
    }

    let expected = planes_cells(&csv);
    eventually("50 planes", QUICK, || async {
        let found = tenant.rows("cli_planes", &["tailnum"]).await;
        if found.len() < expected.len() {
            return Err(format!("{} rows", found.len()));
        }
        assert_same(&found, &expected);
        Ok(())
    })
    .await;

    let (key, row) = expected.first_key_value().unwrap();
    let condition = format!("tailnum={}", key[0]);
    let rows = succeeds(&tenant, &["query", "cli_planes", "--where", &condition]).await;
    assert_same(
        &cells(&rows, &["tailnum"]),
        &Cells::from([(key.clone(), row.clone())]),
    );
}
