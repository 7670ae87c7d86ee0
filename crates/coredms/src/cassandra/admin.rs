//! What the operator does in a database: observe, plan, apply, wait until every member agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use scylla::client::session::Session;
use simbdp_api::pipeline::TableSpec;
use tokio::sync::Mutex;

use super::bootstrap::apply;
use super::connector::CassandraConnector;
use super::ledger;
use super::observe;
use super::plan::{self, Observed, RoleState, Step};
use super::repair;
use super::ring;
use super::schema;
use crate::Connection;
use crate::admin::{AdminError, Member, RoleLogin, StoreAdmin, Tenancy, TenancyNames, Unrepaired};
use crate::declaration::{ColumnState, TableDef, no_shards};

/// A superuser's session.
pub(crate) struct CassandraAdmin {
    pub session: Arc<Session>,
    /// The login of that session.
    pub own: Connection,
    /// One change of schema at a time in a database: members disagree for ever when two race.
    pub changes: Arc<Mutex<()>>,
    pub connector: CassandraConnector,
}

impl CassandraAdmin {
    fn login(&self, role: &RoleLogin) -> Connection {
        Connection {
            username: role.name.clone(),
            password: role.password.clone(),
            ..self.own.clone()
        }
    }

    async fn role_state(&self, role: &RoleLogin) -> Result<Option<RoleState>, AdminError> {
        let Some(row) = observe::role(&self.session, &role.name).await? else {
            return Ok(None);
        };
        let can_login = row.can_login.unwrap_or(false);
        let password_fits = match &row.salted_hash {
            Some(hash) if can_login => {
                let login = self.login(role);
                self.connector.password_fits(&login, hash).await?
            }
            _ => false,
        };
        Ok(Some(RoleState {
            can_login,
            is_superuser: row.is_superuser.unwrap_or(false),
            password_fits,
        }))
    }

    async fn observe_tenancy(&self, tenancy: &Tenancy) -> Result<Observed, AdminError> {
        let mut observed = Observed {
            keyspaces: observe::keyspaces(&self.session).await?,
            ..Observed::default()
        };
        for role in [&tenancy.tenant_role, &tenancy.platform_role] {
            if let Some(state) = self.role_state(role).await? {
                observed.roles.insert(role.name.clone(), state);
            }
            let rights = observe::rights(&self.session, &role.name).await?;
            observed.rights.extend(rights);
        }
        Ok(observed)
    }

    async fn observe_names(&self, names: &TenancyNames) -> Result<Observed, AdminError> {
        let mut roles = BTreeMap::new();
        for name in &names.roles {
            if let Some(row) = observe::role(&self.session, name).await? {
                let state = RoleState {
                    can_login: row.can_login.unwrap_or(false),
                    ..RoleState::default()
                };
                roles.insert(name.clone(), state);
            }
        }
        Ok(Observed {
            keyspaces: observe::keyspaces(&self.session).await?,
            roles,
            rights: BTreeSet::new(),
        })
    }

    /// The passwords were just set: there is no need to try them at the next reconcile.
    async fn remember_passwords(&self, tenancy: &Tenancy) -> Result<(), AdminError> {
        for role in [&tenancy.tenant_role, &tenancy.platform_role] {
            let row = observe::role(&self.session, &role.name).await?;
            if let Some(hash) = row.and_then(|row| row.salted_hash) {
                let login = self.login(role);
                self.connector.kept.remember(&login, &hash).await;
            }
        }
        Ok(())
    }

    async fn ensure_ledger(&self, keyspace: &str) -> Result<(), AdminError> {
        let there = observe::tables(&self.session, keyspace).await?;
        for table in ledger::tables() {
            self.ensure(keyspace, &table, &there).await?;
        }
        Ok(())
    }

