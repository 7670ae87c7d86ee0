//! Three members and three replicas: first login on all of them, writes while members are killed.

use std::time::{Duration, Instant};

use simbdp_coredms::admin::ClusterSetup;
use simbdp_coredms::cassandra::{CassandraConnector, CassandraStore, StoreOptions};
use simbdp_coredms::store::{RowQuery, StoreError, Table};
use simbdp_coredms::{AdminConnector, Connection, Store};
use simbdp_record::{Row, Rows, Value};
use simbdp_testkit::cassandra::{Cassandra, DATACENTER};

use crate::server::{converge, setup, tenancy};
use crate::tables::spec;

fn rows(version: i64) -> Rows {
    (0..400)
        .map(|n| Row {
            values: vec![Some(Value::Int(n)), Some(Value::Bigint(version))],
            version,
        })
        .collect()
}

/// Writes until it succeeds, as the ingest app does.
async fn write(table: &dyn Table, version: i64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match table.write(&rows(version)).await {
            Ok(report) => {
                assert_eq!(report.rows, 400);
                return;
            }
            Err(StoreError::Transient(reason)) => {
                assert!(Instant::now() < deadline, "{reason}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn check(table: &dyn Table, version: i64) {
    for n in 0..400 {
        let query = RowQuery {
            partition: vec![("k".to_owned(), Value::Int(n))],
            limit: 1,
            ..RowQuery::default()
        };
        let page = table.read(&query).await.unwrap();
        let expected = vec![Some(Value::Int(n)), Some(Value::Bigint(version))];
        assert_eq!(page.rows, [expected]);
    }
}

#[tokio::test]
async fn a_quorum_suffices_and_less_is_waited_for() {
    let mut cluster = Cassandra::start(3).await.unwrap();
    let endpoints = cluster.endpoints();
    let setup = ClusterSetup {
        replication_factor: 3,
        ..setup("simbdp", "secret")
    };
    let connector = CassandraConnector::new();
    let admin = converge(|| connector.bootstrap(&endpoints, &setup)).await;
    let members = admin.members().await.unwrap();
    assert_eq!(members.iter().filter(|member| member.up).count(), 3);
    // Every member by itself knows the superuser now.
    for endpoint in &endpoints {
        let only = std::slice::from_ref(endpoint);
        converge(|| async { CassandraConnector::new().bootstrap(only, &setup).await }).await;
    }
    let mut tenancy = tenancy("three");
    tenancy.replication_factor = 3;
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    let spec = spec(serde_json::json!({
        "name": "t",
        "columns": [{"name": "k", "type": "int"}, {"name": "v", "type": "bigint"}],
        "primaryKey": {"partition": ["k"]},
    }));
    converge(|| admin.ensure_table(&tenancy.keyspace, &spec)).await;
    let login = Connection {
        endpoints: endpoints.clone(),
        username: tenancy.platform_role.name.clone(),
        password: tenancy.platform_role.password.clone(),
    };
    let options = StoreOptions {
        datacenter: Some(DATACENTER.to_owned()),
        ..StoreOptions::default()
    };
    let store = CassandraStore::connect(login, options);
    let table = store.table(&tenancy.keyspace, &spec).await.unwrap();
    let report = table.write(&rows(1)).await.unwrap();
    assert!(report.batches <= 10, "{} batches", report.batches);
    check(&*table, 1).await;

    cluster.kill(1).unwrap();
    write(&*table, 2).await;
    check(&*table, 2).await;
    cluster.kill(2).unwrap();
    let failed = table.write(&rows(3)).await;
    assert!(
        matches!(failed, Err(StoreError::Transient(_))),
        "{failed:?}"
    );
    let mut down = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    while down < 2 && Instant::now() < deadline {
        // The session may have to find a living member first.
        if let Ok(members) = admin.members().await {
            assert_eq!(members.len(), 3);
            down = members.iter().filter(|member| !member.up).count();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(down, 2, "members that are down are seen");
    cluster.run(2).await.unwrap();
    write(&*table, 4).await;
    check(&*table, 4).await;
    cluster.run(1).await.unwrap();
    write(&*table, 5).await;
    check(&*table, 5).await;
}
