//! What could not be ingested, once more: dead letters that are redriven and rows that are replayed, after the pipeline was
//! mended. Exact counts, and nothing twice.

use serde_json::{Value, json};

use crate::cli::succeeds;
use crate::harness::{QUICK, TestTenant, condition, eventually};

const STREAM: &str = "againmessages";
const BATCH: &str = "againfiles";
const MESSAGES: usize = 40;

/// A table without a key: its rows are known by their identity, so that whatever is written under another shows twice.
fn spec(mode: &str, table: &str, mended: bool) -> Value {
    let mode_spec = match mode {
        "stream" => json!({"format": "json"}),
        _ => json!({}),
    };
    // A stream is spoilt by a column that is required; files by a text that is no null yet.
    let size = match (mode, mended) {
        ("stream", mended) => json!({"name": "size", "type": "int", "required": !mended}),
        (_, true) => json!({"name": "size", "type": "int", "nullValues": ["NA"]}),
        (_, false) => json!({"name": "size", "type": "int"}),
    };
    json!({
        mode: mode_spec,
        "table": {
            "name": table,
            "columns": [{"name": "id", "type": "int"}, size],
            "primaryKey": {"partition": ["id"]},
        },
    })
}

async fn apply(tenant: &TestTenant, name: &str, spec: Value) {
    let applied = tenant.cluster.apply_pipeline(&tenant.name, name, spec);
    applied.await.unwrap();
}

