//! What is Cassandra's in a member [pure]: cassandra.yaml, datacenter and rack, logging, command, environment.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::EnvVar;

use super::super::names::{
    self, BATCH_KIB, CQL_PORT, DATACENTER, STORAGE_PORT, member, member_host,
};
use super::super::validate::ValidatedCoreDms;
use super::engine::{CONFIG, Server};
use crate::objects::{
    empty_dir, env, mount, mount_read_only, optional_config_map_volume, pod_name,
};

/// The volume of a member.
const DATA: &str = "/var/lib/cassandra";
const LOGS: &str = "/var/log/cassandra";
/// What is known of members that have joined.
const MEMBERS: &str = "/members";
/// Options that the java launcher reads besides its command line.
const OPTIONS: &str = "server.options";
/// Datacenter and rack.
const RACKDC: &str = "cassandra-rackdc.properties";
/// Logging.
const LOGBACK: &str = "logback.xml";
const MIB: u64 = 1 << 20;

/// Fast start and little memory. The stock delays take three members some three minutes.
const FAST: &str = "-XX:-UseG1GC -XX:+UseSerialGC -XX:-AlwaysPreTouch \
-Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.superuser_setup_delay_ms=0 \
-Dcassandra.ring_delay_ms=3000 -Dcassandra.consistent.rangemovement=false \
-Dcassandra.shutdown_announce_in_ms=0";

/// Compiles its code in a moment and leaves it slower: what compiles it well needs memory that a small member lacks.
const QUICKLY_COMPILED: &str = "-XX:TieredStopAtLevel=1";

/// There is no room for a heap dump, and nobody to fetch it.
const SHARED: &str = "-XX:-HeapDumpOnOutOfMemoryError";

const LOGGING: &str = r#"<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder>
      <pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern>
    </encoder>
  </appender>
  <root level="INFO">
    <appender-ref ref="STDOUT"/>
  </root>
</configuration>
"#;

/// For tests and demonstrations: what makes three members fit beside everything else on a small machine.
const SMALL: &str = "\
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_segment_size: 8MiB
file_cache_size: 16MiB
networking_cache_size: 16MiB
key_cache_size: 4MiB
counter_cache_size: 0MiB
row_cache_size: 0MiB
prepared_statements_cache_size: 4MiB
concurrent_reads: 8
concurrent_writes: 8
concurrent_counter_writes: 4
concurrent_compactors: 1
compaction_throughput: 0MiB/s
dynamic_snitch: false
write_request_timeout: 10s
read_request_timeout: 10s
request_timeout: 20s
";

/// A heap from which on a member has room for more than to run at all.
const ROOMY: u64 = 512 * MIB;

/// Rows lie outside the heap until they are flushed: collecting garbage among them was measured to take a quarter of a
/// load's time. How much may lie there is in proportion to the heap by default. They are found by tries, as Cassandra's own
/// `cassandra_latest.yaml` has it, which takes fewer objects than skip lists.
const MEMTABLES_OFF_HEAP: &str = "\
memtable:
  configurations:
    trie:
      class_name: TrieMemtable
    default:
      inherits: trie
memtable_allocation_type: offheap_objects
";

/// There is no room outside a small heap either.
const MEMTABLES_ON_HEAP: &str = "memtable_allocation_type: heap_buffers\n";

/// What a small member in Development can hold before it flushes.
const SMALL_MEMTABLES: &str = "\
memtable_heap_space: 64MiB
memtable_offheap_space: 32MiB
commitlog_total_space: 128MiB
";

/// Tokens of a member in Development.
const TOKENS: u16 = 4;
/// Members that begin the cluster. What is said of them never depends on how many join later, so that nobody is
/// restarted when the cluster grows.
pub const FIRST: u16 = 3;

/// A write is acknowledged when it is on the disk: members wait for each other's writes for a moment.
const SAFE: &str = "\
num_tokens: 16
allocate_tokens_for_local_replication_factor: 3
commitlog_sync: group
commitlog_sync_group_window: 10ms
";

/// A member's server.
pub fn server(coredms: &ValidatedCoreDms) -> Server {
    Server {
        data: DATA,
        command: command(),
        environment: environment(coredms),
        prepare: prepare(coredms),
        prepare_mounts: vec![
            mount(super::pod::DATA_VOLUME, DATA),
            mount_read_only("members", MEMBERS),
        ],
        volumes: vec![
            empty_dir("logs", 256 * MIB),
            optional_config_map_volume("members", &names::members(&coredms.name)),
        ],
        mounts: vec![mount("logs", LOGS)],
        // On SIGTERM Cassandra drains: it flushes what it holds in memory.
        grace_seconds: if coredms.development() { 60 } else { 180 },
    }
}

/// A member that starts for the first time waits for another one that it joins: in Development for the first
/// one, then all join together; else for the one before it, since members that join one after the other need
/// no luck. Later starts need not wait, since members know each other then.
fn prepare(coredms: &ValidatedCoreDms) -> Vec<String> {
    let other = match coredms.development() {
        true => "{first}",
        false => "{previous}",
    };
    let host = format!("{other}.{}.{}.svc", coredms.name, coredms.namespace);
    vec![
        format!("--wait-for={host}:{CQL_PORT}"),
        format!("--wait-unless={DATA}/data"),
        format!("--volume={DATA}"),
        format!("--members={MEMBERS}"),
        format!("--replacement={CONFIG}/{OPTIONS}"),
    ]
}

