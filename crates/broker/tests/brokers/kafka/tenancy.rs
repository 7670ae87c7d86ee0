//! User and rights: made once, rotated, suspended, dropped.

use simbdp_broker::admin::{AdminConnector, AdminError, ManagementConnection};
use simbdp_broker::kafka::{KafkaConnector, managed_url};
use simbdp_broker::{Connection, ConnectionSource};

use crate::support::{
    Kind, Tenant, admin, message, publish_one, publisher, server, soon, take, until,
};

#[tokio::test]
async fn logging_in_tells_a_wrong_password_from_a_server_that_is_away() {
    let server = server(Kind::Kafka).await;
    let right = server.management();
    let wrong = ManagementConnection {
        password: "wrong".into(),
        ..right.clone()
    };
    let refused = KafkaConnector.connect(&wrong).await.err();
    let username = right.username.clone();
    assert_eq!(refused, Some(AdminError::LoginRefused { username }));
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = ManagementConnection {
        url: managed_url(&free.local_addr().unwrap().to_string()),
        ..right.clone()
    };
    drop(free);
    let error = KafkaConnector.connect(&away).await.err().unwrap();
    assert!(matches!(error, AdminError::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains(&right.password), "{error}");
    assert_eq!(admin(&right).await.version().await.unwrap(), "4.1");
}

fn write_binding(directory: &std::path::Path, connection: &Connection) {
    let port = connection.port.to_string();
    for (name, value) in [
        ("type", "kafka"),
        ("host", &connection.hosts.join(",")),
        ("port", &port),
        ("vhost", &connection.vhost),
        ("username", &connection.username),
        ("password", &connection.password),
        ("max-queue-bytes", "1000000"),
    ] {
        std::fs::write(directory.join(name), format!("{value}\n")).unwrap();
    }
}

#[tokio::test]
async fn a_rotated_password_needs_no_restart_and_the_former_is_of_no_use() {
    let server = server(Kind::Kafka).await;
    let tenant = Tenant::new(&server).await;
    let queue = &tenant.queues.queue;
    let binding = tempfile::tempdir().unwrap();
    write_binding(binding.path(), &tenant.connection);
    let source = ConnectionSource::binding(binding.path());
    let following = publisher(Kind::Kafka, source);
    assert_eq!(publish_one(&following, queue, message("a")).await, Ok(()));

    let mut tenancy = tenant.tenancy();
    tenancy.password = "rotated".into();
    tenant.admin.ensure_tenancy(&tenancy).await.unwrap();
    let former = publish_one(&tenant.publisher(), queue, message("b")).await;
    assert!(former.is_err(), "{former:?}");
    let mut rotated = tenant.connection.clone();
    rotated.password = tenancy.password.clone();
    write_binding(binding.path(), &rotated);
    until(|| async { publish_one(&following, queue, message("c")).await == Ok(()) }).await;
    let mut consumer = crate::support::consumer(
        Kind::Kafka,
        ConnectionSource::binding(binding.path()),
        queue,
        1,
    );
    assert_eq!(take(&mut consumer).await.message.id, "a");
}

#[tokio::test]
async fn a_suspended_tenancy_is_cut_off_and_finds_its_messages_when_it_is_back() {
    let server = server(Kind::Kafka).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["kept"]).await;
    let queue = &tenant.queues.queue;
    let publisher = tenant.publisher();
    assert_eq!(
        publish_one(&publisher, queue, message("kept, too")).await,
        Ok(())
    );
    for _ in 0..2 {
        let suspended = tenant.admin.suspend_tenancy(&tenant.tenancy_names()).await;
        assert_eq!(suspended, Ok(()));
    }
    until(|| async { publish_one(&publisher, queue, message("x")).await.is_err() }).await;
    let mut consumer = tenant.consumer(1);
    assert!(soon(consumer.next()).await.is_err());
    tenant
        .admin
        .ensure_tenancy(&tenant.tenancy())
        .await
        .unwrap();
    soon(async {
        loop {
            if let Ok(delivery) = consumer.next().await {
                break assert_eq!(delivery.message.id, "kept");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_dropped_tenancy_is_gone_and_dropping_it_again_is_fine() {
    let server = server(Kind::Kafka).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["lost"]).await;
    let mut consumer = tenant.consumer(1);
    take(&mut consumer).await;
    for _ in 0..2 {
        let dropped = tenant.admin.drop_tenancy(&tenant.tenancy_names()).await;
        assert_eq!(dropped, Ok(()));
        let suspended = tenant.admin.suspend_tenancy(&tenant.tenancy_names()).await;
        assert_eq!(suspended, Ok(()));
    }
    assert!(soon(consumer.next()).await.is_err());
    assert_eq!(
        tenant.admin.queue_totals(&tenant.queues.vhost).await,
        Ok(vec![])
    );
    let refused = publish_one(&tenant.publisher(), &tenant.queues.queue, message("x")).await;
    assert!(refused.is_err());
}
