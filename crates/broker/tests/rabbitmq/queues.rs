//! A pipeline's queues: declared once, limits by policy, dead letters kept.

use lapin::options::BasicRejectOptions;
use lapin::{ConnectionProperties, options::BasicGetOptions};
use simbdp_broker::admin::{AdminError, PipelineQueues, QueueTotals};
use simbdp_broker::queue::PublishError;
use simbdp_broker::rabbitmq::RabbitDeadLetters;
use simbdp_broker::{DeadLetters, Publisher};

use crate::support::{
    Tenant, admin, heavy, message, names, publish_one, server, soon, take, until,
};

#[tokio::test]
async fn a_full_queue_refuses_until_its_limit_is_raised_by_policy() {
    let server = server().await;
    let mut tenant = Tenant::new(&server).await;
    let queue = tenant.queues.queue.clone();
    tenant.queues.max_bytes = 10_000;
    tenant.admin.ensure_queues(&tenant.queues).await.unwrap();
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

    tenant.queues.max_bytes = 1_000_000;
    tenant.admin.ensure_queues(&tenant.queues).await.unwrap();
    until(|| async { publish_one(&publisher, &queue, heavy("z", 1_000)).await == Ok(()) }).await;
}

#[tokio::test]
async fn room_is_there_again_once_messages_are_acknowledged() {
    let server = server().await;
    let mut tenant = Tenant::new(&server).await;
    let queue = tenant.queues.queue.clone();
    tenant.queues.max_bytes = 3_000;
    tenant.admin.ensure_queues(&tenant.queues).await.unwrap();
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
    simbdp_broker::Consumer::ack(&mut consumer, &[taken.tag, more.tag])
        .await
        .unwrap();
    until(|| async { publish_one(&publisher, &queue, heavy("y", 1_000)).await == Ok(()) }).await;
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_refused_by_name_and_left_alone() {
    let server = server().await;
    let tenant = Tenant::new(&server).await;
    let other = PipelineQueues {
        queue: "ingest.other".into(),
        dead_letter_queue: "ingest.elsewhere".into(),
        ..tenant.queues.clone()
    };
    tenant.admin.ensure_queues(&other).await.unwrap();
    let moved = PipelineQueues {
        dead_letter_queue: "ingest.other.dead".into(),
        ..other.clone()
    };
    let refused = tenant.admin.ensure_queues(&moved).await.unwrap_err();
    let AdminError::Refused { action, reason } = refused else {
        panic!("{refused} is no refusal")
    };
    assert!(action.contains("`ingest.other`"), "{action}");
    assert!(reason.contains("x-dead-letter-routing-key"), "{reason}");
    let totals = tenant.admin.queue_totals(&other.vhost).await.unwrap();
    assert!(!totals.iter().any(|queue| queue.name == "ingest.other.dead"));
}

#[tokio::test]
async fn totals_count_ready_and_unacknowledged_of_every_queue() {
    let server = server().await;
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

#[tokio::test]
async fn deleted_queues_are_gone_and_deleting_them_again_is_fine() {
    let server = server().await;
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

#[tokio::test]
async fn queues_of_a_tenancy_that_is_not_there_are_refused() {
    let server = server().await;
    let admin = admin(&server.management()).await;
    let (_, queues) = names();
    let refused = admin.ensure_queues(&queues).await;
    assert!(
        matches!(refused, Err(AdminError::Refused { .. })),
        "{refused:?}"
    );
}

/// The backstop: what the broker itself gives up goes to the dead-letter queue.
#[tokio::test]
async fn a_rejected_message_lands_in_the_dead_letter_queue() {
    let server = server().await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["poison"]).await;
    let connection = &tenant.connection;
    let uri = format!(
        "amqp://{}:{}@{}:{}/{}",
        connection.username,
        connection.password,
        connection.host,
        connection.port,
        connection.vhost
    );
    let raw = lapin::Connection::connect(&uri, ConnectionProperties::default());
    let raw = raw.await.unwrap();
    let channel = raw.create_channel().await.unwrap();
    let queue = tenant.queues.queue.as_str();
    let taken = channel.basic_get(queue.into(), BasicGetOptions::default());
    let taken = taken.await.unwrap().unwrap();
    let options = BasicRejectOptions { requeue: false };
    assert!(taken.delivery.acker.reject(options).await.unwrap());
    let dead_letters = &tenant.queues.dead_letter_queue;
    until(|| async { tenant.totals(dead_letters).await.ready == 1 }).await;
    let letters = RabbitDeadLetters::new(tenant.source());
    let mut reader = letters.open(dead_letters).await.unwrap();
    let letter = reader.next().await.unwrap().unwrap();
    assert_eq!(letter.message, message("poison"));
    assert_eq!(letter.broker_reason.as_deref(), Some("rejected"));
    reader.close().await.unwrap();
}
