//! What is printed where, credentials, and exit codes that are common to all verbs.

use serde_json::json;

use crate::fake::{Fake, PASSWORD, TOKEN, Verb};
use crate::fetchdata::{GOOD, directory};
use crate::program::{bare, run, simbdp};

const QUERY: [&str; 4] = ["query", "readings", "--where", "sensor=s1"];

#[tokio::test]
async fn results_are_a_table_json_or_csv_and_nothing_else() {
    let gateway = Fake::start().await;
    let json = run(simbdp(&gateway, &[&QUERY[..], &["-o", "json"]].concat())).await;
    assert_eq!(
        json.json(),
        json!([{"sensor": "s,1", "value": 5}, {"sensor": "s2", "value": null}])
    );
    let csv = run(simbdp(&gateway, &[&QUERY[..], &["-o", "csv"]].concat())).await;
    assert_eq!(csv.stdout, "sensor,value\n\"s,1\",5\ns2,\n");
    let table = run(simbdp(&gateway, &QUERY)).await;
    let words: Vec<_> = table.stdout.split_whitespace().collect();
    assert_eq!(words, ["SENSOR", "VALUE", "s,1", "5", "s2"]);
    for ran in [json, csv, table] {
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    }
}

#[tokio::test]
async fn files_are_shown_in_each_format_without_a_bar_where_there_is_no_terminal() {
    let gateway = Fake::start().await;
    gateway.end("a.csv", ("Done", 7, 3));
    let files = directory(&[("a.csv", GOOD)]);
    let path = files.path().to_str().unwrap();
    for output in ["table", "csv", "json"] {
        let args = ["fetchdata", path, "-p", "readings", "--wait", "-o", output];
        let ran = run(simbdp(&gateway, &args)).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{ran:?}");
        match output {
            "json" => assert_eq!(ran.json()[0]["rejected"], json!(3)),
            "csv" => {
                let mut reader = csv::Reader::from_reader(ran.stdout.as_bytes());
                let row = reader.records().next().unwrap().unwrap();
                assert_eq!((&row[1], &row[3], &row[4]), ("done", "7", "3"));
            }
            _ => assert!(
                ran.stdout.contains("REJECTED") && ran.stdout.contains("--rejects"),
                "{ran:?}"
            ),
        }
    }
}

/// Arguments, variables and the exit code.
type Try<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], i32);

#[tokio::test]
async fn secrets_come_from_files_and_variables_and_are_never_echoed() {
    let gateway = Fake::start().await;
    let secrets = directory(&[
        ("token", &format!("{TOKEN}\n")),
        ("password", PASSWORD),
        ("wrong", "wrong-secret"),
    ]);
    let file = |name: &str| secrets.path().join(name).to_str().unwrap().to_owned();
    let tries: [Try; 6] = [
        (&["--token-file", &file("token")], &[], 0),
        (&[], &[("SIMBDP_TOKEN", TOKEN)], 0),
        (
            &["--user", "ann", "--password-file", &file("password")],
            &[],
            0,
        ),
        (&["--user", "ann"], &[("SIMBDP_PASSWORD", PASSWORD)], 0),
        (&["--token-file", &file("wrong")], &[], 4),
        (&[], &[], 2),
    ];
    for (args, variables, code) in tries {
        let mut command =
            bare(&[args, &["--server", &gateway.url, "constraints", "readings"]].concat());
        command
            .envs(variables.iter().copied())
            .env("SIMBDP_LOG", "trace");
        let ran = run(command).await;
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        for secret in [TOKEN, PASSWORD, "wrong-secret"] {
            assert!(
                !ran.stdout.contains(secret) && !ran.stderr.contains(secret),
                "{args:?}"
            );
        }
    }
    assert_eq!(gateway.calls(Verb::Constraints).len(), 5);
}

#[tokio::test]
async fn help_shows_no_secret_as_an_argument_and_tells_the_exit_codes() {
    for verb in [
        "",
        "fetchdata",
        "ingestmessage",
        "query",
        "constraints",
        "ledger",
        "status",
    ] {
        let args: Vec<_> = [verb, "--help"]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect();
        let ran = run(bare(&args)).await;
        assert_eq!(ran.code, 0);
        for secret in [
            "--token ",
            "--token=",
            "--password ",
            "--password=",
            "_TOKEN=",
            "_PASSWORD=",
        ] {
            assert!(!ran.stdout.contains(secret), "{verb}: {}", ran.stdout);
        }
        assert_eq!(
            ran.stdout.contains("Exit codes:"),
            verb.is_empty(),
            "{verb}"
        );
    }
}

#[tokio::test]
async fn exit_codes_are_those_of_the_help() {
    let gateway = Fake::start().await;
    let unknown = run(simbdp(&gateway, &["constraints", "unknown"])).await;
    assert_eq!(unknown.code, 1, "{unknown:?}");
    let usage = run(simbdp(&gateway, &["fetchdata"])).await;
    assert_eq!(usage.code, 2, "{usage:?}");
    let wrong_mode = run(simbdp(&gateway, &["fetchdata", ".", "-p", "events"])).await;
    assert_eq!(wrong_mode.code, 2, "{wrong_mode:?}");
    let mut no_url = bare(&["--server", "localhost:8080", "constraints"]);
    no_url.env("SIMBDP_TOKEN", TOKEN);
    assert_eq!(run(no_url).await.code, 2);
    let no_cluster = run(bare(&["--tenant", "alpha", "status"])).await;
    assert_eq!(no_cluster.code, 3, "{no_cluster:?}");
}
