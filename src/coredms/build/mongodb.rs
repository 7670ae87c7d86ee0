//! What is MongoDB's in a member [pure]: mongod.conf, keyfile, command.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::names::{self, KEYFILE, MONGODB_PORT};
use super::super::validate::ValidatedCoreDms;
use super::engine::{CONFIG, Server};
use crate::objects::{mount_read_only, secret_file_volume};

/// The volume of a member.
const DATA: &str = "/data/db";
const KEYFILE_SOURCE: &str = "/keyfile";
const FILE: &str = "mongod.conf";
const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// A member's server. On SIGTERM a primary steps down and lets what it has begun end for 15 s.
pub fn server(coredms: &ValidatedCoreDms) -> Server {
    // One that cannot find itself among the set's members takes no part, until another one tells it that it is: when all
    // start together and none is known by its name yet, nobody would.
    let own = format!("{{pod}}.{}.{}.svc", coredms.name, coredms.namespace);
    Server {
        data: DATA,
        command: vec![
            "mongod".to_owned(),
            "--config".to_owned(),
            format!("{CONFIG}/{FILE}"),
        ],
        environment: Vec::new(),
        // fsGroup would let the group read a mounted keyfile, which mongod refuses: hence a copy with its own mode.
        prepare: vec![
            format!("--from={KEYFILE_SOURCE}"),
            format!("--to={CONFIG}"),
            "--mode=0400".to_owned(),
            format!("--wait-for-name={own}"),
        ],
        prepare_mounts: vec![mount_read_only("keyfile", KEYFILE_SOURCE)],
        volumes: vec![secret_file_volume(
            "keyfile",
            &names::superuser_secret(&coredms.name),
            KEYFILE,
        )],
        mounts: Vec::new(),
        grace_seconds: if coredms.development() { 30 } else { 90 },
    }
}

/// mongod.conf, the same for each member. JSON is YAML.
pub fn files(coredms: &ValidatedCoreDms) -> BTreeMap<String, String> {
    let mut conf = json!({
        "storage": {
            "dbPath": DATA,
            "wiredTiger": {"engineConfig": {"cacheSizeGB": coredms.needs.share as f64 / GIB as f64}},
        },
        "net": {"port": MONGODB_PORT, "bindIpAll": true, "unixDomainSocket": {"enabled": false}},
        "replication": {
            "replSetName": names::replica_set(&coredms.name),
            "oplogSizeMB": oplog(coredms.needs.storage) / MIB,
        },
        "security": {"authorization": "enabled", "keyFile": format!("{CONFIG}/{KEYFILE}")},
        // Traces of internals that support staff of the vendor read; on a small volume they are much.
        "setParameter": {"diagnosticDataCollectionEnabled": !coredms.development()},
    });
    if coredms.development() {
        conf["storage"]["wiredTiger"]["engineConfig"]["configString"] =
            json!("log=(file_max=4MB,prealloc=false)");
        conf["setParameter"]["shutdownTimeoutMillisForSignaledShutdown"] = json!(500);
    }
    let text = serde_yaml::to_string(&conf).unwrap_or_default();
    BTreeMap::from([(FILE.to_owned(), text)])
}

/// A twentieth of the volume, as mongod itself takes by default, but without its least of 990 MB, which would
/// fill a small one.
fn oplog(storage: u64) -> u64 {
    (storage / 20).clamp(64 * MIB, 50 * GIB)
}
