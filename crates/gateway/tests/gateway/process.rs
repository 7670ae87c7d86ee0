//! The program itself, while neither database nor broker is there.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{CSV, WRITER, World};

const WAIT: Duration = Duration::from_secs(60);

fn start(world: &World) -> Child {
    for (path, value) in [
        ("bindings/coredms/type", "cassandra"),
        ("bindings/coredms/host", "127.0.0.1"),
        ("bindings/coredms/port", "1"),
        ("bindings/coredms/username", "p_x"),
        ("bindings/coredms/password", "database-secret"),
        ("bindings/broker/type", "rabbitmq"),
        ("bindings/broker/host", "127.0.0.1"),
        ("bindings/broker/port", "1"),
        ("bindings/broker/vhost", "tenant-x"),
        ("bindings/broker/username", "tenant-x"),
        ("bindings/broker/password", "broker-secret"),
    ] {
        let path = world.root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value).unwrap();
    }
    std::fs::create_dir_all(world.staging()).unwrap();
    let at = |name: &str| world.root.path().join(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_simbdp-gateway"));
    command.args(["--tenant", "x", "--pod-name", "gateway-0", "--log", "debug"]);
    for port in ["--listen", "--internal-listen", "--admin-listen"] {
        command.args([port, "127.0.0.1:0"]);
    }
    for name in ["staging", "pipelines", "users", "internal", "bindings"] {
        command.arg(format!("--{name}")).arg(at(name));
    }
    command
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn it_starts_without_its_servers_and_ends_when_told() {
    let world = World::new();
    let mut child = start(&world);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut log = String::new();
    let started = loop {
        let line = tokio::time::timeout(WAIT, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        log.push_str(&line);
        let line: Value = serde_json::from_str(&line).unwrap();
        if line["message"] == "started" {
            break line;
        }
    };
    let url = format!("http://{}", started["public"].as_str().unwrap());
    let client = reqwest::Client::new();
    let ready = client.get(format!("{url}/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    let answer = client
        .put(format!("{url}/v1/pipelines/flights/files/a.csv"))
        .header("authorization", WRITER)
        .body(CSV)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    let problem = answer.text().await.unwrap();
    assert!(problem.contains("is staged as"), "{problem}");
    let pid = child.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .await
            .unwrap()
            .success()
    );
    let status = tokio::time::timeout(WAIT, child.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(status.success(), "{status}");
    while let Some(line) = lines.next_line().await.unwrap() {
        log.push_str(&line);
    }
    for secret in [
        "ann-token",
        "internal-secret",
        "database-secret",
        "broker-secret",
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    assert_eq!(
        world.staged("staged").len(),
        2,
        "data and manifest are kept for the next start"
    );
}
