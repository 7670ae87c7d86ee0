//! `ingestmessage`: one key over all tries, and how a run that failed goes on.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::fake::{Fake, Fault, Verb};
use crate::fetchdata::directory;
use crate::program::{end, run, simbdp};

/// Records of `n` sensors.
fn records(n: usize) -> String {
    (0..n)
        .map(|i| format!("{{\"sensor\":\"s{i}\",\"value\":{i}}}\n"))
        .collect()
}

fn keys(gateway: &Fake) -> Vec<String> {
    let calls = gateway.calls(Verb::Messages);
    calls
        .iter()
        .map(|call| call.headers["idempotency-key"].clone())
        .collect()
}

#[tokio::test]
async fn the_key_is_the_same_over_retries() {
    let gateway = Fake::start().await;
    gateway.fail(
        Verb::Messages,
        [Fault::Status(503, Some(0)), Fault::CutAfter, Fault::Cut],
    );
    let files = directory(&[("a.ndjson", &records(3))]);
    let file = files.path().join("a.ndjson");
    let args = [
        "-o",
        "json",
        "ingestmessage",
        "events",
        file.to_str().unwrap(),
        "--batch",
        "2",
    ];
    let ran = run(simbdp(&gateway, &args)).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let result = ran.json();
    assert_eq!(
        (&result["accepted"], &result["rejected"]),
        (&json!(3), &json!(0))
    );
    let key = result["key"].as_str().unwrap();
    let expected = [0, 0, 0, 0, 1].map(|request| format!("{key}-{request}"));
    assert_eq!(keys(&gateway), expected);
    assert_eq!(gateway.records().len(), 3);
}

#[tokio::test]
async fn a_run_that_fails_part_way_says_how_to_go_on_and_doubles_nothing() {
    let gateway = Fake::start().await;
    // The second request is taken, but its answer is lost; then the gateway refuses.
    let faults = [Fault::CutAfter, Fault::Status(500, None)];
    let files = directory(&[
        ("a.ndjson", &records(2)),
        ("b.csv", "sensor,value\ns2,2\ns3,3\ns4,4\n"),
    ]);
    let (first, second) = (files.path().join("a.ndjson"), files.path().join("b.csv"));
    let args = [
        "-o",
        "json",
        "ingestmessage",
        "events",
        first.to_str().unwrap(),
        second.to_str().unwrap(),
        "--batch",
        "2",
    ];
    gateway.pass(Verb::Messages, 1);
    gateway.fail(Verb::Messages, faults);
    let ran = run(simbdp(&gateway, &args)).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let result = ran.json();
    assert_eq!(result["accepted"], json!(2));
    let advice = ran
        .stderr
        .lines()
        .find(|line| line.contains("--key"))
        .unwrap();
    assert!(advice.contains(result["key"].as_str().unwrap()), "{ran:?}");

    // The advice is taken at its word, but for the place of the program.
    let words: Vec<_> = advice.split_whitespace().skip(1).collect();
    let again = run(simbdp(&gateway, &words)).await;
    assert_eq!(again.code, 0, "{again:?}");
    let expected: Vec<_> = (0..5)
        .map(|i| json!({"sensor": format!("s{i}"), "value": i}))
        .collect();
    assert_eq!(gateway.records(), expected);
}

#[tokio::test]
async fn an_interrupted_run_says_how_to_go_on() {
    let gateway = Fake::start().await;
    let mut command = simbdp(
        &gateway,
        &["ingestmessage", "events", "--batch", "1", "--key", "k1"],
    );
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(records(1).as_bytes()).await.unwrap();
    gateway.called(Verb::Messages, 1).await;
    let kill = format!("kill -INT {}", child.id().unwrap());
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .await
            .unwrap()
            .success()
    );
    // Its input is still open: it does not wait for more.
    let ran = end(child).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr
            .contains("ingestmessage events --key k1 --batch 1"),
        "{ran:?}"
    );
    drop(input);
}

#[tokio::test]
async fn nothing_is_sent_when_a_file_is_of_no_known_format() {
    let gateway = Fake::start().await;
    let files = directory(&[("a.ndjson", &records(1)), ("b.xml", "x")]);
    let (first, second) = (files.path().join("a.ndjson"), files.path().join("b.xml"));
    let args = [
        "ingestmessage",
        "events",
        first.to_str().unwrap(),
        second.to_str().unwrap(),
    ];
    let ran = run(simbdp(&gateway, &args)).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(gateway.calls(Verb::Messages).is_empty());
}
