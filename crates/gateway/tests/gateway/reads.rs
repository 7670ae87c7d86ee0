//! Pipelines, the ledger, tables, and the internal API.

use std::sync::atomic::Ordering;

use serde_json::json;
use simbdp_api::wire::rest::FileState;
use simbdp_coredms::store::Page;
use simbdp_record::Value;
use uuid::Uuid;

use crate::support::{Answer, CSV, World};

fn id(answer: &Answer) -> Uuid {
    answer.json()["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn constraints_say_what_a_pipeline_takes() {
    let world = World::new();
    let gateway = world.start();
    let list = gateway.get("/v1/pipelines").await.json();
    let names: Vec<_> = list["pipelines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["pipeline"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["flights", "planes"]);
    let flights = gateway
        .get("/v1/pipelines/flights/constraints")
        .await
        .json();
    assert_eq!(flights["batch"]["maxFileSize"], 1_000_000);
    assert_eq!(
        flights["fields"][0],
        json!({"name": "id", "column": "id", "type": "int", "required": true})
    );
    let planes = gateway.get("/v1/pipelines/planes/constraints").await.json();
    assert_eq!(planes["stream"]["maxMessageSize"], 200);
}

#[tokio::test]
async fn the_ledger_is_listed_filtered_and_paged() {
    let world = World::new();
    let gateway = world.start();
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(id(&gateway.put("a.csv", format!("id,name\n{n},a\n")).await));
    }
    world
        .ledger
        .end(ids[0], FileState::Done, chrono::Utc::now());
    let first = gateway.get("/v1/files?limit=2").await.json();
    assert_eq!(first["files"].as_array().unwrap().len(), 2);
    assert_eq!(first["files"][0]["id"], json!(ids[2]));
    let page = first["nextPage"].as_str().unwrap();
    let second = gateway
        .get(&format!("/v1/files?limit=2&page={page}"))
        .await
        .json();
    assert_eq!(second["files"][0]["id"], json!(ids[0]));
    let done = gateway
        .get("/v1/files?state=done&pipeline=flights")
        .await
        .json();
    assert_eq!(done["files"].as_array().unwrap().len(), 1);
    let one = gateway.get(&format!("/v1/files/{}", ids[1])).await.json();
    assert_eq!(one["state"], "Queued");
    gateway
        .get("/v1/files?state=lost")
        .await
        .problem(400, "Ingesting");
    gateway
        .get("/v1/files?limit=0")
        .await
        .problem(400, "1 to 1000");
    gateway
        .get("/v1/files?page=x")
        .await
        .problem(400, "no such page");
    gateway
        .get(&format!("/v1/files/{}", Uuid::nil()))
        .await
        .problem(404, "there is no file");
    gateway
        .get("/v1/files/x")
        .await
        .problem(404, "a file's id is a UUID");
    world.ledger.set_down(true);
    gateway
        .get("/v1/files")
        .await
        .problem(503, "does not answer");
}

#[tokio::test]
async fn rows_are_read_by_key() {
    let world = World::new();
    *world.store.rows.lock().unwrap() = Page {
        columns: vec!["id".into(), "name".into()],
        rows: vec![
            vec![Some(Value::Int(1)), Some(Value::Text("a".into()))],
            vec![Some(Value::Int(1)), None],
        ],
        next: Some(vec![1, 2]),
    };
    let gateway = world.start();
    let page = gateway
        .get("/v1/tables/flights/rows?id=1&name.gte=a&limit=2")
        .await;
    assert_eq!(
        page.json(),
        json!({"rows": [{"id": 1, "name": "a"}, {"id": 1, "name": null}], "nextPage": "AQI"})
    );
    gateway.get("/v1/tables/flights/rows?id=1&page=AQI").await;
    let asked = world.store.asked.lock().unwrap().clone();
    assert_eq!(asked[0].partition, [("id".to_owned(), Value::Int(1))]);
    assert_eq!(asked[0].limit, 2);
    assert_eq!(asked[1].page, Some(vec![1, 2]));
    assert_eq!(
        *world.store.prepared.lock().unwrap(),
        ["t_x.flights"],
        "prepared once"
    );
    gateway
        .get("/v1/tables/flights/rows")
        .await
        .problem(400, "`id` is missing");
    gateway
        .get("/v1/tables/nope/rows?id=1")
        .await
        .problem(404, "there are: flights, planes");
    let table = gateway.get("/v1/tables/flights").await.json();
    assert_eq!(table["primaryKey"]["partition"], json!(["id"]));
    assert_eq!(
        gateway.get("/v1/tables").await.json()["tables"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    world.store.down.store(true, Ordering::SeqCst);
    gateway
        .get("/v1/tables/planes/rows?id=1")
        .await
        .problem(503, "does not answer");
}

#[tokio::test]
async fn pipelines_that_share_a_table_are_read_together() {
    let world = World::new();
    let mut more = crate::support::messages("more");
    more["table"]["name"] = json!("planes");
    more["table"]["columns"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "extra", "type": "text"}));
    world.pipeline(more);
    let gateway = world.start();
    let table = gateway.get("/v1/tables/planes").await.json();
    let columns: Vec<_> = table["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["column"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["id", "name", "extra"]);
}

#[tokio::test]
async fn staged_bytes_are_dropped_on_request() {
    let world = World::new();
    let gateway = world.start();
    let path = format!(
        "/internal/files/{}/content",
        id(&gateway.put("a.csv", CSV).await)
    );
    assert_eq!(gateway.inside("GET", &path, "").await.body, CSV.as_bytes());
    assert_eq!(gateway.inside("DELETE", &path, "").await.status, 204);
    assert_eq!(gateway.inside("DELETE", &path, "").await.status, 204);
    gateway
        .inside("GET", &path, "")
        .await
        .problem(404, "nothing of file");
    assert!(world.staged("staged").is_empty());
    gateway
        .inside("GET", "/internal/files/..%2F..%2Fclock/content", "")
        .await
        .problem(404, "UUID");
}

#[tokio::test]
async fn reject_files_are_kept_and_streamed() {
    let world = World::new();
    let gateway = world.start();
    let file = id(&gateway.put("a.csv", CSV).await);
    let (inside, outside) = (
        format!("/internal/files/{file}/rejects"),
        format!("/v1/files/{file}/rejects"),
    );
    gateway.get(&outside).await.problem(404, "is quarantined");
    gateway
        .inside("GET", &inside, "")
        .await
        .problem(404, "nothing of file");
    assert_eq!(
        gateway
            .inside("PUT", &inside, "{\"line\":1}\n")
            .await
            .status,
        204
    );
    assert_eq!(
        gateway
            .inside("PUT", &inside, "{\"line\":2}\n")
            .await
            .status,
        204
    );
    let answer = gateway.get(&outside).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert_eq!(answer.body, b"{\"line\":2}\n");
    assert_eq!(
        gateway.inside("GET", &inside, "").await.body,
        b"{\"line\":2}\n"
    );
    assert!(world.staged("incoming").is_empty());
}

#[tokio::test]
async fn reject_files_of_another_replica_are_passed_on() {
    let owner = World::new();
    let owning = owner.start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, owning.internal).await });
    let mut world = World::new();
    world.ledger = owner.ledger.clone();
    world.peers = vec![format!("http://{address}")];
    let gateway = world.start();
    let file = id(&owner.start().put("a.csv", CSV).await);
    owner.ledger.end(file, FileState::Done, chrono::Utc::now());
    let path = format!("/v1/files/{file}/rejects");
    gateway.get(&path).await.problem(404, "not kept any more");
    std::fs::write(
        owner.staging().join(format!("rejects/{file}.ndjson")),
        "{}\n",
    )
    .unwrap();
    assert_eq!(gateway.get(&path).await.body, b"{}\n");
    world.peers = vec!["http://127.0.0.1:1".into()];
    world
        .start()
        .get(&path)
        .await
        .problem(503, "does not answer");
}