    async fn ensure(
        &self,
        keyspace: &str,
        table: &TableDef,
        there: &BTreeMap<String, Vec<ColumnState>>,
    ) -> Result<(), AdminError> {
        let there = there.get(&table.name).map_or(&[][..], Vec::as_slice);
        let step =
            schema::plan(keyspace, table, there).map_err(|conflict| AdminError::TableConflict {
                table: table.name.clone(),
                column: conflict.column,
                reason: conflict.reason,
            })?;
        let steps: Vec<Step> = step.into_iter().collect();
        apply(&self.session, &steps).await
    }

    /// Writes fail while members have different schemas, so nothing is ready before they agree.
    async fn agree(&self) -> Result<(), AdminError> {
        self.session
            .await_schema_agreement()
            .await
            .map(|_| ())
            .map_err(|error| {
                AdminError::Unavailable(format!("members do not agree on the schema: {error}"))
            })
    }
}

impl StoreAdmin for CassandraAdmin {
    /// Roles are replicated as tenants' rows are, and are read at the same consistency.
    fn serves(&self) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            observe::role(&self.session, plan::DEFAULT_SUPERUSER)
                .await
                .map(drop)
        })
    }

    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, AdminError>> {
        Box::pin(async move {
            // Asked anew, so that a member that joined or left just now is counted right.
            self.session
                .refresh_metadata()
                .await
                .map_err(|error| AdminError::Unavailable(error.to_string()))?;
            let said = observe::gossip(&self.session).await?;
            let cluster = self.session.get_cluster_state();
            let known = cluster
                .get_nodes_info()
                .iter()
                .map(|node| (node.address.ip(), node.is_connected()));
            Ok(ring::members(&known.collect(), &said))
        })
    }

    fn datacenter(&self) -> BoxFuture<'_, Result<Option<String>, AdminError>> {
        Box::pin(async move { observe::datacenter(&self.session).await })
    }

    fn bytes(&self) -> BoxFuture<'_, Result<u64, AdminError>> {
        Box::pin(async move { observe::bytes(&self.session).await })
    }

    fn unrepaired<'a>(&'a self, member: &'a str) -> BoxFuture<'a, Result<Unrepaired, AdminError>> {
        Box::pin(async move {
            let keyspaces = observe::keyspaces(&self.session).await?;
            let repairs = observe::repairs(&self.session, member).await?;
            Ok(repair::unrepaired(&keyspaces, &repairs))
        })
    }

    fn ensure_tenancy<'a>(&'a self, tenancy: &'a Tenancy) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let _one = self.changes.lock().await;
            let observed = self.observe_tenancy(tenancy).await?;
            let replication = tenancy.replication.as_ref().ok_or_else(|| {
                plan::unsuitable("the tenancy says nothing of replication, which Cassandra needs")
            })?;
            let steps = plan::tenancy(tenancy, replication, &observed);
            apply(&self.session, &steps).await?;
            if steps.iter().any(|step| step.secret.is_some()) {
                self.remember_passwords(tenancy).await?;
            }
            self.ensure_ledger(&tenancy.platform_keyspace).await?;
            self.agree().await
        })
    }

    fn suspend_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let observed = self.observe_names(names).await?;
            apply(&self.session, &plan::suspend(names, &observed)).await
        })
    }

    fn drop_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let _one = self.changes.lock().await;
            let observed = self.observe_names(names).await?;
            apply(&self.session, &plan::drop(names, &observed)).await
        })
    }

    fn ensure_table<'a>(
        &'a self,
        keyspace: &'a str,
        table: &'a TableSpec,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let _one = self.changes.lock().await;
            if let Some(key) = &table.shard_key {
                let conflict = no_shards(
                    key,
                    "Cassandra has none: it spreads rows by the partition key",
                );
                return Err(AdminError::TableConflict {
                    table: table.name.clone(),
                    column: conflict.column,
                    reason: conflict.reason,
                });
            }
            let there = observe::tables(&self.session, keyspace).await?;
            self.ensure(keyspace, &schema::declared(table), &there)
                .await?;
            self.agree().await
        })
    }
}
