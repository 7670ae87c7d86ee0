//! What the operator does in a database: observe, plan, apply.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use mongodb::Client;
use simbdp_api::pipeline::TableSpec;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::connector::MongoConnector;
use super::observe::{self, apply};
use super::plan::{self, UserState};
use super::{ledger, schema, shard, voters};
use crate::Connection;
use crate::admin::{AdminError, Member, RoleLogin, StoreAdmin, Tenancy, TenancyNames};
use crate::declaration::Conflict;

/// A superuser's client.
pub(crate) struct MongoAdmin {
    pub client: Client,
    /// The login of that client.
    pub own: Connection,
    /// One change at a time in a database: what was observed holds until it is applied.
    pub changes: Arc<Mutex<()>>,
    pub connector: MongoConnector,
}

impl MongoAdmin {
    fn login(&self, role: &RoleLogin) -> Connection {
        Connection {
            username: role.name.clone(),
            password: role.password.clone(),
            ..self.own.clone()
        }
    }

    async fn users(&self, tenancy: &Tenancy) -> Result<BTreeMap<String, UserState>, AdminError> {
        let mut users = BTreeMap::new();
        for role in [&tenancy.tenant_role, &tenancy.platform_role] {
            if let Some(row) = observe::user(&self.client, &role.name).await? {
                let login = self.login(role);
                let state = UserState {
                    password_fits: self
                        .connector
                        .password_fits(&login, &row.stored_key)
                        .await?,
                    grants: row.grants,
                };
                users.insert(role.name.clone(), state);
            }
        }
        Ok(users)
    }

    async fn named_users(
        &self,
        names: &TenancyNames,
    ) -> Result<BTreeMap<String, UserState>, AdminError> {
        let mut users = BTreeMap::new();
        for name in &names.roles {
            if let Some(row) = observe::user(&self.client, name).await? {
                let state = UserState {
                    grants: row.grants,
                    password_fits: false,
                };
                users.insert(name.clone(), state);
            }
        }
        Ok(users)
    }

    /// The passwords were just set: there is no need to try them at the next reconcile.
    async fn remember_passwords(&self, tenancy: &Tenancy) -> Result<(), AdminError> {
        for role in [&tenancy.tenant_role, &tenancy.platform_role] {
            if let Some(row) = observe::user(&self.client, &role.name).await? {
                let login = self.login(role);
                self.connector.kept.remember(&login, &row.stored_key).await;
            }
        }
        Ok(())
    }

    async fn ensure_ledger(&self, keyspace: &str) -> Result<(), AdminError> {
        let database = self.client.database(keyspace);
        let there = observe::collections(&database).await?;
        let mut indexes = BTreeMap::new();
        for name in there.keys() {
            indexes.insert(name.clone(), observe::indexes(&database, name).await?);
        }
        apply(&self.client, ledger::steps(keyspace, &indexes)).await
    }
}

impl StoreAdmin for MongoAdmin {
    /// A primary that loses its majority steps down.
    fn serves(&self) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move { observe::primary_answers(&self.client).await })
    }

    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, AdminError>> {
        Box::pin(async move { observe::members(&self.client).await })
    }

    /// Every member has all data.
    fn bytes(&self) -> BoxFuture<'_, Result<u64, AdminError>> {
        Box::pin(async move { observe::bytes(&self.client).await })
    }

    fn ensure_members<'a>(
        &'a self,
        members: &'a [String],
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let _one = self.changes.lock().await;
            voters::step(&self.client, members).await
        })
    }

    fn ensure_tenancy<'a>(&'a self, tenancy: &'a Tenancy) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let _one = self.changes.lock().await;
            let steps = plan::tenancy(tenancy, &self.users(tenancy).await?);
            let changed = !steps.is_empty();
            apply(&self.client, steps).await?;
            if changed {
                self.remember_passwords(tenancy).await?;
            }
            self.ensure_ledger(&tenancy.platform_keyspace).await
        })
    }

    fn suspend_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let _one = self.changes.lock().await;
            let random = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
            let users = self.named_users(names).await?;
            apply(&self.client, plan::suspend(names, &users, &random)).await
        })
    }

    fn drop_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let _one = self.changes.lock().await;
            let users = self.named_users(names).await?;
            let databases = observe::databases(&self.client).await?;
            apply(&self.client, plan::drop(names, &users, &databases)).await
        })
    }

    fn ensure_table<'a>(
        &'a self,
        keyspace: &'a str,
        table: &'a TableSpec,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let _one = self.changes.lock().await;
            // A database comes with its first collection: one for a tenant that is not there would be left behind.
            if !observe::is_used(&self.client, keyspace).await? {
                return Err(AdminError::Unavailable(format!(
                    "database `{keyspace}` has no users yet"
                )));
            }
            let there = observe::collection(&self.client.database(keyspace), &table.name).await?;
            let conflict = |conflict: Conflict| AdminError::TableConflict {
                table: table.name.clone(),
                column: conflict.column,
                reason: conflict.reason,
            };
            let mut steps = schema::plan(keyspace, table, there.as_ref()).map_err(conflict)?;
            // Whatever conflicts is told before anything is made.
            if table.shard_key.is_some() {
                let there = observe::sharding(&self.client, keyspace, &table.name).await?;
                steps.extend(shard::plan(keyspace, table, &there).map_err(conflict)?);
            }
            apply(&self.client, steps).await
        })
    }
}
