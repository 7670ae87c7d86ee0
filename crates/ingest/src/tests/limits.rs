//! Memory is bounded: what waits for the table is not fetched.

use std::sync::atomic::Ordering;

use crate::shutdown::Shutdown;
use simbdp_api::pipeline::Compression;

use super::fakes::FakeTable;
use super::rig::{PREFETCH, ROWS_OF_A_BATCH, WRITES, World, csv, work};

#[tokio::test(start_paused = true)]
async fn a_table_that_does_not_answer_stops_the_transfer() {
    let content = csv(200_000);
    let whole = content.len() as u64;
    let work = work(&content, Compression::None);
    let world = World::new(content)
        .with_table(|journal| FakeTable::judging(journal, |_| Box::pin(std::future::pending())));
    world.put_file(&work, 0);
    let shutdown = Shutdown::new();
    let app = tokio::spawn(world.batch(&shutdown));
    // Time only goes on when nothing else can: everything that could be fetched has been.
    tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
    let sent = world.staging.sent.load(Ordering::SeqCst);
    assert!(
        sent <= 64 * 1024,
        "{sent} of {whole} bytes were fetched while nothing was written"
    );
    assert_eq!(world.table.most_writing.load(Ordering::SeqCst), WRITES);
    shutdown.expire();
    app.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_more_messages_are_held_than_the_prefetch() {
    let world = World::new(Vec::new())
        .with_table(|journal| FakeTable::judging(journal, |_| Box::pin(std::future::pending())));
    world.put_things(0..500);
    let shutdown = Shutdown::new();
    let app = tokio::spawn(world.stream(&shutdown));
    tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
    let held = world.queue.unacked();
    assert!(
        held <= usize::from(PREFETCH).min((WRITES + 1) * ROWS_OF_A_BATCH),
        "{held} are held"
    );
    assert_eq!(world.table.most_writing.load(Ordering::SeqCst), WRITES);
    shutdown.expire();
    app.await.unwrap();
    assert_eq!(world.queue.depth(), 500);
}
