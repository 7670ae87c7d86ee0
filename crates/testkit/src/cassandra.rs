//! A real Cassandra for tests: one node, or three, on loopback addresses of their own. It runs from
//! the jars of an installation, named by `SIMBDP_CASSANDRA_HOME`: a directory with `lib/*.jar`, or
//! the root file system of an image with `/opt/cassandra/lib`. Needs a Java of version 17.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::certificates::Authority;
use crate::server_process::{LOG, ServerProcess, free_addresses};

/// Names the installation.
pub const HOME_VARIABLE: &str = "SIMBDP_CASSANDRA_HOME";
/// Datacenter of all nodes.
pub const DATACENTER: &str = "dc1";
/// Port of the native protocol, the same on each address.
pub const PORT: u16 = 9042;

const STORAGE_PORT: u16 = 7000;
const TOKENS: usize = 4;
/// Lines of a log that are shown.
const LINES: usize = 30;
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// Launches of a node before its failure is the cluster's.
const LAUNCHES: u32 = 4;
const POLL: Duration = Duration::from_millis(50);
const JARS: [&str; 3] = ["lib", "opt/cassandra/lib", "."];

/// For tests only: no waiting for gossip, for the ring or for the default superuser.
const FAST: [&str; 9] = [
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.superuser_setup_delay_ms=0",
    "-Dcassandra.ring_delay_ms=3000",
    "-Dcassandra.shutdown_announce_in_ms=0",
    "-Dcassandra.consistent.rangemovement=false",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xss512k",
    "-Djava.security.manager=allow",
];

/// What Cassandra needs of a Java of version 17, as its own jvm17-server.options has it.
const JAVA_17: [&str; 17] = [
    "-Djdk.attach.allowAttachSelf=true",
    "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-exports=java.management.rmi/com.sun.jmx.remote.internal.rmi=ALL-UNNAMED",
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-exports=java.rmi/sun.rmi.server=ALL-UNNAMED",
    "--add-exports=java.sql/java.sql=ALL-UNNAMED",
    "--add-exports=java.base/java.lang.ref=ALL-UNNAMED",
    "--add-exports=jdk.unsupported/sun.misc=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.module=ALL-UNNAMED",
    "--add-opens=java.base/java.net=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.loader=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.reflect=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.math=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.module=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.util.jar=ALL-UNNAMED",
    "--add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED",
];
const OPEN_TO_ALL: [&str; 5] = [
    "sun.nio.ch",
    "java.io",
    "java.lang",
    "java.util",
    "java.nio",
];

const LOGBACK: &str = r#"<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %date{ISO8601} %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="STDOUT"/></root>
</configuration>
"#;

/// A cluster of Cassandra nodes. It ends when it is dropped or when the process does, and its data too.
pub struct Cassandra {
    jars: PathBuf,
    base: TempDir,
    nodes: Vec<Node>,
}

struct Node {
    address: Ipv4Addr,
    directory: PathBuf,
    /// Port of its administration.
    management: u16,
    server: Option<ServerProcess>,
}

impl Cassandra {
    /// Starts a cluster and waits until every node answers. The first one starts alone: it is the seed.
    pub async fn start(nodes: u8) -> Result<Self> {
        Self::with(nodes, None).await
    }

    /// The same, for clients that speak TLS. Each node has a certificate for its address.
    pub async fn start_with_tls(nodes: u8, authority: &Authority) -> Result<Self> {
        Self::with(nodes, Some(authority)).await
    }

    async fn with(nodes: u8, authority: Option<&Authority>) -> Result<Self> {
        ensure!((1..=9).contains(&nodes), "1 to 9 nodes, not {nodes}");
        let base = tempfile::Builder::new().prefix("cassandra-").tempdir()?;
        let addresses = free_addresses(nodes, &[PORT, STORAGE_PORT])?;
        let node = |address: &Ipv4Addr| -> Result<Node> {
            Ok(Node {
                address: *address,
                directory: base.path().join(address.to_string()),
                management: free_port()?,
                server: None,
            })
        };
        let mut cluster = Self {
            jars: jars()?,
            nodes: addresses.iter().map(node).collect::<Result<_>>()?,
            base,
        };
        for node in 0..cluster.nodes.len() {
            cluster.configure(node, authority)?;
        }
        cluster.launch(0)?;
        cluster.wait(0).await?;
        for node in 1..cluster.nodes.len() {
            cluster.launch(node)?;
        }
        for node in 1..cluster.nodes.len() {
            cluster.wait(node).await?;
        }
        Ok(cluster)
    }

