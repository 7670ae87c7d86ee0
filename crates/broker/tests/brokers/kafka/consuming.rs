//! Counts that outlive a consumer, acknowledgement out of turn, partitions, a busy caller.

use std::collections::BTreeSet;
use std::time::Duration;

use simbdp_broker::queue::Tag;

use crate::support::{Kind, Tenant, ids, message, server, soon, take, take_many, until};

/// Whatever its consumer does, and however it ends: the next one knows how often the message was tried.
#[tokio::test]
async fn each_death_of_a_consumer_is_counted() {
    let server = server(Kind::Kafka).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a", "b"]).await;
    for returns in 0..4 {
        let mut consumer = tenant.consumer(1);
        let delivery = take(&mut consumer).await;
        assert_eq!(
            (delivery.message.id.as_str(), delivery.returns),
            ("a", returns)
        );
    }
    let mut consumer = tenant.consumer(1);
    let poison = take(&mut consumer).await;
    consumer.ack(&[poison.tag]).await.unwrap();
    // It was never taken while only one at a time was.
    let healthy = take(&mut consumer).await;
    assert_eq!((healthy.message.id.as_str(), healthy.returns), ("b", 0));
}

#[tokio::test]
async fn what_is_acknowledged_out_of_turn_counts_once_all_before_it_is() {
    let server = server(Kind::Kafka).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a", "b", "c"]).await;
    let mut consumer = tenant.consumer(10);
    let taken = take_many(&mut consumer, 3).await;
    consumer.ack(&[taken[1].tag, taken[2].tag]).await.unwrap();
    tenant.until_totals(0, 3).await;
    consumer.ack(&[taken[0].tag]).await.unwrap();
    tenant.until_totals(0, 0).await;
}

#[tokio::test]
async fn partitions_grow_and_consumers_share_them() {
    let server = server(Kind::Kafka).await;
    let mut tenant = Tenant::new(&server).await;
    tenant.queues.consumers = 4;
    tenant.admin.ensure_queues(&tenant.queues).await.unwrap();
    tenant.queues.consumers = 2;
    tenant.admin.ensure_queues(&tenant.queues).await.unwrap();
    let sent: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let mut first = tenant.consumer(1);
    // One a time, so that they are spread.
    let publisher = tenant.publisher();
    for id in &sent {
        let results = soon(publisher.publish(&tenant.queues.queue, vec![message(id)])).await;
        assert_eq!(results, [Ok(())]);
    }
    let mut second = tenant.consumer(1);
    let mut seen = BTreeSet::new();
    let mut by_second = 0;
    soon(async {
        while seen.len() < sent.len() {
            let (consumer, delivery) = tokio::select! {
                delivery = first.next() => (&mut first, delivery.unwrap()),
                delivery = second.next() => {
                    by_second += 1;
                    (&mut second, delivery.unwrap())
                }
            };
            // A rebalance may be under way: then it comes again.
            let _ = consumer.ack(&[delivery.tag]).await;
            seen.insert(delivery.message.id);
            if by_second == 0 && seen.len() == sent.len() / 2 {
                // The second one joins meanwhile.
                let delivery = second.next().await.unwrap();
                by_second += 1;
                let _ = second.ack(&[delivery.tag]).await;
                seen.insert(delivery.message.id);
            }
        }
    })
    .await;
    assert!(by_second > 0);
    assert_eq!(seen, sent.into_iter().collect());
    until(|| async {
        let totals = tenant.totals(&tenant.queues.queue).await;
        totals.ready == 0
    })
    .await;
}

/// Its membership is served, fetching stops, and goes on afterwards.
#[tokio::test]
async fn a_busy_caller_keeps_its_partitions() {
    let server = server(Kind::Kafka).await;
    let tenant = Tenant::new(&server).await;
    let sent: Vec<String> = (0..1_500).map(|n| n.to_string()).collect();
    tenant
        .fill(&sent.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let mut consumer = tenant.consumer(300);
    let held = take_many(&mut consumer, 300).await;
    // The work itself: longer than fetching goes on without a caller.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let tags: Vec<Tag> = held.iter().map(|delivery| delivery.tag).collect();
    consumer.ack(&tags).await.unwrap();
    let mut seen: BTreeSet<String> = ids(&held).into_iter().map(str::to_owned).collect();
    while seen.len() < sent.len() {
        let delivery = take(&mut consumer).await;
        assert_eq!(delivery.returns, 0);
        consumer.ack(&[delivery.tag]).await.unwrap();
        seen.insert(delivery.message.id);
    }
    tenant.until_totals(0, 0).await;
}

#[tokio::test]
async fn what_is_done_with_is_deleted_and_nothing_else() {
    let server = server(Kind::Kafka).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a", "b", "c"]).await;
    let mut consumer = tenant.consumer(1);
    let first = take(&mut consumer).await;
    consumer.ack(&[first.tag]).await.unwrap();
    tenant.until_totals(1, 1).await;
    for _ in 0..2 {
        tenant.admin.trim().await.unwrap();
    }
    drop(consumer);
    // Who starts from nothing finds what is left.
    let mut consumer = tenant.consumer(10);
    assert_eq!(
        ids(&take_many(&mut consumer, 2).await),
        BTreeSet::from(["b", "c"])
    );
}
