//! Brokers that somebody else runs, over TLS alone: a RabbitMQ that is known by its name, and a Kafka that is known by its
//! address.

use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use reqwest::Client;
use serde_json::{Value, json};
use simbdp_broker::Trust;
use simbdp_testkit::kafka::client_encryption;
use simbdp_testkit::rabbitmq::{AUTHORITY, SERVER, encryption};

use crate::elsewhere::{PASSWORD, Place, USER};
use crate::harness::{QUICK, SLOW, eventually};

const AMQPS: u16 = 5671;
const MANAGEMENT: u16 = 15_671;
const KAFKA: u16 = 9094;
const CLUSTER: &str = "c29tZWJvZHktZWxzZS0tLQ";

/// What is looked at to see whether anything of others has changed.
const CONTENT: [&str; 4] = ["vhosts", "users", "permissions", "queues"];

/// A broker of somebody else.
pub struct BrokerElsewhere {
    /// `spec.type` of its Broker.
    pub kind: &'static str,
    /// What it is reached by.
    pub addresses: Vec<String>,
    /// Where its management API is, of a RabbitMQ.
    pub management_url: Option<String>,
    admin: Admin,
}

enum Admin {
    /// The management API at its address, and a client that trusts it.
    RabbitMq { url: String, http: Client },
    /// What a client is made with.
    Kafka(ClientConfig),
}

impl BrokerElsewhere {
    /// Everything that others have, and who they are.
    pub async fn content(&self) -> String {
        match &self.admin {
            Admin::RabbitMq { url, http } => {
                let mut content = String::new();
                for kind in CONTENT {
                    let columns = "name,user,vhost,tags,configure,write,read";
                    let asked = http
                        .get(format!("{url}/api/{kind}?columns={columns}"))
                        .basic_auth(USER, Some(PASSWORD));
                    let list: Vec<Value> = asked.send().await.unwrap().json().await.unwrap();
                    let mut list: Vec<_> = list.iter().map(Value::to_string).collect();
                    list.sort();
                    content.push_str(&list.join("\n"));
                }
                content
            }
            Admin::Kafka(config) => {
                let config = config.clone();
                let asked = tokio::task::spawn_blocking(move || topics(&config).unwrap());
                asked.await.unwrap().join("\n")
            }
        }
    }
}

fn topics(config: &ClientConfig) -> Result<Vec<String>, String> {
    let client: BaseConsumer = config.create().map_err(|error| error.to_string())?;
    let metadata = client.fetch_metadata(None, QUICK);
    let metadata = metadata.map_err(|error| error.to_string())?;
    let topics = metadata.topics().iter();
    let mut topics: Vec<_> = topics
        .map(|topic| format!("{} {}", topic.name(), topic.partitions().len()))
        // Made by whoever is the first to consume.
        .filter(|topic| !topic.starts_with("__"))
        .collect();
    topics.sort();
    Ok(topics)
}

