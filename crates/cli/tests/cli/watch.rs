//! `fetchdata --watch`: new files, refusals that pass, and the end by a signal.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::fake::{Fake, Fault, Verb};
use crate::fetchdata::{GOOD, directory, name_of};
use crate::program::{end, simbdp};

/// A run that goes on until it is told to end.
struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(gateway: &Fake, directory: &Path, more: &[&str]) -> Self {
        let directory = directory.to_str().unwrap();
        let args = [
            "-o",
            "json",
            "fetchdata",
            directory,
            "-p",
            "readings",
            "--watch",
        ];
        let mut child = simbdp(gateway, &[&args[..], more].concat())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Name and result of the next file: a line of JSON each.
    async fn next(&mut self) -> (String, String) {
        let line = tokio::time::timeout(Duration::from_secs(60), self.lines.next_line());
        let line = line.await.expect("a result").unwrap().expect("it runs");
        let result: Value = serde_json::from_str(&line).unwrap();
        let text = result["result"].as_str().unwrap().to_owned();
        (name_of(&result), text)
    }

    /// Tells it to end, and returns its exit code; nothing more was printed.
    async fn signal(mut self, signal: &str) -> i32 {
        let kill = format!("kill -{signal} {}", self.child.id().unwrap());
        let sent = Command::new("sh").args(["-c", &kill]).status().await;
        assert!(sent.unwrap().success());
        assert_eq!(self.lines.next_line().await.unwrap(), None);
        end(self.child).await.code
    }
}

const AT_ONCE: [&str; 2] = ["--settle", "0"];

/// Puts a file there whole: what is stable at once must not be seen half-written.
fn place(directory: &Path, name: &str, content: &str) {
    let hidden = directory.join(".hidden");
    std::fs::write(&hidden, content).unwrap();
    std::fs::rename(&hidden, directory.join(name)).unwrap();
}

fn pair(name: &str, result: &str) -> (String, String) {
    (name.to_owned(), result.to_owned())
}

#[tokio::test]
async fn a_new_file_is_taken_once_it_is_stable_and_a_signal_ends_it_well() {
    for signal in ["INT", "TERM"] {
        let gateway = Fake::start().await;
        let files = directory(&[("a.csv", GOOD)]);
        let mut watching = Watching::start(&gateway, files.path(), &["--settle", "1"]);
        assert_eq!(watching.next().await, pair("a.csv", "uploaded"));
        let written = Instant::now();
        std::fs::write(files.path().join("b.csv"), GOOD).unwrap();
        assert_eq!(watching.next().await, pair("b.csv", "uploaded"));
        let uploads = gateway.calls(Verb::Upload);
        assert_eq!(uploads.len(), 2);
        assert!(uploads[1].at - written >= Duration::from_secs(1));
        assert_eq!(watching.signal(signal).await, 0);
    }
}

#[tokio::test]
async fn refusals_for_now_are_tried_again_in_later_rounds() {
    let gateway = Fake::start().await;
    // More than are repeated at once; then the connection fails for as long.
    gateway.fail(Verb::Upload, [Fault::Status(429, Some(0)); 3]);
    gateway.fail(Verb::Upload, [Fault::Cut; 3]);
    gateway.fail(Verb::Upload, [Fault::Status(507, Some(0)); 3]);
    let files = directory(&[("a.csv", GOOD)]);
    let mut watching = Watching::start(&gateway, files.path(), &AT_ONCE);
    for _ in 0..3 {
        assert_eq!(watching.next().await, pair("a.csv", "postponed"));
    }
    assert_eq!(watching.next().await, pair("a.csv", "uploaded"));
    assert_eq!(gateway.calls(Verb::Upload).len(), 10);
    assert_eq!(watching.signal("TERM").await, 0, "in the end it was taken");
}

#[tokio::test]
async fn the_server_says_when_to_come_back() {
    let gateway = Fake::start().await;
    gateway.fail(Verb::Upload, [Fault::Status(429, Some(3_000))]);
    let files = directory(&[("a.csv", GOOD), ("b.csv", GOOD)]);
    let mut watching = Watching::start(&gateway, files.path(), &AT_ONCE);
    assert_eq!(watching.next().await, pair("a.csv", "postponed"));
    assert_eq!(watching.signal("TERM").await, 1, "it was not taken");
    let uploads = gateway.calls(Verb::Upload);
    assert_eq!(uploads.len(), 1, "neither it nor the other is tried before");
}

#[tokio::test]
async fn a_bad_file_is_told_once_and_taken_when_it_is_mended() {
    let gateway = Fake::start().await;
    gateway.fail(Verb::Upload, [Fault::Status(422, None)]);
    let files = directory(&[("a.csv", GOOD)]);
    let mut watching = Watching::start(&gateway, files.path(), &AT_ONCE);
    assert_eq!(watching.next().await, pair("a.csv", "refused"));
    // Its result comes next although rounds pass: nothing more is said of the first.
    place(files.path(), "b.csv", "sensor,colour\n");
    assert_eq!(watching.next().await, pair("b.csv", "does not conform"));
    for name in ["a.csv", "b.csv"] {
        place(files.path(), name, &format!("{GOOD}s2,6\n"));
        assert_eq!(watching.next().await, pair(name, "uploaded"));
    }
    assert_eq!(gateway.calls(Verb::Upload).len(), 3);
    assert_eq!(watching.signal("INT").await, 0);
}

#[tokio::test]
async fn a_ledger_that_fails_is_asked_again_without_another_upload() {
    let gateway = Fake::start().await;
    gateway.fail(Verb::File, [Fault::Status(500, None)]);
    gateway.end("a.csv", ("Done", 7, 3));
    let files = directory(&[("a.csv", GOOD)]);
    let mut watching = Watching::start(
        &gateway,
        files.path(),
        &[&AT_ONCE[..], &["--wait"]].concat(),
    );
    assert_eq!(watching.next().await, pair("a.csv", "uploaded"));
    assert_eq!(watching.next().await, pair("a.csv", "done"));
    assert_eq!(gateway.calls(Verb::Upload).len(), 1);
    assert_eq!(watching.signal("TERM").await, 1, "rows are quarantined");
}

#[tokio::test]
async fn a_file_whose_turn_is_cut_short_counts_as_not_taken() {
    let gateway = Fake::start().await;
    // The wait for the second try is the end of it.
    gateway.fail(Verb::Upload, [Fault::Status(503, Some(30))]);
    let files = directory(&[("a.csv", GOOD)]);
    let watching = Watching::start(&gateway, files.path(), &AT_ONCE);
    gateway.called(Verb::Upload, 1).await;
    assert_eq!(watching.signal("INT").await, 1);
    assert_eq!(gateway.calls(Verb::Upload).len(), 1);
}

#[tokio::test]
async fn refused_credentials_end_it() {
    let gateway = Fake::start().await;
    gateway.fail(Verb::Upload, [Fault::Status(401, None)]);
    let files = directory(&[("a.csv", GOOD)]);
    let mut watching = Watching::start(&gateway, files.path(), &AT_ONCE);
    assert_eq!(watching.next().await, pair("a.csv", "refused"));
    assert_eq!(end(watching.child).await.code, 4);
}
