//! Configuration of members [pure]: cassandra.yaml, datacenter and rack, logging.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::names::{CQL_PORT, DATACENTER, STORAGE_PORT, member, member_host};
use super::super::validate::ValidatedCoreDms;

/// Where members find their configuration.
pub const DIRECTORY: &str = "/etc/simbdp";
/// The volume of a member.
pub const DATA: &str = "/var/lib/cassandra";
/// Datacenter and rack.
pub const RACKDC: &str = "cassandra-rackdc.properties";
/// Logging.
pub const LOGBACK: &str = "logback.xml";

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
commitlog_total_space: 128MiB
memtable_heap_space: 64MiB
memtable_offheap_space: 32MiB
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

/// Tokens of a member in Development.
const TOKENS: u16 = 4;

/// A write is acknowledged when it is on the disk: members wait for each other's writes for a moment.
const SAFE: &str = "\
num_tokens: 16
allocate_tokens_for_local_replication_factor: 3
commitlog_sync: group
commitlog_sync_group_window: 10ms
";

/// Every file. Each member has a cassandra.yaml of its own, named after its pod, since they differ in seeds.
pub fn files(coredms: &ValidatedCoreDms) -> BTreeMap<String, String> {
    let members = (0..coredms.replicas).map(|ordinal| {
        let file = format!("{}.yaml", member(&coredms.name, ordinal));
        (file, cassandra_yaml(coredms, ordinal))
    });
    let shared = [
        (RACKDC.to_owned(), format!("dc={DATACENTER}\nrack=rack1\n")),
        (LOGBACK.to_owned(), LOGGING.to_owned()),
    ];
    members.chain(shared).collect()
}

/// The first member is its own seed, so that it alone can begin a cluster; it goes by its host name, which
/// its pod resolves itself, since the Service's names take some seconds to appear. The others' seeds are all but
/// themselves: a member among its own seeds would join without its share of the data, and with one seed
/// alone none could start again while that one is away.
fn seeds(coredms: &ValidatedCoreDms, ordinal: u16) -> String {
    if ordinal == 0 {
        return member(&coredms.name, ordinal);
    }
    let hosts: Vec<_> = (0..coredms.replicas)
        .filter(|other| *other != ordinal)
        .map(|other| member_host(&coredms.name, &coredms.namespace, other))
        .collect();
    hosts.join(",")
}

fn cassandra_yaml(coredms: &ValidatedCoreDms, ordinal: u16) -> String {
    let (name, namespace) = (&coredms.name, &coredms.namespace);
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
memtable_allocation_type: heap_buffers
batch_size_warn_threshold: 50KiB
batch_size_fail_threshold: 50KiB
unlogged_batch_across_partitions_warn_threshold: 10000
",
        seeds = seeds(coredms, ordinal),
    );
    match coredms.development() {
        true => {
            yaml.push_str(SMALL);
            // Writing to a String cannot fail.
            let _ = writeln!(
                yaml,
                "num_tokens: {TOKENS}\ninitial_token: {}",
                tokens(coredms.replicas, ordinal)
            );
        }
        false => yaml.push_str(SAFE),
    }
    yaml
}

/// Tokens that share the ring out evenly. Members that join at the same moment would choose the same ones.
fn tokens(replicas: u16, ordinal: u16) -> String {
    let all = i128::from(TOKENS) * i128::from(replicas);
    let tokens = (0..TOKENS).map(|index| {
        let place = i128::from(index) * i128::from(replicas) + i128::from(ordinal);
        (place * (1_i128 << 64) / all + i128::from(i64::MIN)).to_string()
    });
    tokens.collect::<Vec<_>>().join(",")
}
