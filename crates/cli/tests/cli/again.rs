//! `dlq` and `replay` against a gateway that answers from a script and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::program::{Ran, bare, run};

#[derive(Default)]
struct Script {
    answers: VecDeque<(u16, Value)>,
    asked: Vec<(String, Value)>,
}

#[derive(Clone, Default)]
struct Scripted {
    script: Arc<Mutex<Script>>,
    url: String,
}

async fn answer(
    State(gateway): State<Scripted>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let mut script = gateway.script.lock().unwrap();
    let body = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(_) => json!(String::from_utf8_lossy(&body)),
    };
    script.asked.push((format!("{method} {uri}"), body));
    let (status, answer) = script.answers.pop_front().expect("it is in the script");
    let problem = [("content-type", "application/problem+json")];
    let status = StatusCode::from_u16(status).unwrap();
    match status.is_success() {
        true => (status, answer.to_string()).into_response(),
        false => (status, problem, answer.to_string()).into_response(),
    }
}

impl Scripted {
    async fn start(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            ..Self::default()
        };
        gateway.script.lock().unwrap().answers.extend(answers);
        let router = Router::new().fallback(answer).with_state(gateway.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        gateway
    }

    async fn run(&self, args: &[&str]) -> Ran {
        let mut command = bare(args);
        command
            .env("SIMBDP_SERVER", &self.url)
            .env("SIMBDP_TOKEN", "token");
        run(command).await
    }

    fn asked(&self) -> Vec<(String, Value)> {
        self.script.lock().unwrap().asked.clone()
    }
}

const BEFORE: &str = "2026-01-01T00:00:00Z";

fn moved(count: u64, more: bool) -> (u16, Value) {
    let moved = json!({"moved": count, "more": more, "before": BEFORE});
    (200, moved)
}

fn problem(status: u16, detail: &str) -> (u16, Value) {
    let problem = json!({"type": "about:blank", "title": "t", "status": status, "detail": detail});
    (status, problem)
}

#[tokio::test]
async fn all_are_redriven_step_by_step_and_what_comes_back_is_left_alone() {
    let gateway = Scripted::start([moved(200, true), moved(200, true), moved(7, false)]).await;
    let ran = gateway
        .run(&["dlq", "redrive", "planes", "--all", "-o", "json"])
        .await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert_eq!(ran.json(), json!({"moved": 407, "kept": [], "missing": []}));
    let asked = gateway.asked();
    let path = "POST /v1/pipelines/planes/dead-letters/redrive";
    assert!(asked.iter().all(|(asked, _)| asked == path), "{asked:?}");
    assert_eq!(asked[0].1.get("before"), None);
    assert_eq!(asked[2].1["before"], json!(BEFORE));
}

#[tokio::test]
async fn what_is_left_where_it_is_makes_the_exit_code() {
    let kept = json!({"id": "junk", "reason": "it names no staged file"});
    let step =
        json!({"moved": 1, "more": false, "before": BEFORE, "kept": [kept], "missing": ["a:9"]});
    let gateway = Scripted::start([(200, step)]).await;
    let ran = gateway
        .run(&["dlq", "purge", "planes", "junk", "a:1", "a:9"])
        .await;
    assert_eq!(ran.code, 1, "{ran:?}");
    for part in ["purged", "it names no staged file", "a:9"] {
        assert!(ran.stdout.contains(part), "{ran:?}");
    }
    assert_eq!(gateway.asked()[0].1["ids"], json!(["junk", "a:1", "a:9"]));
}

