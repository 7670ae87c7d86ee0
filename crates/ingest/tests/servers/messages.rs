//! Messages from the queue into the table, through the program.

use serde_json::json;
use simbdp_broker::Message;

use crate::support::{Pair, Pipeline, on_each_pair, thing, until};

on_each_pair! {
    messages_go_into_the_table_and_bad_ones_into_the_dead_letter_queue
    fifty_roll_outs_under_load_lose_and_condemn_nothing
    killed_between_write_and_acknowledgement_nothing_is_lost_or_condemned
}

fn mode() -> serde_json::Value {
    json!({"type": "stream", "maxMessageSize": 1_024})
}

async fn assert_whole(pipeline: &Pipeline, rows: i32) {
    let found = pipeline.rows().await;
    assert_eq!(found.len(), rows as usize);
    for (id, name) in found {
        assert_eq!(name, format!("n{id}"));
    }
}

async fn messages_go_into_the_table_and_bad_ones_into_the_dead_letter_queue(pair: Pair) {
    let pipeline = Pipeline::new(pair, "messages", mode()).await;
    let mut app = pipeline.start().await;
    pipeline.publish((0..2_000).map(thing).collect()).await;
    pipeline
        .publish(vec![Message {
            body: "{".into(),
            ..thing(9_999)
        }])
        .await;
    until("all is acknowledged", async || {
        pipeline.depths().await == (0, 1)
    })
    .await;
    assert_whole(&pipeline, 2_000).await;
    assert!(app.stop().await.success());
    let totals = pipeline.ledger.totals("p").await.unwrap();
    assert_eq!((totals.rows, totals.rejected), (2_000, 1));
}

async fn fifty_roll_outs_under_load_lose_and_condemn_nothing(pair: Pair) {
    let pipeline = Pipeline::new(pair, "rollouts", mode()).await;
    for rollout in 0..50 {
        let mut app = pipeline.start().await;
        pipeline
            .publish((rollout * 200..(rollout + 1) * 200).map(thing).collect())
            .await;
        assert!(app.stop().await.success());
    }
    let mut app = pipeline.start().await;
    until("all is acknowledged", async || {
        pipeline.depths().await.0 == 0
    })
    .await;
    assert_eq!(pipeline.depths().await, (0, 0), "no dead letters");
    assert_whole(&pipeline, 10_000).await;
    assert!(app.stop().await.success());
}

#[cfg(feature = "failpoints")]
async fn killed_between_write_and_acknowledgement_nothing_is_lost_or_condemned(pair: Pair) {
    let pipeline = Pipeline::new(pair, "killedstream", mode()).await;
    for kill in 0..5 {
        let mut app = pipeline.start().await;
        app.fail_at("after-write", "abort").await;
        pipeline
            .publish((kill * 100..(kill + 1) * 100).map(thing).collect())
            .await;
        app.died().await;
    }
    let mut app = pipeline.start().await;
    until("all is acknowledged", async || {
        pipeline.depths().await.0 == 0
    })
    .await;
    assert_eq!(pipeline.depths().await, (0, 0), "no dead letters");
    assert_whole(&pipeline, 500).await;
    assert!(app.stop().await.success());
}
