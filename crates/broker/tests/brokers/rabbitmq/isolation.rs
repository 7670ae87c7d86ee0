//! What a tenant's user may not do.

use lapin::options::{BasicConsumeOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use super::channel;
use crate::support::{Kind, Tenant, message, publish_one, publisher, server};

#[tokio::test]
async fn one_tenant_cannot_enter_the_virtual_host_of_another() {
    let server = server(Kind::RabbitMq).await;
    let (a, b) = (Tenant::new(&server).await, Tenant::new(&server).await);
    let mut crossed = a.connection.clone();
    crossed.vhost = b.connection.vhost.clone();
    let error = channel(&crossed).await.err().unwrap().to_string();
    assert!(error.contains("NOT_ALLOWED"), "{error}");
    let intruder = publisher(
        Kind::RabbitMq,
        simbdp_broker::ConnectionSource::fixed(crossed),
    );
    let refused = publish_one(&intruder, &b.queues.queue, message("x")).await;
    assert!(refused.unwrap_err().to_string().contains("NOT_ALLOWED"));
    b.until_totals(0, 0).await;
}

#[tokio::test]
async fn a_tenant_can_neither_declare_nor_delete_nor_read_other_queues() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    let refused = |result: Result<(), lapin::Error>| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("ACCESS_REFUSED"), "{error}");
    };
    let (_a, declaring) = channel(&tenant.connection).await.unwrap();
    let options = QueueDeclareOptions::durable();
    let declared = declaring.queue_declare("mine".into(), options, FieldTable::default());
    refused(declared.await.map(drop));

    let (_b, deleting) = channel(&tenant.connection).await.unwrap();
    let queue = tenant.queues.queue.as_str();
    let deleted = deleting.queue_delete(queue.into(), QueueDeleteOptions::default());
    refused(deleted.await.map(drop));

    let (_c, reading) = channel(&tenant.connection).await.unwrap();
    let options = BasicConsumeOptions::default();
    let consumed = reading.basic_consume("other".into(), "".into(), options, FieldTable::default());
    let error = consumed.await.err().unwrap().to_string();
    assert!(
        error.contains("NOT_FOUND") || error.contains("ACCESS_REFUSED"),
        "{error}"
    );
}

#[tokio::test]
async fn a_tenant_has_no_more_connections_than_its_limit() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    let mut tenancy = tenant.tenancy();
    tenancy.max_connections = 2;
    tenant.admin.ensure_tenancy(&tenancy).await.unwrap();
    let _first = channel(&tenant.connection).await.unwrap();
    let _second = channel(&tenant.connection).await.unwrap();
    let error = channel(&tenant.connection).await.err().unwrap().to_string();
    assert!(error.contains("connection limit"), "{error}");
}
