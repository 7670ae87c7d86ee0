//! A pipeline's queues with either broker: their bounds, what they tell, their end.

use simbdp_broker::admin::{PipelineQueues, QueueTotals};
use simbdp_broker::queue::PublishError;

use crate::support::{
    Kind, Tenant, each_broker, heavy, message, publish_one, server, soon, take, until,
};

each_broker!(
    a_full_queue_refuses_until_its_limit_is_raised,
    room_is_there_again_once_messages_are_acknowledged,
    totals_count_ready_and_unacknowledged_of_every_queue,
    deleted_queues_are_gone_and_deleting_them_again_is_fine,
);

async fn a_full_queue_refuses_until_its_limit_is_raised(kind: Kind) {
    let server = server(kind).await;
    let mut tenant = Tenant::new(&server).await;
    let queue = tenant.queues.queue.clone();
    tenant.limit(10_000).await;
    let publisher = tenant.publisher();
    // The queue tells that it is full a little after it is.
    let mut accepted = 0;
    soon(async {
        loop {
            match publish_one(&publisher, &queue, heavy("x", 1_000)).await {
                Ok(()) => accepted += 1,
                Err(error) => break assert_eq!(error, PublishError::Full),
            }
        }
    })
    .await;
    assert!(accepted >= 9, "{accepted} were accepted");
    let batch = vec![heavy("y", 1_000); 3];
    let results = soon(publisher.publish(&queue, batch)).await;
    assert_eq!(results, vec![Err(PublishError::Full); 3]);
    tenant.until_totals(accepted, 0).await;

    tenant.limit(1_000_000).await;
    let publisher = tenant.publisher();
    until(|| async { publish_one(&publisher, &queue, heavy("z", 1_000)).await == Ok(()) }).await;
}

async fn room_is_there_again_once_messages_are_acknowledged(kind: Kind) {
    let server = server(kind).await;
    let mut tenant = Tenant::new(&server).await;
    let queue = tenant.queues.queue.clone();
    tenant.limit(3_000).await;
    let publisher = tenant.publisher();
    until(|| async {
        publish_one(&publisher, &queue, heavy("x", 1_000))
            .await
            .is_err()
    })
    .await;
    let mut consumer = tenant.consumer(100);
    let taken = take(&mut consumer).await;
    let more = take(&mut consumer).await;
    consumer.ack(&[taken.tag, more.tag]).await.unwrap();
    until(|| async { publish_one(&publisher, &queue, heavy("y", 1_000)).await == Ok(()) }).await;
}

async fn totals_count_ready_and_unacknowledged_of_every_queue(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["a", "b", "c"]).await;
    let mut consumer = tenant.consumer(2);
    take(&mut consumer).await;
    tenant.until_totals(1, 2).await;
    let backlogs = tenant.admin.backlogs().await.unwrap();
    let of = |queue| backlogs.get(&tenant.queues.vhost, queue);
    let work = of(&tenant.queues.queue).unwrap();
    assert_eq!((work.ready, work.unacknowledged), (1, 2));
    assert_eq!(of("ingest.nobody"), None);
    let dead = tenant.totals(&tenant.queues.dead_letter_queue).await;
    assert_eq!(of(&tenant.queues.dead_letter_queue), Some(&dead));
    let empty = QueueTotals {
        name: tenant.queues.dead_letter_queue.clone(),
        ready: 0,
        unacknowledged: 0,
    };
    assert_eq!(dead, empty);
}

async fn deleted_queues_are_gone_and_deleting_them_again_is_fine(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    let PipelineQueues {
        vhost,
        queue,
        dead_letter_queue,
        ..
    } = &tenant.queues;
    for _ in 0..2 {
        let deleted = tenant.admin.delete_queues(vhost, queue, dead_letter_queue);
        assert_eq!(deleted.await, Ok(()));
    }
    assert_eq!(tenant.admin.queue_totals(vhost).await, Ok(vec![]));
    let absent = publish_one(&tenant.publisher(), queue, message("x")).await;
    assert_eq!(absent, Err(PublishError::NoQueue(queue.clone())));
}
