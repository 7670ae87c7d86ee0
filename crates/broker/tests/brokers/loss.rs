//! The server is killed and comes back: nothing confirmed is lost, everybody goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use simbdp_broker::Publisher;
use simbdp_broker::queue::PublishError;
use tokio::sync::watch;

use crate::support::{Kind, Tenant, lock, message, publish_one, soon, until};

/// Publishes until told to stop; says which ids were confirmed.
async fn publish_on(
    publisher: Arc<dyn Publisher>,
    queue: String,
    name: usize,
    stop: watch::Receiver<bool>,
    confirmed: watch::Sender<u64>,
) -> Vec<String> {
    let mut ids = Vec::new();
    let mut n = 0;
    while !*stop.borrow() {
        let batch: Vec<_> = (0..10).map(|i| format!("{name}:{}", n + i)).collect();
        n += 10;
        let messages = batch.iter().map(|id| message(id)).collect();
        let results = publisher.publish(&queue, messages).await;
        let before = ids.len();
        ids.extend(
            batch
                .into_iter()
                .zip(results)
                .filter(|(_, result)| result.is_ok())
                .map(|(id, _)| id),
        );
        confirmed.send_modify(|count| *count += (ids.len() - before) as u64);
        // An outage must not turn this into a busy loop that starves the server.
        tokio::task::yield_now().await;
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq() {
    nothing_confirmed_is_lost_when_the_server_is_killed_under_load(Kind::RabbitMq).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka() {
    nothing_confirmed_is_lost_when_the_server_is_killed_under_load(Kind::Kafka).await;
}

async fn nothing_confirmed_is_lost_when_the_server_is_killed_under_load(kind: Kind) {
    let mut server = lock(kind).await.write().await;
    let tenant = Tenant::new(&server).await;
    server.until_registered(&tenant.queues).await;
    let publisher = tenant.publisher();
    let (stop, stopped) = watch::channel(false);
    let (confirmed, mut count) = watch::channel(0_u64);
    let loads: Vec<_> = (0..4)
        .map(|name| {
            let queue = tenant.queues.queue.clone();
            let load = publish_on(
                publisher.clone(),
                queue,
                name,
                stopped.clone(),
                confirmed.clone(),
            );
            tokio::spawn(load)
        })
        .collect();
    let mut consumer = tenant.consumer(50);
    let mut taken = BTreeSet::new();
    soon(count.wait_for(|count| *count > 300)).await.unwrap();
    let held = soon(consumer.next()).await.unwrap();

    server.kill().await;
    until(|| async { !publisher.ready().await }).await;
    let refused = publish_one(&publisher, &tenant.queues.queue, message("down")).await;
    assert!(
        matches!(refused, Err(PublishError::Unavailable(_))),
        "{refused:?}"
    );
    let late = tenant.publisher();
    assert!(!late.ready().await);
    let so_far = *count.borrow();
    server.run().await;

    soon(count.wait_for(|count| *count > so_far + 300))
        .await
        .unwrap();
    until(|| late.ready()).await;
    stop.send_replace(true);
    let mut ids = BTreeSet::new();
    for load in loads {
        ids.extend(soon(load).await.unwrap());
    }
    // RabbitMQ: the tag is of a connection that died with the server, and the message comes again. A Kafka that is
    // back takes its members for what they were, unless it took too long.
    let acknowledged = consumer.ack(&[held.tag]).await;
    if kind == Kind::Kafka && acknowledged.is_ok() {
        taken.insert(held.message.id.clone());
    }
    soon(async {
        while !ids.is_subset(&taken) {
            if let Ok(delivery) = consumer.next().await {
                consumer.ack(&[delivery.tag]).await.unwrap();
                taken.insert(delivery.message.id);
            }
        }
    })
    .await;
    assert!(taken.contains(&held.message.id));
}
