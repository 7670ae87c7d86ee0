//! What a tenant's user may not do.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use simbdp_broker::ConnectionSource;
use simbdp_broker::queue::PublishError;

use super::direct::client;
use crate::support::{Kind, Tenant, consumer, message, publish_one, publisher, server, soon};

#[tokio::test]
async fn one_tenant_cannot_enter_the_topics_of_another() {
    let server = server(Kind::Kafka).await;
    let (a, b) = (Tenant::new(&server).await, Tenant::new(&server).await);
    b.fill(&["secret"]).await;
    let mut crossed = a.connection.clone();
    crossed.vhost = b.connection.vhost.clone();
    let source = ConnectionSource::fixed(crossed);
    let intruder = publisher(Kind::Kafka, source.clone());
    let refused = publish_one(&intruder, &b.queues.queue, message("x")).await;
    assert!(
        matches!(refused, Err(PublishError::Unavailable(_))),
        "{refused:?}"
    );
    let mut reader = consumer(Kind::Kafka, source, &b.queues.queue, 1);
    assert!(soon(reader.next()).await.is_err());
    b.until_totals(1, 0).await;
}

#[tokio::test]
async fn a_tenant_sees_its_own_topics_alone_and_neither_makes_nor_deletes_any() {
    let server = server(Kind::Kafka).await;
    let (a, b) = (Tenant::new(&server).await, Tenant::new(&server).await);
    let admin: AdminClient<DefaultClientContext> = client(&a.connection).create().unwrap();
    let name = format!("{}.ingest.mine", a.queues.vhost);
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    let made = soon(admin.create_topics([&topic], &AdminOptions::new()))
        .await
        .unwrap();
    assert_eq!(
        made,
        [Err((name, RDKafkaErrorCode::TopicAuthorizationFailed))]
    );
    let own = format!("{}.{}", a.queues.vhost, a.queues.queue);
    let deleted = soon(admin.delete_topics(&[&own], &AdminOptions::new()))
        .await
        .unwrap();
    assert_eq!(
        deleted,
        [Err((
            own.clone(),
            RDKafkaErrorCode::TopicAuthorizationFailed
        ))]
    );

    let consumer: BaseConsumer = client(&a.connection).create().unwrap();
    let seen = tokio::task::spawn_blocking(move || {
        let metadata = consumer
            .fetch_metadata(None, Duration::from_secs(10))
            .unwrap();
        let topics = metadata.topics().iter();
        topics
            .map(|topic| topic.name().to_owned())
            .collect::<Vec<_>>()
    })
    .await
    .unwrap();
    assert!(seen.contains(&own), "{seen:?}");
    assert!(
        !seen.iter().any(|name| name.contains(&b.queues.vhost)),
        "{seen:?}"
    );
}
