//! Suspects: what kills the app is condemned alone, and roll-outs condemn nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::shutdown::Shutdown;
use crate::suspects::SUSPECT_RETURNS;
use simbdp_api::pipeline::Compression;
use simbdp_api::wire::rest::FileState;
use simbdp_api::wire::work::headers;
use simbdp_broker::queue::HeaderValue;
use simbdp_coredms::store::StoreError;
use tokio::sync::Notify;

use super::fakes::{Event, FakeTable, has_key};
use super::rig::{MAX_ATTEMPTS, PREFETCH, World, csv, header, thing, work};

/// A world whose app dies whenever it writes the row 13; `died` tells when.
fn poisoned(content: Vec<u8>) -> (World, Arc<Notify>) {
    let died = Arc::new(Notify::new());
    let dies = died.clone();
    let world = World::new(content).with_table(|journal| {
        FakeTable::judging(journal, move |rows| {
            let (poison, dies) = (has_key(&rows, "13"), dies.clone());
            Box::pin(async move {
                if poison {
                    dies.notify_one();
                    std::future::pending::<()>().await;
                }
                Ok(())
            })
        })
    });
    (world, died)
}

#[tokio::test(start_paused = true)]
async fn a_message_that_kills_the_app_is_condemned_and_no_other() {
    let (world, died) = poisoned(Vec::new());
    world.put_things(0..100);
    let mut deaths = 0;
    loop {
        let shutdown = Shutdown::new();
        let app = tokio::spawn(world.stream(&shutdown));
        tokio::select! {
            () = world.queue.drained() => {
                shutdown.stop();
                app.await.unwrap();
                break;
            }
            () = died.notified() => {
                deaths += 1;
                app.abort();
                assert!(app.await.unwrap_err().is_cancelled());
            }
        }
    }
    let dead = world.queue.dead();
    assert_eq!(
        dead.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(),
        ["s:13"]
    );
    assert_eq!(
        header(&dead[0], headers::ATTEMPTS),
        &HeaderValue::Long(i64::from(MAX_ATTEMPTS))
    );
    assert_eq!(deaths, SUSPECT_RETURNS + MAX_ATTEMPTS);
    assert_eq!(world.table.len(), 99);
    assert!(
        world.ledger.attempts.lock().unwrap().is_empty(),
        "attempts are forgotten"
    );
}

#[tokio::test(start_paused = true)]
async fn suspects_wait_for_the_healthy_then_are_taken_one_at_a_time() {
    let world = World::new(Vec::new());
    for id in [3, 4] {
        world.queue.put(thing(id), SUSPECT_RETURNS);
    }
    world.put_things(100..200);
    world.ingest_messages().await;
    assert_eq!(world.table.len(), 102);
    assert_eq!(world.queue.prefetches(), [1, PREFETCH]);
    let events = world.journal.events();
    let first_write = events
        .iter()
        .position(|event| matches!(event, Event::Wrote(_)))
        .unwrap();
    let back = world.journal.position(&Event::HandedBack("s:3".into()));
    // Whatever healthy was taken with them is written before they are handed back.
    for event in &events[..back] {
        assert!(!matches!(event, Event::Acked(id) if id == "s:3" || id == "s:4"));
    }
    assert!(first_write > 0 || back == 0);
    assert!(world.queue.dead().is_empty());
    assert!(world.ledger.attempts.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn fifty_roll_outs_under_load_condemn_nothing() {
    let world = World::new(Vec::new()).with_table(|journal| {
        FakeTable::judging(journal, |_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(())
            })
        })
    });
    let mut most_returns = 0;
    for rollout in 0..50_u32 {
        world.put_things(rollout * 40..(rollout + 1) * 40);
        let shutdown = Shutdown::new();
        let app = tokio::spawn(world.stream(&shutdown));
        tokio::time::sleep(Duration::from_millis(u64::from(rollout % 7) * 11)).await;
        shutdown.stop();
        tokio::time::sleep(Duration::from_millis(u64::from(rollout % 3) * 9)).await;
        shutdown.expire();
        app.await.unwrap();
        most_returns = most_returns.max(world.queue.most_returns());
    }
    assert!(
        most_returns > SUSPECT_RETURNS,
        "messages came back {most_returns} times at most"
    );
    world.ingest_messages().await;
    assert_eq!(world.table.len(), 2_000);
    assert!(world.queue.dead().is_empty());
    assert!(world.ledger.attempts.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn roll_outs_while_the_database_is_down_condemn_no_suspect() {
    let world = World::new(Vec::new()).with_table(|journal| {
        FakeTable::failing(journal, 200, StoreError::Transient("no quorum".into()))
    });
    world.queue.put(thing(1), SUSPECT_RETURNS + 20);
    for _ in 0..50 {
        let shutdown = Shutdown::new();
        let app = tokio::spawn(world.stream(&shutdown));
        tokio::time::sleep(Duration::from_secs(1)).await;
        shutdown.stop();
        tokio::time::sleep(Duration::from_secs(1)).await;
        shutdown.expire();
        app.await.unwrap();
    }
    world.ingest_messages().await;
    assert!(world.queue.dead().is_empty());
    assert_eq!(world.table.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_kills_the_app_fails_after_its_attempts() {
    let content = csv(30);
    let work = work(&content, Compression::None);
    let (world, died) = poisoned(content);
    world.put_file(&work, 0);
    let mut deaths = 0;
    loop {
        let shutdown = Shutdown::new();
        let app = tokio::spawn(world.batch(&shutdown));
        tokio::select! {
            () = world.queue.drained() => {
                shutdown.stop();
                app.await.unwrap();
                break;
            }
            () = died.notified() => {
                deaths += 1;
                app.abort();
                assert!(app.await.unwrap_err().is_cancelled());
            }
        }
    }
    assert_eq!(deaths, SUSPECT_RETURNS + MAX_ATTEMPTS);
    let outcome = world.ledger.outcome(work.id);
    assert_eq!(outcome.state, FileState::Failed);
    assert!(outcome.error.unwrap().contains("ended without result"));
    assert!(world.ledger.attempts.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn fifty_roll_outs_condemn_no_long_file() {
    let content = csv(100);
    let work = work(&content, Compression::None);
    let world = World::new(content).with_table(|journal| {
        FakeTable::judging(journal, |_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Ok(())
            })
        })
    });
    world.put_file(&work, 0);
    for _ in 0..50 {
        let shutdown = Shutdown::new();
        let app = tokio::spawn(world.batch(&shutdown));
        tokio::time::sleep(Duration::from_secs(90)).await;
        shutdown.stop();
        tokio::time::sleep(Duration::from_secs(25)).await;
        shutdown.expire();
        app.await.unwrap();
    }
    assert!(world.queue.most_returns() >= 50);
    world.ingest_files().await;
    let outcome = world.ledger.outcome(work.id);
    assert_eq!((outcome.state, outcome.accepted), (FileState::Done, 100));
}
