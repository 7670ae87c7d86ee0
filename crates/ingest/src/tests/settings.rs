//! Arguments and mounted files.

use crate::args::{Cli, Command, RunArgs};
use crate::settings::Settings;
use clap::{CommandFactory, Parser};
use tempfile::TempDir;

use super::rig::{table, write_file};

fn args(root: &TempDir, more: &[&str]) -> RunArgs {
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let (pipelines, bindings, internal) = (path("pipelines"), path("bindings"), path("internal"));
    let mut all = vec![
        "simbdp-ingest",
        "run",
        "--tenant",
        "t",
        "--namespace",
        "tenant-t",
        "--pipelines",
        &pipelines,
        "--bindings",
        &bindings,
        "--internal",
        &internal,
    ];
    all.extend(more);
    if !more.contains(&"--pipeline") {
        all.extend(["--pipeline", "p"]);
    }
    match Cli::try_parse_from(all).unwrap().command {
        Command::Run(args) => args,
        Command::Load(_) | Command::Exec(_) => panic!("run was asked for"),
    }
}

fn mounted() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let config = serde_json::json!({
        "tenant": "t", "pipeline": "p", "generation": 3, "keyspace": "t_t", "table": table(),
        "mode": {"type": "stream", "maxMessageSize": 262_144},
    });
    write_file(&root.path().join("pipelines/p.json"), &config.to_string());
    for (file, text) in [
        ("bindings/coredms/type", "cassandra"),
        ("bindings/coredms/host", "coredms.tenant-t.svc"),
        ("bindings/coredms/port", "9042\n"),
        ("bindings/coredms/username", "p_t"),
        ("bindings/coredms/password", "hunter2"),
        ("bindings/coredms/datacenter", "dc1"),
        ("internal/token", "token\n"),
    ] {
        write_file(&root.path().join(file), text);
    }
    root
}

#[test]
fn help_and_arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn settings_are_what_is_mounted() {
    let root = mounted();
    let args = args(&root, &[]);
    let settings = Settings::read(&args).unwrap();
    assert_eq!(settings.coredms.endpoints, ["coredms.tenant-t.svc:9042"]);
    assert_eq!(
        (
            settings.coredms.username.as_str(),
            settings.coredms.password.as_str()
        ),
        ("p_t", "hunter2")
    );
    assert_eq!(settings.coredms_options.datacenter.as_deref(), Some("dc1"));
    assert_eq!(settings.internal_token, "token");
    assert_eq!(settings.ledger_keyspace, "p_t");
    assert_eq!(settings.config.generation, 3);
    assert_eq!(args.gateway_hosts(), ".gateway-replicas.tenant-t.svc");
}

#[test]
fn what_does_not_fit_is_named() {
    let root = mounted();
    let error = |more: &[&str]| {
        Settings::read(&args(&root, more))
            .err()
            .unwrap()
            .to_string()
    };
    assert!(error(&["--pipeline", "other"]).contains("other.json"));
    write_file(&root.path().join("pipelines/p.json"), "{");
    assert!(error(&[]).contains("p.json"));
    let config = serde_json::json!({
        "tenant": "someone-else", "pipeline": "p", "generation": 3, "keyspace": "t_t", "table": table(),
        "mode": {"type": "stream", "maxMessageSize": 1},
    });
    write_file(&root.path().join("pipelines/p.json"), &config.to_string());
    assert!(error(&[]).contains("someone-else"));
}

#[test]
fn the_prefetch_bounds_the_memory_of_messages() {
    let root = mounted();
    let messages = args(&root, &[]).messages;
    assert_eq!(messages.prefetch(1_024), 1_000);
    assert_eq!(messages.prefetch(256 * 1_024), 128);
    assert_eq!(messages.prefetch(1 << 40), 1);
}
