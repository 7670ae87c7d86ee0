//! Which node of a broker leads a queue, as the broker itself says.

use kube::ResourceExt;
use kube::api::ListParams;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::Value;
use simbdp_api::labels;
use simbdp_api::names::PipelineName;

use crate::harness::{Cluster, KAFKA, QUICK, TestTenant, eventually};

pub const OPERATOR_NAMESPACE: &str = "simbdp-system";
const DEFAULT: &str = "default";

/// Pods of a Broker's nodes, with their addresses.
async fn nodes(cluster: &Cluster, broker: &str) -> Vec<(String, String)> {
    let selector = format!("{}={broker}", labels::BROKER);
    let pods = cluster.pods(OPERATOR_NAMESPACE);
    let list = pods.list(&ListParams::default().labels(&selector)).await;
    let list = list.unwrap();
    list.iter()
        .filter_map(|pod| Some((pod.name_any(), pod.status.as_ref()?.pod_ip.clone()?)))
        .collect()
}

async fn administrator(cluster: &Cluster, broker: &str) -> (String, String) {
    let secrets = cluster.secrets(OPERATOR_NAMESPACE);
    let secret = secrets.get(&format!("broker-{broker}-admin")).await;
    let data = secret.unwrap().data.unwrap();
    let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
    (text("username"), text("password"))
}

/// The pod that leads a pipeline's work queue in the default Broker, a RabbitMQ.
pub async fn rabbitmq_leader(tenant: &TestTenant, pipeline: &str) -> String {
    let cluster = &tenant.cluster;
    let (user, password) = administrator(cluster, DEFAULT).await;
    let queue = PipelineName::new(pipeline).unwrap().queue();
    let vhost = tenant.name.vhost();
    eventually("a leader of the queue", QUICK, || async {
        let (_, address) = nodes(cluster, DEFAULT).await.pop().ok_or("no node")?;
        let url = format!("http://{address}:15672/api/queues/{vhost}/{queue}");
        let asked = cluster.http.get(url).basic_auth(&user, Some(&password));
        let answer = asked.send().await.map_err(|error| error.to_string())?;
        let shown: Value = answer.json().await.map_err(|error| error.to_string())?;
        // rabbit@<pod>.<service>.<namespace>.svc
        let leader = shown["leader"].as_str().ok_or(shown.to_string())?;
        let host = leader.split_once('@').ok_or(leader)?.1;
        Ok(host.split('.').next().ok_or(host)?.to_owned())
    })
    .await
}

/// The pod that leads the first partition of a pipeline's topic.
pub async fn kafka_leader(tenant: &TestTenant, pipeline: &str) -> String {
    let cluster = &tenant.cluster;
    let (user, password) = administrator(cluster, KAFKA).await;
    let queue = PipelineName::new(pipeline).unwrap().queue();
    let topic = format!("{}.{queue}", tenant.name.vhost());
    let nodes = nodes(cluster, KAFKA).await;
    let addresses: Vec<_> = nodes.iter().map(|(_, ip)| format!("{ip}:9092")).collect();
    let asked = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", addresses.join(","))
            .set("security.protocol", "SASL_PLAINTEXT")
            .set("sasl.mechanism", "PLAIN")
            .set("sasl.username", user)
            .set("sasl.password", password)
            .create()
            .unwrap();
        let metadata = client.fetch_metadata(Some(&topic), QUICK).unwrap();
        metadata.topics()[0].partitions()[0].leader()
    });
    format!("broker-{KAFKA}-{}", asked.await.unwrap())
}
