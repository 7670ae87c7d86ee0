//! Files that are ingested once more, and rows that mend others.

use simbdp_api::pipeline::Compression;
use simbdp_api::wire::rest::FileState;
use simbdp_api::wire::work::{FileWork, Replay};
use simbdp_coredms::ledger::Totals;
use uuid::Uuid;

use super::fakes::Event;
use super::rig::{VERSION, World, csv, work};

/// A reject file with a line for each of these ordinals.
fn rejects(ordinals: &[u64]) -> Vec<u8> {
    let line = |ordinal: &u64| {
        let line = ordinal + 2;
        format!("{{\"line\":{line},\"ordinal\":{ordinal},\"reason\":\"r\",\"raw\":\"x\"}}\n")
    };
    ordinals.iter().map(line).collect::<String>().into_bytes()
}

fn replay(content: &[u8], rejects: bool, accepted: u64, rejected: u64) -> FileWork {
    FileWork {
        replay: Some(Replay {
            number: 1,
            rejects,
            accepted,
            rejected,
        }),
        ..work(content, Compression::None)
    }
}

async fn ingested(world: &World, work: &FileWork) -> (FileState, u64, u64) {
    world.put_file(work, 0);
    world.ingest_files().await;
    let outcome = world.ledger.outcome(work.id);
    (outcome.state, outcome.accepted, outcome.rejected)
}

#[tokio::test(start_paused = true)]
async fn only_rows_that_were_quarantined_are_written_with_their_own_versions() {
    let content = csv(30);
    let world = World::new(content.clone());
    *world.staging.rejects.lock().unwrap() = Some(rejects(&[3, 17]));
    let work = replay(&content, true, 28, 2);
    let ended = ingested(&world, &work).await;
    assert_eq!(ended, (FileState::Done, 30, 0));
    assert_eq!(world.table.len(), 2, "nothing else was written");
    assert_eq!(world.table.row("17").unwrap().version, VERSION + 17);
    let new = Totals {
        rows: 2,
        rejected: 0,
    };
    assert_eq!(world.ledger.sum(), new, "what was counted is counted");
    assert!(world.journal.events().contains(&Event::Discarded));
}

#[tokio::test(start_paused = true)]
async fn what_is_still_wrong_stays_quarantined_and_the_bytes_stay() {
    let content = b"id,name\n1,a\nx,b\n3,c\ny,d\n".to_vec();
    let world = World::new(content.clone());
    *world.staging.rejects.lock().unwrap() = Some(rejects(&[0, 1]));
    let work = replay(&content, true, 2, 2);
    // One row is good now; the other one's faults stay, and a row that was accepted is not judged anew.
    assert_eq!(
        ingested(&world, &work).await,
        (FileState::Done, 3, 1),
        "the sum of both stays"
    );
    let rejected = world.staging.rejected();
    assert_eq!(rejected.len(), 1);
    assert_eq!((rejected[0].ordinal, rejected[0].line), (Some(1), 3));
    assert_eq!(rejected[0].header.as_deref(), Some("id,name"));
    assert!(!world.journal.events().contains(&Event::Discarded));
    // An attempt that died had replaced the reject file: the sum is the same.
    let again = replay(&content, true, 2, 2);
    assert_eq!(ingested(&world, &again).await, (FileState::Done, 3, 1));
}

#[tokio::test(start_paused = true)]
async fn rows_beyond_what_a_reject_file_holds_are_those_after_the_first_of_them() {
    let content = csv(30);
    let world = World::new(content.clone());
    let mut lines = rejects(&[3]);
    lines.extend_from_slice(
        b"{\"line\":22,\"ordinal\":20,\"reason\":\"4 more rows\",\"raw\":\"\",\"cut\":true}\n",
    );
    *world.staging.rejects.lock().unwrap() = Some(lines);
    let work = replay(&content, true, 25, 5);
    assert_eq!(ingested(&world, &work).await, (FileState::Done, 30, 0));
    assert_eq!(world.table.len(), 11, "row 3, and those from row 20 on");
}

#[tokio::test(start_paused = true)]
async fn without_a_reject_file_that_names_records_the_whole_file_is_written() {
    let content = csv(30);
    for former in [
        None,
        Some(b"{\"line\":5,\"reason\":\"r\",\"raw\":\"x\"}\n".to_vec()),
    ] {
        let world = World::new(content.clone());
        *world.staging.rejects.lock().unwrap() = former;
        let work = replay(&content, true, 28, 2);
        assert_eq!(ingested(&world, &work).await, (FileState::Done, 30, 0));
        assert_eq!(world.table.len(), 30);
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_file_again_writes_every_row_with_its_version() {
    let content = csv(30);
    let world = World::new(content.clone());
    let work = replay(&content, false, 0, 0);
    assert_eq!(ingested(&world, &work).await, (FileState::Done, 30, 0));
    assert_eq!(world.table.row("29").unwrap().version, VERSION + 29);
}

#[tokio::test(start_paused = true)]
async fn mended_rows_are_newer_and_what_is_wrong_with_them_can_be_mended_again() {
    let content = concat!(
        r#"{"line":9,"ordinal":7,"reason":"r","raw":"seven,7","header":"name,id"}"#,
        "\n",
        r#"{"line":4,"ordinal":2,"reason":"r","raw":"two,x"}"#,
        "\n",
        r#"{"line":5,"ordinal":3,"reason":"r","raw":"three,3"}"#,
    );
    let world = World::new(content);
    let work = FileWork {
        mends: Some(Uuid::from_u128(5)),
        mended_rows: true,
        ..work(content.as_bytes(), Compression::None)
    };
    assert_eq!(ingested(&world, &work).await, (FileState::Done, 2, 1));
    assert_eq!(world.table.row("7").unwrap().version, VERSION);
    assert_eq!(world.table.row("3").unwrap().version, VERSION + 2);
    let rejected = world.staging.rejected();
    assert_eq!(rejected.len(), 1);
    let row = &rejected[0];
    assert_eq!(
        (row.ordinal, row.line, row.raw.as_str()),
        (Some(2), 4, "two,x")
    );
    assert_eq!(row.header.as_deref(), Some("name,id"));
}

#[tokio::test(start_paused = true)]
async fn mended_rows_of_a_table_that_is_another_now_fail_with_the_reason() {
    let content = r#"{"line":9,"ordinal":7,"reason":"r","raw":"7","header":"id"}"#;
    let world = World::new(content);
    let work = FileWork {
        mends: Some(Uuid::from_u128(5)),
        mended_rows: true,
        ..work(content.as_bytes(), Compression::None)
    };
    let (state, accepted, _) = ingested(&world, &work).await;
    assert_eq!((state, accepted), (FileState::Failed, 0));
    let error = world.ledger.outcome(work.id).error.unwrap();
    assert!(error.contains("lacks the field `name`"), "{error}");
}
