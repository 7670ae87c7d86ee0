//! A pipeline's queues: declared once, dead letters kept.

use lapin::options::BasicRejectOptions;
use lapin::{ConnectionProperties, options::BasicGetOptions};
use simbdp_broker::admin::{AdminError, PipelineQueues};

use crate::support::{Kind, Tenant, admin, message, names, server, until};

#[tokio::test]
async fn a_queue_with_other_arguments_is_refused_by_name_and_left_alone() {
    let server = server(Kind::RabbitMq).await;
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
async fn queues_of_a_tenancy_that_is_not_there_are_refused() {
    let server = server(Kind::RabbitMq).await;
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
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["poison"]).await;
    let connection = &tenant.connection;
    let uri = format!(
        "amqp://{}:{}@{}:{}/{}",
        connection.username,
        connection.password,
        connection.hosts[0],
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
    let mut reader = tenant.open().await;
    let letter = reader.next().await.unwrap().unwrap();
    assert_eq!(letter.message, message("poison"));
    assert_eq!(letter.broker_reason.as_deref(), Some("rejected"));
    reader.close().await.unwrap();
}
