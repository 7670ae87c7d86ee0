//! What becomes of deliveries when a connection, or a prefetch, changes; acknowledgement out of turn.

use std::collections::BTreeSet;
use std::time::Duration;

use simbdp_broker::Consumer;
use simbdp_broker::queue::Tag;
use simbdp_broker::rabbitmq::{ConsumerOptions, LinkOptions, RabbitConsumer};

use crate::support::{Kind, Tenant, ids, server, soon, take, take_many, until};

#[tokio::test]
async fn acknowledged_messages_are_gone_and_the_others_come_again() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a", "b", "c", "d", "e"]).await;
    let mut consumer = tenant.consumer(10);
    let taken = take_many(&mut consumer, 5).await;
    let tags: Vec<Tag> = [0, 1, 3].map(|n: usize| taken[n].tag).to_vec();
    consumer.ack(&tags).await.unwrap();
    // Twice is harmless.
    consumer.ack(&tags).await.unwrap();
    tenant.until_totals(0, 2).await;
    drop(consumer);
    let mut next = tenant.consumer(10);
    let again = take_many(&mut next, 2).await;
    assert_eq!(ids(&again), BTreeSet::from(["c", "e"]));
    assert!(again.iter().all(|delivery| delivery.returns == 1));
    next.ack(&[again[0].tag, again[1].tag]).await.unwrap();
    tenant.until_totals(0, 0).await;
}

#[tokio::test]
async fn tags_of_a_lost_connection_are_void() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a", "b"]).await;
    let mut consumer = tenant.consumer(10);
    let before = take_many(&mut consumer, 2).await;
    tenant
        .admin
        .suspend_tenancy(&tenant.tenancy_names())
        .await
        .unwrap();
    tenant
        .admin
        .ensure_tenancy(&tenant.tenancy())
        .await
        .unwrap();
    assert!(soon(consumer.next()).await.is_err());
    consumer.ack(&[before[0].tag]).await.unwrap();

    let after = take_many(&mut consumer, 2).await;
    assert_eq!(ids(&after), ids(&before));
    assert!(after.iter().all(|delivery| delivery.returns >= 1));
    assert!(after[0].tag.epoch > before[0].tag.epoch);
    // The delivery tags are the same numbers, of another connection.
    let old: Vec<Tag> = before.iter().map(|delivery| delivery.tag).collect();
    consumer.ack(&old).await.unwrap();
    consumer.hand_back(&old).await.unwrap();
    tenant.until_totals(0, 2).await;
    consumer.ack(&[after[0].tag, after[1].tag]).await.unwrap();
    tenant.until_totals(0, 0).await;
}

#[tokio::test]
async fn a_loss_between_calls_is_told_by_the_acknowledgement() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a"]).await;
    let mut consumer = tenant.consumer(10);
    let taken = take(&mut consumer).await;
    tenant
        .admin
        .suspend_tenancy(&tenant.tenancy_names())
        .await
        .unwrap();
    until(async || consumer.ack(&[]).await.is_err()).await;
    // The tag is void: acknowledging it is not the end of the message.
    consumer.ack(&[taken.tag]).await.unwrap();
    tenant
        .admin
        .ensure_tenancy(&tenant.tenancy())
        .await
        .unwrap();
    assert_eq!(take(&mut consumer).await.message.id, "a");
}

#[tokio::test]
async fn a_smaller_prefetch_gives_back_what_was_not_taken_yet() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a", "b", "c", "d"]).await;
    let mut consumer = tenant.consumer(10);
    let first = take(&mut consumer).await;
    tenant.until_totals(0, 4).await;
    consumer.set_prefetch(1).await.unwrap();
    tenant.until_totals(2, 2).await;
    let second = take(&mut consumer).await;
    assert_eq!(
        (first.message.id.as_str(), second.message.id.as_str()),
        ("a", "b")
    );
    consumer.ack(&[first.tag, second.tag]).await.unwrap();
    tenant.until_totals(1, 1).await;
    consumer.set_prefetch(5).await.unwrap();
    let rest = take_many(&mut consumer, 2).await;
    assert_eq!(ids(&rest), BTreeSet::from(["c", "d"]));
}

#[tokio::test]
async fn heartbeats_go_on_while_the_caller_is_busy() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a"]).await;
    let link = LinkOptions {
        heartbeat: Duration::from_secs(1),
        ..LinkOptions::named("busy consumer")
    };
    let options = ConsumerOptions {
        link,
        queue: tenant.queues.queue.clone(),
        prefetch: 1,
    };
    let mut consumer: Box<dyn Consumer> = Box::new(RabbitConsumer::new(tenant.source(), options));
    let delivery = take(&mut consumer).await;
    // The work itself: three times as long as the server waits for a sign of life.
    tokio::time::sleep(Duration::from_secs(6)).await;
    consumer.ack(&[delivery.tag]).await.unwrap();
    tenant.until_totals(0, 0).await;
}
