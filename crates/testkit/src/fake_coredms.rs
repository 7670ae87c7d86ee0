//! Databases in memory, one for each list of endpoints: what the operator did there can be read and changed.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use simbdp_api::pipeline::{Order, TableSpec};
use simbdp_coredms::Connection;
use simbdp_coredms::admin::{
    AdminConnector, AdminError, ClusterSetup, EngineSetup, Member, RoleLogin, StoreAdmin, Tenancy,
    TenancyNames, Unrepaired,
};

/// What there is in a database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreState {
    /// Whether nobody answers.
    pub down: bool,
    /// Members as the database sees them.
    pub members: Vec<Member>,
    /// Repairs that members were asked for since they started, by address and keyspace; whether each has ended.
    pub repairs: BTreeMap<(String, String), bool>,
    /// Datacenter of the members.
    pub datacenter: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// The platform's superuser and its password, once it exists; in an external database the login that is given.
    pub superuser: Option<(String, String)>,
    /// Whether the default superuser can log in.
    pub default_superuser_login: bool,
    /// Replication factor of `system_auth`.
    pub system_auth_replication: u16,
    /// Keyspaces by name.
    pub keyspaces: BTreeMap<String, Keyspace>,
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// How many calls changed something.
    pub writes: u64,
}

impl Default for StoreState {
    /// A new database of three members.
    fn default() -> Self {
        Self {
            down: false,
            members: (1..=3)
                .map(|n| member(&format!("10.0.0.{n}"), "NORMAL"))
                .collect(),
            repairs: BTreeMap::new(),
            datacenter: "dc1".into(),
            bytes: 3 << 20,
            superuser: None,
            default_superuser_login: true,
            system_auth_replication: 1,
            keyspaces: BTreeMap::new(),
            roles: BTreeMap::new(),
            writes: 0,
        }
    }
}

/// A keyspace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keyspace {
    /// Replication factor; zero where the engine replicates whole databases.
    pub replication_factor: u16,
    /// Tables by name.
    pub tables: BTreeMap<String, Table>,
}

/// A table.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Table {
    /// Types of columns by name.
    pub columns: BTreeMap<String, String>,
    /// Columns that tell the partition.
    pub partition: Vec<String>,
    /// Columns that order a partition.
    pub clustering: Vec<(String, Order)>,
}

/// A role.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Role {
    /// Password.
    pub password: String,
    /// Whether it can log in.
    pub login: bool,
    /// Keyspaces that it has rights on.
    pub keyspaces: BTreeSet<String>,
}

type Stores = Arc<Mutex<BTreeMap<String, StoreState>>>;

/// Databases by their endpoints, joined by commas; one that is not known is new. Clones share them.
#[derive(Clone, Default)]
pub struct FakeStores(Stores);

impl FakeStores {
    /// What there is in the database.
    pub fn state(&self, endpoints: &[String]) -> StoreState {
        let stores = lock(&self.0);
        stores.get(&key(endpoints)).cloned().unwrap_or_default()
    }

    /// What there is in every database that was logged in to.
    pub fn states(&self) -> BTreeMap<String, StoreState> {
        lock(&self.0).clone()
    }

    /// Changes what there is in the database.
    pub fn update<T>(&self, endpoints: &[String], change: impl FnOnce(&mut StoreState) -> T) -> T {
        change(lock(&self.0).entry(key(endpoints)).or_default())
    }

    /// Forgets the database, as when its volumes are deleted.
    pub fn wipe(&self, endpoints: &[String]) {
        lock(&self.0).remove(&key(endpoints));
    }

    /// How many calls changed something, in all databases.
    pub fn writes(&self) -> u64 {
        lock(&self.0).values().map(|state| state.writes).sum()
    }

    fn call<T>(
        &self,
        endpoints: &[String],
        call: impl FnOnce(&mut StoreState) -> Result<T, AdminError>,
    ) -> Result<T, AdminError> {
        self.update(endpoints, |state| {
            if state.down {
                return Err(AdminError::Unavailable("connection refused".into()));
            }
            let mut after = state.clone();
            let result = call(&mut after)?;
            if after != *state {
                after.writes += 1;
                *state = after;
            }
            Ok(result)
        })
    }

    fn admin(&self, endpoints: &[String]) -> Arc<dyn StoreAdmin> {
        Arc::new(FakeAdmin {
            stores: self.clone(),
            endpoints: endpoints.to_vec(),
        })
    }
}

fn member(address: &str, state: &str) -> Member {
    Member {
        address: address.to_owned(),
        state: state.to_owned(),
        up: true,
    }
}

fn key(endpoints: &[String]) -> String {
    endpoints.join(",")
}

fn lock(stores: &Stores) -> MutexGuard<'_, BTreeMap<String, StoreState>> {
    stores.lock().unwrap_or_else(PoisonError::into_inner)
}

