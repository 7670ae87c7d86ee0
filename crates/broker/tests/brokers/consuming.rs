//! Taking, acknowledging, handing back, with either broker.

use std::collections::BTreeSet;

use futures::FutureExt;
use simbdp_broker::queue::Tag;

use crate::support::{Kind, Tenant, each_broker, ids, server, soon, take, take_many, until};

each_broker!(
    acknowledged_messages_are_gone_and_the_others_come_again,
    a_stopped_consumer_takes_nothing_and_settles_what_it_holds,
    every_hand_back_is_counted,
    waiting_for_a_delivery_can_be_given_up_at_any_point,
    a_deleted_queue_ends_the_wait_and_its_return_resumes_it,
);

/// In the order in which they came: Kafka can keep no more than how far everything is done with.
async fn acknowledged_messages_are_gone_and_the_others_come_again(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a", "b", "c", "d", "e"]).await;
    let mut consumer = tenant.consumer(10);
    let taken = take_many(&mut consumer, 5).await;
    let tags: Vec<Tag> = [2, 0, 1].map(|n: usize| taken[n].tag).to_vec();
    consumer.ack(&tags).await.unwrap();
    // Twice is harmless.
    consumer.ack(&tags).await.unwrap();
    tenant.until_totals(0, 2).await;
    drop(consumer);
    let mut next = tenant.consumer(10);
    let again = take_many(&mut next, 2).await;
    assert_eq!(ids(&again), BTreeSet::from(["d", "e"]));
    assert!(
        again.iter().all(|delivery| delivery.returns == 1),
        "{again:?}"
    );
    next.ack(&[again[0].tag, again[1].tag]).await.unwrap();
    tenant.until_totals(0, 0).await;
}

async fn a_stopped_consumer_takes_nothing_and_settles_what_it_holds(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a", "b", "c"]).await;
    let mut consumer = tenant.consumer(10);
    let held = take_many(&mut consumer, 2).await;
    consumer.stop().await.unwrap();
    consumer.stop().await.unwrap();
    assert!(soon(consumer.next()).await.is_err());
    consumer.ack(&[held[0].tag]).await.unwrap();
    consumer.hand_back(&[held[1].tag]).await.unwrap();
    drop(consumer);
    let mut other = tenant.consumer(10);
    let rest = take_many(&mut other, 2).await;
    assert_eq!(ids(&rest), BTreeSet::from(["b", "c"]));
    let of = |id| {
        rest.iter()
            .find(|delivery| delivery.message.id == id)
            .unwrap()
    };
    assert!(of("b").returns >= 1, "{rest:?}");
    tenant.until_totals(0, 2).await;
}

async fn every_hand_back_is_counted(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a"]).await;
    let mut consumer = tenant.consumer(1);
    // More often than the broker's own limit of 20.
    for returns in 0..30 {
        let delivery = take(&mut consumer).await;
        assert_eq!(delivery.returns, returns);
        consumer.hand_back(&[delivery.tag]).await.unwrap();
    }
    tenant.until_totals(0, 1).await;
}

async fn waiting_for_a_delivery_can_be_given_up_at_any_point(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    let sent: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
    tenant.fill(&sent).await;
    let mut consumer = tenant.consumer(7);
    let mut taken = Vec::new();
    soon(async {
        while taken.len() < sent.len() {
            // Polled once and dropped, from connecting to the last delivery.
            match consumer.next().now_or_never() {
                Some(delivery) => {
                    let delivery = delivery.unwrap();
                    consumer.ack(&[delivery.tag]).await.unwrap();
                    taken.push(delivery);
                }
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!(ids(&taken), sent.into_iter().collect());
    tenant.until_totals(0, 0).await;
}

async fn a_deleted_queue_ends_the_wait_and_its_return_resumes_it(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a"]).await;
    let mut consumer = tenant.consumer(1);
    let delivery = take(&mut consumer).await;
    consumer.ack(&[delivery.tag]).await.unwrap();
    let queues = &tenant.queues;
    let deleted =
        tenant
            .admin
            .delete_queues(&queues.vhost, &queues.queue, &queues.dead_letter_queue);
    deleted.await.unwrap();
    assert!(soon(consumer.next()).await.is_err());
    assert!(consumer.next().now_or_never().is_none());
    tenant.admin.ensure_queues(queues).await.unwrap();
    tenant.fill(&["b"]).await;
    // It may have looked for the queue in vain once more before.
    let delivery = soon(async {
        loop {
            if let Ok(delivery) = consumer.next().await {
                break delivery;
            }
        }
    });
    assert_eq!(delivery.await.message.id, "b");
    until(|| async { tenant.totals(&queues.queue).await.unacknowledged == 1 }).await;
}
