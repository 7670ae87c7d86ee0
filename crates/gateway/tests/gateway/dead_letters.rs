//! Dead letters: listed, shown, redriven, purged, by whom, and what is left when a server fails.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use simbdp_api::wire::rest::FileState;
use simbdp_api::wire::work::headers;
use simbdp_broker::Message;
use simbdp_broker::queue::{HeaderValue, PublishError};

use crate::support::{Answer, CSV, READER, Running, WRITER, World, ask, files, messages};

const WORK: &str = "ingest.planes";
const DEAD: &str = "ingest.planes.dead";

fn letter(ordinal: i64, condemned_at: i64) -> Message {
    Message {
        id: format!("planes/ann/k:{ordinal}"),
        body: format!("{{\"id\":{ordinal}}}").into(),
        headers: vec![
            (
                headers::SOURCE.into(),
                HeaderValue::Text("planes/ann/k".into()),
            ),
            (headers::ORDINAL.into(), HeaderValue::Long(ordinal)),
            (headers::VERSION.into(), HeaderValue::Long(7_000 + ordinal)),
            (
                headers::REASON.into(),
                HeaderValue::Text("no such day".into()),
            ),
            (headers::ATTEMPTS.into(), HeaderValue::Long(5)),
            (
                headers::CONDEMNED_AT.into(),
                HeaderValue::Long(condemned_at),
            ),
        ],
    }
}

fn world(letters: i64) -> World {
    let world = World::new();
    for ordinal in 0..letters {
        world.dead_letters.put(DEAD, letter(ordinal, 1_000));
    }
    world
}

async fn post(gateway: &Running, verb: &str, who: &str, body: Value) -> Answer {
    let request = Request::post(format!("/v1/pipelines/planes/dead-letters/{verb}"))
        .header("authorization", who)
        .header("content-type", "application/json");
    ask(
        &gateway.public,
        request.body(body.to_string().into()).unwrap(),
    )
    .await
}

fn ids(world: &World, queue: &str) -> Vec<String> {
    let queue = world.publisher.queue(queue).into_iter();
    queue.map(|message| message.id).collect()
}

fn expected(ordinals: impl IntoIterator<Item = i64>) -> Vec<String> {
    let ids = ordinals.into_iter();
    ids.map(|ordinal| format!("planes/ann/k:{ordinal}"))
        .collect()
}

