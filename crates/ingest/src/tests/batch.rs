//! Files: what the ledger says, what is quarantined, and that the acknowledgement comes after both.

use std::sync::atomic::Ordering;

use crate::shutdown::Shutdown;
use crate::staging_client::StagingError;
use simbdp_api::pipeline::Compression;
use simbdp_api::wire::rest::FileState;
use simbdp_api::wire::work::headers;
use simbdp_broker::Message;
use simbdp_broker::queue::{HeaderValue, PublishError};
use simbdp_coredms::ledger::Totals;
use simbdp_coredms::store::StoreError;

use super::fakes::{Event, FakeTable, Gate, Mishap, has_key};
use super::rig::{VERSION, WRITES, World, csv, gzip, header, work, zstd};

#[tokio::test(start_paused = true)]
async fn a_file_is_written_then_entered_then_acknowledged_then_dropped() {
    let content = csv(25);
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.put_file(&work, 0);
    world.ingest_files().await;

    assert_eq!(world.table.len(), 25);
    assert_eq!(world.table.row("7").unwrap().version, VERSION + 7);
    let outcome = world.ledger.outcome(work.id);
    assert_eq!(
        (outcome.state, outcome.accepted, outcome.rejected),
        (FileState::Done, 25, 0)
    );
    assert_eq!((outcome.rejects, outcome.error), (None, None));
    assert_eq!(
        world.ledger.sum(),
        Totals {
            rows: 25,
            rejected: 0
        }
    );
    assert_eq!(
        world.journal.events(),
        [
            Event::Wrote(10),
            Event::Wrote(10),
            Event::Wrote(5),
            Event::Ended(FileState::Done),
            Event::PutTotals,
            Event::Acked(work.id.to_string()),
            Event::Discarded,
        ]
    );
    assert_eq!(
        world.staging.reject_puts.load(Ordering::SeqCst),
        0,
        "no reject file without rejects"
    );
}

