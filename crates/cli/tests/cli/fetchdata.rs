//! `fetchdata`: what is uploaded, what is shown of each file, and the exit code.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::{Fake, Fault, Verb};
use crate::program::{Ran, run, simbdp};

/// A file that conforms.
pub const GOOD: &str = "sensor,value\ns1,5\n";

pub fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

async fn fetch(gateway: &Fake, directory: &Path, more: &[&str]) -> Ran {
    let directory = directory.to_str().unwrap();
    let args = [
        &[
            "-o",
            "json",
            "fetchdata",
            directory,
            "--pipeline",
            "readings",
        ],
        more,
    ]
    .concat();
    run(simbdp(gateway, &args)).await
}

/// File name and result of each file.
pub fn results(ran: &Ran) -> Vec<(String, String)> {
    let all = ran.json();
    let all = all.as_array().unwrap_or_else(|| panic!("{ran:?}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.iter()
        .map(|one| (name_of(one), text(&one["result"])))
        .collect()
}

pub fn name_of(result: &Value) -> String {
    let path = Path::new(result["file"].as_str().unwrap());
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[tokio::test]
async fn an_upload_survives_refusals_for_now_and_cut_connections() {
    let gateway = Fake::start().await;
    let faults = [
        Fault::Status(503, Some(0)),
        Fault::Cut,
        Fault::Status(429, Some(0)),
        Fault::Status(507, Some(0)),
        Fault::CutAfter,
    ];
    gateway.fail(Verb::Upload, faults);
    let files = directory(&[("a.csv", GOOD)]);
    let ran = fetch(&gateway, files.path(), &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        results(&ran),
        pairs(&[("a.csv", "duplicate")]),
        "the cut answer was that of the first"
    );
    let calls = gateway.calls(Verb::Upload);
    assert_eq!(calls.len(), 6);
    for call in calls {
        assert_eq!(
            (call.name.as_str(), &call.body[..]),
            ("a.csv", GOOD.as_bytes())
        );
        assert_eq!(call.headers["content-length"], GOOD.len().to_string());
        assert_eq!(call.headers["content-digest"], calls_digest());
    }
}

fn calls_digest() -> String {
    use base64::Engine;
    use sha2::{Digest, Sha256};
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(GOOD));
    format!("sha-256=:{digest}:")
}

#[tokio::test]
async fn a_file_that_does_not_conform_is_not_uploaded() {
    let gateway = Fake::start().await;
    let files = directory(&[
        ("bad.csv", "sensor,colour\n"),
        ("good.csv", GOOD),
        ("notes.txt", "x"),
    ]);
    let ran = fetch(&gateway, files.path(), &[]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let expected = [
        ("bad.csv", "does not conform"),
        ("good.csv", "uploaded"),
        ("notes.txt", "does not conform"),
    ];
    assert_eq!(results(&ran), pairs(&expected));
    let reasons = ran.json()[0]["reasons"].to_string();
    assert!(
        reasons.contains("`value`") && reasons.contains("`colour`"),
        "{reasons}"
    );
    let uploads = gateway.calls(Verb::Upload);
    assert_eq!(
        uploads
            .iter()
            .map(|call| call.name.as_str())
            .collect::<Vec<_>>(),
        ["good.csv"]
    );
}

#[tokio::test]
async fn one_refused_file_hides_no_other() {
    let gateway = Fake::start().await;
    gateway.fail(
        Verb::Upload,
        [Fault::Status(422, None), Fault::Status(500, None)],
    );
    let files = directory(&[("a.csv", GOOD), ("b.csv", GOOD), ("c.csv", GOOD)]);
    let ran = fetch(&gateway, files.path(), &["--wait"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(
        results(&ran),
        pairs(&[
            ("a.csv", "refused"),
            ("b.csv", "refused"),
            ("c.csv", "done")
        ])
    );
    assert_eq!(ran.json()[0]["reasons"], json!(["chosen to be 422"]));
}

#[tokio::test]
async fn a_limit_that_is_hours_away_is_not_waited_for() {
    let gateway = Fake::start().await;
    gateway.fail(Verb::Upload, [Fault::Status(429, Some(3_000))]);
    let files = directory(&[("a.csv", GOOD), ("b.csv", GOOD)]);
    let ran = fetch(&gateway, files.path(), &[]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(
        results(&ran),
        pairs(&[("a.csv", "refused"), ("b.csv", "uploaded")])
    );
}

#[tokio::test]
async fn refused_credentials_stop_the_run_and_show_what_was_done() {
    let gateway = Fake::start().await;
    let files = directory(&[("a.csv", GOOD), ("b.csv", GOOD), ("c.csv", GOOD)]);
    // The first is taken, then the user loses the role.
    gateway.fail(Verb::Upload, [Fault::Cut, Fault::Status(403, None)]);
    let ran = fetch(&gateway, files.path(), &[]).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert_eq!(
        results(&ran),
        pairs(&[
            ("a.csv", "refused"),
            ("b.csv", "not tried"),
            ("c.csv", "not tried")
        ])
    );
    assert_eq!(gateway.calls(Verb::Upload).len(), 2);
}

#[tokio::test]
async fn a_ledger_that_fails_hides_no_upload() {
    let gateway = Fake::start().await;
    gateway.fail(Verb::File, [Fault::Status(500, None)]);
    let files = directory(&[("a.csv", GOOD), ("b.csv", GOOD)]);
    let ran = fetch(&gateway, files.path(), &["--wait"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(
        results(&ran),
        pairs(&[("a.csv", "uploaded"), ("b.csv", "done")])
    );
    let reasons = ran.json()[0]["reasons"].to_string();
    assert!(
        reasons.contains("not known") && reasons.contains("500"),
        "{reasons}"
    );
}

#[tokio::test]
async fn with_wait_quarantined_rows_and_failed_files_are_told_by_the_exit_code() {
    let gateway = Fake::start().await;
    let files = directory(&[("a.csv", GOOD), ("b.csv", GOOD)]);
    let fine = fetch(&gateway, files.path(), &["--wait"]).await;
    assert_eq!(fine.code, 0, "{fine:?}");
    assert_eq!(
        results(&fine),
        pairs(&[("a.csv", "done"), ("b.csv", "done")])
    );

    gateway.end("a.csv", ("Done", 7, 3));
    let ran = fetch(&gateway, files.path(), &["--wait"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let all = ran.json();
    assert_eq!(
        (&all[0]["accepted"], &all[0]["rejected"]),
        (&json!(7), &json!(3))
    );
    let how = format!(
        "`simbdp --server {} ledger {} --rejects`",
        gateway.url,
        all[0]["id"].as_str().unwrap()
    );
    assert!(
        all[0]["reasons"][0].as_str().unwrap().contains(&how),
        "{all}"
    );
    assert_eq!(all[1].get("reasons"), None);

    gateway.end("a.csv", ("Failed", 0, 0));
    let failed = fetch(&gateway, files.path(), &["--wait"]).await;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert_eq!(results(&failed)[0].1, "failed");
}
