//! A real Kafka for tests: one node, or three, each broker and controller, on loopback addresses of their own. It runs
//! from the jars of an installation, named by `SIMBDP_KAFKA_HOME`: a directory with `libs/*.jar`, or the root file
//! system of an image with `/opt/kafka/libs`. Needs a Java of version 17.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use simbdp_api::broker::BrokerType;
use simbdp_broker::admin::ManagementConnection;
use simbdp_broker::kafka::managed_url;
use simbdp_broker::{Connection, Trust};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::certificates::Authority;
use crate::server_process::{LOG, ServerProcess, free_addresses};

/// Names the installation.
pub const HOME_VARIABLE: &str = "SIMBDP_KAFKA_HOME";
/// Port of clients, the same on each address.
pub const PORT: u16 = 9092;

const NODES_PORT: u16 = 9091;
const CONTROLLER_PORT: u16 = 9093;
const JARS: [&str; 3] = ["libs", "opt/kafka/libs", "."];
const ADMINISTRATOR: &str = "operator";
const PASSWORD: &str = "operator-password";
const CLUSTER: &str = "c2ltYmRwLXRlc3RzLS0tLQ";
const START_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
/// Lines of a log that are shown.
const LINES: usize = 30;
const CONFIG: &str = "server.properties";
const LOGGING: &str = "log4j2.yaml";

/// For tests only: quick to start, small.
const JAVA: [&str; 5] = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xmx256M",
    "-Xss512k",
    "-XX:-UsePerfData",
];

const LOGGING_CONFIG: &str = "Configuration:
  Appenders:
    Console:
      name: STDOUT
      PatternLayout:
        pattern: \"%d %p %m (%c{1})%n\"
  Loggers:
    Root:
      level: WARN
      AppenderRef:
        - ref: STDOUT
    Logger:
      - name: kafka.server.KafkaRaftServer
        level: INFO
";

/// A Kafka cluster. It ends when it is dropped or when the process does, and its data too.
pub struct Kafka {
    jars: PathBuf,
    base: TempDir,
    nodes: Vec<Node>,
    /// Whose certificates nodes have: clients speak TLS then.
    authority: Option<Authority>,
}

struct Node {
    address: Ipv4Addr,
    directory: PathBuf,
    server: Option<ServerProcess>,
}

impl Kafka {
    /// Starts a cluster and waits until every node answers.
    pub async fn start(nodes: u8) -> Result<Self> {
        Self::start_at(nodes, None).await
    }

    /// The same, for clients that speak TLS. Each node has a certificate for its address.
    pub async fn start_with_tls(nodes: u8, authority: Authority) -> Result<Self> {
        Self::start_at(nodes, Some(authority)).await
    }

    async fn start_at(nodes: u8, authority: Option<Authority>) -> Result<Self> {
        ensure!([1, 3].contains(&nodes), "1 or 3 nodes, not {nodes}");
        let base = tempfile::Builder::new().prefix("kafka-").tempdir()?;
        let addresses = free_addresses(nodes, &[PORT, NODES_PORT, CONTROLLER_PORT])?;
        let node = |address: &Ipv4Addr| Node {
            address: *address,
            directory: base.path().join(address.to_string()),
            server: None,
        };
        let mut cluster = Self {
            jars: jars()?,
            nodes: addresses.iter().map(node).collect(),
            base,
            authority,
        };
        for node in 0..cluster.nodes.len() {
            cluster.format(node)?;
        }
        for node in 0..cluster.nodes.len() {
            cluster.launch(node)?;
        }
        for node in 0..cluster.nodes.len() {
            cluster.wait(node).await?;
        }
        Ok(cluster)
    }

    /// Where messages go, for this user.
    pub fn connection(&self, vhost: &str, username: &str, password: &str) -> Connection {
        Connection {
            broker: BrokerType::Kafka,
            hosts: vec![self.nodes[0].address.to_string()],
            port: PORT,
            vhost: vhost.into(),
            username: username.into(),
            password: password.into(),
            max_queue_bytes: None,
            tls: self.trust(),
        }
    }

    /// The administrator's login, at all nodes.
    pub fn management(&self) -> ManagementConnection {
        let addresses = self
            .nodes
            .iter()
            .map(|node| format!("{}:{PORT}", node.address));
        ManagementConnection {
            url: managed_url(&addresses.collect::<Vec<_>>().join(",")),
            username: ADMINISTRATOR.into(),
            password: PASSWORD.into(),
            tls: self.trust(),
        }
    }

    fn trust(&self) -> Option<Trust> {
        let authority = self.authority.as_ref();
        authority.map(|authority| Trust::Bundle(authority.pem().into()))
    }

    /// What a node has logged.
    pub fn log(&self, node: usize) -> Result<String> {
        Ok(fs::read_to_string(self.nodes[node].directory.join(LOG))?)
    }