/// Kubernetes puts the pod's name into the file's.
fn command() -> Vec<String> {
    vec![
        "/opt/cassandra/bin/cassandra".to_owned(),
        "-f".to_owned(),
        format!("-Dcassandra.config=file://{CONFIG}/$(SIMBDP_POD_NAME).yaml"),
        format!("-Dcassandra-rackdc.properties=file://{CONFIG}/{RACKDC}"),
        format!("-Dlogback.configurationFile=file:{CONFIG}/{LOGBACK}"),
    ]
}

fn environment(coredms: &ValidatedCoreDms) -> Vec<EnvVar> {
    let options = match (coredms.development(), roomy(coredms)) {
        (true, true) => format!("{SHARED} {FAST}"),
        (true, false) => format!("{SHARED} {FAST} {QUICKLY_COMPILED}"),
        (false, _) => SHARED.to_owned(),
    };
    vec![
        pod_name(),
        env("MAX_HEAP_SIZE", format!("{}M", coredms.needs.share / MIB)),
        env("JVM_EXTRA_OPTS", options),
        env("JDK_JAVA_OPTIONS", format!("@{CONFIG}/{OPTIONS}")),
        env(
            "MALLOC_ARENA_MAX",
            if coredms.development() { 2 } else { 4 },
        ),
        env("CASSANDRA_LOG_DIR", LOGS),
    ]
}

fn roomy(coredms: &ValidatedCoreDms) -> bool {
    coredms.needs.share >= ROOMY
}

/// Every file. Each member has a cassandra.yaml of its own, named after its pod, since they differ in seeds.
pub fn files(coredms: &ValidatedCoreDms, members: u16) -> BTreeMap<String, String> {
    let members = (0..members).map(|ordinal| {
        let file = format!("{}.yaml", member(&coredms.name, ordinal));
        (
            file,
            cassandra_yaml(coredms, ordinal, &seeds(coredms, ordinal)),
        )
    });
    // For a first member that has lost its volume.
    let again = (
        format!("{}.again.yaml", member(&coredms.name, 0)),
        cassandra_yaml(coredms, 0, &others(coredms, 0)),
    );
    let shared = [
        (RACKDC.to_owned(), format!("dc={DATACENTER}\nrack=rack1\n")),
        (LOGBACK.to_owned(), LOGGING.to_owned()),
    ];
    members.chain([again]).chain(shared).collect()
}

/// The first member is its own seed, so that it alone can begin a cluster; it goes by its host name, which
/// its pod resolves itself, since the Service's names take some seconds to appear. The others' seeds are those first
/// members but themselves: a member among its own seeds would join without its share of the data, and with one seed
/// alone none could start again while that one is away.
fn seeds(coredms: &ValidatedCoreDms, ordinal: u16) -> String {
    match ordinal {
        0 => member(&coredms.name, ordinal),
        _ => others(coredms, ordinal),
    }
}

fn others(coredms: &ValidatedCoreDms, ordinal: u16) -> String {
    let hosts: Vec<_> = (0..FIRST)
        .filter(|other| *other != ordinal)
        .map(|other| member_host(&coredms.name, &coredms.namespace, other))
        .collect();
    hosts.join(",")
}

fn cassandra_yaml(coredms: &ValidatedCoreDms, ordinal: u16, seeds: &str) -> String {
    let (name, namespace) = (&coredms.name, &coredms.namespace);
    let refused = 2 * BATCH_KIB;
    let mut yaml = format!(
        "\
cluster_name: {namespace}.{name}
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: GossipingPropertyFileSnitch
seed_provider:
- class_name: org.apache.cassandra.locator.SimpleSeedProvider
  parameters:
  - seeds: {seeds}
native_transport_port: {CQL_PORT}
storage_port: {STORAGE_PORT}
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
data_file_directories:
- {DATA}/data
commitlog_directory: {DATA}/commitlog
saved_caches_directory: {DATA}/saved_caches
hints_directory: {DATA}/hints
cdc_raw_directory: {DATA}/cdc_raw
disk_failure_policy: die
commit_failure_policy: die
batch_size_warn_threshold: {BATCH_KIB}KiB
batch_size_fail_threshold: {refused}KiB
unlogged_batch_across_partitions_warn_threshold: 10000
",
    );
    yaml.push_str(match roomy(coredms) {
        true => MEMTABLES_OFF_HEAP,
        false => MEMTABLES_ON_HEAP,
    });
    match coredms.development() {
        true => {
            yaml.push_str(SMALL);
            if !roomy(coredms) {
                yaml.push_str(SMALL_MEMTABLES);
            }
            // Writing to a String cannot fail.
            let _ = writeln!(yaml, "num_tokens: {TOKENS}");
            if ordinal < FIRST {
                let _ = writeln!(yaml, "initial_token: {}", tokens(ordinal));
            }
        }
        false => yaml.push_str(SAFE),
    }
    yaml
}

/// Tokens of a first member, which share the ring out evenly: members that join at the same moment would choose
/// the same ones.
fn tokens(ordinal: u16) -> String {
    let all = i128::from(TOKENS) * i128::from(FIRST);
    let tokens = (0..TOKENS).map(|index| {
        let place = i128::from(index) * i128::from(FIRST) + i128::from(ordinal);
        (place * (1_i128 << 64) / all + i128::from(i64::MIN)).to_string()
    });
    tokens.collect::<Vec<_>>().join(",")
}
