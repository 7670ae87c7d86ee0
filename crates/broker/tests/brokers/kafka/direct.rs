//! Messages that a tenant's own client publishes: with any client of Kafka, without our headers.

use simbdp_api::wire::work::headers;
use simbdp_broker::Connection;
use simbdp_broker::queue::HeaderValue;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::support::{Kind, Tenant, server, soon, take};

pub fn client(connection: &Connection) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", connection.addresses().join(","))
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanism", "SCRAM-SHA-512")
        .set("sasl.username", &connection.username)
        .set("sasl.password", &connection.password)
        .set("message.timeout.ms", "10000")
        .set("topic.metadata.propagation.max.ms", "1000");
    config
}

#[tokio::test]
async fn a_direct_message_has_the_same_identity_at_each_delivery() {
    let server = server(Kind::Kafka).await;
    let tenant = Tenant::new(&server).await;
    let producer: FutureProducer = client(&tenant.connection)
        .set("compression.type", "gzip")
        .create()
        .unwrap();
    let topic = format!("{}.{}", tenant.queues.vhost, tenant.queues.queue);
    let record: FutureRecord<'_, str, str> = FutureRecord::to(&topic).payload("{\"n\":1}");
    soon(producer.send(record, None)).await.unwrap();

    let mut seen = Vec::new();
    for returns in 0..2 {
        let mut consumer = tenant.consumer(1);
        let delivery = take(&mut consumer).await;
        assert_eq!(delivery.returns, returns);
        assert_eq!(&delivery.message.body[..], b"{\"n\":1}");
        seen.push(delivery.message);
    }
    assert_eq!(seen[0], seen[1]);
    let header = |name: &str| {
        let mut headers = seen[0].headers.iter();
        headers
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
            .unwrap()
    };
    assert_eq!(header(headers::ORDINAL), HeaderValue::Long(0));
    assert!(
        matches!(header(headers::SOURCE), HeaderValue::Text(text) if text.starts_with("direct:0@"))
    );
    assert!(matches!(header(headers::VERSION), HeaderValue::Long(version) if version > 0));
}
