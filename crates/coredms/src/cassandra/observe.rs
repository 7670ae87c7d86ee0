//! Observes what is there [IO]: keyspaces, roles, rights, columns.

use std::collections::{BTreeMap, BTreeSet};

use scylla::DeserializeRow;
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::serialize::row::SerializeRow;
use simbdp_api::pipeline::Order;

use super::error::refused;
use super::plan::{AUTH_KEYSPACE, KeyspaceState};
use super::schema::{ColumnState, Kind};
use crate::admin::AdminError;

/// A role as `system_auth.roles` has it.
#[derive(Clone, Debug, DeserializeRow)]
pub(crate) struct RoleRow {
    pub can_login: Option<bool>,
    pub is_superuser: Option<bool>,
    pub salted_hash: Option<String>,
}

/// All rows of a small query.
async fn rows<R>(
    session: &Session,
    action: &str,
    cql: &str,
    values: impl SerializeRow,
) -> Result<Vec<R>, AdminError>
where
    R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
{
    let unexpected = |reason: String| AdminError::Refused {
        action: action.to_owned(),
        reason,
    };
    let result = session
        .query_unpaged(cql, values)
        .await
        .map_err(|error| refused(&error, action, None))?
        .into_rows_result()
        .map_err(|error| unexpected(error.to_string()))?;
    result
        .rows::<R>()
        .map_err(|error| unexpected(error.to_string()))?
        .collect::<Result<_, _>>()
        .map_err(|error| unexpected(error.to_string()))
}

/// Every keyspace.
pub(crate) async fn keyspaces(
    session: &Session,
) -> Result<BTreeMap<String, KeyspaceState>, AdminError> {
    let found: Vec<(String, bool, BTreeMap<String, String>)> = rows(
        session,
        "read keyspaces",
        "SELECT keyspace_name, durable_writes, replication FROM system_schema.keyspaces",
        (),
    )
    .await?;
    Ok(found
        .into_iter()
        .map(|(name, durable_writes, replication)| {
            let state = KeyspaceState {
                replication,
                durable_writes,
            };
            (name, state)
        })
        .collect())
}

/// A role, if it is there.
pub(crate) async fn role(session: &Session, role: &str) -> Result<Option<RoleRow>, AdminError> {
    let found: Vec<RoleRow> = rows(
        session,
        "read roles",
        &format!(
            "SELECT can_login, is_superuser, salted_hash FROM {AUTH_KEYSPACE}.roles WHERE role = ?"
        ),
        (role,),
    )
    .await?;
    Ok(found.into_iter().next())
}

/// Rights of a role: role, resource, permission.
pub(crate) async fn rights(
    session: &Session,
    role: &str,
) -> Result<BTreeSet<(String, String, String)>, AdminError> {
    let found: Vec<(String, Option<BTreeSet<String>>)> = rows(
        session,
        "read rights",
        &format!(
            "SELECT resource, permissions FROM {AUTH_KEYSPACE}.role_permissions WHERE role = ?"
        ),
        (role,),
    )
    .await?;
    Ok(found
        .into_iter()
        .flat_map(|(resource, permissions)| {
            permissions
                .unwrap_or_default()
                .into_iter()
                .map(move |permission| (role.to_owned(), resource.clone(), permission))
        })
        .collect())
}

/// Columns of every table of a keyspace, by table.
pub(crate) async fn tables(
    session: &Session,
    keyspace: &str,
) -> Result<BTreeMap<String, Vec<ColumnState>>, AdminError> {
    let found: Vec<(String, String, String, String, i32, String)> = rows(
        session,
        "read columns",
        "SELECT table_name, column_name, type, kind, position, clustering_order FROM system_schema.columns WHERE keyspace_name = ?",
        (keyspace,),
    )
    .await?;
    let mut tables: BTreeMap<String, Vec<ColumnState>> = BTreeMap::new();
    for (table, name, cql_type, kind, position, order) in found {
        let kind = match kind.as_str() {
            "partition_key" => Kind::Partition,
            "clustering" if order.eq_ignore_ascii_case("desc") => {
                Kind::Clustering(Order::Descending)
            }
            "clustering" => Kind::Clustering(Order::Ascending),
            "static" => Kind::Static,
            _ => Kind::Regular,
        };
        tables.entry(table).or_default().push(ColumnState {
            name,
            cql_type,
            kind,
            position,
        });
    }
    Ok(tables)
}
