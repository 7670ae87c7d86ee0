//! Who is let in, and members as the database sees them.

use simbdp_coredms::admin::AdminError;
use simbdp_coredms::{AdminConnector, Connectors};

use crate::server::{PASSWORD, SUPERUSER, Server, admin, connection};

on_each_engine! {
    a_wrong_password_is_told_from_a_database_that_is_down
    every_member_is_seen
}

async fn a_wrong_password_is_told_from_a_database_that_is_down(on: &dyn Server) {
    let connector = Connectors::new();
    let wrong = connection(on, SUPERUSER, "wrong");
    match connector.connect(&wrong).await.err() {
        Some(AdminError::LoginRefused { username, reason }) => {
            assert_eq!(username, SUPERUSER);
            assert!(!reason.contains("wrong"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let mut down = connection(on, SUPERUSER, PASSWORD);
    down.endpoints = vec!["127.0.0.1:1".to_owned()];
    match connector.connect(&down).await.err() {
        Some(AdminError::Unavailable(reason)) => assert!(!reason.contains(PASSWORD), "{reason}"),
        other => panic!("{other:?}"),
    }
    // Nobody answers at one address: what the other one says counts.
    let mut half = wrong;
    half.endpoints.insert(0, "127.0.0.1:1".to_owned());
    let half = connector.connect(&half).await.err();
    assert!(
        matches!(half, Some(AdminError::LoginRefused { .. })),
        "{half:?}"
    );
}

async fn every_member_is_seen(on: &dyn Server) {
    let members = admin(on).await.members().await.unwrap();
    let endpoints = on.endpoints();
    assert_eq!(members.len(), endpoints.len());
    for (member, endpoint) in members.iter().zip(&endpoints) {
        assert!(endpoint.starts_with(&member.address), "{member:?}");
        assert!(member.up, "{member:?}");
        assert!(
            ["NORMAL", "PRIMARY"].contains(&member.state.as_str()),
            "{member:?}"
        );
    }
}
