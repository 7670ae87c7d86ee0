//! Virtual host, user, limits: made once, repaired, suspended, dropped.

use futures::FutureExt;
use simbdp_broker::admin::{AdminConnector, AdminError, ManagementConnection};
use simbdp_broker::rabbitmq::RabbitConnector;
use simbdp_broker::{Connection, ConnectionSource};

use super::proxy::Proxy;
use crate::support::{Kind, Tenant, admin, message, names, publish_one, server, soon, take, until};

#[tokio::test]
async fn logging_in_tells_a_wrong_password_from_a_server_that_is_away() {
    let server = server(Kind::RabbitMq).await;
    let connector = RabbitConnector::default();
    let right = server.management();
    let wrong = ManagementConnection {
        password: "wrong".into(),
        ..right.clone()
    };
    assert_eq!(
        connector.connect(&wrong).await.err(),
        Some(AdminError::LoginRefused {
            username: right.username.clone()
        })
    );
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = ManagementConnection {
        url: format!("http://{}", free.local_addr().unwrap()),
        ..right.clone()
    };
    drop(free);
    let error = connector.connect(&away).await.err().unwrap();
    assert!(matches!(error, AdminError::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains(&right.password), "{error}");
    let version = admin(&right).await.version().await.unwrap();
    assert!(version.starts_with("4."), "{version}");
}

#[tokio::test]
async fn a_second_ensure_writes_nothing() {
    let server = server(Kind::RabbitMq).await;
    let proxy = Proxy::start(&server.management()).await;
    let admin = admin(&proxy.management).await;
    let (tenancy, queues) = names();
    admin.ensure_tenancy(&tenancy).await.unwrap();
    admin.ensure_queues(&queues).await.unwrap();
    let writes = proxy.writes();
    assert!(writes >= 8, "{writes} writes make a tenancy with queues");
    admin.ensure_tenancy(&tenancy).await.unwrap();
    admin.ensure_queues(&queues).await.unwrap();
    assert_eq!(proxy.writes(), writes);
    assert_eq!(admin.queue_totals(&queues.vhost).await.unwrap().len(), 2);
    assert_eq!(proxy.writes(), writes);
}

#[tokio::test]
async fn a_changed_password_is_the_only_write_and_replaces_the_former() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    let proxy = Proxy::start(&server.management()).await;
    let admin = admin(&proxy.management).await;
    let mut tenancy = tenant.tenancy();
    tenancy.password = "another".into();
    admin.ensure_tenancy(&tenancy).await.unwrap();
    assert_eq!(proxy.writes(), 1);

    let queue = &tenant.queues.queue;
    let former = publish_one(&tenant.publisher(), queue, message("a")).await;
    assert!(former.unwrap_err().to_string().contains("ACCESS_REFUSED"));
    let mut connection = tenant.connection.clone();
    connection.password = "another".into();
    let source = ConnectionSource::fixed(connection);
    let publisher = crate::support::publisher(Kind::RabbitMq, source);
    assert_eq!(publish_one(&publisher, queue, message("b")).await, Ok(()));
}

fn write_binding(directory: &std::path::Path, connection: &Connection) {
    let port = connection.port.to_string();
    for (name, value) in [
        ("type", &"rabbitmq".to_owned()),
        ("host", &connection.hosts.join(",")),
        ("port", &port),
        ("vhost", &connection.vhost),
        ("username", &connection.username),
        ("password", &connection.password),
    ] {
        std::fs::write(directory.join(name), format!("{value}\n")).unwrap();
    }
}

#[tokio::test]
async fn a_rotated_password_needs_no_restart() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    let binding = tempfile::tempdir().unwrap();
    let source = ConnectionSource::binding(binding.path());
    let missing = source.read().await.err().unwrap().to_string();
    assert!(missing.contains("type"), "{missing}");
    // The publisher is there before its binding is.
    let publisher = crate::support::publisher(Kind::RabbitMq, source.clone());
    write_binding(binding.path(), &tenant.connection);
    until(|| publisher.ready()).await;
    let mut consumer = crate::support::consumer(Kind::RabbitMq, source, &tenant.queues.queue, 1);
    assert!(consumer.next().now_or_never().is_none());

    let mut rotated = tenant.connection.clone();
    rotated.password = "rotated".into();
    let mut tenancy = tenant.tenancy();
    tenancy.password = rotated.password.clone();
    tenant
        .admin
        .suspend_tenancy(&tenant.tenancy_names())
        .await
        .unwrap();
    tenant.admin.ensure_tenancy(&tenancy).await.unwrap();
    until(|| async { !publisher.ready().await }).await;
    write_binding(binding.path(), &rotated);
    until(|| publisher.ready()).await;
    let queue = &tenant.queues.queue;
    assert_eq!(publish_one(&publisher, queue, message("a")).await, Ok(()));
    soon(async { while consumer.next().await.is_err() {} }).await;
}

#[tokio::test]
async fn a_suspended_tenancy_is_cut_off_and_finds_its_messages_when_it_is_back() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    tenant.fill(&["kept"]).await;
    let publisher = tenant.publisher();
    until(|| publisher.ready()).await;

    let names = tenant.tenancy_names();
    tenant.admin.suspend_tenancy(&names).await.unwrap();
    until(|| async { !publisher.ready().await }).await;
    let refused = publish_one(&publisher, &tenant.queues.queue, message("x")).await;
    assert!(refused.is_err());

    let proxy = Proxy::start(&server.management()).await;
    let again = admin(&proxy.management).await;
    // The publisher may just be trying, so that there is a connection to close; then there is none.
    until(|| async {
        let before = proxy.writes();
        again.suspend_tenancy(&names).await.unwrap();
        proxy.writes() == before
    })
    .await;

    tenant
        .admin
        .ensure_tenancy(&tenant.tenancy())
        .await
        .unwrap();
    until(|| publisher.ready()).await;
    let mut consumer = tenant.consumer(1);
    assert_eq!(take(&mut consumer).await.message.id, "kept");
}

#[tokio::test]
async fn a_dropped_tenancy_is_gone_and_dropping_it_again_is_fine() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    let mut consumer = tenant.consumer(1);
    tenant.fill(&["lost"]).await;
    take(&mut consumer).await;
    for _ in 0..2 {
        let dropped = tenant.admin.drop_tenancy(&tenant.tenancy_names()).await;
        assert_eq!(dropped, Ok(()));
        let suspended = tenant.admin.suspend_tenancy(&tenant.tenancy_names()).await;
        assert_eq!(suspended, Ok(()));
    }
    assert!(soon(consumer.next()).await.is_err());
    let totals = tenant.admin.queue_totals(&tenant.queues.vhost).await;
    assert!(matches!(totals, Err(AdminError::Refused { .. })));
    let refused = tenant.admin.ensure_queues(&tenant.queues).await;
    assert!(
        matches!(refused, Err(AdminError::Refused { .. })),
        "{refused:?}"
    );
}