fn login_refused<T>(username: &str) -> Result<T, AdminError> {
    Err(AdminError::LoginRefused {
        username: username.to_owned(),
        reason: "Provided username or password is incorrect".into(),
    })
}

impl AdminConnector for FakeStores {
    fn bootstrap<'a>(
        &'a self,
        endpoints: &'a [String],
        setup: &'a ClusterSetup,
    ) -> BoxFuture<'a, Result<Arc<dyn StoreAdmin>, AdminError>> {
        Box::pin(async move {
            self.call(endpoints, |state| {
                let login = (setup.superuser.clone(), setup.password.clone());
                if let (None, EngineSetup::MongoDB(set)) = (&state.superuser, &setup.engine) {
                    let states = ["PRIMARY"].into_iter().chain(repeat("SECONDARY"));
                    let members = set.members.iter().zip(states);
                    state.members = members.map(|(host, is)| member(host, is)).collect();
                }
                if *state.superuser.get_or_insert_with(|| login.clone()) != login {
                    return login_refused(&setup.superuser);
                }
                state.default_superuser_login = false;
                if let EngineSetup::Cassandra(replication) = &setup.engine {
                    state.system_auth_replication = replication.factor;
                }
                Ok(())
            })?;
            Ok(self.admin(endpoints))
        })
    }

    fn connect<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Arc<dyn StoreAdmin>, AdminError>> {
        Box::pin(async move {
            let Connection {
                engine: _,
                endpoints,
                username,
                password,
                ..
            } = connection;
            self.call(endpoints, |state| {
                let superuser = state.superuser.as_ref();
                let is_superuser =
                    superuser.is_some_and(|(name, word)| name == username && word == password);
                let role = state.roles.get(username);
                if is_superuser || role.is_some_and(|role| role.login && role.password == *password)
                {
                    Ok(())
                } else {
                    login_refused(username)
                }
            })?;
            Ok(self.admin(endpoints))
        })
    }

    fn answers<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            match self.state(&connection.endpoints).down {
                true => Err("connection refused".into()),
                false => Ok(()),
            }
        })
    }

    fn forget<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(async move {})
    }
}

struct FakeAdmin {
    stores: FakeStores,
    endpoints: Vec<String>,
}

fn grant(state: &mut StoreState, login: &RoleLogin, keyspaces: &[&String]) {
    let role = Role {
        password: login.password.clone(),
        login: true,
        keyspaces: keyspaces.iter().copied().cloned().collect(),
    };
    state.roles.insert(login.name.clone(), role);
}

impl StoreAdmin for FakeAdmin {
    fn serves(&self) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move { self.stores.call(&self.endpoints, |_| Ok(())) })
    }

    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, AdminError>> {
        Box::pin(async move {
            self.stores
                .call(&self.endpoints, |state| Ok(state.members.clone()))
        })
    }

    fn datacenter(&self) -> BoxFuture<'_, Result<Option<String>, AdminError>> {
        Box::pin(async move {
            self.stores
                .call(&self.endpoints, |state| Ok(Some(state.datacenter.clone())))
        })
    }

    fn bytes(&self) -> BoxFuture<'_, Result<u64, AdminError>> {
        Box::pin(async move { self.stores.call(&self.endpoints, |state| Ok(state.bytes)) })
    }

    /// Roles are replicated in every database.
    fn unrepaired<'a>(&'a self, member: &'a str) -> BoxFuture<'a, Result<Unrepaired, AdminError>> {
        Box::pin(async move {
            self.stores.call(&self.endpoints, |state| {
                let named = ["system_auth".to_owned()].into_iter();
                let all = named.chain(state.keyspaces.keys().cloned());
                let repair = |keyspace: &String| {
                    let key = (member.to_owned(), keyspace.clone());
                    state.repairs.get(&key).copied()
                };
                let (mut keyspaces, mut under_way) = (Vec::new(), false);
                for keyspace in all {
                    match repair(&keyspace) {
                        Some(true) => continue,
                        Some(false) => under_way = true,
                        None => {}
                    }
                    keyspaces.push(keyspace);
                }
                Ok(Unrepaired {
                    keyspaces,
                    under_way,
                })
            })
        })
    }

    fn ensure_members<'a>(
        &'a self,
        members: &'a [String],
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.stores.call(&self.endpoints, |state| {
                let there = |member: &String| state.members.iter().any(|m| m.address == *member);
                if let Some(missing) = members.iter().find(|member| !there(member)) {
                    state.members.push(member(missing, "SECONDARY"));
                } else if let Some(surplus) = state
                    .members
                    .iter()
                    .rposition(|member| !members.contains(&member.address))
                {
                    state.members.remove(surplus);
                }
                Ok(())
            })
        })
    }

    fn ensure_tenancy<'a>(&'a self, tenancy: &'a Tenancy) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.stores.call(&self.endpoints, |state| {
                for name in [&tenancy.keyspace, &tenancy.platform_keyspace] {
                    let keyspace = state.keyspaces.entry(name.clone()).or_default();
                    keyspace.replication_factor = tenancy
                        .replication
                        .as_ref()
                        .map_or(0, |replication| replication.factor);
                }
                let (own, platform) = (&tenancy.keyspace, &tenancy.platform_keyspace);
                grant(state, &tenancy.tenant_role, &[own]);
                grant(state, &tenancy.platform_role, &[own, platform]);
                Ok(())
            })
        })
    }

    fn suspend_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.stores.call(&self.endpoints, |state| {
                for name in &names.roles {
                    if let Some(role) = state.roles.get_mut(name) {
                        role.login = false;
                    }
                }
                Ok(())
            })
        })
    }

    fn drop_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.stores.call(&self.endpoints, |state| {
                state.roles.retain(|name, _| !names.roles.contains(name));
                let keyspaces = &mut state.keyspaces;
                keyspaces.retain(|name, _| !names.keyspaces.contains(name));
                Ok(())
            })
        })
    }

    fn ensure_table<'a>(
        &'a self,
        keyspace: &'a str,
        spec: &'a TableSpec,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.stores.call(&self.endpoints, |state| {
                let Some(keyspace) = state.keyspaces.get_mut(keyspace) else {
                    return Err(AdminError::Refused {
                        action: format!("the creation of table `{}`", spec.name),
                        reason: format!("keyspace `{keyspace}` does not exist"),
                    });
                };
                let declared = table(spec);
                let Some(there) = keyspace.tables.get_mut(&spec.name) else {
                    keyspace.tables.insert(spec.name.clone(), declared);
                    return Ok(());
                };
                additive(&spec.name, there, &declared)?;
                there.columns.extend(declared.columns);
                Ok(())
            })
        })
    }
}

