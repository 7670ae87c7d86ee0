//! The server is killed and comes back: nothing confirmed is lost, everybody goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use simbdp_broker::queue::PublishError;
use simbdp_broker::{Consumer, Publisher};
use tokio::sync::watch;

use crate::support::{Tenant, lock, message, publish_one, soon, until};

/// Publishes until told to stop; says which ids were confirmed.
async fn publish_on(
    publisher: Arc<impl Publisher>,
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
async fn nothing_confirmed_is_lost_when_the_server_is_killed_under_load() {
    let mut server = lock().await.write().await;
    let tenant = Tenant::new(&server).await;
    let queues = &tenant.queues;
    soon(server.until_registered(&queues.vhost, &queues.queue))
        .await
        .unwrap();
    let publisher = Arc::new(tenant.publisher());
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

    server.kill().await.unwrap();
    until(|| async { !publisher.ready().await }).await;
    let refused = publish_one(&publisher, &tenant.queues.queue, message("down")).await;
    assert!(
        matches!(refused, Err(PublishError::Unavailable(_))),
        "{refused:?}"
    );
    let late = tenant.publisher();
    assert!(!late.ready().await);
    let so_far = *count.borrow();
    server.run().await.unwrap();

    soon(count.wait_for(|count| *count > so_far + 300))
        .await
        .unwrap();
    until(|| late.ready()).await;
    stop.send_replace(true);
    let mut ids = BTreeSet::new();
    for load in loads {
        ids.extend(soon(load).await.unwrap());
    }
    // The tag is of a connection that died with the server: the message comes again.
    let _ = consumer.ack(&[held.tag]).await;
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