#[tokio::test]
async fn the_state_is_told_to_the_operator() {
    let world = World::new();
    let gateway = world.start();
    gateway.put("a.csv", CSV).await;
    let mut state = gateway.inside("GET", "/internal/state", "").await.json();
    // Since the file; the other one was never published to.
    let flights = state["pipelines"][0].as_object_mut().unwrap();
    let quiet = flights.remove("quietSeconds").unwrap();
    assert!(quiet.as_u64().unwrap() < 60, "{quiet}");
    assert_eq!(
        state,
        json!({
            "pipelines": [
                {"name": "flights", "generation": 4, "rows": 7, "rejected": 2, "inFlight": 0, "unpublished": 0},
                {"name": "planes", "generation": 4, "rows": 7, "rejected": 2, "inFlight": 0, "unpublished": 0},
            ],
            "stagedFiles": 1,
            "coredms": true,
            "broker": true,
        })
    );
    world.store.down.store(true, Ordering::SeqCst);
    world
        .publisher
        .fail(simbdp_broker::queue::PublishError::Full);
    let state = gateway.inside("GET", "/internal/state", "").await.json();
    assert_eq!(
        (&state["coredms"], &state["broker"]),
        (&json!(false), &json!(false))
    );
    assert!(state["pipelines"][0].get("rows").is_none());
}
