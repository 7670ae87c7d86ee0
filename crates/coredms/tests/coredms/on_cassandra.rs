//! Cassandra as the server under test.

use futures::future::BoxFuture;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::NewSessionError;
use scylla::value::Row;
use simbdp_api::common::Engine;
use simbdp_coredms::admin::{ClusterSetup, EngineSetup, Replication, RoleLogin, Tenancy};
use simbdp_record::Value;
use simbdp_testkit::cassandra::{Cassandra, DATACENTER};

use crate::server::{PASSWORD, SUPERUSER, Server};

pub struct OnCassandra(Cassandra);

impl OnCassandra {
    pub async fn start() -> Self {
        Self(Cassandra::start(1).await.unwrap())
    }

    /// A session of the driver itself.
    pub async fn login(&self, username: &str, password: &str) -> Result<Session, NewSessionError> {
        SessionBuilder::new()
            .known_nodes(self.0.endpoints())
            .user(username, password)
            .build()
            .await
    }

    pub async fn superuser(&self) -> Session {
        self.login(SUPERUSER, PASSWORD).await.unwrap()
    }

    async fn query(&self, cql: &str) -> Vec<Row> {
        query(&self.superuser().await, cql).await
    }
}

/// All rows of a statement, as the server gives them.
pub async fn query(session: &Session, cql: &str) -> Vec<Row> {
    let result = session.query_unpaged(cql, ()).await.unwrap();
    let rows = result.into_rows_result().unwrap();
    rows.rows::<Row>().unwrap().map(Result::unwrap).collect()
}

impl Server for OnCassandra {
    fn engine(&self) -> Engine {
        Engine::Cassandra
    }

    fn endpoints(&self) -> Vec<String> {
        self.0.endpoints()
    }

    fn setup(&self, superuser: &str, password: &str) -> ClusterSetup {
        ClusterSetup {
            superuser: superuser.to_owned(),
            password: password.to_owned(),
            engine: EngineSetup::Cassandra(replication(1)),
        }
    }

    fn replication(&self) -> Option<Replication> {
        Some(replication(1))
    }