    /// Kills a node as `kill -9` does. Its data stays.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        match self.nodes[node].server.take() {
            Some(server) => server.kill(),
            None => bail!("node {node} does not run"),
        }
    }

    /// Starts a node again after [`Kafka::kill`], on its address with its data, and waits for it.
    pub async fn run(&mut self, node: usize) -> Result<()> {
        ensure!(
            self.nodes[node].server.is_none(),
            "node {node} already runs"
        );
        self.launch(node)?;
        self.wait(node).await
    }

    fn java(&self, node: usize, main: &str) -> Command {
        let logging = self.nodes[node].directory.join(LOGGING);
        let mut command = Command::new("java");
        command
            .args(JAVA)
            .arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
            .arg("-cp")
            .arg(format!("{}/*", self.jars.display()))
            .arg(main);
        command
    }

    fn format(&self, node: usize) -> Result<()> {
        let directory = &self.nodes[node].directory;
        fs::create_dir_all(directory)?;
        let mut config = self.config(node);
        if let Some(authority) = &self.authority {
            let pem = authority.server(&[self.nodes[node].address.to_string()])?;
            config += &client_encryption("clients", &pem)?;
        }
        fs::write(directory.join(CONFIG), config)?;
        fs::write(directory.join(LOGGING), LOGGING_CONFIG)?;
        let formatted = self
            .java(node, "kafka.tools.StorageTool")
            .args(["format", "--cluster-id", CLUSTER, "--config"])
            .arg(directory.join(CONFIG))
            .output()
            .context("cannot run java")?;
        ensure!(
            formatted.status.success(),
            "node {node} cannot be formatted: {}{}",
            String::from_utf8_lossy(&formatted.stdout),
            String::from_utf8_lossy(&formatted.stderr)
        );
        Ok(())
    }

    fn config(&self, node: usize) -> String {
        let Node {
            address, directory, ..
        } = &self.nodes[node];
        let nodes = self.nodes.len();
        let voters = self.nodes.iter().enumerate();
        let voters = voters.map(|(n, node)| format!("{n}@{}:{CONTROLLER_PORT}", node.address));
        let voters = voters.collect::<Vec<_>>().join(",");
        let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required";
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required";
        let own = format!(
            "{plain} username=\"node\" password=\"node-password\" user_node=\"node-password\";"
        );
        let in_step = if nodes == 1 { 1 } else { 2 };
        let protocol = match self.authority {
            None => "SASL_PLAINTEXT",
            Some(_) => "SASL_SSL",
        };
        format!(
            "process.roles=broker,controller\n\
             node.id={node}\n\
             controller.quorum.voters={voters}\n\
             listeners=CLIENTS://{address}:{PORT},NODES://{address}:{NODES_PORT},CONTROLLER://{address}:{CONTROLLER_PORT}\n\
             listener.security.protocol.map=CLIENTS:{protocol},NODES:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=NODES\n\
             sasl.mechanism.inter.broker.protocol=PLAIN\n\
             sasl.mechanism.controller.protocol=PLAIN\n\
             listener.name.clients.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN\n\
             listener.name.clients.scram-sha-512.sasl.jaas.config={scram};\n\
             listener.name.clients.plain.sasl.jaas.config={plain} user_{ADMINISTRATOR}=\"{PASSWORD}\";\n\
             listener.name.nodes.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.nodes.plain.sasl.jaas.config={own}\n\
             listener.name.controller.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.controller.plain.sasl.jaas.config={own}\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:node;User:{ADMINISTRATOR}\n\
             auto.create.topics.enable=false\n\
             log.dirs={data}\n\
             default.replication.factor={nodes}\n\
             min.insync.replicas={in_step}\n\
             offsets.topic.replication.factor={nodes}\n\
             offsets.topic.num.partitions=2\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             group.min.session.timeout.ms=1000\n\
             message.max.bytes={largest}\n\
             replica.fetch.max.bytes={largest}\n\
             broker.session.timeout.ms=3000\n\
             broker.heartbeat.interval.ms=500\n\
             controller.quorum.election.timeout.ms=500\n\
             controller.quorum.fetch.timeout.ms=1000\n\
             controlled.shutdown.enable=false\n\
             num.network.threads=2\n\
             num.io.threads=4\n",
            data = directory.join("data").display(),
            largest = 17 << 20,
        )
    }

    fn launch(&mut self, node: usize) -> Result<()> {
        let mut command = self.java(node, "kafka.Kafka");
        command.arg(self.nodes[node].directory.join(CONFIG));
        let server = ServerProcess::start(command, &self.nodes[node].directory, self.base.path())?;
        self.nodes[node].server = Some(server);
        Ok(())
    }

    async fn wait(&mut self, node: usize) -> Result<()> {
        let address = SocketAddr::from((self.nodes[node].address, PORT));
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).await.is_err() {
            let log = self.log(node).unwrap_or_default();
            if log.contains("Exiting Kafka") || Instant::now() > deadline {
                self.nodes[node].server = None;
                let lines: Vec<&str> = log.lines().rev().take(LINES).collect();
                let lines: Vec<&str> = lines.into_iter().rev().collect();
                bail!(
                    "node {node} does not listen; its log ends:\n{}",
                    lines.join("\n")
                );
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// What makes a listener speak TLS, with this key and this certificate.
pub fn client_encryption(listener: &str, pem: &str) -> Result<String> {
    let certificate = pem
        .find("-----BEGIN CERTIFICATE")
        .context("no certificate")?;
    let (key, certificate) = pem.split_at(certificate);
    let value = |text: &str| text.trim().replace("\r", "").replace('\n', "\\n");
    Ok(format!(
        "listener.name.{listener}.ssl.keystore.type=PEM\n\
         listener.name.{listener}.ssl.keystore.key={}\n\
         listener.name.{listener}.ssl.keystore.certificate.chain={}\n",
        value(key),
        value(certificate)
    ))
}

fn jars() -> Result<PathBuf> {
    let home = std::env::var_os(HOME_VARIABLE).with_context(|| {
        format!("{HOME_VARIABLE} is not set: it names a directory with libs/*.jar of Kafka 4")
    })?;
    let home = Path::new(&home);
    let has_kafka = |directory: &PathBuf| {
        let names = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.any(|name| name.starts_with("kafka-server-"))
    };
    JARS.iter()
        .map(|jars| home.join(jars))
        .find(has_kafka)
        .with_context(|| format!("no jars of Kafka below {}", home.display()))
}