    /// `address:port` of every node.
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| format!("{}:{PORT}", node.address))
            .collect()
    }

    /// As many replicas as there are nodes, three at most.
    pub fn replication_factor(&self) -> u16 {
        u16::try_from(self.nodes.len().min(3)).unwrap_or(3)
    }

    /// What a node has logged.
    pub fn log(&self, node: usize) -> Result<String> {
        Ok(fs::read_to_string(self.nodes[node].directory.join(LOG))?)
    }

    /// Stops a node as `kill -STOP` does, or lets it go on: its connections stay, and nothing answers.
    pub fn hang(&mut self, node: usize, hangs: bool) -> Result<()> {
        match &mut self.nodes[node].server {
            Some(server) => server.signal(if hangs { "STOP" } else { "CONT" }),
            None => bail!("node {node} does not run"),
        }
    }

    /// Kills a node as `kill -9` does. Its data stays.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        match self.nodes[node].server.take() {
            Some(server) => server.kill(),
            None => bail!("node {node} does not run"),
        }
    }

    /// Starts a node again after [`Cassandra::kill`], on its address with its data, and waits for it.
    pub async fn run(&mut self, node: usize) -> Result<()> {
        ensure!(
            self.nodes[node].server.is_none(),
            "node {node} already runs"
        );
        self.launch(node)?;
        self.wait(node).await
    }

    /// Runs Cassandra's own administration on a node; returns what it writes.
    pub fn nodetool(&self, node: usize, words: &[&str]) -> Result<String> {
        let port = self.nodes[node].management.to_string();
        let ran = Command::new(java())
            .args(["-XX:TieredStopAtLevel=1", "-Xmx128M"])
            .args(opened())
            .arg("-cp")
            .arg(format!("{}/*", self.jars.display()))
            .arg(format!("-Duser.home={}", self.base.path().display()))
            .args(["org.apache.cassandra.tools.NodeTool", "-p", &port])
            .args(words)
            .output()?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
        ensure!(ran.status.success(), "nodetool {words:?}: {said}");
        Ok(said)
    }

    fn configure(&self, node: usize, authority: Option<&Authority>) -> Result<()> {
        let Node {
            address, directory, ..
        } = &self.nodes[node];
        fs::create_dir_all(directory)?;
        fs::write(directory.join("logback.xml"), LOGBACK)?;
        fs::write(
            directory.join("cassandra-rackdc.properties"),
            format!("dc={DATACENTER}\nrack=r{node}\n"),
        )?;
        let seed = self.nodes[0].address;
        let tokens = tokens(node, self.nodes.len());
        let yaml = format!(
            "cluster_name: tests
num_tokens: {TOKENS}
initial_token: {tokens}
endpoint_snitch: GossipingPropertyFileSnitch
listen_address: {address}
rpc_address: {address}
seed_provider:
- class_name: org.apache.cassandra.locator.SimpleSeedProvider
  parameters:
  - seeds: \"{seed}:{STORAGE_PORT}\"
{}",
            small_yaml(&directory.display().to_string())
        );
        let encryption = match authority {
            Some(authority) => client_encryption(&authority.server(&[address.to_string()])?),
            None => String::new(),
        };
        fs::write(directory.join("cassandra.yaml"), yaml + &encryption)?;
        Ok(())
    }

    fn launch(&mut self, node: usize) -> Result<()> {
        let base = self.base.path().to_owned();
        let classpath = format!("{}/*", self.jars.display());
        let Node {
            directory,
            server,
            management,
            ..
        } = &mut self.nodes[node];
        let property =
            |name: &str, file: &str| format!("-D{name}=file://{}", directory.join(file).display());
        let mut command = Command::new(java());
        command
            .args(["-Xms256M", "-Xmx256M"])
            .args(FAST)
            .args(opened())
            .arg("-Dio.netty.tryReflectionSetAccessible=true")
            .arg(property("cassandra.config", "cassandra.yaml"))
            .arg(property(
                "cassandra-rackdc.properties",
                "cassandra-rackdc.properties",
            ))
            .arg(property("logback.configurationFile", "logback.xml"))
            .arg(format!("-Dcassandra.storagedir={}", directory.display()))
            .arg(format!("-Dcassandra.logdir={}", directory.display()))
            .arg("-Dcassandra-foreground=yes")
            .arg(format!("-Dcassandra.jmx.local.port={management}"))
            .args(["-cp", &classpath])
            .arg("org.apache.cassandra.service.CassandraDaemon");
        if let Some(agent) = agent(&self.jars)? {
            command.env(
                "JAVA_TOOL_OPTIONS",
                format!("-javaagent:{}", agent.display()),
            );
        }
        command.env("MALLOC_ARENA_MAX", "2");
        *server = Some(ServerProcess::start(command, directory, &base)?);
        Ok(())
    }

    /// Waits until a node answers. One that gave up at its start is launched again, as it would be by whoever
    /// runs it: on a busy machine a seed may be too slow for it.
    async fn wait(&mut self, node: usize) -> Result<()> {
        let address = SocketAddr::from((self.nodes[node].address, PORT));
        let log = self.nodes[node].directory.join(LOG);
        let deadline = Instant::now() + START_TIMEOUT;
        let mut launches = 1;
        while TcpStream::connect(address).await.is_err() {
            let gave_up = ended(&log);
            if gave_up && launches < LAUNCHES && Instant::now() < deadline {
                launches += 1;
                self.kill(node)?;
                fs::rename(&log, log.with_extension(format!("{launches}.log")))?;
                self.launch(node)?;
            } else if gave_up || Instant::now() > deadline {
                // Read before the end of the script, which removes it.
                let said = tail(&log);
                self.nodes[node].server = None;
                bail!("node {node} does not answer; its log ends:\n{said}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// The part of a cassandra.yaml that small members for tests have alike, their files in `data`: ports, logins, and what
/// lets several of them run beside each other.
pub fn small_yaml(data: &str) -> String {
    format!(
        "partitioner: org.apache.cassandra.dht.Murmur3Partitioner
native_transport_port: {PORT}
storage_port: {STORAGE_PORT}
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
data_file_directories: [{data}/data]
commitlog_directory: {data}/commitlog
saved_caches_directory: {data}/saved_caches
hints_directory: {data}/hints
cdc_raw_directory: {data}/cdc_raw
commitlog_sync: periodic
commitlog_sync_period: 10000ms
memtable_heap_space: 64MiB
memtable_offheap_space: 32MiB
memtable_allocation_type: heap_buffers
commitlog_segment_size: 8MiB
commitlog_total_space: 128MiB
file_cache_size: 16MiB
networking_cache_size: 16MiB
key_cache_size: 4MiB
concurrent_compactors: 1
dynamic_snitch: false
write_request_timeout: 10s
read_request_timeout: 10s
cas_contention_timeout: 5s
request_timeout: 20s
"
    )
}

/// What makes a cassandra.yaml demand TLS of all clients, with this key and certificate.
pub fn client_encryption(pem: &str) -> String {
    format!(
        "client_encryption_options:
  enabled: true
  optional: false
  keystore_password: ''
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
    parameters:
      private_key: |
        {}
",
        pem.replace('\n', "\n        ")
    )
}

/// What server and administration need of Java.
fn opened() -> impl Iterator<Item = String> {
    let packages = OPEN_TO_ALL.into_iter().chain(["java.lang.reflect"]);
    let opens = packages.map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
    JAVA_17.into_iter().map(str::to_owned).chain(opens)
}

/// Of the loopback address that administration binds on, whichever the node's own.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Whether the server says that it gave up: the script waits for its input all the same.
fn ended(log: &Path) -> bool {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.contains("Exception encountered during startup")
        || text.contains("Could not create the Java")
}

/// What the server says of its failure, or its last lines.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let failure = lines.iter().position(|line| line.starts_with("ERROR"));
    let from = failure.unwrap_or(lines.len().saturating_sub(LINES));
    lines[from..]
        .iter()
        .take(LINES)
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

/// Tokens of a node, spread evenly: nodes that join together would choose the same ones by themselves.
fn tokens(node: usize, nodes: usize) -> String {
    let all = (TOKENS * nodes) as i128;
    let step = (1_i128 << 64) / all;
    let token = |n: usize| i128::from(i64::MIN) + step / 2 + step * ((n * nodes + node) as i128);
    let tokens: Vec<_> = (0..TOKENS).map(|n| token(n).to_string()).collect();
    tokens.join(",")
}

fn java() -> PathBuf {
    std::env::var_os("JAVA_HOME").map_or_else(
        || PathBuf::from("java"),
        |home| PathBuf::from(home).join("bin/java"),
    )
}

/// The directory of jars.
fn jars() -> Result<PathBuf> {
    let home = std::env::var_os(HOME_VARIABLE).with_context(|| {
        format!("{HOME_VARIABLE} is not set: it names a directory with Cassandra's lib/*.jar, e.g. the root file system that `make images` leaves")
    })?;
    let home = PathBuf::from(home);
    for candidate in JARS {
        let directory = home.join(candidate);
        if find(&directory, "apache-cassandra-")?.is_some()
            || find(&directory, "cassandra-all-")?.is_some()
        {
            return Ok(directory.canonicalize()?);
        }
    }
    bail!(
        "{HOME_VARIABLE} is {}, and no Cassandra is in its {}",
        home.display(),
        JARS.join(", ")
    )
}

fn find(directory: &Path, prefix: &str) -> Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(None);
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(prefix) && name.ends_with(".jar")) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The agent that measures objects on the heap.
fn agent(jars: &Path) -> Result<Option<PathBuf>> {
    find(jars, "jamm-")
}
