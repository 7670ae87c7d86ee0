//! `POST /v1/pipelines/{p}/messages`.

use serde_json::json;
use simbdp_api::wire::work::headers;
use simbdp_broker::queue::{HeaderValue, Message, PublishError};

use crate::support::{READER, World, ask};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const QUEUE: &str = "ingest.planes";

fn header<'a>(message: &'a Message, name: &str) -> &'a HeaderValue {
    let found = message.headers.iter().find(|(other, _)| other == name);
    &found.unwrap_or_else(|| panic!("no header {name}")).1
}

fn version(message: &Message) -> i64 {
    match header(message, headers::VERSION) {
        HeaderValue::Long(version) => *version,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_message_is_confirmed_before_202() {
    let world = World::new();
    let gateway = world.start();
    let answer = gateway.post(JSON, &[], r#"{"id":1,"name":"a"}"#).await;
    assert_eq!(answer.status, 202);
    let result = answer.json();
    assert_eq!(
        (&result["accepted"], &result["rejected"]),
        (&json!(1), &json!(0))
    );
    let queue = world.publisher.queue(QUEUE);
    assert_eq!(queue.len(), 1);
    let source = result["source"].as_str().unwrap();
    assert_eq!(queue[0].id, format!("{source}:0"));
    assert_eq!(&queue[0].body[..], br#"{"id":1,"name":"a"}"#);
    assert_eq!(
        header(&queue[0], headers::SOURCE),
        &HeaderValue::Text(source.into())
    );
    assert_eq!(header(&queue[0], headers::ORDINAL), &HeaderValue::Long(0));
    assert!(version(&queue[0]) > 1_700_000_000_000_000);
}

#[tokio::test]
async fn many_messages_keep_their_ordinals_and_versions_in_order() {
    let world = World::new();
    let gateway = world.start();
    let body =
        "{\"id\":1,\"name\":\"a\"}\r\n\n{\"id\":\"x\",\"name\":\"b\"}\n{\"id\":3,\"name\":\"c\"}";
    let answer = gateway
        .post(NDJSON, &[("idempotency-key", "k-1")], body)
        .await;
    assert_eq!(answer.status, 202);
    let result = answer.json();
    assert_eq!(
        (&result["accepted"], &result["rejected"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(result["source"], "planes/ann/k-1");
    assert_eq!(result["errors"][0]["record"], 1);
    assert_eq!(result["errors"][0]["column"], "id");
    let queue = world.publisher.queue(QUEUE);
    let ids: Vec<_> = queue.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(
        ids,
        ["planes/ann/k-1:0", "planes/ann/k-1:2"],
        "ordinals count before filtering"
    );
    assert_eq!(&queue[0].body[..], br#"{"id":1,"name":"a"}"#);
    assert_eq!(version(&queue[1]), version(&queue[0]) + 2);
}

#[tokio::test]
async fn the_same_request_again_is_the_same_records() {
    let world = World::new();
    let gateway = world.start();
    let key = [("idempotency-key", "k-1")];
    let body = r#"{"id":1,"name":"a"}"#;
    gateway.post(JSON, &key, body).await;
    gateway.post(JSON, &[], r#"{"id":9,"name":"z"}"#).await;
    let again = gateway.post(JSON, &key, body).await;
    assert_eq!(again.status, 202);
    let queue = world.publisher.queue(QUEUE);
    assert_eq!(queue[0], queue[2], "id, version and body are the same");
    assert!(version(&queue[1]) > version(&queue[0]));
    let other = gateway.post(JSON, &key, r#"{"id":2,"name":"a"}"#).await;
    other.problem(422, "another body");
    assert_eq!(world.publisher.queue(QUEUE).len(), 3);
}

#[tokio::test]
async fn the_same_key_of_two_users_or_pipelines_is_of_different_records() {
    let world = World::new();
    world.pipeline(crate::support::messages("boats"));
    let gateway = world.start();
    let key = [("idempotency-key", "k")];
    let dora = [
        ("idempotency-key", "k"),
        ("authorization", crate::support::DORA),
    ];
    let body = r#"{"id":1,"name":"a"}"#;
    for (pipeline, headers) in [
        ("planes", &key[..]),
        ("planes", &dora[..]),
        ("boats", &key[..]),
    ] {
        let answer = gateway.post_to(pipeline, JSON, headers, body).await;
        assert_eq!(answer.status, 202);
    }
    let mut ids: Vec<_> = [QUEUE, "ingest.boats"]
        .iter()
        .flat_map(|queue| world.publisher.queue(queue))
        .map(|message| message.id)
        .collect();
    ids.sort();
    assert_eq!(ids, ["boats/ann/k:0", "planes/ann/k:0", "planes/dora/k:0"]);
    // Another replica, or this one after a restart, says the same of the same user.
    world.start().post(JSON, &key, body).await;
    assert_eq!(world.publisher.queue(QUEUE)[2].id, "planes/ann/k:0");
}

#[tokio::test]
async fn versions_never_go_backwards_over_a_restart() {
    let world = World::new();
    let body = r#"{"id":1,"name":"a"}"#;
    world.start().post(JSON, &[], body).await;
    world.start().post(JSON, &[], body).await;
    let queue = world.publisher.queue(QUEUE);
    assert!(version(&queue[1]) > version(&queue[0]));
}

#[tokio::test]
async fn bad_messages_are_told_what_would_be_right() {
    let world = World::new();
    let gateway = world.start();
    for (body, record, part) in [
        ("not json", 0, "JSON"),
        ("[1]", 0, "object"),
        (r#"{"id":1}"#, 0, "name"),
        (r#"{"id":1,"name":null}"#, 0, "name"),
        (r#"{"id":1,"name":"a","extra":2}"#, 0, "extra"),
        (r#"{"id":"one","name":"a"}"#, 0, "id"),
        (r#"{"id":99999999999,"name":"a"}"#, 0, "id"),
        ("{\"id\":1,\"name\":\"a\"", 0, "JSON"),
    ] {
        let answer = gateway.post(JSON, &[], body).await;
        let problem = answer.problem(422, part);
        assert_eq!(problem["errors"][0]["record"], record, "{body}");
    }
    gateway.post(JSON, &[], "").await.problem(422, "no record");
    gateway
        .post(NDJSON, &[], "\n \n")
        .await
        .problem(422, "no record");
    assert!(world.publisher.queue(QUEUE).is_empty());
}

#[tokio::test]
async fn too_large_messages_name_the_limit() {
    let world = World::new();
    let gateway = world.start();
    let large = format!(r#"{{"id":1,"name":"{}"}}"#, "x".repeat(300));
    gateway
        .post(JSON, &[], large.clone())
        .await
        .problem(413, "at most 200");
    let both = format!("{large}\n{{\"id\":2,\"name\":\"b\"}}\n");
    let answer = gateway.post(NDJSON, &[], both).await;
    assert_eq!(answer.status, 202);
    let result = answer.json();
    assert_eq!(result["rejected"], 1);
    assert!(
        result["errors"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("at most 200")
    );
}

#[tokio::test]
async fn a_request_is_bounded_in_bytes_and_records() {
    let mut world = World::new();
    world.limits.max_body = 1000;
    world.limits.max_records = 3;
    let gateway = world.start();
    gateway
        .post(NDJSON, &[], "x".repeat(1001))
        .await
        .problem(413, "1000 bytes");
    let record = "{\"id\":1,\"name\":\"a\"}\n";
    assert_eq!(
        gateway.post(NDJSON, &[], record.repeat(3)).await.status,
        202
    );
    gateway
        .post(NDJSON, &[], record.repeat(4))
        .await
        .problem(413, "at most 3 records");
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let world = World::new();
    let gateway = world.start();
    let body = r#"{"id":1,"name":"a"}"#;
    for media in [
        "text/plain",
        "application/xml",
        "nonsense",
        "application/json; charset=latin1",
    ] {
        gateway
            .post(media, &[], body)
            .await
            .problem(415, "application/x-ndjson");
    }
    let coded = gateway
        .post(JSON, &[("content-encoding", "gzip")], body)
        .await;
    coded.problem(415, "uncompressed");
    let utf8 = gateway
        .post("application/json; charset=utf-8", &[], body)
        .await;
    assert_eq!(utf8.status, 202);
}

#[tokio::test]
async fn odd_idempotency_keys_are_refused() {
    let world = World::new();
    let gateway = world.start();
    for key in ["", "a b", &"k".repeat(129)] {
        let answer = gateway.post(JSON, &[("idempotency-key", key)], "{}").await;
        answer.problem(400, "Idempotency-Key");
    }
}

#[tokio::test]
async fn unknown_closed_and_wrong_pipelines_are_told() {
    let world = World::new();
    let mut closed = crate::support::messages("closed");
    closed["closed"] = json!("the pipeline is being deleted");
    world.pipeline(closed);
    let gateway = world.start();
    let body = r#"{"id":1,"name":"a"}"#;
    let unknown = gateway.post_to("nope", JSON, &[], body).await;
    unknown.problem(404, "there are: closed, flights, planes");
    let closed = gateway.post_to("closed", JSON, &[], body).await;
    closed.problem(503, "is being deleted");
    assert!(!closed.header("retry-after").is_empty());
    let wrong = gateway.post_to("flights", JSON, &[], body).await;
    wrong.problem(409, "PUT /v1/pipelines/flights/files");
}

#[tokio::test]
async fn a_full_queue_is_429_and_says_what_was_taken() {
    let world = World::new();
    let gateway = world.start();
    world.publisher.fail_after(1, PublishError::Full);
    let body = "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}\n{\"id\":3}\n";
    let key = [("idempotency-key", "k")];
    let answer = gateway.post(NDJSON, &key, body).await;
    let problem = answer.problem(429, "1 of 2 records are accepted");
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(problem["errors"][0]["record"], 1);
    assert_eq!(problem["errors"][1]["record"], 2);
    world.publisher.heal();
    let again = gateway.post(NDJSON, &key, body).await;
    assert_eq!(again.json()["accepted"], 2);
    let queue = world.publisher.queue(QUEUE);
    assert_eq!(
        queue[0], queue[1],
        "the one that was taken is repeated as the same record"
    );
    assert_eq!(queue.len(), 3);
}

#[tokio::test]
async fn without_a_broker_it_is_503() {
    let world = World::new();
    let gateway = world.start();
    let body = r#"{"id":1,"name":"a"}"#;
    world
        .publisher
        .fail(PublishError::Unavailable("refused".into()));
    let answer = gateway.post(JSON, &[], body).await;
    answer.problem(503, "0 of 1 records");
    assert!(!answer.header("retry-after").is_empty());
    world.publisher.fail(PublishError::NoQueue(QUEUE.into()));
    gateway
        .post(JSON, &[], body)
        .await
        .problem(503, "not there yet");
}

#[tokio::test]
async fn messages_do_not_need_the_database() {
    let world = World::new();
    let gateway = world.start();
    world.ledger.set_down(true);
    assert_eq!(
        gateway
            .post(JSON, &[], r#"{"id":1,"name":"a"}"#)
            .await
            .status,
        202
    );
}

#[tokio::test]
async fn a_reader_may_not_write() {
    let world = World::new();
    let gateway = world.start();
    let request = axum::http::Request::post("/v1/pipelines/planes/messages")
        .header("authorization", READER)
        .header("content-type", JSON)
        .body(r#"{"id":1,"name":"a"}"#.into())
        .unwrap();
    ask(&gateway.public, request)
        .await
        .problem(403, "needs the role Writer");
    assert!(world.publisher.queue(QUEUE).is_empty());
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_held_are_bounded() {
    let mut world = World::new();
    world.limits.max_body = 4096;
    world.limits.bodies = 4096;
    let gateway = world.start();
    let held = gateway.gateway.bodies.acquire_many(4).await.unwrap();
    let body = r#"{"id":1,"name":"a"}"#;
    gateway
        .post(JSON, &[], body)
        .await
        .problem(503, "as many messages");
    drop(held);
    assert_eq!(gateway.post(JSON, &[], body).await.status, 202);
}

#[tokio::test]
async fn of_what_a_tenants_own_program_reads_only_json_objects_are_asked() {
    let world = World::new();
    let mut config = crate::support::messages("planes");
    config["app"] = json!({"output": "Rows", "timeoutSeconds": 60});
    world.pipeline(config);
    let gateway = world.start();
    let body = "{\"whatever\":[1]}\n[1]\n{\"id\":\n{}\n";
    let answer = gateway.post(NDJSON, &[], body).await;
    assert_eq!(answer.status, 202);
    let result = answer.json();
    assert_eq!(
        (&result["accepted"], &result["rejected"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(world.publisher.queue(QUEUE).len(), 2);
    let told = gateway.get("/v1/pipelines/planes/constraints").await.json();
    assert_eq!(told["fields"], json!([]));
}
