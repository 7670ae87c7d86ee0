//! Messages: written or confirmed as dead letters before they are acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::shutdown::Shutdown;
use simbdp_api::wire::work::headers;
use simbdp_broker::queue::{HeaderValue, PublishError};
use simbdp_coredms::ledger::Totals;
use simbdp_coredms::store::StoreError;
use tokio::sync::Notify;

use super::fakes::{Event, FakeTable, Gate, has_key};
use super::rig::{ROWS_OF_A_BATCH, VERSION, WRITES, World, header, message, thing};

#[tokio::test(start_paused = true)]
async fn messages_are_written_in_parcels_then_acknowledged() {
    let world = World::new(Vec::new());
    world.put_things(0..95);
    world.ingest_messages().await;
    assert_eq!(world.table.len(), 95);
    assert_eq!(world.table.row("42").unwrap().version, VERSION + 42);
    assert_eq!(
        world.ledger.sum(),
        Totals {
            rows: 95,
            rejected: 0
        }
    );
    let events = world.journal.events();
    let writes = events
        .iter()
        .filter(|event| matches!(event, Event::Wrote(_)))
        .count();
    assert_eq!(writes, 10, "parcels of {ROWS_OF_A_BATCH}");
    let mut written = 0;
    let mut acked = 0;
    for event in &events {
        match event {
            Event::Wrote(rows) => written += rows,
            Event::Acked(_) => acked += 1,
            _ => {}
        }
        assert!(
            acked <= written,
            "acknowledged before it was written: {events:?}"
        );
    }
    assert_eq!(acked, 95);
}

