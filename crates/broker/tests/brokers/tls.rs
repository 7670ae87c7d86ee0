//! Brokers that are reached over TLS: what a login's trust lets in, and what is said of a connection that cannot be.

use simbdp_broker::admin::{AdminConnector, AdminError, ManagementConnection};
use simbdp_broker::{Connectors, Trust};
use simbdp_testkit::certificates::Authority;

use crate::support::{
    Kind, Running, Tenant, each_broker, ids, message, publish_one, publisher, server, take_many,
};

each_broker!(a_broker_over_tls);

async fn a_broker_over_tls(kind: Kind) {
    let authority = Authority::new("authority of a broker").unwrap();
    let trusted = Trust::Bundle(authority.pem().into());
    let secured = Running::start_with_tls(kind, authority).await;
    serves(&secured).await;

    let right = secured.management();
    let another = Authority::new("another authority").unwrap();
    let another = Trust::Bundle(another.pem().into());
    let bare = server(kind).await.management();
    let with = |tls: Option<Trust>, of: &ManagementConnection| ManagementConnection {
        url: match tls {
            Some(_) => of.url.replace("http://", "https://"),
            None => of.url.replace("https://", "http://"),
        },
        tls,
        ..of.clone()
    };
    let untrusted = "its certificate is of an authority that is not trusted";
    for (connection, expected) in [
        (with(Some(another), &right), untrusted),
        (with(Some(Trust::Public), &right), untrusted),
        (
            with(None, &right),
            "it speaks TLS, and this connection does not",
        ),
        (with(Some(trusted), &bare), "it does not speak TLS"),
    ] {
        match failure(&connection).await {
            AdminError::Tls(fault) => assert!(fault.ends_with(expected), "{fault}"),
            other => panic!("{other:?} instead of {expected}"),
        }
    }
    // What has nothing to do with TLS is not laid at its door.
    let wrong = ManagementConnection {
        password: "wrong".into(),
        ..right.clone()
    };
    let refused = failure(&wrong).await;
    assert!(
        matches!(refused, AdminError::LoginRefused { .. }),
        "{refused:?}"
    );
}

async fn failure(connection: &ManagementConnection) -> AdminError {
    match Connectors::default().connect(connection).await {
        Ok(_) => panic!("let in"),
        Err(error) => {
            assert!(!error.to_string().contains(&connection.password));
            error
        }
    }
}

/// A tenant is made; its messages come through, and its dead letters are looked at.
async fn serves(server: &Running) {
    let tenant = Tenant::new(server).await;
    tenant.fill(&["a", "b"]).await;
    let mut consumer = tenant.consumer(2);
    let taken = take_many(&mut consumer, 2).await;
    assert_eq!(ids(&taken), ["a", "b"].into());
    assert_eq!(tenant.open().await.waiting(), 0);

    let mut untrusting = tenant.connection.clone();
    untrusting.tls = Some(Trust::Public);
    let source = simbdp_broker::ConnectionSource::fixed(untrusting);
    let publisher = publisher(tenant.kind, source);
    let refused = publish_one(&publisher, &tenant.queues.queue, message("c")).await;
    assert!(refused.is_err(), "{refused:?}");
}
