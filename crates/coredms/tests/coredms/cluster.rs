//! Three members and three replicas: first login on all of them, writes while members are killed.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::future::join_all;
use simbdp_api::common::Engine;
use simbdp_coredms::admin::{
    AdminError, ClusterSetup, EngineSetup, Replication, RoleLogin, Tenancy,
};
use simbdp_coredms::store::{RowQuery, StoreError, Table};
use simbdp_coredms::{AdminConnector, Connection, Connectors};
use simbdp_record::{Row, Rows, Value};
use simbdp_testkit::cassandra::Cassandra;
use simbdp_testkit::mongodb::MongoDb;

use crate::on_cassandra::replication;
use crate::on_mongodb;
use crate::server::{converge, database, eventually};
use crate::tables::spec;

const ROWS: i32 = 400;

/// Three members that can be killed.
trait Cluster: Send {
    fn engine(&self) -> Engine;
    fn endpoints(&self) -> Vec<String>;
    fn setup(&self) -> ClusterSetup;
    fn replication(&self) -> Option<Replication>;
    fn kill(&mut self, member: usize);
    fn hang(&mut self, member: usize, hangs: bool);
    fn run(&mut self, member: usize) -> BoxFuture<'_, ()>;
}

impl Cluster for Cassandra {
    fn engine(&self) -> Engine {
        Engine::Cassandra
    }
    fn endpoints(&self) -> Vec<String> {
        Self::endpoints(self)
    }
    fn setup(&self) -> ClusterSetup {
        ClusterSetup {
            superuser: "simbdp".to_owned(),
            password: "secret".to_owned(),
            engine: EngineSetup::Cassandra(replication(3)),
        }
    }
    fn replication(&self) -> Option<Replication> {
        Some(replication(3))
    }
    fn kill(&mut self, member: usize) {
        Self::kill(self, member).unwrap();
    }
    fn hang(&mut self, member: usize, hangs: bool) {
        Self::hang(self, member, hangs).unwrap();
    }
    fn run(&mut self, member: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            Self::run(self, member).await.unwrap();
        })
    }
}

impl Cluster for MongoDb {
    fn engine(&self) -> Engine {
        Engine::MongoDB
    }
    fn endpoints(&self) -> Vec<String> {
        Self::endpoints(self)
    }
    fn setup(&self) -> ClusterSetup {
        on_mongodb::setup(self, "simbdp", "secret")
    }
    fn replication(&self) -> Option<Replication> {
        None
    }
    fn kill(&mut self, member: usize) {
        Self::kill(self, member).unwrap();
    }
    fn hang(&mut self, member: usize, hangs: bool) {
        Self::hang(self, member, hangs).unwrap();
    }
    fn run(&mut self, member: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            Self::run(self, member).await.unwrap();
        })
    }
}