#[tokio::test]
async fn listing_and_showing_take_nothing_away() {
    let world = world(5);
    let gateway = world.start();
    let list = gateway
        .get("/v1/pipelines/planes/dead-letters?limit=3")
        .await;
    let list = list.json();
    assert_eq!(list["waiting"], 5);
    assert_eq!(list["letters"].as_array().unwrap().len(), 3);
    let first = &list["letters"][0];
    assert_eq!(
        (&first["reason"], &first["attempts"], &first["lastAt"]),
        (
            &json!("no such day"),
            &json!(5),
            &json!("1970-01-01T00:00:01Z")
        )
    );
    assert_eq!(first.get("body"), None);
    let path = "/v1/pipelines/planes/dead-letters?id=planes%2Fann%2Fk%3A4";
    let shown = gateway.get(path).await.json();
    assert_eq!(shown["letters"][0]["body"], json!({"text": "{\"id\":4}"}));
    assert_eq!(shown["letters"].as_array().unwrap().len(), 1);
    assert_eq!(ids(&world, DEAD), expected(0..5), "in their order");
    // Two at once see the same.
    let path = "/v1/pipelines/planes/dead-letters";
    let (one, two) = tokio::join!(gateway.get(path), gateway.get(path));
    assert_eq!(one.json(), two.json());
    assert_eq!(one.json()["letters"].as_array().unwrap().len(), 5);
    assert_eq!(world.dead_letters.open.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_redriven_is_the_message_that_was_published() {
    let world = world(5);
    let gateway = world.start();
    let chosen = json!({"ids": ["planes/ann/k:3", "planes/ann/k:1", "planes/ann/k:9"]});
    let moved = post(&gateway, "redrive", WRITER, chosen).await.json();
    assert_eq!(
        (&moved["moved"], &moved["more"]),
        (&json!(2), &json!(false))
    );
    assert_eq!(moved["missing"], json!(["planes/ann/k:9"]));
    assert_eq!(ids(&world, DEAD), expected([0, 2, 4]));
    assert_eq!(ids(&world, WORK), expected([1, 3]));
    let redriven = &world.publisher.queue(WORK)[0];
    let has = |name: &str| {
        let mut headers = redriven.headers.iter();
        headers.find(|(key, _)| key == name).map(|(_, value)| value)
    };
    assert_eq!(has(headers::VERSION), Some(&HeaderValue::Long(7_001)));
    assert_eq!(has(headers::ORDINAL), Some(&HeaderValue::Long(1)));
    assert_eq!(
        has(headers::FIRST_CONDEMNED_AT),
        Some(&HeaderValue::Long(1_000))
    );
    assert_eq!((has(headers::REASON), has(headers::ATTEMPTS)), (None, None));
    // Several at a time, so in no order.
    let mut forgotten = world.ledger.forgotten.lock().unwrap().clone();
    forgotten.sort();
    assert_eq!(forgotten, expected([1, 3]), "attempts begin anew");
}

#[tokio::test]
async fn all_are_those_that_were_given_up_before_the_run_began() {
    let world = world(250);
    let gateway = world.start();
    let mut selection = json!({"all": true, "limit": 120});
    let mut moved = 0;
    let mut steps = 0;
    loop {
        let step = post(&gateway, "redrive", WRITER, selection.clone())
            .await
            .json();
        moved += step["moved"].as_u64().unwrap();
        selection["before"] = step["before"].clone();
        steps += 1;
        // One of them fails again at once.
        let now = chrono::Utc::now().timestamp_millis() + 1;
        world.dead_letters.put(DEAD, letter(steps, now));
        if step["more"] == false {
            break;
        }
    }
    assert_eq!((moved, steps), (250, 3));
    assert_eq!(ids(&world, WORK), expected(0..250));
    assert_eq!(ids(&world, DEAD), expected([1, 2, 3]));
}

#[tokio::test]
async fn what_the_queue_does_not_confirm_stays_a_dead_letter() {
    let world = world(5);
    let gateway = world.start();
    world.publisher.fail_after(2, PublishError::Full);
    let moved = post(&gateway, "redrive", WRITER, json!({"all": true})).await;
    let moved = moved.json();
    assert_eq!((&moved["moved"], &moved["more"]), (&json!(2), &json!(true)));
    assert_eq!(ids(&world, DEAD), expected(2..5));
    world.publisher.fail(PublishError::Full);
    let full = post(&gateway, "redrive", WRITER, json!({"all": true})).await;
    full.problem(429, "is full");
    assert_eq!(full.header("retry-after"), "10");
    // The confirm is lost: it may be in both queues, and is in none less.
    world
        .publisher
        .fail(PublishError::Unavailable("lost".into()));
    world.publisher.lost_confirm.store(true, Ordering::SeqCst);
    let lost = post(&gateway, "redrive", WRITER, json!({"all": true})).await;
    lost.problem(503, "harmless");
    assert_eq!(ids(&world, DEAD), expected(2..5));
    world.publisher.heal();
    let moved = post(&gateway, "redrive", WRITER, json!({"all": true})).await;
    assert_eq!(moved.json()["moved"], 3);
    assert!(ids(&world, DEAD).is_empty());
}

#[tokio::test]
async fn a_broker_that_goes_away_gives_every_letter_back() {
    let world = world(5);
    let gateway = world.start();
    *world.dead_letters.cut_after.lock().unwrap() = Some(3);
    let list = gateway.get("/v1/pipelines/planes/dead-letters").await;
    list.problem(503, "no dead letter is lost");
    let purged = post(&gateway, "purge", WRITER, json!({"all": true})).await;
    purged.problem(503, "no dead letter is lost");
    assert_eq!(ids(&world, DEAD), expected(0..5));
    world.dead_letters.down.store(true, Ordering::SeqCst);
    let list = gateway.get("/v1/pipelines/planes/dead-letters").await;
    list.problem(503, "the broker does not answer");
}

#[tokio::test]
async fn purging_removes_what_is_named_and_nothing_else() {
    let world = world(5);
    let gateway = world.start();
    let moved = post(
        &gateway,
        "purge",
        WRITER,
        json!({"ids": ["planes/ann/k:2"]}),
    )
    .await;
    assert_eq!(moved.json()["moved"], 1);
    assert_eq!(ids(&world, DEAD), expected([0, 1, 3, 4]));
    assert!(ids(&world, WORK).is_empty());
}

#[tokio::test]
async fn bad_selections_and_readers_move_nothing() {
    let world = world(2);
    let gateway = world.start();
    for (body, part) in [
        (json!({}), "`ids`, or `all: true`"),
        (json!({"ids": ["a"], "all": true}), "exclude each other"),
        (json!({"all": "yes"}), "not valid"),
        (json!({"everything": true}), "unknown field"),
        (json!({"all": true, "limit": 0}), "at least 1"),
        (json!({"ids": vec!["a"; 1_001]}), "1001 of at most 1000"),
    ] {
        for verb in ["redrive", "purge"] {
            let answer = post(&gateway, verb, WRITER, body.clone()).await;
            answer.problem(400, part);
        }
    }
    for verb in ["redrive", "purge"] {
        let answer = post(&gateway, verb, READER, json!({"all": true})).await;
        answer.problem(403, "needs the role Writer");
    }
    for limit in ["0", "1001", "many"] {
        let path = format!("/v1/pipelines/planes/dead-letters?limit={limit}");
        gateway.get(&path).await.problem(400, "1 to 1000");
    }
    let nowhere = gateway.get("/v1/pipelines/trains/dead-letters").await;
    nowhere.problem(404, "there are: flights, planes");
    let stranger = Request::get("/v1/pipelines/planes/dead-letters");
    let answer = ask(&gateway.public, stranger.body(Body::empty()).unwrap()).await;
    answer.problem(401, "Authorization");
    assert_eq!(ids(&world, DEAD), expected(0..2));
}

#[tokio::test]
async fn a_closed_pipeline_s_letters_are_listed_and_purged_but_not_redriven() {
    let world = world(2);
    world.close(messages("planes"));
    let gateway = world.start();
    let answer = post(&gateway, "redrive", WRITER, json!({"all": true})).await;
    answer.problem(503, "being deleted");
    let list = gateway.get("/v1/pipelines/planes/dead-letters").await;
    assert_eq!(list.json()["waiting"], 2);
    let answer = post(&gateway, "purge", WRITER, json!({"all": true})).await;
    assert_eq!(answer.json()["moved"], 2);
}

/// What comes into the dead-letter queue of a batch pipeline names no file of it, or one that has not ended.
#[tokio::test]
async fn work_on_files_is_redriven_only_where_it_would_be_taken() {
    let world = World::new();
    world.pipeline(files("flights", json!({})));
    let gateway = world.start();
    let id = gateway.put("a.csv", CSV).await.json()["id"].clone();
    let id: uuid::Uuid = serde_json::from_value(id).unwrap();
    let work = world.publisher.queue("ingest.flights").remove(0);
    let dead = "ingest.flights.dead";
    let junk = Message {
        id: "junk".into(),
        body: "hello".into(),
        headers: Vec::new(),
    };
    world.dead_letters.put(dead, work.clone());
    world.dead_letters.put(dead, junk);
    let listed = gateway
        .get("/v1/pipelines/flights/dead-letters")
        .await
        .json();
    assert_eq!(listed["letters"][0]["file"], json!(id));
    assert_eq!(listed["letters"][1].get("file"), None);
    let redrive = async || {
        let request = Request::post("/v1/pipelines/flights/dead-letters/redrive")
            .header("authorization", WRITER);
        let body = json!({"all": true}).to_string();
        ask(&gateway.public, request.body(body.into()).unwrap())
            .await
            .json()
    };
    let moved = redrive().await;
    assert_eq!(moved["moved"], 1);
    assert_eq!(moved["kept"][0]["id"], "junk");
    assert_eq!(world.publisher.queue("ingest.flights").len(), 2);
    world.dead_letters.put(dead, work);
    world.ledger.end(id, FileState::Failed, chrono::Utc::now());
    let moved = redrive().await;
    assert_eq!(moved["moved"], 0);
    let reason = moved["kept"][1]["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("simbdp replay {id}")), "{reason}");
}