#[tokio::test]
async fn an_error_in_the_middle_says_how_many_were_moved() {
    let gateway = Scripted::start([moved(200, true), problem(403, "the role Reader")]).await;
    let ran = gateway.run(&["dlq", "redrive", "planes", "--all"]).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(
        ran.stderr.contains("200 dead letters were redriven"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn letters_are_listed_and_shown() {
    let letter = json!({
        "id": "planes/ann/k:0", "reason": "column `size`: is missing", "attempts": 1,
        "firstAt": BEFORE, "lastAt": BEFORE, "redriven": 0, "bytes": 9,
    });
    let list = json!({"pipeline": "planes", "waiting": 3, "letters": [letter]});
    let mut whole = letter.clone();
    whole["body"] = json!({"text": "{\"id\": 0}"});
    let one = json!({"pipeline": "planes", "waiting": 3, "letters": [whole]});
    let none = json!({"pipeline": "planes", "waiting": 3, "letters": []});
    let gateway = Scripted::start([(200, list), (200, one), (200, none)]).await;
    let ran = gateway
        .run(&["dlq", "list", "planes", "--limit", "1", "-o", "csv"])
        .await;
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 2), "{ran:?}");
    assert!(ran.stderr.contains("1 of 3"), "{ran:?}");
    let ran = gateway
        .run(&["dlq", "show", "planes", "planes/ann/k:0"])
        .await;
    assert!(ran.stdout.ends_with("{\"id\": 0}\n\n"), "{ran:?}");
    let ran = gateway.run(&["dlq", "show", "planes", "nobody"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("dlq list planes"), "{ran:?}");
    let asked = gateway.asked();
    assert_eq!(
        asked[1].0,
        "GET /v1/pipelines/planes/dead-letters?id=planes%2Fann%2Fk%3A0"
    );
}

#[tokio::test]
async fn a_selection_that_says_nothing_or_too_much_is_refused_at_once() {
    let gateway = Scripted::start([]).await;
    for args in [
        &["dlq", "redrive", "planes"][..],
        &["dlq", "purge", "planes", "a:1", "--all"],
        &["dlq", "list", "planes", "--limit", "0"],
        &["dlq", "list", "planes", "--limit", "1001"],
        &["replay", "first"],
    ] {
        let ran = gateway.run(args).await;
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
    }
    assert!(gateway.asked().is_empty());
}

const ID: &str = "0197b3c2-5a1f-7c4e-9d3a-2f6b8c1e0a47";
const OTHER: &str = "0197b3c2-5a1f-7c4e-9d3a-2f6b8c1e0a48";

fn record(id: &str, state: &str, rejected: u64) -> (u16, Value) {
    let record = json!({
        "id": id, "pipeline": "weather", "name": "a.csv", "state": state, "format": "csv",
        "compression": "none", "bytes": 9, "sha256": "00", "user": "ann", "acceptedAt": BEFORE,
        "updatedAt": BEFORE, "accepted": 5, "rejected": rejected, "replays": 1,
    });
    (200, record)
}

#[tokio::test]
async fn a_replay_is_asked_for_and_waited_for() {
    let replayed = json!({"id": ID, "replays": 1, "location": "/v1/files/x"});
    let answers = [
        (202, replayed),
        record(ID, "Queued", 2),
        record(ID, "Done", 1),
    ];
    let gateway = Scripted::start(answers).await;
    let args = ["replay", ID, "--rejects", "--wait", "-o", "json"];
    let ran = gateway.run(&args).await;
    assert_eq!(ran.code, 1, "one row is quarantined still: {ran:?}");
    assert_eq!(ran.json()["rejected"], json!(1));
    let asked = gateway.asked();
    assert_eq!(
        asked[0].0,
        format!("POST /v1/files/{ID}/replay?rejects=true")
    );
    let gone = Scripted::start([problem(410, "the bytes are not kept any more")]).await;
    let ran = gone.run(&["replay", ID]).await;
    assert_eq!((ran.code, gone.asked().len()), (1, 1), "{ran:?}");
    assert!(ran.stderr.contains("not kept any more"), "{ran:?}");
}

#[tokio::test]
async fn mended_rows_are_sent_under_the_header_that_they_were_read_by() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rejects.ndjson");
    std::fs::write(
        &path,
        "{\"line\":9,\"ordinal\":7,\"reason\":\"r\",\"raw\":\"7,x\"}\n",
    )
    .unwrap();
    let reject_file =
        json!({"line": 3, "ordinal": 1, "reason": "r", "raw": "1,", "header": "id,name"});
    let uploaded = json!({"id": OTHER, "sha256": "00", "bytes": 9, "location": "/v1/files/x"});
    let answers = [
        record(ID, "Done", 2),
        (200, reject_file),
        (202, uploaded),
        record(OTHER, "Queued", 0),
    ];
    let gateway = Scripted::start(answers).await;
    let file = path.to_str().unwrap();
    let ran = gateway
        .run(&["replay", ID, "--rejects", "--file", file])
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains(OTHER), "{ran:?}");
    let asked = gateway.asked();
    assert_eq!(asked[2].0, format!("PUT /v1/files/{ID}/rejects"));
    assert_eq!(
        (&asked[2].1["ordinal"], &asked[2].1["header"]),
        (&json!(7), &json!("id,name"))
    );
    std::fs::write(&path, "7,x\n").unwrap();
    let gateway = Scripted::start([record(ID, "Done", 2)]).await;
    let ran = gateway
        .run(&["replay", ID, "--rejects", "--file", file])
        .await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("line 1 is no row"), "{ran:?}");
}
