//! The server that the tests share, logins, and tenants of their own.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::NewSessionError;
use scylla::value::Row;
use simbdp_coredms::admin::{AdminError, ClusterSetup, RoleLogin, Tenancy, TenancyNames};
use simbdp_coredms::cassandra::{
    CassandraConnector, CassandraLedger, CassandraStore, StoreOptions,
};
use simbdp_coredms::{AdminConnector, Connection, StoreAdmin};
use simbdp_testkit::cassandra::{Cassandra, DATACENTER};
use tokio::sync::OnceCell;

/// Name and password of the operator's superuser.
pub const SUPERUSER: &str = "simbdp_operator";
pub const PASSWORD: &str = "it's the operator's";

static SERVER: OnceCell<Cassandra> = OnceCell::const_new();

/// The server; bootstrapped when it was started.
pub async fn server() -> &'static Cassandra {
    SERVER
        .get_or_try_init(|| async {
            let server = Cassandra::start(1).await?;
            let setup = setup(SUPERUSER, PASSWORD);
            let endpoints = server.endpoints();
            converge(|| async {
                CassandraConnector::new()
                    .bootstrap(&endpoints, &setup)
                    .await
            })
            .await;
            anyhow::Ok(server)
        })
        .await
        .unwrap()
}

pub fn setup(superuser: &str, password: &str) -> ClusterSetup {
    ClusterSetup {
        superuser: superuser.to_owned(),
        password: password.to_owned(),
        datacenter: DATACENTER.to_owned(),
        replication_factor: 1,
    }
}

/// Calls again while the database is unavailable, as the operator does.
pub async fn converge<T, F>(mut call: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, AdminError>>,
{
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match call().await {
            Ok(value) => return value,
            Err(AdminError::Unavailable(_)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Asks until it is so. Members keep roles and rights for two seconds.
pub async fn eventually<F>(what: &str, mut is: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub async fn connection(username: &str, password: &str) -> Connection {
    Connection {
        endpoints: server().await.endpoints(),
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

/// A session of the driver itself.
pub async fn login(username: &str, password: &str) -> Result<Session, NewSessionError> {
    SessionBuilder::new()
        .known_nodes(server().await.endpoints())
        .user(username, password)
        .build()
        .await
}

pub async fn superuser() -> Session {
    server().await;
    login(SUPERUSER, PASSWORD).await.unwrap()
}

pub async fn admin() -> Arc<dyn StoreAdmin> {
    let connection = connection(SUPERUSER, PASSWORD).await;
    CassandraConnector::new()
        .connect(&connection)
        .await
        .unwrap()
}

/// All rows of a statement, as the server gives them.
pub async fn query(session: &Session, cql: &str) -> Vec<Row> {
    let result = session.query_unpaged(cql, ()).await.unwrap();
    let rows = result.into_rows_result().unwrap();
    rows.rows::<Row>().unwrap().map(Result::unwrap).collect()
}

/// Keyspaces and roles of a tenant.
pub fn tenancy(tenant: &str) -> Tenancy {
    let role = |name: String| RoleLogin {
        password: format!("password' of {name}"),
        name,
    };
    Tenancy {
        keyspace: format!("t_{tenant}"),
        platform_keyspace: format!("p_{tenant}"),
        tenant_role: role(format!("t_{tenant}")),
        platform_role: role(format!("p_{tenant}")),
        datacenter: DATACENTER.to_owned(),
        replication_factor: 1,
    }
}

pub fn names(tenancy: &Tenancy) -> TenancyNames {
    TenancyNames {
        keyspaces: vec![tenancy.keyspace.clone(), tenancy.platform_keyspace.clone()],
        roles: vec![
            tenancy.tenant_role.name.clone(),
            tenancy.platform_role.name.clone(),
        ],
    }
}

/// A tenant of its own, with a store as the platform's role.
pub struct Tenant {
    pub admin: Arc<dyn StoreAdmin>,
    pub store: CassandraStore,
    pub keyspace: String,
    pub ledger: CassandraLedger,
}

pub async fn tenant(name: &str) -> Tenant {
    let admin = admin().await;
    let tenancy = tenancy(name);
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    let role = &tenancy.platform_role;
    let store = CassandraStore::connect(
        connection(&role.name, &role.password).await,
        StoreOptions::default(),
    );
    let ledger = store.ledger(&tenancy.platform_keyspace);
    Tenant {
        admin,
        store,
        keyspace: tenancy.keyspace,
        ledger,
    }
}