impl Place<'_> {
    /// One node, with a virtual host of somebody's.
    pub async fn rabbitmq(&self) -> BrokerElsewhere {
        let name = format!("rabbitmq.{}.svc", self.namespace);
        let address = self.service("rabbitmq", &[AMQPS, MANAGEMENT]).await;
        let names = [name.clone(), address.clone()];
        let config = format!(
            "listeners.tcp = none\n\
             listeners.ssl.default = {AMQPS}\n\
             management.ssl.port = {MANAGEMENT}\n\
             default_user = {USER}\n\
             default_pass = {PASSWORD}\n\
             default_user_tags.administrator = true\n\
             loopback_users = none\n\
             log.console = true\n\
             log.file = false\n\
             disk_free_limit.absolute = 50MB\n{}",
            encryption("/server")
        );
        let files = json!({
            "rabbitmq.conf": config,
            "enabled_plugins": "[rabbitmq_management].\n",
            SERVER: self.authority.server(&names).unwrap(),
            AUTHORITY: self.authority.pem(),
        });
        let container = json!({
            "name": "rabbitmq", "image": "rabbitmq:4.0-management", "command": ["rabbitmq-server"],
            "env": [
                {"name": "RABBITMQ_NODENAME", "value": "rabbit@localhost"},
                {"name": "RABBITMQ_CONFIG_FILE", "value": "/server/rabbitmq.conf"},
                {"name": "RABBITMQ_ENABLED_PLUGINS_FILE", "value": "/server/enabled_plugins"},
                {"name": "RABBITMQ_LOGS", "value": "-"},
            ],
            "volumeMounts": [
                {"name": "server", "mountPath": "/server"},
                {"name": "data", "mountPath": "/var/lib/rabbitmq"},
            ],
        });
        let spec = json!({
            "securityContext": {"runAsUser": 999, "runAsGroup": 999, "fsGroup": 999},
            "containers": [container],
        });
        self.pod("rabbitmq", files, spec).await;

        let trust = Trust::Bundle(self.authority.pem().into());
        let http = Client::builder().tls_backend_preconfigured(trust.client().unwrap());
        let http = http.build().unwrap();
        let url = format!("https://{address}:{MANAGEMENT}");
        eventually("somebody's virtual host", SLOW, || async {
            let made = http
                .put(format!("{url}/api/vhosts/theirs"))
                .basic_auth(USER, Some(PASSWORD));
            let made = made.send().await.map_err(|error| error.to_string())?;
            match made.status().is_success() {
                true => Ok(()),
                false => Err(made.status().to_string()),
            }
        })
        .await;
        BrokerElsewhere {
            kind: "RabbitMQ",
            addresses: vec![format!("{name}:{AMQPS}")],
            management_url: Some(format!("https://{name}:{MANAGEMENT}")),
            admin: Admin::RabbitMq { url, http },
        }
    }

    /// One node, with a topic of somebody's.
    pub async fn kafka(&self) -> BrokerElsewhere {
        let address = self.service("kafka", &[KAFKA]).await;
        let pem = self
            .authority
            .server(std::slice::from_ref(&address))
            .unwrap();
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let config = format!(
            "process.roles=broker,controller\n\
             node.id=0\n\
             controller.quorum.voters=0@127.0.0.1:9093\n\
             listeners=CLIENTS://0.0.0.0:{KAFKA},NODES://127.0.0.1:9091,CONTROLLER://127.0.0.1:9093\n\
             advertised.listeners=CLIENTS://{address}:{KAFKA},NODES://127.0.0.1:9091\n\
             listener.security.protocol.map=CLIENTS:SASL_SSL,NODES:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=NODES\n\
             listener.name.clients.sasl.enabled.mechanisms=SCRAM-SHA-512\n\
             listener.name.clients.scram-sha-512.sasl.jaas.config={scram}\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS;User:{USER}\n\
             auto.create.topics.enable=false\n\
             log.dirs=/data/log\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             message.max.bytes={largest}\n\
             {}",
            client_encryption("clients", &pem).unwrap(),
            largest = 17 << 20,
        );
        let (bin, file) = ("/opt/kafka/bin", "/server/server.properties");
        let user = format!("SCRAM-SHA-512=[name=\"{USER}\",password=\"{PASSWORD}\"]");
        let start = format!(
            "{bin}/kafka-storage.sh format --cluster-id {CLUSTER} --config {file} --add-scram '{user}' && exec {bin}/kafka-server-start.sh {file}"
        );
        let container = json!({
            "name": "kafka", "image": "apache/kafka:4.1", "command": ["/bin/sh", "-c", start],
            "env": [
                {"name": "KAFKA_HEAP_OPTS", "value": "-Xmx256m"},
                {"name": "KAFKA_JVM_PERFORMANCE_OPTS", "value": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"},
                {"name": "LOG_DIR", "value": "/tmp/logs"},
            ],
            "volumeMounts": [
                {"name": "server", "mountPath": "/server"},
                {"name": "data", "mountPath": "/data"},
            ],
        });
        let spec = json!({
            "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
            "containers": [container],
        });
        self.pod("kafka", json!({"server.properties": config}), spec)
            .await;

        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", format!("{address}:{KAFKA}"))
            .set("security.protocol", "SASL_SSL")
            .set("ssl.ca.pem", self.authority.pem())
            .set("sasl.mechanism", "SCRAM-SHA-512")
            .set("sasl.username", USER)
            .set("sasl.password", PASSWORD);
        let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
        let admin = Arc::new(admin);
        eventually("somebody's topic", SLOW, || async {
            let topic = NewTopic::new("theirs", 1, TopicReplication::Fixed(1));
            let made = admin.create_topics([&topic], &AdminOptions::new()).await;
            match made.map_err(|error| error.to_string())?.pop() {
                Some(Ok(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        BrokerElsewhere {
            kind: "Kafka",
            addresses: vec![format!("{address}:{KAFKA}")],
            management_url: None,
            admin: Admin::Kafka(client),
        }
    }
}
