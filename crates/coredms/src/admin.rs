//! What the operator does in a database: the platform's superuser, keyspaces, roles, tables.
//! Every call is idempotent: it observes, plans and applies what is missing.

use std::sync::Arc;

use async_trait::async_trait;
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

/// The platform's own superuser and the state of the cluster's own keyspaces.
#[derive(Clone)]
pub struct ClusterSetup {
    /// Name of the operator's superuser.
    pub superuser: String,
    /// Its password.
    pub password: String,
    /// Datacenter of all members.
    pub datacenter: String,
    /// Replication factor of `system_auth` and of tenants' keyspaces.
    pub replication_factor: u16,
}

/// A tenant's keyspaces and roles. Derived from the Tenant's name alone.
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
    /// Datacenter of all members.
    pub datacenter: String,
    /// Replication factor of both keyspaces.
    pub replication_factor: u16,
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
    /// Whether the members that answered see it up.
    pub up: bool,
}

/// Logs in, as the operator, to the database of any CoreDms. The seam for tests and for other engines.
#[async_trait]
pub trait AdminConnector: Send + Sync {
    /// Makes sure that the platform's superuser exists, that the default one cannot log in any more,
    /// and that `system_auth` is replicated to `replication_factor` members (before any role is made);
    /// then logs in as the superuser. Safe whatever was done before.
    async fn bootstrap(
        &self,
        endpoints: &[String],
        setup: &ClusterSetup,
    ) -> Result<Arc<dyn StoreAdmin>, AdminError>;

    /// Logs in to a database that has been bootstrapped.
    async fn connect(&self, connection: &Connection) -> Result<Arc<dyn StoreAdmin>, AdminError>;

    /// Gives up what is kept open to a database that is being taken down.
    async fn forget(&self, endpoints: &[String]);
}

/// A superuser's session in a database.
#[async_trait]
pub trait StoreAdmin: Send + Sync {
    /// Members as the database sees them.
    async fn members(&self) -> Result<Vec<Member>, AdminError>;
    /// Keyspaces, roles with their passwords and rights, and the ledger's tables.
    async fn ensure_tenancy(&self, tenancy: &Tenancy) -> Result<(), AdminError>;
    /// Turns the login of the roles off; data stays.
    async fn suspend_tenancy(&self, names: &TenancyNames) -> Result<(), AdminError>;
    /// Drops roles, then keyspaces. What is already gone is fine.
    async fn drop_tenancy(&self, names: &TenancyNames) -> Result<(), AdminError>;
    /// Creates the table or adds columns; waits for schema agreement. Anything but an addition is a
    /// [`AdminError::TableConflict`] and alters nothing.
    async fn ensure_table(&self, keyspace: &str, table: &TableSpec) -> Result<(), AdminError>;
}