fn rows(version: i64) -> Rows {
    (0..ROWS)
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
                assert_eq!(report.rows, ROWS as u64);
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
    for n in 0..ROWS {
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

fn tenancy(cluster: &dyn Cluster) -> Tenancy {
    let role = |name: &str| RoleLogin {
        name: name.to_owned(),
        password: format!("of {name}"),
    };
    Tenancy {
        keyspace: "t_three".to_owned(),
        platform_keyspace: "p_three".to_owned(),
        tenant_role: role("t_three"),
        platform_role: role("p_three"),
        replication: cluster.replication(),
    }
}

async fn a_majority_suffices_and_less_is_waited_for(cluster: &mut dyn Cluster) {
    let endpoints = cluster.endpoints();
    let setup = cluster.setup();
    let connector = Connectors::new();
    let admin = converge(|| connector.bootstrap(&endpoints, &setup)).await;
    let members = admin.members().await.unwrap();
    assert_eq!(members.iter().filter(|member| member.up).count(), 3);
    // What it has set up itself is written: a journal, or the schema's tables.
    let told = converge(|| admin.bytes()).await;
    assert!(told < 1 << 30, "{told} bytes of a database without rows");
    // Every member by itself knows the superuser now.
    for endpoint in &endpoints {
        let only = std::slice::from_ref(endpoint);
        converge(|| async { Connectors::new().bootstrap(only, &setup).await }).await;
    }
    let tenancy = tenancy(cluster);
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    let spec = spec(serde_json::json!({
        "name": "t",
        "columns": [{"name": "k", "type": "int"}, {"name": "v", "type": "bigint"}],
        "primaryKey": {"partition": ["k"]},
    }));
    converge(|| admin.ensure_table(&tenancy.keyspace, &spec)).await;
    let login = Connection {
        engine: cluster.engine(),
        endpoints: endpoints.clone(),
        username: tenancy.platform_role.name.clone(),
        password: tenancy.platform_role.password.clone(),
        tls: None,
    };
    let store = database(login).store();
    let table = store.table(&tenancy.keyspace, &spec).await.unwrap();
    let report = table.write(&rows(1)).await.unwrap();
    assert!(report.batches <= 10, "{} batches", report.batches);
    check(&*table, 1).await;

    // The one that leads, where one does, while writes of many versions are under way.
    let leader = members.iter().position(|member| member.state == "PRIMARY");
    let first = leader.unwrap_or(1);
    let second = (first + 1) % 3;
    let writes = join_all((2..=12).map(|version| write(&*table, version)));
    tokio::join!(writes, async { cluster.kill(first) });
    check(&*table, 12).await;
    let seen = converge(|| async {
        // With too few members even the operator's login cannot be checked: then Kubernetes alone tells.
        let members = admin.members().await?;
        match members.iter().filter(|member| member.up).count() {
            3 => Err(AdminError::Unavailable("all are up".to_owned())),
            _ => Ok(members),
        }
    })
    .await;
    let down: Vec<_> = seen.iter().filter(|member| !member.up).collect();
    assert_eq!(
        (seen.len(), down.len()),
        (3, 1),
        "the member that is down is seen"
    );
    assert_eq!(down[0].state, "DOWN");
    assert!(endpoints[first].starts_with(&down[0].address));
    cluster.kill(second);
    let failed = table.write(&rows(13)).await;
    assert!(
        matches!(failed, Err(StoreError::Transient(_))),
        "{failed:?}"
    );
    cluster.run(second).await;
    write(&*table, 14).await;
    check(&*table, 14).await;
    cluster.run(first).await;
    write(&*table, 15).await;
    check(&*table, 15).await;

    // Two hang: whoever only connects sees nothing of it.
    converge(|| admin.serves()).await;
    for hanging in [first, second] {
        cluster.hang(hanging, true);
    }
    eventually("too few members serve", || async {
        let asked = tokio::time::timeout(Duration::from_secs(5), admin.serves()).await;
        !matches!(asked, Ok(Ok(())))
    })
    .await;
    let answering = join_all(endpoints.iter().map(|endpoint| {
        let connection = Connection {
            engine: cluster.engine(),
            endpoints: vec![endpoint.clone()],
            username: setup.superuser.clone(),
            password: setup.password.clone(),
            tls: None,
        };
        async move { Connectors::new().answers(&connection).await }
    }))
    .await;
    for (member, answer) in answering.iter().enumerate() {
        let hangs = [first, second].contains(&member);
        assert_eq!(answer.is_err(), hangs, "{member}: {answer:?}");
    }
    for hanging in [first, second] {
        cluster.hang(hanging, false);
    }
    converge(|| admin.serves()).await;
    write(&*table, 16).await;
    check(&*table, 16).await;
}

/// A member tells what it has repaired since it started, and no other one's repairs.
async fn repairs_are_told(cluster: &mut Cassandra) {
    let (endpoints, setup) = (Cluster::endpoints(cluster), cluster.setup());
    let connector = Connectors::new();
    let admin = converge(|| connector.bootstrap(&endpoints, &setup)).await;
    let address = |member: usize| endpoints[member].rsplit_once(':').unwrap().0.to_owned();
    let first = address(0);
    let left = converge(|| admin.unrepaired(&first)).await;
    let all = ["p_three", "system_auth", "system_distributed"];
    let all = all.into_iter().chain(["system_traces", "t_three"]);
    let all: Vec<_> = all.map(str::to_owned).collect();
    assert_eq!((left.keyspaces, left.under_way), (all.clone(), false));
    for keyspace in ["t_three", "system_auth"] {
        cluster
            .nodetool(0, &["repair", "--full", keyspace])
            .unwrap();
    }
    // Of a part, and of what was not repaired yet: they prove nothing.
    cluster
        .nodetool(0, &["repair", "--full", "-pr", "p_three"])
        .unwrap();
    cluster
        .nodetool(0, &["repair", "--full", "-st", "0", "-et", "9", "p_three"])
        .unwrap();
    cluster.nodetool(0, &["repair", "p_three"]).unwrap();
    let left = converge(|| admin.unrepaired(&first)).await;
    let rest = ["p_three", "system_distributed", "system_traces"].map(str::to_owned);
    assert_eq!((left.keyspaces, left.under_way), (rest.to_vec(), false));
    let other = address(1);
    let left = converge(|| admin.unrepaired(&other)).await;
    assert_eq!(left.keyspaces, all);
    let nobody = admin.unrepaired("127.255.255.254").await;
    assert!(matches!(nobody, Err(AdminError::Unavailable(_))));
}

#[tokio::test]
async fn cassandra() {
    let mut cluster = Cassandra::start(3).await.unwrap();
    a_majority_suffices_and_less_is_waited_for(&mut cluster).await;
    repairs_are_told(&mut cluster).await;
}

#[tokio::test]
async fn mongodb() {
    let mut cluster = MongoDb::start(3).await.unwrap();
    a_majority_suffices_and_less_is_waited_for(&mut cluster).await;
}