#[tokio::test(start_paused = true)]
async fn bad_rows_are_quarantined_and_the_file_goes_on() {
    let content = b"id,name\n1,a\nx,b\n3,c\n,d\n".to_vec();
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.put_file(&work, 0);
    world.ingest_files().await;

    let outcome = world.ledger.outcome(work.id);
    assert_eq!(
        (outcome.state, outcome.accepted, outcome.rejected),
        (FileState::Done, 2, 2)
    );
    assert_eq!(
        outcome.rejects,
        Some(format!("/v1/files/{}/rejects", work.id))
    );
    // The ordinal counts before filtering.
    assert_eq!(world.table.row("3").unwrap().version, VERSION + 2);
    let rejected = world.staging.rejected();
    assert_eq!(rejected.len(), 2);
    assert_eq!((rejected[0].line, rejected[0].raw.as_str()), (3, "x,b"));
    assert_eq!(rejected[0].column.as_deref(), Some("id"));
    assert_eq!(
        world.ledger.sum(),
        Totals {
            rows: 2,
            rejected: 2
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_of_bad_rows_only_is_done() {
    let mut content = b"id,name\n".to_vec();
    for _ in 0..5_000 {
        content.extend_from_slice(b"x,this row is no good\n");
    }
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.put_file(&work, 0);
    world.ingest_files().await;

    let outcome = world.ledger.outcome(work.id);
    assert_eq!(
        (outcome.state, outcome.accepted, outcome.rejected),
        (FileState::Done, 0, 5_000)
    );
    assert_eq!(world.staging.rejected().len(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn a_reject_file_is_bounded_and_says_how_many_rows_it_lacks() {
    // Each is quarantined with 4 KiB of its text.
    let row = format!("x,{}\n", "n".repeat(5_000));
    let content = format!("id,name\n{}", row.repeat(5_000)).into_bytes();
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.put_file(&work, 0);
    world.ingest_files().await;

    let outcome = world.ledger.outcome(work.id);
    assert_eq!(
        (outcome.state, outcome.accepted, outcome.rejected),
        (FileState::Done, 0, 5_000),
        "all are counted"
    );
    let bytes = world.staging.rejects.lock().unwrap().clone().unwrap().len();
    assert!((16 << 20..17 << 20).contains(&bytes), "{bytes}");
    let rejected = world.staging.rejected();
    let last = rejected.last().unwrap();
    let more = 5_000 - (rejected.len() - 1);
    assert!(last.reason.starts_with(&format!("{more} more rows")));
    assert_eq!(
        (last.line, last.raw.as_str()),
        (rejected.len() as u64 + 1, "")
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_column_fails_the_file_before_any_row() {
    let content = b"id,title\n1,a\n".to_vec();
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.put_file(&work, 0);
    world.ingest_files().await;

    let outcome = world.ledger.outcome(work.id);
    assert_eq!((outcome.state, outcome.accepted), (FileState::Failed, 0));
    assert!(outcome.error.unwrap().contains("`name`"));
    assert_eq!(world.table.attempts.load(Ordering::SeqCst), 0);
    let events = world.journal.events();
    assert!(events.contains(&Event::Acked(work.id.to_string())));
    assert!(
        !events.contains(&Event::Discarded),
        "a person may look at it: the gateway drops it when its time is over"
    );
}

#[tokio::test(start_paused = true)]
async fn gzip_of_several_members_and_zstd_are_read_whole() {
    let content = csv(1_000);
    let (first, second) = content.split_at(content.len() / 3);
    let members = [gzip(first).await, gzip(second).await].concat();
    for (staged, compression) in [
        (members, Compression::Gzip),
        (zstd(&content, 20).await, Compression::Zstd),
    ] {
        let work = work(&staged, compression);
        let world = World::new(staged);
        world.put_file(&work, 0);
        world.ingest_files().await;
        assert_eq!(world.ledger.outcome(work.id).error, None);
        assert_eq!(world.table.len(), 1_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_truncated_archive_stops_where_the_error_says() {
    let content = csv(100_000);
    for (whole, compression) in [
        (gzip(&content).await, Compression::Gzip),
        (zstd(&content, 20).await, Compression::Zstd),
    ] {
        let staged = whole[..whole.len() / 2].to_vec();
        let work = work(&staged, compression);
        let world = World::new(staged);
        world.put_file(&work, 0);
        world.ingest_files().await;

        let outcome = world.ledger.outcome(work.id);
        assert_eq!(outcome.state, FileState::Failed);
        let error = outcome.error.unwrap();
        assert!(
            error.contains(&format!("the {compression} data is truncated")),
            "{error}"
        );
        let line: u64 = error.split([' ', ':']).nth(2).unwrap().parse().unwrap();
        assert!(outcome.accepted > 0 && outcome.accepted == world.table.len() as u64);
        // Line 1 is the header, the line that the archive breaks off in is not decoded.
        assert!(
            (1..=2).contains(&(line - outcome.accepted)),
            "line {line}, {} rows",
            outcome.accepted
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_archive_fails_the_file() {
    let mut staged = gzip(&csv(50_000)).await;
    let middle = staged.len() / 2;
    staged[middle..middle + 64].fill(0xff);
    let work = work(&staged, Compression::Gzip);
    let world = World::new(staged);
    world.put_file(&work, 0);
    world.ingest_files().await;
    let outcome = world.ledger.outcome(work.id);
    assert_eq!(outcome.state, FileState::Failed);
    assert!(outcome.error.unwrap().contains("damaged"));
}

#[tokio::test(start_paused = true)]
async fn a_zstd_window_above_8_mib_is_refused() {
    let content = csv(100_000);
    let staged = zstd(&content, 24).await;
    let work = work(&staged, Compression::Zstd);
    let world = World::new(staged);
    world.put_file(&work, 0);
    world.ingest_files().await;
    let outcome = world.ledger.outcome(work.id);
    assert_eq!((outcome.state, outcome.accepted), (FileState::Failed, 0));
    assert!(outcome.error.unwrap().contains("window is above 8 MiB"));
}

#[tokio::test(start_paused = true)]
async fn a_broken_or_spoilt_transfer_is_repeated_and_not_counted_twice() {
    let content = csv(5_000);
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.staging.mishaps([
        Mishap::Refused(StagingError::Transient("503".into())),
        Mishap::BreaksAt(20_000),
        Mishap::Flipped,
    ]);
    world.put_file(&work, 0);
    world.ingest_files().await;
    let outcome = world.ledger.outcome(work.id);
    assert_eq!(
        (outcome.state, outcome.accepted, outcome.rejected),
        (FileState::Done, 5_000, 0)
    );
    assert_eq!(world.ledger.sum().rows, 5_000);
}

#[tokio::test(start_paused = true)]
async fn a_checksum_that_never_fits_fails_the_file() {
    let content = csv(100);
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world
        .staging
        .mishaps([Mishap::Flipped, Mishap::Flipped, Mishap::Flipped]);
    world.put_file(&work, 0);
    world.ingest_files().await;
    let outcome = world.ledger.outcome(work.id);
    assert_eq!(outcome.state, FileState::Failed);
    let error = outcome.error.unwrap();
    assert!(
        error.contains("checksum") && error.contains(&work.sha256),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_content_that_is_gone_fails_the_file() {
    let content = csv(1);
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world
        .staging
        .mishaps([Mishap::Refused(StagingError::Permanent(
            "gone: upload again".into(),
        ))]);
    world.put_file(&work, 0);
    world.ingest_files().await;
    assert_eq!(
        world.ledger.outcome(work.id).error.as_deref(),
        Some("gone: upload again")
    );
}

#[tokio::test(start_paused = true)]
async fn a_reject_file_that_cannot_be_put_is_tried_again() {
    let content = b"id,name\nx,a\n2,b\n".to_vec();
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.staging.reject_failures.store(2, Ordering::SeqCst);
    world.put_file(&work, 0);
    world.ingest_files().await;
    let outcome = world.ledger.outcome(work.id);
    assert_eq!((outcome.accepted, outcome.rejected), (1, 1));
    assert_eq!(world.staging.rejected().len(), 1);
    assert_eq!(world.staging.reject_puts.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_down_is_waited_for_in_place() {
    let content = csv(25);
    let work = work(&content, Compression::None);
    let world = World::new(content).with_table(|journal| {
        FakeTable::failing(journal, 40, StoreError::Transient("no quorum".into()))
    });
    world.ledger.failures.store(7, Ordering::SeqCst);
    world.put_file(&work, 0);
    world.ingest_files().await;
    assert_eq!(world.ledger.outcome(work.id).accepted, 25);
    let handed_back = |event: &Event| matches!(event, Event::HandedBack(_));
    assert!(!world.journal.events().iter().any(handed_back));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_only_the_database_refuses_is_quarantined_alone() {
    let content = b"id,name\n1,\"two\nlines\"\n\n7,bad\n8,good\n".to_vec();
    let work = work(&content, Compression::None);
    let world = World::new(content).with_table(|journal| {
        FakeTable::judging(journal, |rows| {
            let refused = has_key(&rows, "7");
            Box::pin(async move {
                if refused {
                    Err(StoreError::Permanent("too large".into()))
                } else {
                    Ok(())
                }
            })
        })
    });
    world.put_file(&work, 0);
    world.ingest_files().await;
    let outcome = world.ledger.outcome(work.id);
    assert_eq!(
        (outcome.state, outcome.accepted, outcome.rejected),
        (FileState::Done, 2, 1)
    );
    let rejected = world.staging.rejected();
    assert_eq!((rejected[0].line, rejected[0].raw.as_str()), (5, "7,bad"));
    assert!(rejected[0].reason.contains("too large"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_has_ended_is_acknowledged_without_being_written() {
    let content = csv(25);
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.put_file(&work, 0);
    world.put_file(&work, 1);
    world.ingest_files().await;
    let wrote = |event: &&Event| matches!(event, Event::Wrote(_));
    assert_eq!(world.journal.events().iter().filter(wrote).count(), 3);
    assert_eq!(world.ledger.sum().rows, 25);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_names_no_file_is_a_dead_letter_before_it_is_acknowledged() {
    let world = World::new(Vec::new());
    world
        .queue
        .refuse_dead_letters([PublishError::Full, PublishError::Unavailable("down".into())]);
    world.queue.put(
        Message {
            id: "odd".into(),
            body: "hello".into(),
            headers: Vec::new(),
        },
        0,
    );
    world.ingest_files().await;
    let dead = world.queue.dead();
    assert_eq!(dead.len(), 1);
    assert!(
        matches!(header(&dead[0], headers::REASON), HeaderValue::Text(reason) if reason.contains("names no staged file"))
    );
    assert!(
        world.journal.position(&Event::Confirmed("odd".into()))
            < world.journal.position(&Event::Acked("odd".into()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_write_and_ledger_repeats_the_file_with_the_same_versions() {
    let content = csv(25);
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.put_file(&work, 0);
    world.ledger.hang_ended.store(true, Ordering::SeqCst);
    let app = tokio::spawn(world.batch(&Shutdown::new()));
    world.ledger.reached_ended.notified().await;
    app.abort();
    assert!(app.await.unwrap_err().is_cancelled());
    assert_eq!(world.table.len(), 25);
    assert_eq!(world.ledger.state(work.id), Some(FileState::Ingesting));
    assert_eq!(world.queue.depth(), 1, "not acknowledged");

    world.ledger.hang_ended.store(false, Ordering::SeqCst);
    world.ingest_files().await;
    assert_eq!(world.table.len(), 25);
    assert_eq!(world.table.row("24").unwrap().version, VERSION + 24);
    assert_eq!(world.ledger.outcome(work.id).accepted, 25);
    assert_eq!(world.ledger.sum().rows, 25);
}

#[tokio::test(start_paused = true)]
async fn sigterm_finishes_the_file_that_fits_and_hands_back_the_one_that_does_not() {
    let content = csv(25);
    let work = work(&content, Compression::None);
    let gate = Gate::closed();
    let world = World::new(content).with_table(|journal| gate.table(journal));
    world.put_file(&work, 0);
    let shutdown = Shutdown::new();
    let app = tokio::spawn(world.batch(&shutdown));
    gate.came(WRITES).await;
    shutdown.expire();
    app.await.unwrap();
    assert_eq!(
        world.journal.events(),
        [Event::HandedBack(work.id.to_string())]
    );
    assert_eq!(world.ledger.state(work.id), Some(FileState::Ingesting));

    let shutdown = Shutdown::new();
    let app = tokio::spawn(world.batch(&shutdown));
    gate.came(2 * WRITES).await;
    shutdown.stop();
    gate.open();
    app.await.unwrap();
    assert_eq!(world.ledger.outcome(work.id).state, FileState::Done);
    assert_eq!(world.queue.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn sigterm_while_the_database_is_down_hands_back_at_once() {
    let content = csv(5);
    let work = work(&content, Compression::None);
    let world = World::new(content).with_table(|journal| {
        FakeTable::failing(journal, usize::MAX, StoreError::Transient("down".into()))
    });
    world.put_file(&work, 0);
    let shutdown = Shutdown::new();
    let app = tokio::spawn(world.batch(&shutdown));
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    shutdown.stop();
    app.await.unwrap();
    assert_eq!(world.queue.depth(), 1);
    assert!(
        world
            .journal
            .events()
            .contains(&Event::HandedBack(work.id.to_string()))
    );
}