#[tokio::test(start_paused = true)]
async fn a_single_message_waits_for_the_linger_only() {
    let world = World::new(Vec::new());
    let start = tokio::time::Instant::now();
    world.put_things([1]);
    world.ingest_messages().await;
    assert_eq!(world.table.len(), 1);
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_row_is_a_dead_letter_with_its_reason_before_it_is_acknowledged() {
    let world = World::new(Vec::new());
    world.put_things(0..5);
    world
        .queue
        .put(message("s:5", r#"{"id":"five","name":"n"}"#, 5), 2);
    world.queue.put(message("s:6", "{", 6), 0);
    let mut bare = thing(7);
    bare.headers.clear();
    world.queue.put(bare, 0);
    world.queue.refuse_dead_letters([
        PublishError::Unavailable("down".into()),
        PublishError::Full,
        PublishError::NoQueue("ingest.p.dead".into()),
        PublishError::Unavailable("down".into()),
    ]);
    world.ingest_messages().await;

    assert_eq!(world.table.len(), 5);
    let mut dead = world.queue.dead();
    dead.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(
        dead.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(),
        ["s:5", "s:6", "s:7"]
    );
    assert!(
        matches!(header(&dead[0], headers::REASON), HeaderValue::Text(reason) if reason.contains("`id`"))
    );
    assert_eq!(header(&dead[0], headers::ATTEMPTS), &HeaderValue::Long(3));
    assert!(matches!(header(&dead[0], headers::CONDEMNED_AT), HeaderValue::Long(at) if *at > 0));
    assert_eq!(
        header(&dead[0], headers::SOURCE),
        &HeaderValue::Text("s".into())
    );
    assert!(
        matches!(header(&dead[2], headers::REASON), HeaderValue::Text(reason) if reason.contains("header"))
    );
    for one in &dead {
        let (confirmed, acked) = (
            Event::Confirmed(one.id.clone()),
            Event::Acked(one.id.clone()),
        );
        assert!(world.journal.position(&confirmed) < world.journal.position(&acked));
    }
    assert_eq!(
        world.ledger.sum(),
        Totals {
            rows: 5,
            rejected: 3
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_redriven_dead_letter_has_each_header_once() {
    let world = World::new(Vec::new());
    let mut redriven = message("s:1", "{", 1);
    redriven
        .headers
        .push((headers::REASON.into(), HeaderValue::Text("earlier".into())));
    redriven
        .headers
        .push((headers::ATTEMPTS.into(), HeaderValue::Long(9)));
    world.queue.put(redriven, 0);
    world.ingest_messages().await;
    let dead = world.queue.dead();
    let reasons = dead[0]
        .headers
        .iter()
        .filter(|(name, _)| name == headers::REASON)
        .count();
    assert_eq!(
        (reasons, header(&dead[0], headers::ATTEMPTS)),
        (1, &HeaderValue::Long(1))
    );
}

#[tokio::test(start_paused = true)]
async fn one_bad_row_never_condemns_the_others() {
    let world = World::new(Vec::new()).with_table(|journal| {
        FakeTable::judging(journal, |rows| {
            let refused = has_key(&rows, "13") || has_key(&rows, "14");
            Box::pin(async move {
                if refused {
                    Err(StoreError::Permanent("no".into()))
                } else {
                    Ok(())
                }
            })
        })
    });
    world.put_things(0..60);
    world.ingest_messages().await;
    assert_eq!(world.table.len(), 58);
    let dead: Vec<String> = world.queue.dead().into_iter().map(|one| one.id).collect();
    assert_eq!(dead, ["s:13", "s:14"]);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_down_pauses_the_app_and_condemns_nothing() {
    let world = World::new(Vec::new()).with_table(|journal| {
        FakeTable::failing(journal, 60, StoreError::Transient("no quorum".into()))
    });
    world.put_things(0..60);
    world.ingest_messages().await;
    assert_eq!(world.table.len(), 60);
    assert!(world.queue.dead().is_empty());
    assert!(
        !world
            .journal
            .events()
            .iter()
            .any(|event| matches!(event, Event::HandedBack(_)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_write_and_acknowledgement_writes_the_same_versions_again() {
    let reached = Arc::new(Notify::new());
    let at = reached.clone();
    let world = World::new(Vec::new());
    world.put_things(0..9);
    // The last message is no row, and its dead letter is never confirmed: the others are written, not acknowledged.
    world.queue.put(message("s:9", "{", 9), 0);
    world.queue.refuse_dead_letters((0..1_000).map(move |_| {
        at.notify_one();
        PublishError::Unavailable("down".into())
    }));
    let app = tokio::spawn(world.stream(&Shutdown::new()));
    reached.notified().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.table.len(), 9);
    app.abort();
    assert!(app.await.unwrap_err().is_cancelled());
    assert_eq!(world.queue.depth(), 10, "nothing is acknowledged");

    world.queue.confirm_dead_letters();
    world.ingest_messages().await;
    assert_eq!(world.table.len(), 9);
    assert_eq!(world.table.row("8").unwrap().version, VERSION + 8);
    assert_eq!(world.queue.dead().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_voids_the_tags_and_the_messages_come_again() {
    let gate = Gate::closed();
    let world = World::new(Vec::new()).with_table(|journal| gate.table(journal));
    world.put_things(0..20);
    let shutdown = Shutdown::new();
    let app = tokio::spawn(world.stream(&shutdown));
    gate.came(WRITES).await;
    world.queue.lose_connection();
    gate.open();
    world.queue.drained().await;
    shutdown.stop();
    app.await.unwrap();
    assert_eq!(world.table.len(), 20);
    let acked = |event: &&Event| matches!(event, Event::Acked(_));
    assert_eq!(
        world.journal.events().iter().filter(acked).count(),
        20,
        "each once"
    );
}

#[tokio::test(start_paused = true)]
async fn sigterm_finishes_what_is_in_hand_and_takes_nothing_more() {
    let world = World::new(Vec::new()).with_table(|journal| {
        FakeTable::judging(journal, |_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok(())
            })
        })
    });
    world.put_things(0..500);
    let shutdown = Shutdown::new();
    let app = tokio::spawn(world.stream(&shutdown));
    tokio::time::sleep(Duration::from_secs(1)).await;
    shutdown.stop();
    app.await.unwrap();
    let written = world.table.len();
    assert!((1..=3 * ROWS_OF_A_BATCH).contains(&written), "{written}");
    assert_eq!(world.queue.depth(), 500 - written);
    assert_eq!(
        world.ledger.sum().rows,
        written as u64,
        "totals are written at the end"
    );
    assert!(
        !world
            .journal
            .events()
            .iter()
            .any(|event| matches!(event, Event::HandedBack(_)))
    );
}

#[tokio::test(start_paused = true)]
async fn sigterm_hands_back_what_does_not_fit_the_grace() {
    let world = World::new(Vec::new())
        .with_table(|journal| FakeTable::judging(journal, |_| Box::pin(std::future::pending())));
    world.put_things(0..30);
    let shutdown = Shutdown::new();
    let app = tokio::spawn(world.stream(&shutdown));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let held = world.queue.unacked();
    shutdown.stop();
    tokio::time::sleep(Duration::from_secs(25)).await;
    shutdown.expire();
    app.await.unwrap();
    let back = |event: &&Event| matches!(event, Event::HandedBack(_));
    assert_eq!(world.journal.events().iter().filter(back).count(), held);
    assert_eq!(world.queue.depth(), 30);
}

#[tokio::test(start_paused = true)]
async fn totals_are_written_at_most_once_a_second() {
    let world = World::new(Vec::new()).with_table(|journal| {
        FakeTable::judging(journal, |_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok(())
            })
        })
    });
    world.put_things(0..1_000);
    let start = tokio::time::Instant::now();
    world.ingest_messages().await;
    let seconds = start.elapsed().as_secs() as usize;
    let puts = world
        .journal
        .events()
        .iter()
        .filter(|event| **event == Event::PutTotals)
        .count();
    assert!(puts >= 2 && puts <= seconds + 2, "{puts} in {seconds} s");
    assert_eq!(world.ledger.sum().rows, 1_000);
    assert_eq!(world.table.attempts.load(Ordering::SeqCst), 100);
}
