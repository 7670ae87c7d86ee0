//! Files through a program: its exit code decides, its output is what it says, and its faults are its file's own.

use std::sync::atomic::Ordering;
use std::time::Duration;

use simbdp_api::app::AppOutput;
use simbdp_api::pipeline::Compression;
use simbdp_api::wire::rest::FileState;
use simbdp_api::wire::work::FileWork;
use simbdp_coredms::ledger::{Outcome, Totals};

use super::rig::{Program, a_short_time};
use crate::shutdown::Shutdown;
use crate::staging_client::StagingError;
use crate::tests::fakes::{Event, Mishap};
use crate::tests::rig::{VERSION, World, csv, gzip, work};

/// Prints the rows of a CSV file.
const ROWS: &str = r#"awk -F, 'NR > 1 {printf "{\"id\":%s,\"name\":\"%s\"}\n", $1, $2}' "$1""#;

fn named(name: &str, content: &[u8]) -> FileWork {
    FileWork {
        name: name.into(),
        ..work(content, Compression::None)
    }
}

#[tokio::test]
async fn rows_that_it_prints_are_checked_and_written_like_those_of_a_file() {
    let mut content = csv(25);
    content.extend_from_slice(b"\"no number\",x\n99,last\n");
    let staged = gzip(&content).await;
    let work = work(&staged, Compression::Gzip);
    let world = World::new(staged);
    world.put_file(&work, 0);
    let program = Program::shell(AppOutput::Rows, ROWS);
    program.ingest_files(&world).await;

    assert_eq!(world.table.len(), 26);
    assert_eq!(world.table.row("7").unwrap().version, VERSION + 7);
    assert_eq!(world.table.row("99").unwrap().version, VERSION + 26);
    let outcome = world.ledger.outcome(work.id);
    assert_eq!(outcome.error, None);
    assert_eq!(
        (outcome.state, outcome.accepted, outcome.rejected),
        (FileState::Done, 26, 1)
    );
    assert!(outcome.rejects.is_some());
    let rejected = world.staging.rejected();
    assert_eq!(rejected[0].line, 26);
    assert!(rejected[0].raw.contains("no number"), "{rejected:?}");
    assert_eq!(
        world.ledger.sum(),
        Totals {
            rows: 26,
            rejected: 1
        }
    );
    let acked = world.journal.position(&Event::Acked(work.id.to_string()));
    assert!(world.journal.position(&Event::Ended(FileState::Done)) < acked);
    let left: Vec<_> = std::fs::read_dir(program.directory.path())
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "only the socket is left: {left:?}");
    program.end().await;
}

#[tokio::test]
async fn one_that_writes_by_itself_is_told_all_and_may_report_its_rows() {
    let content = csv(3);
    let work = named("my\nfile.csv", &content);
    let world = World::new(content.clone());
    world.put_file(&work, 0);
    let script = r#"cp "$1" "$D/copy"
env | grep -E '^SIMBDP_(FILE|ATTEMPT)' | LC_ALL=C sort > "$D/told"
echo '{"accepted": 1, "rejected": 9}'
echo working
echo '{"accepted": 2, "rejected": 1}'
echo; exec >&-; echo bye >&2"#;
    let program = Program::shell(AppOutput::None, script);
    program.ingest_files(&world).await;

    assert_eq!(program.read("copy").into_bytes(), content);
    let told = program.read("told");
    let id = work.id;
    assert_eq!(
        told,
        format!(
            "SIMBDP_ATTEMPT=1\nSIMBDP_FILE_FORMAT=csv\nSIMBDP_FILE_ID={id}\nSIMBDP_FILE_LINES=1\nSIMBDP_FILE_NAME=my file.csv\nSIMBDP_FILE_VERSION={VERSION}\n"
        )
    );
    let outcome = world.ledger.outcome(work.id);
    assert_eq!(
        (outcome.state, outcome.accepted, outcome.rejected),
        (FileState::Done, 2, 1)
    );
    assert_eq!(
        outcome.rejects, None,
        "nobody but the program has seen them"
    );
    program.end().await;
}

#[tokio::test]
async fn no_row_at_all_and_no_report_are_fine() {
    for output in [AppOutput::Rows, AppOutput::None] {
        let content = csv(1);
        let work = work(&content, Compression::None);
        let world = World::new(content);
        world.put_file(&work, 0);
        let program = Program::shell(output, "exit 0");
        program.ingest_files(&world).await;
        let outcome = world.ledger.outcome(work.id);
        assert_eq!((outcome.state, outcome.accepted), (FileState::Done, 0));
        program.end().await;
    }
}

