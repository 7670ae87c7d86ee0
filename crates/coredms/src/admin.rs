//! What the operator does in a database: the platform's superuser, keyspaces, roles, tables.
//! Every call is idempotent: it observes, plans and applies what is missing.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use simbdp_api::common::Engine;
use simbdp_api::pipeline::TableSpec;

use crate::Connection;

/// A failure of an administrative call.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AdminError {
    /// Nobody answers, or not enough members do; try again later.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// The database refuses the login.
    #[error("the database refuses the login of `{username}`: {reason}")]
    LoginRefused {
        /// Role that tried.
        username: String,
        /// What the database said.
        reason: String,
    },
    /// No connection can be made that is as safe as it was asked to be.
    #[error("no safe connection to the database: {0}")]
    Tls(String),
    /// The declared table cannot be had by adding to the one that is there. Nothing was altered.
    #[error("table `{table}`, column `{column}`: {reason}")]
    TableConflict {
        /// Table.
        table: String,
        /// Column that conflicts.
        column: String,
        /// What is there, what was asked, and what would be right.
        reason: String,
    },
    /// The database refuses the statement for another reason.
    #[error("the database refuses {action}: {reason}")]
    Refused {
        /// What was to be done.
        action: String,
        /// What the database said.
        reason: String,
    },
}

/// The platform's own superuser, and what the engine needs beside it to be set up.
#[derive(Clone)]
pub struct ClusterSetup {
    /// Name of the operator's superuser.
    pub superuser: String,
    /// Its password.
    pub password: String,
    /// What is the engine's own; it tells the engine.
    pub engine: EngineSetup,
}

impl ClusterSetup {
    /// The superuser's login. Databases that the operator sets up are reached inside of the cluster, without TLS.
    pub(crate) fn login(&self, engine: Engine, endpoints: &[String]) -> Connection {
        Connection {
            engine,
            endpoints: endpoints.to_vec(),
            username: self.superuser.clone(),
            password: self.password.clone(),
            tls: None,
        }
    }
}

/// The engine's own part of a setup.
#[derive(Clone)]
pub enum EngineSetup {
    /// Cassandra: where `system_auth` is replicated to.
    Cassandra(Replication),
    /// MongoDB: the replica set.
    MongoDB(ReplicaSet),
}

/// How a keyspace of Cassandra is replicated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Replication {
    /// Datacenter of all members.
    pub datacenter: String,
    /// Replicas in it.
    pub factor: u16,
}

/// A replica set of MongoDB.
#[derive(Clone)]
pub struct ReplicaSet {
    /// Its name, which every member is started with.
    pub name: String,
    /// `host:port` of every member, by ordinal, as members and clients know it.
    pub members: Vec<String>,
    /// Text of the members' keyfile, which is also the password of their own user. Never logged.
    pub keyfile: String,
    /// How long members wait for a primary that does not answer before they elect another.
    pub election_timeout: Duration,
    /// How often members ask each other whether they are there.
    pub heartbeat_interval: Duration,
}

/// A tenant's keyspaces (databases, in MongoDB) and roles (users). Derived from the Tenant's name alone.
#[derive(Clone)]
pub struct Tenancy {
    /// Keyspace of the tenant's tables.
    pub keyspace: String,
    /// Keyspace of the ledger and the platform's other tables about the tenant.
    pub platform_keyspace: String,
    /// Role with rights on `keyspace` alone.
    pub tenant_role: RoleLogin,
    /// Role with rights on both.
    pub platform_role: RoleLogin,
    /// Replication of both keyspaces; [`None`] where every member has all data, as in MongoDB.
    pub replication: Option<Replication>,
}

/// A role that logs in.
#[derive(Clone)]
pub struct RoleLogin {
    /// Name.
    pub name: String,
    /// Password. Setting the same one again is harmless.
    pub password: String,
}

/// Names of what a tenancy has, for its end: needs no valid spec and no passwords.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TenancyNames {
    /// Keyspaces.
    pub keyspaces: Vec<String>,
    /// Roles.
    pub roles: Vec<String>,
}