/// Waits until a condition says this.
async fn told(tenant: &TestTenant, name: &str, kind: &str, holds: &str, part: &str) {
    eventually(&format!("{kind} of {name}: {holds}"), QUICK, || async {
        let pipelines = tenant.cluster.pipelines(&tenant.name);
        let status = pipelines
            .get(name)
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        match condition(&status.conditions, kind) {
            Some((found, _, message)) if found == holds && message.contains(part) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn dead_letters_are_redriven_once_the_pipeline_is_mended() {
    let tenant = TestTenant::alpha().await;
    let table = "again_messages";
    tenant.pipeline(STREAM, spec("stream", table, true)).await;
    // Accepted while they conform, and taken when they do not any more.
    let mut paused = spec("stream", table, true);
    paused["paused"] = json!(true);
    apply(&tenant, STREAM, paused).await;
    told(&tenant, STREAM, "Ready", "False", "accepted and kept").await;
    let messages: String = (0..MESSAGES)
        .map(|id| format!("{{\"id\": {id}}}\n"))
        .collect();
    tenant.post_messages(STREAM, "once", &messages).await;
    apply(&tenant, STREAM, spec("stream", table, false)).await;
    let count = format!("{MESSAGES} in the dead-letter queue");
    told(&tenant, STREAM, "PoisonMessages", "True", &count).await;
    assert_eq!(tenant.rows(table, &["id"]).await.len(), 0);

    let listed = succeeds(&tenant, &["dlq", "list", STREAM]).await;
    assert_eq!(listed["waiting"], json!(MESSAGES), "{listed}");
    let letter = &listed["letters"][0];
    let reason = letter["reason"].as_str().unwrap();
    assert!(reason.contains("size"), "{letter}");
    let id = letter["id"].as_str().unwrap();
    let shown = succeeds(&tenant, &["dlq", "show", STREAM, id]).await;
    assert_eq!(shown[0]["body"], json!({"text": "{\"id\": 0}"}), "{shown}");
    let purged = succeeds(&tenant, &["dlq", "purge", STREAM, id]).await;
    assert_eq!(purged["moved"], json!(1), "{purged}");

    // Not mended yet: they come back, and say since when they fail.
    let moved = succeeds(&tenant, &["dlq", "redrive", STREAM, "--all"]).await;
    assert_eq!(moved["moved"], json!(MESSAGES - 1), "{moved}");
    eventually("they come back", QUICK, || async {
        let listed = succeeds(&tenant, &["dlq", "list", STREAM]).await;
        let letters = listed["letters"].as_array().unwrap();
        let again = letters.iter().all(|letter| {
            letter["redriven"] == json!(1)
                && letter["firstAt"].as_str() <= letter["lastAt"].as_str()
        });
        match letters.len() == MESSAGES - 1 && again {
            true => Ok(()),
            false => Err(listed.to_string()),
        }
    })
    .await;

    tenant.pipeline(STREAM, spec("stream", table, true)).await;
    let moved = succeeds(&tenant, &["dlq", "redrive", STREAM, "--all"]).await;
    assert_eq!(moved["moved"], json!(MESSAGES - 1), "{moved}");
    eventually("each is a row", QUICK, || async {
        match tenant.rows(table, &["id"]).await.len() {
            count if count == MESSAGES - 1 => Ok(()),
            count => Err(format!("{count} rows")),
        }
    })
    .await;
    told(&tenant, STREAM, "PoisonMessages", "False", "").await;
}

#[tokio::test]
async fn quarantined_rows_are_replayed_once_the_pipeline_is_mended() {
    let tenant = TestTenant::alpha().await;
    let table = "again_files";
    let keyless = |mended| {
        let mut spec = spec("batch", table, mended);
        let table = spec["table"].as_object_mut().unwrap();
        table.remove("primaryKey");
        spec
    };
    let key = ["simbdp_ordinal"];
    tenant.pipeline(BATCH, keyless(false)).await;
    let rows: String = (0..30)
        .map(|id| match id % 10 {
            3 => format!("{id},NA\n"),
            7 => format!("{id},large\n"),
            _ => format!("{id},{id}\n"),
        })
        .collect();
    let content = format!("id,size\n{rows}");
    let file = tenant.upload(BATCH, "sizes.csv", content.as_bytes()).await;
    let record = tenant.ended(file.id).await;
    assert_eq!((record.accepted, record.rejected), (Some(24), Some(6)));
    let id = file.id.to_string();

    tenant.pipeline(BATCH, keyless(true)).await;
    let (code, replayed) =
        crate::cli::simbdp(&tenant, &["replay", &id, "--rejects", "--wait"]).await;
    assert_eq!(code, 1, "some rows are wrong still: {replayed}");
    let figures = (
        &replayed["accepted"],
        &replayed["rejected"],
        &replayed["replays"],
    );
    assert_eq!(figures, (&json!(27), &json!(3), &json!(1)), "{replayed}");
    assert_eq!(tenant.rows(table, &key).await.len(), 27);

    // The others are mended by hand.
    let path = format!("/v1/files/{id}/rejects");
    let request = tenant.request("analyst", reqwest::Method::GET, &path).await;
    let rejects = request.send().await.unwrap().text().await.unwrap();
    assert_eq!(rejects.lines().count(), 3, "{rejects}");
    let directory = tempfile::tempdir().unwrap();
    let mended = directory.path().join("rejects.ndjson");
    std::fs::write(&mended, rejects.replace(",large", ",1000")).unwrap();
    let mended = mended.to_str().unwrap();
    let args = ["replay", &id, "--rejects", "--file", mended, "--wait"];
    let done = succeeds(&tenant, &args).await;
    let figures = (&done["accepted"], &done["rejected"], &done["mends"]);
    assert_eq!(figures, (&json!(3), &json!(0), &json!(id)), "{done}");
    let cells = tenant.rows(table, &key).await;
    assert_eq!(cells.len(), 30, "each ordinal once");
    let large = cells
        .values()
        .filter(|row| row["size"].as_deref() == Some("1000"));
    assert_eq!(large.count(), 3);
    // The whole file once more changes nothing: what was mended is newer.
    let (_, whole) = crate::cli::simbdp(&tenant, &["replay", &id, "--wait"]).await;
    assert_eq!(whole["accepted"], json!(27), "{whole}");
    assert_eq!(tenant.rows(table, &key).await, cells);
}