/// Gives a program a bad file and then a good one, which must end well. The program does what it should not with the first.
async fn misbehaves(output: AppOutput, bad: &str, edit: impl FnOnce(&mut Program)) -> Outcome {
    let good = match output {
        AppOutput::Rows => ROWS,
        AppOutput::None => "echo '{\"accepted\": 5}'",
    };
    let script = format!(
        "if [ $SIMBDP_FILE_NAME = bad.csv ]; then echo attempt $SIMBDP_ATTEMPT >&2; {bad}\nelse {good}; fi"
    );
    let content = csv(5);
    let (bad, good) = (named("bad.csv", &content), named("good.csv", &content));
    let world = World::new(content);
    world.put_file(&bad, 0);
    world.put_file(&good, 0);
    let mut program = Program::shell(output, &script);
    edit(&mut program);
    program.ingest_files(&world).await;
    program.end().await;
    let after = world.ledger.outcome(good.id);
    assert_eq!(
        (after.state, after.accepted),
        (FileState::Done, 5),
        "{after:?}"
    );
    assert_eq!(
        world
            .journal
            .events()
            .iter()
            .filter(|e| matches!(e, Event::Acked(_)))
            .count(),
        2
    );
    let outcome = world.ledger.outcome(bad.id);
    assert_eq!(outcome.state, FileState::Failed, "{outcome:?}");
    assert!(world.ledger.attempts.lock().unwrap().is_empty());
    outcome
}

fn once(program: &mut Program) {
    program.max_attempts = 1;
}

#[tokio::test]
async fn one_that_fails_has_its_attempts_and_its_last_lines_are_in_the_ledger() {
    let bad = "echo no such colour >&2; exit 3";
    let error = misbehaves(AppOutput::None, bad, |_| ())
        .await
        .error
        .unwrap();
    assert_eq!(
        error,
        "the app failed at attempt 2 of 2: exited with code 3; its last lines: attempt 2 | no such colour; some of its rows may be in the table"
    );
}

#[tokio::test]
async fn rows_of_one_that_fails_are_not_counted_and_its_reject_file_is_none() {
    let bad = "echo '{\"id\":1000,\"name\":\"n\"}'; echo garbage; exit 4";
    let outcome = misbehaves(AppOutput::Rows, bad, |_| ()).await;
    assert!(outcome.error.unwrap().contains("exited with code 4"));
    assert_eq!(
        (outcome.accepted, outcome.rejected, outcome.rejects),
        (0, 0, None)
    );
}