/// A member of the database, as the database itself sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Address.
    pub address: String,
    /// Its state in the database's own word: `NORMAL`, `JOINING`, `LEAVING` or `DOWN` of Cassandra, where one that has
    /// left is no member any more; `PRIMARY`, `SECONDARY`, `RECOVERING`, `STARTUP2`, `DOWN` and others of MongoDB.
    pub state: String,
    /// Whether the members that answered see it up.
    pub up: bool,
}

/// What a member has not compared with the other replicas since it started, by its own account.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Unrepaired {
    /// Keyspaces of which it has not repaired all that it holds.
    pub keyspaces: Vec<String>,
    /// Whether a repair that it was asked for is under way.
    pub under_way: bool,
}

/// Logs in, as the operator, to the database of any CoreDms. The seam for tests and for engines.
pub trait AdminConnector: Send + Sync {
    /// Sets a new database up, and logs in as the platform's superuser. Cassandra: `system_auth` is replicated
    /// (before any role is made), the superuser exists, the default one cannot log in any more. MongoDB: the
    /// replica set is initiated, once, and the superuser exists. Safe whatever was done before.
    fn bootstrap<'a>(
        &'a self,
        endpoints: &'a [String],
        setup: &'a ClusterSetup,
    ) -> BoxFuture<'a, Result<Arc<dyn StoreAdmin>, AdminError>>;

    /// Logs in to a database that has been bootstrapped.
    fn connect<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Arc<dyn StoreAdmin>, AdminError>>;

    /// Whether the member at the only endpoint of the connection answers by itself, whatever it says; else why not.
    /// Nothing of it is kept.
    fn answers<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<(), String>>;

    /// Gives up what is kept open to a database that is being taken down.
    fn forget<'a>(&'a self, endpoints: &'a [String]) -> BoxFuture<'a, ()>;
}

/// A superuser's session in a database.
pub trait StoreAdmin: Send + Sync {
    /// Whether enough members serve for reads and writes.
    fn serves(&self) -> BoxFuture<'_, Result<(), AdminError>>;
    /// Members as the database sees them.
    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, AdminError>>;
    /// Datacenter of the member that answers; [`None`] for an engine without such.
    fn datacenter(&self) -> BoxFuture<'_, Result<Option<String>, AdminError>> {
        Box::pin(async move { Ok(None) })
    }
    /// Bytes that the data take on the disk of the member with the most, of those that can be asked.
    fn bytes(&self) -> BoxFuture<'_, Result<u64, AdminError>>;
    /// One step towards these members, `host:port` each: one that is missing is added, or else one that is too much
    /// is taken out; to be called again until [`StoreAdmin::members`] shows them. Nothing is done unless all that stay
    /// serve. An engine whose members join and leave by themselves has nothing to do here.
    fn ensure_members<'a>(
        &'a self,
        members: &'a [String],
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let _ = members;
            Ok(())
        })
    }
    /// What the member at this address is still to repair. Nothing with an engine whose members have every row that
    /// was acknowledged as soon as they serve.
    fn unrepaired<'a>(&'a self, member: &'a str) -> BoxFuture<'a, Result<Unrepaired, AdminError>> {
        Box::pin(async move {
            let _ = member;
            Ok(Unrepaired::default())
        })
    }
    /// Keyspaces, roles with their passwords and rights, and the ledger's tables.
    fn ensure_tenancy<'a>(&'a self, tenancy: &'a Tenancy) -> BoxFuture<'a, Result<(), AdminError>>;
    /// Turns the login of the roles off; data stays.
    fn suspend_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>>;
    /// Drops roles, then keyspaces. What is already gone is fine.
    fn drop_tenancy<'a>(&'a self, names: &'a TenancyNames)
    -> BoxFuture<'a, Result<(), AdminError>>;
    /// Creates the table or adds columns; waits for schema agreement. Anything but an addition is a
    /// [`AdminError::TableConflict`] and alters nothing.
    fn ensure_table<'a>(
        &'a self,
        keyspace: &'a str,
        table: &'a TableSpec,
    ) -> BoxFuture<'a, Result<(), AdminError>>;
}