/// The table as declared; without a primary key the record's identity is its key.
fn table(spec: &TableSpec) -> Table {
    let columns = spec.columns.iter();
    let mut table = Table {
        columns: columns
            .map(|column| (column.name.clone(), column.column_type.to_string()))
            .collect(),
        ..Table::default()
    };
    if let Some(primary_key) = &spec.primary_key {
        table.partition.clone_from(&primary_key.partition);
        let clustering = primary_key.clustering.iter();
        table.clustering = clustering
            .map(|key| (key.column.clone(), key.order))
            .collect();
        return table;
    }
    let identity = [
        ("simbdp_source", "text"),
        ("simbdp_bucket", "int"),
        ("simbdp_ordinal", "bigint"),
    ];
    let identity = identity.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    table.partition = vec![identity[0].0.clone(), identity[1].0.clone()];
    table.clustering = vec![(identity[2].0.clone(), Order::Ascending)];
    table.columns.extend(identity);
    table
}

fn additive(name: &str, there: &Table, declared: &Table) -> Result<(), AdminError> {
    let conflict = |column: &str, reason: String| {
        Err(AdminError::TableConflict {
            table: name.to_owned(),
            column: column.to_owned(),
            reason,
        })
    };
    for (column, kind) in &declared.columns {
        if let Some(former) = there.columns.get(column).filter(|former| *former != kind) {
            let reason = format!("it is {former} and cannot become {kind}; declare it as {former}");
            return conflict(column, reason);
        }
    }
    if there.partition != declared.partition || there.clustering != declared.clustering {
        let column = declared.partition.first().map_or("", String::as_str);
        return conflict(
            column,
            "the primary key of a table cannot be changed".into(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(columns: &[(&str, &str)]) -> TableSpec {
        let columns: Vec<_> = columns
            .iter()
            .map(|(name, kind)| serde_json::json!({"name": name, "type": kind}))
            .collect();
        serde_json::from_value(serde_json::json!({"name": "t", "columns": columns})).unwrap()
    }

    #[tokio::test]
    async fn tables_are_only_added_to_and_repeating_writes_nothing() {
        let stores = FakeStores::default();
        let endpoints = ["db:9042".to_owned()];
        stores.update(&endpoints, |state| {
            state.keyspaces.insert("t_x".into(), Keyspace::default());
        });
        let admin = stores.admin(&endpoints);
        let narrow = spec(&[("a", "int")]);
        let wide = spec(&[("a", "int"), ("b", "text")]);
        for table in [&narrow, &wide] {
            admin.ensure_table("t_x", table).await.unwrap();
        }
        assert_eq!(stores.writes(), 2);
        admin.ensure_table("t_x", &narrow).await.unwrap();
        admin.ensure_table("t_x", &wide).await.unwrap();
        assert_eq!(stores.writes(), 2);
        let conflicting = spec(&[("a", "text"), ("c", "int")]);
        let refused = admin.ensure_table("t_x", &conflicting);
        assert!(matches!(
            refused.await,
            Err(AdminError::TableConflict { column, .. }) if column == "a"
        ));
        let state = stores.state(&endpoints);
        assert!(!state.keyspaces["t_x"].tables["t"].columns.contains_key("c"));
    }
}