#[tokio::test]
async fn one_that_hangs_is_ended_in_time() {
    for output in [AppOutput::Rows, AppOutput::None] {
        let outcome = misbehaves(output, "sleep 1000", a_short_time).await;
        let error = outcome.error.unwrap();
        assert!(
            error.contains("took longer than 5 s (app.timeoutSeconds)"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn one_that_closes_its_output_and_hangs_is_ended_in_time() {
    let bad = "exec >&- 2>&-; sleep 1000";
    let outcome = misbehaves(AppOutput::Rows, bad, a_short_time).await;
    assert!(outcome.error.unwrap().contains("took longer than 5 s"));
}

#[tokio::test]
async fn one_that_ignores_sigterm_is_killed() {
    let bad = "trap '' TERM; (trap '' TERM; sleep 1000) & while :; do sleep 1000; done";
    let outcome = misbehaves(AppOutput::None, bad, a_short_time).await;
    assert!(outcome.error.unwrap().contains("took longer than 5 s"));
}

#[tokio::test]
async fn one_that_dies_is_told_by_its_signal() {
    let outcome = misbehaves(AppOutput::Rows, "kill -9 $$", once).await;
    assert!(outcome.error.unwrap().contains("was ended by signal 9"));
}

#[tokio::test]
async fn one_that_floods_its_output_is_ended() {
    for (output, bad) in [
        (AppOutput::None, "yes $(printf %01000d 1)"),
        (AppOutput::None, "yes | tr -d '\\n' >&2"),
        (AppOutput::Rows, "yes $(printf %01000d 1) >&2"),
    ] {
        let outcome = misbehaves(output, bad, once).await;
        let error = outcome.error.unwrap();
        assert!(error.contains("printed more than 16 MiB to std"), "{error}");
    }
    let bad = "yes '{\"id\":1,\"name\":\"n\"}'";
    let small = |program: &mut Program| {
        program.max_attempts = 1;
        program.max_file_size = 16 << 10;
    };
    let outcome = misbehaves(AppOutput::Rows, bad, small).await;
    assert!(
        outcome
            .error
            .unwrap()
            .contains("printed more than 262144 bytes of rows")
    );
}

#[tokio::test]
async fn one_that_reports_nonsense_fails() {
    let outcome = misbehaves(AppOutput::None, "echo '{\"accepted\": -1}'", once).await;
    assert!(outcome.error.unwrap().contains("no number of rows"));
}

/// A process that was killed ends a little later, and whoever reaps orphans here may not do it at all.
async fn until_gone(process: &str) {
    let gone = || {
        let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    };
    let wait = async {
        while !gone() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), wait).await;
    waited.unwrap_or_else(|_| panic!("process {process} goes on"));
}

#[tokio::test]
async fn one_that_forks_leaves_nothing_behind() {
    let content = csv(5);
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.put_file(&work, 0);
    let script = "for i in 1 2 3; do sleep 1000 & echo $! >> $D/children; done; exit 0";
    let program = Program::shell(AppOutput::None, script);
    program.ingest_files(&world).await;
    assert_eq!(world.ledger.outcome(work.id).state, FileState::Done);
    let children = program.read("children");
    assert_eq!(children.lines().count(), 3);
    for child in children.lines() {
        until_gone(child).await;
    }
    program.end().await;
}

#[tokio::test]
async fn garbage_is_rejected_row_by_row() {
    let content = csv(1);
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.put_file(&work, 0);
    let script = "printf 'garbage\\n\\377\\376\\n{\"id\":1}\\n{\"id\":\"x\"}\\n[1]\\n\\000\\n'";
    let program = Program::shell(AppOutput::Rows, script);
    program.ingest_files(&world).await;
    let outcome = world.ledger.outcome(work.id);
    assert_eq!(
        (outcome.state, outcome.accepted, outcome.rejected),
        (FileState::Done, 1, 5),
        "{outcome:?}"
    );
    assert_eq!(world.staging.rejected().len(), 5);
    program.end().await;
}

#[tokio::test]
async fn a_file_larger_than_the_pipeline_allows_is_given_to_nobody() {
    let staged = gzip(&vec![b'x'; 1 << 20]).await;
    let work = work(&staged, Compression::Gzip);
    let world = World::new(staged);
    world.put_file(&work, 0);
    let mut program = Program::shell(AppOutput::None, "touch $D/ran");
    program.max_file_size = 64 << 10;
    program.ingest_files(&world).await;
    let outcome = world.ledger.outcome(work.id);
    assert_eq!(outcome.state, FileState::Failed);
    assert!(
        outcome
            .error
            .unwrap()
            .contains("more than 65536 bytes uncompressed")
    );
    assert!(!program.path("ran").exists());
    program.end().await;
}

#[tokio::test]
async fn a_file_is_given_whole_after_transfers_that_break() {
    let content = csv(1_000);
    let work = work(&content, Compression::None);
    let world = World::new(content.clone());
    world.staging.mishaps([
        Mishap::Refused(StagingError::Transient("503".into())),
        Mishap::BreaksAt(100),
        Mishap::Flipped,
    ]);
    world.put_file(&work, 0);
    let program = Program::shell(AppOutput::None, "cat $1 >> $D/copy");
    program.ingest_files(&world).await;
    assert_eq!(world.ledger.outcome(work.id).state, FileState::Done);
    assert_eq!(program.read("copy").into_bytes(), content);
    program.end().await;
}

#[tokio::test]
async fn while_the_gateway_takes_no_rejects_no_attempt_is_counted() {
    let content = csv(1);
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.staging.reject_failures.store(1, Ordering::SeqCst);
    world.put_file(&work, 0);
    let mut program = Program::shell(AppOutput::Rows, "echo garbage");
    program.max_attempts = 1;
    program.ingest_files(&world).await;
    let outcome = world.ledger.outcome(work.id);
    assert_eq!((outcome.state, outcome.rejected), (FileState::Done, 1));
    program.end().await;
}

#[tokio::test]
async fn a_roll_out_ends_the_program_and_hands_the_file_back() {
    let content = csv(5);
    let work = work(&content, Compression::None);
    let world = World::new(content);
    world.put_file(&work, 0);
    let script = "if [ -e $D/began ]; then exit 0; fi; mkfifo $D/never; echo $$ > $D/pid; mv $D/pid $D/began; cat $D/never";
    let program = Program::shell(AppOutput::None, script);
    let shutdown = Shutdown::new();
    let app = tokio::spawn(program.batch(&world, &shutdown));
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    while !program.path("began").exists() {
        looks.tick().await;
    }
    shutdown.stop();
    assert_eq!(world.queue.unacked(), 1, "it may finish within the grace");
    shutdown.expire();
    app.await.unwrap();
    assert_eq!(world.queue.most_returns(), 1);
    assert_eq!(world.ledger.state(work.id), Some(FileState::Ingesting));
    program.ingest_files(&world).await;
    assert_eq!(world.ledger.outcome(work.id).state, FileState::Done);
    let pid = program.read("began");
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(status.is_empty() || status.contains(") Z "), "{status}");
    program.end().await;
}
