//! First login: from every state that a crash can leave to the same end.

use scylla::client::session::Session;
use scylla::value::CqlValue;
use simbdp_coredms::AdminConnector;
use simbdp_coredms::cassandra::CassandraConnector;

use crate::on_cassandra::{OnCassandra, query};
use crate::server::{PASSWORD, SUPERUSER, Server, all_up, cassandra, converge, eventually};

const REPLICATED: &str =
    "ALTER KEYSPACE system_auth WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}";

/// Brings back what a new database has, but for the superuser of these tests.
async fn forget(on: &OnCassandra, superuser_of_this_test: &str) {
    let session = on.superuser().await;
    for cql in [
        "ALTER ROLE cassandra WITH PASSWORD = 'cassandra' AND LOGIN = true AND SUPERUSER = true",
        "ALTER KEYSPACE system_auth WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
        &format!("DROP ROLE IF EXISTS {superuser_of_this_test}"),
    ] {
        run(&session, cql).await;
    }
    eventually("the default superuser logs in", || async {
        on.login("cassandra", "cassandra").await.is_ok()
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

async fn assert_settled(on: &OnCassandra, name: &str, password: &str) {
    let session = on.login(name, password).await.unwrap();
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
        on.login("cassandra", "cassandra").await.is_err()
    })
    .await;
}

#[tokio::test]
async fn a_crash_after_any_step_is_made_good() {
    let on = cassandra().await;
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
        forget(on, "boot").await;
        steps.extend(next);
        let session = on.login("cassandra", "cassandra").await.unwrap();
        for step in &steps {
            run(&session, step).await;
        }
        drop(session);
        let setup = on.setup("boot", "first");
        let endpoints = on.endpoints();
        converge(|| async {
            CassandraConnector::new()
                .bootstrap(&endpoints, &setup)
                .await
        })
        .await;
        eventually(&format!("settled from state {n}"), || async {
            on.login("boot", "first").await.is_ok()
        })
        .await;
        assert_settled(on, "boot", "first").await;
    }
    let session = on.superuser().await;
    run(&session, "DROP ROLE boot").await;
}

#[tokio::test]
async fn a_second_bootstrap_writes_nothing() {
    let on = cassandra().await;
    let session = on.superuser().await;
    let written = "SELECT WRITETIME(salted_hash), WRITETIME(is_superuser) FROM system_auth.roles WHERE role = 'simbdp_operator'";
    let before = query(&session, written).await;
    let connector = CassandraConnector::new();
    let setup = on.setup(SUPERUSER, PASSWORD);
    let endpoints = on.endpoints();
    for _ in 0..2 {
        let admin = connector.bootstrap(&endpoints, &setup).await.unwrap();
        all_up(&*admin).await;
    }
    assert_eq!(query(&session, written).await, before);
}
