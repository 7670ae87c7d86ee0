//! What a test needs of the server that it runs on, whichever the engine; and tenants of their own.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use simbdp_api::common::Engine;
use simbdp_coredms::admin::{
    AdminError, ClusterSetup, Replication, RoleLogin, Tenancy, TenancyNames,
};
use simbdp_coredms::{
    AdminConnector, Connection, Connectors, Database, Ledger, Options, Store, StoreAdmin,
};
use simbdp_record::Value;
use tokio::sync::OnceCell;

use crate::on_cassandra::OnCassandra;
use crate::on_mongodb::OnMongoDb;

/// Name and password of the operator's superuser.
pub const SUPERUSER: &str = "simbdp_operator";
pub const PASSWORD: &str = "it's the operator's";

/// A server that runs, and what can be seen of it past the code under test. A statement is CQL, or the name of a
/// database and a command in JSON.
pub trait Server: Send + Sync {
    fn engine(&self) -> Engine;
    fn endpoints(&self) -> Vec<String>;
    fn setup(&self, superuser: &str, password: &str) -> ClusterSetup;
    fn replication(&self) -> Option<Replication>;
    /// Decimals at the edges of what the engine holds.
    fn decimals(&self) -> Vec<&'static str>;
    /// What an empty collection comes back as.
    fn emptied(&self, collection: Value) -> Option<Value>;
    /// Most requests that 5,000 rows of 1,250 partitions may take.
    fn most_batches(&self) -> u64;
    /// Runs a statement as somebody who may do everything.
    fn run<'a>(&'a self, statement: &'a str) -> BoxFuture<'a, ()>;
    /// Whether a role may do this.
    fn allowed<'a>(&'a self, role: &'a RoleLogin, statement: &'a str) -> BoxFuture<'a, bool>;
    /// Statements that a tenant's role may run, and those that it may not, where tenants `a` and `b` have a table `x`
    /// each.
    fn tenants_rights(&self, a: &str, b: &str) -> (Vec<String>, Vec<String>);
    /// The same of the platform's role.
    fn platforms_rights(&self, a: &str, b: &str) -> (Vec<String>, Vec<String>);
    /// Makes a table `x` with a row, past the operator.
    fn make_x<'a>(&'a self, keyspace: &'a str) -> BoxFuture<'a, ()>;
    /// Statements that spoil a tenancy.
    fn drift(&self, tenancy: &Tenancy) -> Vec<String>;
    /// Rights of a role, as the database lists them.
    fn rights<'a>(&'a self, role: &'a str) -> BoxFuture<'a, String>;
    /// What the database stores of a password: another one after each change, even to the same.
    fn stored_password<'a>(&'a self, role: &'a str) -> BoxFuture<'a, String>;
    /// How a keyspace is replicated, where that can be said.
    fn keyspace<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<String>>;
    /// A table as the database describes it.
    fn table<'a>(&'a self, keyspace: &'a str, table: &'a str) -> BoxFuture<'a, String>;
    fn count<'a>(&'a self, keyspace: &'a str, table: &'a str) -> BoxFuture<'a, u64>;
    /// Seconds that the row with key `k` still lives.
    fn seconds_left<'a>(&'a self, keyspace: &'a str, table: &'a str, k: i32) -> BoxFuture<'a, i64>;
    /// Looks whether the server itself complained of anything.
    fn check_log(&self);
}

static CASSANDRA: OnceCell<OnCassandra> = OnceCell::const_new();
static MONGODB: OnceCell<OnMongoDb> = OnceCell::const_new();

/// The server; bootstrapped when it was started.
pub async fn cassandra() -> &'static OnCassandra {
    CASSANDRA
        .get_or_init(|| async { bootstrapped(OnCassandra::start().await).await })
        .await
}

/// The server; bootstrapped when it was started.
pub async fn mongodb() -> &'static OnMongoDb {
    MONGODB
        .get_or_init(|| async { bootstrapped(OnMongoDb::start(1).await).await })
        .await
}

async fn bootstrapped<S: Server>(server: S) -> S {
    let setup = server.setup(SUPERUSER, PASSWORD);
    let endpoints = server.endpoints();
    converge(|| async { Connectors::new().bootstrap(&endpoints, &setup).await }).await;
    server
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

/// Asks until it is so. Members of Cassandra keep roles and rights for two seconds.
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

pub fn connection(on: &dyn Server, username: &str, password: &str) -> Connection {
    Connection {
        engine: on.engine(),
        endpoints: on.endpoints(),
        username: username.to_owned(),
        password: password.to_owned(),
        tls: None,
    }
}

pub fn login_of(on: &dyn Server, role: &RoleLogin) -> Connection {
    connection(on, &role.name, &role.password)
}

/// Whether a role logs in now.
pub async fn logs_in(on: &dyn Server, role: &RoleLogin) -> bool {
    match Connectors::new().connect(&login_of(on, role)).await {
        Ok(_) => true,
        Err(AdminError::LoginRefused { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

pub async fn admin(on: &dyn Server) -> Arc<dyn StoreAdmin> {
    let connection = connection(on, SUPERUSER, PASSWORD);
    Connectors::new().connect(&connection).await.unwrap()
}

pub async fn all_up(admin: &dyn StoreAdmin) {
    let members = admin.members().await.unwrap();
    assert!(members.iter().all(|member| member.up), "{members:?}");
}

/// Keyspaces and roles of a tenant.
pub fn tenancy(on: &dyn Server, tenant: &str) -> Tenancy {
    tenancy_of(tenant, on.replication())
}

/// The same with so many replicas.
pub fn tenancy_of(tenant: &str, replication: Option<Replication>) -> Tenancy {
    let role = |name: String| RoleLogin {
        password: format!("password' of {name}"),
        name,
    };
    Tenancy {
        keyspace: format!("t_{tenant}"),
        platform_keyspace: format!("p_{tenant}"),
        tenant_role: role(format!("t_{tenant}")),
        platform_role: role(format!("p_{tenant}")),
        replication,
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

/// A tenant of its own, with a database as the platform's role.
pub struct Tenant {
    pub admin: Arc<dyn StoreAdmin>,
    pub store: Arc<dyn Store>,
    pub keyspace: String,
    pub ledger: Arc<dyn Ledger>,
}

pub async fn tenant(on: &dyn Server, name: &str) -> Tenant {
    let admin = admin(on).await;
    let tenancy = tenancy(on, name);
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    let database = database(login_of(on, &tenancy.platform_role));
    Tenant {
        admin,
        store: database.store(),
        ledger: database.ledger(&tenancy.platform_keyspace),
        keyspace: tenancy.keyspace,
    }
}

pub fn database(connection: Connection) -> Arc<dyn Database> {
    simbdp_coredms::open(connection, Options::default())
}
