//! Observes what is there [IO]: keyspaces, roles, rights, columns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::join_all;
use scylla::DeserializeRow;
use scylla::client::session::Session;
use scylla::cluster::Node;
use scylla::deserialize::row::DeserializeRow;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::serialize::row::SerializeRow;
use scylla::statement::Statement;
use simbdp_api::pipeline::Order;

use super::error::refused;
use super::plan::{AUTH_KEYSPACE, KeyspaceState};
use super::repair::Repair;
use crate::admin::AdminError;
use crate::declaration::{ColumnState, Kind};

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
    cql: impl Into<Statement>,
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

/// Datacenter of the member that answers.
pub(crate) async fn datacenter(session: &Session) -> Result<Option<String>, AdminError> {
    let found: Vec<(String,)> = rows(
        session,
        "read the datacenter",
        "SELECT data_center FROM system.local WHERE key = 'local'",
        (),
    )
    .await?;
    Ok(found.into_iter().next().map(|(datacenter,)| datacenter))
}

/// Bytes on the disk of the member with the most: each tells of its own disk alone, in mebibytes. Those that do not
/// answer are left out.
pub(crate) async fn bytes(session: &Session) -> Result<u64, AdminError> {
    let cluster = session.get_cluster_state();
    let asked = cluster
        .get_nodes_info()
        .iter()
        .filter(|node| node.is_connected())
        .map(|node| async move {
            let statement = only("SELECT mebibytes FROM system_views.disk_usage", node);
            let tables: Vec<(i64,)> = rows(session, "read the disk usage", statement, ()).await?;
            let whole: i64 = tables.iter().map(|(mebibytes,)| mebibytes).sum();
            Ok::<_, AdminError>(u64::try_from(whole).unwrap_or_default() << 20)
        });
    let mut most = None;
    let mut failure = None;
    for answer in join_all(asked).await {
        match answer {
            Ok(bytes) => most = most.max(Some(bytes)),
            Err(error) => failure = Some(error),
        }
    }
    let silent = || AdminError::Unavailable("no member can be asked for its disk usage".to_owned());
    most.ok_or_else(|| failure.unwrap_or_else(silent))
}

/// A statement for one member alone.
fn only(cql: &str, node: &Arc<Node>) -> Statement {
    let mut statement = Statement::new(cql);
    let node = NodeIdentifier::Node(node.clone());
    let policy = SingleTargetLoadBalancingPolicy::new(node, None);
    statement.set_load_balancing_policy(Some(policy));
    statement
}

/// Repairs that the member at this address was asked for since it started, as it remembers them.
pub(crate) async fn repairs(session: &Session, member: &str) -> Result<Vec<Repair>, AdminError> {
    let cluster = session.get_cluster_state();
    let mut nodes = cluster.get_nodes_info().iter();
    let node = nodes
        .find(|node| node.address.ip().to_string() == member)
        .ok_or_else(|| {
            AdminError::Unavailable(format!("there is no member at {member} to be asked"))
        })?;
    let cql = "SELECT keyspace_name, completed, status, type, options_primary_range, \
        options_subrange_repair, options_force_repair, options_column_families, options_data_centers, \
        options_hosts FROM system_views.repairs";
    rows(session, "read the repairs", only(cql, node), ()).await
}

/// What members say of themselves by gossip, e.g. `NORMAL,-42`, by address; nothing from servers before 4.1, which do
/// not tell it here.
pub(crate) async fn gossip(session: &Session) -> Result<BTreeMap<IpAddr, String>, AdminError> {
    let found: Result<Vec<(IpAddr, Option<String>)>, _> = rows(
        session,
        "read the members' states",
        "SELECT address, status_with_port FROM system_views.gossip_info",
        (),
    )
    .await;
    match found {
        Ok(found) => Ok(found
            .into_iter()
            .filter_map(|(address, status)| Some((address, status?)))
            .collect()),
        Err(AdminError::Refused { .. }) => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// A role, if it is there.
pub(crate) async fn role(session: &Session, role: &str) -> Result<Option<RoleRow>, AdminError> {
    let found: Vec<RoleRow> = rows(
        session,
        "read roles",
        format!(
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
        format!(
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
    for (table, name, type_name, kind, position, order) in found {
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
            type_name,
            kind,
            position,
        });
    }
    Ok(tables)
}
