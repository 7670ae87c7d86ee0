//! First login: from every state that a crash can leave to the same end.

use scylla::client::session::Session;
use scylla::value::CqlValue;
use simbdp_coredms::AdminConnector;
use simbdp_coredms::admin::AdminError;
use simbdp_coredms::cassandra::CassandraConnector;

use crate::server::{
    PASSWORD, SUPERUSER, connection, converge, eventually, login, query, server, setup, superuser,
};

const REPLICATED: &str =
    "ALTER KEYSPACE system_auth WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}";

/// Brings back what a new database has, but for the superuser of these tests.
async fn forget(superuser_of_this_test: &str) {
    let session = superuser().await;
    for cql in [
        "ALTER ROLE cassandra WITH PASSWORD = 'cassandra' AND LOGIN = true AND SUPERUSER = true",
        "ALTER KEYSPACE system_auth WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
        &format!("DROP ROLE IF EXISTS {superuser_of_this_test}"),
    ] {
        run(&session, cql).await;
    }
    eventually("the default superuser logs in", || async {
        login("cassandra", "cassandra").await.is_ok()
    })
    .await;
}

/// Runs a statement. Cassandra lets nobody change the password of a role twice within five seconds.
async fn run(session: &Session, cql: &str) {
    eventually(cql, || async {
        match session.query_unpaged(cql, ()).await {
            Ok(_) => true,
            Err(error) => {
                assert!(
                    error.to_string().contains("can only be changed every"),
                    "{error}"
                );
                false
            }
        }
    })
    .await;
}

async fn assert_settled(name: &str, password: &str) {
    let session = login(name, password).await.unwrap();
    let role = query(
        &session,
        "SELECT can_login, is_superuser FROM system_auth.roles WHERE role = 'cassandra'",
    )
    .await;
    let shut_out = Some(CqlValue::Boolean(false));
    assert_eq!(role[0].columns, [shut_out.clone(), shut_out]);
    let replication = query(
        &session,
        "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = 'system_auth'",
    )
    .await;
    let text = format!("{:?}", replication[0]);
    assert!(text.contains("NetworkTopologyStrategy"), "{text}");
    eventually("the default superuser is shut out", || async {
        login("cassandra", "cassandra").await.is_err()
    })
    .await;
}

#[tokio::test]
async fn a_crash_after_any_step_is_made_good() {
    server().await;
    let mut steps: Vec<String> = Vec::new();
    for (n, next) in [
        None,
        Some(REPLICATED.to_owned()),
        Some(
            "CREATE ROLE boot WITH PASSWORD = 'first' AND LOGIN = true AND SUPERUSER = true"
                .to_owned(),
        ),
        // The Secret was lost with the operator, and made anew.
        Some("ALTER ROLE boot WITH PASSWORD = 'of a lost Secret'".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        forget("boot").await;
        steps.extend(next);
        let session = login("cassandra", "cassandra").await.unwrap();
        for step in &steps {
            run(&session, step).await;
        }
        drop(session);
        let setup = setup("boot", "first");
        let endpoints = server().await.endpoints();
        converge(|| async {
            CassandraConnector::new()
                .bootstrap(&endpoints, &setup)
                .await
        })
        .await;
        eventually(&format!("settled from state {n}"), || async {
            login("boot", "first").await.is_ok()
        })
        .await;
        assert_settled("boot", "first").await;
    }
    let session = superuser().await;
    run(&session, "DROP ROLE boot").await;
}

#[tokio::test]
async fn a_second_bootstrap_writes_nothing() {
    let session = superuser().await;
    let written = "SELECT WRITETIME(salted_hash), WRITETIME(is_superuser) FROM system_auth.roles WHERE role = 'simbdp_operator'";
    let before = query(&session, written).await;
    let connector = CassandraConnector::new();
    let setup = setup(SUPERUSER, PASSWORD);
    let endpoints = server().await.endpoints();
    for _ in 0..2 {
        let admin = connector.bootstrap(&endpoints, &setup).await.unwrap();
        assert!(
            admin
                .members()
                .await
                .unwrap()
                .iter()
                .all(|member| member.up)
        );
    }
    assert_eq!(query(&session, written).await, before);
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_database_that_is_down() {
    let connector = CassandraConnector::new();
    let wrong = connection(SUPERUSER, "wrong").await;
    match connector.connect(&wrong).await.err() {
        Some(AdminError::LoginRefused { username, reason }) => {
            assert_eq!(username, SUPERUSER);
            assert!(!reason.contains("wrong"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let mut down = connection(SUPERUSER, PASSWORD).await;
    down.endpoints = vec!["127.0.0.1:1".to_owned()];
    assert!(matches!(
        connector.connect(&down).await.err(),
        Some(AdminError::Unavailable(_))
    ));
    // Nobody answers at one address: what the other one says counts.
    let mut half = wrong;
    half.endpoints.insert(0, "127.0.0.1:1".to_owned());
    assert!(matches!(
        connector.connect(&half).await.err(),
        Some(AdminError::LoginRefused { .. })
    ));
}
