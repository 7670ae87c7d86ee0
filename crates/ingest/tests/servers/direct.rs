//! Messages that a tenant's own clients publish, without the gateway and its headers.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, ConnectionProperties};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use simbdp_api::broker::BrokerType;
use simbdp_api::wire::work::headers;
use simbdp_broker::queue::HeaderValue;

use crate::support::{Pair, Pipeline, on_each_pair, until};

on_each_pair! {
    what_a_client_publishes_is_a_row_once_or_a_dead_letter_that_says_why
}

/// A client of the broker, logged in as the tenant.
enum Client {
    RabbitMq(Box<Rabbit>),
    Kafka(FutureProducer),
}

struct Rabbit {
    _connection: lapin::Connection,
    channel: lapin::Channel,
}

impl Client {
    async fn open(pipeline: &Pipeline) -> Self {
        let broker = &pipeline.broker;
        let address = broker.addresses().join(",");
        let (user, password) = (&broker.username, &broker.password);
        match broker.broker {
            BrokerType::RabbitMQ => {
                let uri = format!("amqp://{user}:{password}@{address}/{}", broker.vhost);
                let connected = lapin::Connection::connect(&uri, ConnectionProperties::default());
                let connection = connected.await.unwrap();
                let channel = connection.create_channel().await.unwrap();
                let confirms = channel.confirm_select(ConfirmSelectOptions::default());
                confirms.await.unwrap();
                Self::RabbitMq(Box::new(Rabbit {
                    _connection: connection,
                    channel,
                }))
            }
            BrokerType::Kafka => Self::Kafka(
                ClientConfig::new()
                    .set("bootstrap.servers", address)
                    .set("security.protocol", "SASL_PLAINTEXT")
                    .set("sasl.mechanism", "SCRAM-SHA-512")
                    .set("sasl.username", user)
                    .set("sasl.password", password)
                    .create()
                    .unwrap(),
            ),
        }
    }

    /// Publishes a record and waits until it is confirmed.
    async fn send(&self, pipeline: &Pipeline, id: Option<&str>, body: &str) {
        let queue = pipeline.pipeline.queue();
        match self {
            Self::RabbitMq(rabbit) => {
                let properties = match id {
                    Some(id) => BasicProperties::default().with_message_id(id.into()),
                    None => BasicProperties::default(),
                };
                let options = BasicPublishOptions::default();
                let sent = rabbit.channel.basic_publish(
                    "".into(),
                    queue.as_str().into(),
                    options,
                    body.as_bytes(),
                    properties,
                );
                assert!(sent.await.unwrap().await.unwrap().is_ack());
            }
            Self::Kafka(producer) => {
                let topic = format!("{}.{queue}", pipeline.broker.vhost);
                let mut record: FutureRecord<'_, str, str> = FutureRecord::to(&topic).payload(body);
                if let Some(id) = id {
                    record = record.headers(OwnedHeaders::new().insert(Header {
                        key: "simbdp-id",
                        value: Some(id),
                    }));
                }
                let sent = producer.send(record, Duration::from_secs(30)).await;
                sent.unwrap();
            }
        }
    }
}

fn record(id: i32) -> String {
    format!(r#"{{"all":"x","id":{id},"name":"n{id}"}}"#)
}

/// Reasons of dead letters, by their ids.
async fn reasons(pipeline: &Pipeline) -> BTreeMap<String, String> {
    let binding = pipeline.mounted.path().join("bindings/broker");
    let queues = simbdp_broker::dead_letter_queues(binding).unwrap();
    let queue = pipeline.pipeline.dead_letter_queue();
    let mut reader = queues.open(&queue).await.unwrap();
    let mut found = BTreeMap::new();
    while let Some(letter) = reader.next().await.unwrap() {
        let mut headers = letter.message.headers.into_iter();
        let reason = headers.find(|(name, _)| name == headers::REASON);
        let Some((_, HeaderValue::Text(reason))) = reason else {
            panic!("a dead letter without a reason");
        };
        found.insert(letter.message.id, reason);
    }
    reader.close().await.unwrap();
    found
}

async fn what_a_client_publishes_is_a_row_once_or_a_dead_letter_that_says_why(pair: Pair) {
    let mode = serde_json::json!({"type": "stream", "maxMessageSize": 1_024});
    let pipeline = Pipeline::new(pair, "direct", mode).await;
    let mut app = pipeline.start().await;
    let client = Client::open(&pipeline).await;
    for id in ["one", "one", "other"] {
        client.send(&pipeline, Some(id), &record(1)).await;
    }
    client
        .send(&pipeline, Some("bad"), r#"{"all":"x","id":"seven"}"#)
        .await;
    client.send(&pipeline, None, &record(2)).await;

    // Where a message lies is its identity in a Kafka; a queue of RabbitMQ has no such place.
    let (rows, letters) = match pair.broker {
        BrokerType::RabbitMQ => (vec![1], vec!["", "bad"]),
        BrokerType::Kafka => (vec![1, 2], vec!["bad"]),
    };
    let waiting = letters.len() as u64;
    until("all is acknowledged", async || {
        pipeline.depths().await == (0, waiting)
    })
    .await;
    let found = pipeline.rows().await;
    assert_eq!(found.into_keys().collect::<Vec<_>>(), rows);
    let reasons = reasons(&pipeline).await;
    assert_eq!(reasons.keys().collect::<Vec<_>>(), letters);
    assert!(reasons["bad"].contains("id"), "{reasons:?}");
    if let Some(reason) = reasons.get("") {
        assert!(reason.contains("set the property message-id"), "{reason}");
    }
    assert!(app.stop().await.success());
}