    fn decimals(&self) -> Vec<&'static str> {
        vec![
            "0",
            "-123456789012345678901234567890.123456789",
            "1E+30",
            "-0.001",
        ]
    }

    fn emptied(&self, _: Value) -> Option<Value> {
        // An empty collection is a null to Cassandra.
        None
    }

    fn most_batches(&self) -> u64 {
        350
    }

    fn run<'a>(&'a self, statement: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let session = self.superuser().await;
            session.query_unpaged(statement, ()).await.unwrap();
        })
    }

    fn allowed<'a>(&'a self, role: &'a RoleLogin, statement: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let session = self.login(&role.name, &role.password).await.unwrap();
            match session.query_unpaged(statement, ()).await {
                Ok(_) => true,
                Err(error) => {
                    let text = error.to_string();
                    assert!(
                        text.contains("doesn't have the right") || text.contains("permission"),
                        "{statement}: {text}"
                    );
                    false
                }
            }
        })
    }

    fn tenants_rights(&self, a: &str, b: &str) -> (Vec<String>, Vec<String>) {
        let may = vec![
            format!("INSERT INTO t_{a}.x (k, v) VALUES (1, 1)"),
            format!("SELECT * FROM t_{a}.x"),
        ];
        let may_not = vec![
            format!("SELECT * FROM t_{b}.x"),
            format!("INSERT INTO t_{b}.x (k, v) VALUES (1, 1)"),
            format!("SELECT * FROM p_{a}.files"),
            format!("INSERT INTO p_{a}.totals (pipeline, instance, rows) VALUES ('p', 'i', 1)"),
            format!("SELECT * FROM p_{b}.files"),
            "SELECT * FROM system_auth.roles".to_owned(),
            format!("CREATE TABLE t_{a}.y (k int PRIMARY KEY)"),
            format!("ALTER TABLE t_{a}.x ADD w int"),
            format!("DROP TABLE t_{a}.x"),
            format!("DROP KEYSPACE t_{b}"),
            "CREATE KEYSPACE mine WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}".to_owned(),
            "CREATE ROLE mine".to_owned(),
            format!("GRANT SELECT ON KEYSPACE t_{b} TO t_{a}"),
        ];
        (may, may_not)
    }

    fn platforms_rights(&self, a: &str, b: &str) -> (Vec<String>, Vec<String>) {
        let may = vec![
            format!("SELECT * FROM t_{a}.x"),
            format!("SELECT * FROM p_{a}.files"),
        ];
        let may_not = vec![
            format!("SELECT * FROM t_{b}.x"),
            format!("SELECT * FROM p_{b}.files"),
            format!("DROP TABLE p_{a}.files"),
        ];
        (may, may_not)
    }

    fn make_x<'a>(&'a self, keyspace: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.run(&format!(
                "CREATE TABLE {keyspace}.x (k int PRIMARY KEY, v int)"
            ))
            .await;
            self.run(&format!("INSERT INTO {keyspace}.x (k, v) VALUES (7, 7)"))
                .await;
        })
    }

    fn drift(&self, tenancy: &Tenancy) -> Vec<String> {
        let (own, platform) = (&tenancy.keyspace, &tenancy.platform_keyspace);
        let role = &tenancy.tenant_role.name;
        vec![
            format!("GRANT SELECT ON KEYSPACE {platform} TO {role}"),
            format!("REVOKE MODIFY ON KEYSPACE {own} FROM {role}"),
            format!(
                "ALTER KEYSPACE {own} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
            ),
        ]
    }

    fn rights<'a>(&'a self, role: &'a str) -> BoxFuture<'a, String> {
        Box::pin(async move {
            let cql = format!(
                "SELECT resource, permissions FROM system_auth.role_permissions WHERE role = '{role}'"
            );
            format!("{:?}", self.query(&cql).await)
        })
    }

    fn stored_password<'a>(&'a self, role: &'a str) -> BoxFuture<'a, String> {
        Box::pin(async move {
            let cql = format!(
                "SELECT salted_hash, WRITETIME(salted_hash) FROM system_auth.roles WHERE role = '{role}'"
            );
            format!("{:?}", self.query(&cql).await)
        })
    }

    fn keyspace<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<String>> {
        Box::pin(async move {
            let cql = format!(
                "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = '{name}'"
            );
            let rows = self.query(&cql).await;
            rows.first().map(|row| format!("{row:?}"))
        })
    }

    fn table<'a>(&'a self, keyspace: &'a str, table: &'a str) -> BoxFuture<'a, String> {
        Box::pin(async move {
            let cql = format!(
                "SELECT column_name, type, kind, position, clustering_order FROM system_schema.columns WHERE keyspace_name = '{keyspace}' AND table_name = '{table}'"
            );
            format!("{:?}", self.query(&cql).await)
        })
    }

    fn count<'a>(&'a self, keyspace: &'a str, table: &'a str) -> BoxFuture<'a, u64> {
        Box::pin(async move {
            let rows = self
                .query(&format!("SELECT COUNT(*) FROM {keyspace}.{table}"))
                .await;
            let count = rows[0].columns[0].clone().unwrap().as_bigint().unwrap();
            u64::try_from(count).unwrap()
        })
    }

    fn seconds_left<'a>(&'a self, keyspace: &'a str, table: &'a str, k: i32) -> BoxFuture<'a, i64> {
        Box::pin(async move {
            let cql = format!("SELECT TTL(v) FROM {keyspace}.{table} WHERE k = {k}");
            let rows = self.query(&cql).await;
            let left = rows[0].columns[0].clone().unwrap();
            left.as_int().unwrap().into()
        })
    }

    fn check_log(&self) {
        assert!(
            !self
                .0
                .log(0)
                .unwrap()
                .contains("exceeding specified threshold"),
            "the server warns of the size"
        );
    }
}

/// As many replicas in the only datacenter.
pub fn replication(factor: u16) -> Replication {
    Replication {
        datacenter: DATACENTER.to_owned(),
        factor,
    }
}
