//! Plans a table [pure]: creates it, adds columns, or names the column that conflicts.
//!
//! Compaction and `gc_grace_seconds` stay at the server's defaults, and there is no
//! `default_time_to_live`: rows carry their own, counted from acceptance.

use simbdp_api::column_type::{ColumnType, ScalarType};
use simbdp_api::pipeline::{Order, TableSpec};

use super::plan::Step;
use super::quote;

/// Columns of the record's identity, the key of a table that declares none.
pub(crate) const IDENTITY: [(&str, ScalarType); 3] = [
    ("simbdp_source", ScalarType::Text),
    ("simbdp_bucket", ScalarType::Int),
    ("simbdp_ordinal", ScalarType::Bigint),
];

/// Columns of the table with their types, the identity first where it is the key: the order of
/// [`simbdp_record::Row::values`].
pub(crate) fn columns(table: &TableSpec) -> Vec<(String, ColumnType)> {
    let identity = IDENTITY
        .iter()
        .filter(|_| table.primary_key.is_none())
        .map(|(name, scalar)| ((*name).to_owned(), ColumnType::Scalar(*scalar)));
    let declared = table
        .columns
        .iter()
        .map(|column| (column.name.clone(), column.column_type));
    identity.chain(declared).collect()
}

/// The primary key: partition columns, clustering columns with their order.
pub(crate) fn key(table: &TableSpec) -> (Vec<String>, Vec<(String, Order)>) {
    match &table.primary_key {
        Some(key) => (
            key.partition.clone(),
            key.clustering
                .iter()
                .map(|clustering| (clustering.column.clone(), clustering.order))
                .collect(),
        ),
        None => (
            vec![IDENTITY[0].0.to_owned(), IDENTITY[1].0.to_owned()],
            vec![(IDENTITY[2].0.to_owned(), Order::Ascending)],
        ),
    }
}

/// The CQL type. Collections in a key must be frozen.
pub(crate) fn cql_type(column_type: ColumnType, in_key: bool) -> String {
    match column_type {
        ColumnType::Scalar(scalar) => scalar.name().to_owned(),
        collection if in_key => format!("frozen<{collection}>"),
        collection => collection.to_string(),
    }
}

/// A table as it shall be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TableDef {
    pub name: String,
    /// Name and CQL type.
    pub columns: Vec<(String, String)>,
    pub partition: Vec<String>,
    pub clustering: Vec<(String, Order)>,
}

impl TableDef {
    pub(crate) fn declared(table: &TableSpec) -> Self {
        let (partition, clustering) = key(table);
        let in_key =
            |name: &String| partition.contains(name) || clustering.iter().any(|(c, _)| c == name);
        let columns = columns(table)
            .into_iter()
            .map(|(name, column_type)| {
                let cql = cql_type(column_type, in_key(&name));
                (name, cql)
            })
            .collect();
        Self {
            name: table.name.clone(),
            columns,
            partition,
            clustering,
        }
    }
}

/// What a column is in its table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Partition,
    Clustering(Order),
    Regular,
    Static,
}

/// A column that is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ColumnState {
    pub name: String,
    pub cql_type: String,
    pub kind: Kind,
    /// Place in the partition key or among the clustering columns.
    pub position: i32,
}

/// The declared table cannot be had by adding to the one that is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Conflict {
    pub column: String,
    pub reason: String,
}

fn conflict(column: &str, reason: String) -> Conflict {
    Conflict {
        column: column.to_owned(),
        reason,
    }
}

/// The step that makes the table as declared; none where it is. `there` is empty where there is no table.
pub(crate) fn plan(
    keyspace: &str,
    table: &TableDef,
    there: &[ColumnState],
) -> Result<Option<Step>, Conflict> {
    if there.is_empty() {
        return Ok(Some(create(keyspace, table)));
    }
    types(table, there)?;
    partition(table, there)?;
    clustering(table, there)?;
    let missing: Vec<_> = table
        .columns
        .iter()
        .filter(|(name, _)| !there.iter().any(|column| column.name == *name))
        .collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let list: Vec<_> = missing
        .iter()
        .map(|(name, cql)| format!("{} {cql}", quote(name)))
        .collect();
    Ok(Some(Step::new(
        format!("add columns to table `{}`", table.name),
        format!(
            "ALTER TABLE {}.{} ADD {}",
            quote(keyspace),
            quote(&table.name),
            list.join(", ")
        ),
    )))
}

fn create(keyspace: &str, table: &TableDef) -> Step {
    let quoted = |names: &[String]| {
        names
            .iter()
            .map(|n| quote(n))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let columns: Vec<_> = table
        .columns
        .iter()
        .map(|(name, cql)| format!("{} {cql}", quote(name)))
        .collect();
    let clustering: Vec<_> = table.clustering.iter().map(|(n, _)| n.clone()).collect();
    let mut key = format!("({})", quoted(&table.partition));
    let mut order = String::new();
    if !clustering.is_empty() {
        key = format!("{key}, {}", quoted(&clustering));
        let list: Vec<_> = table
            .clustering
            .iter()
            .map(|(name, order)| format!("{} {}", quote(name), cql_order(*order)))
            .collect();
        order = format!(" WITH CLUSTERING ORDER BY ({})", list.join(", "));
    }
    Step::new(
        format!("create table `{}`", table.name),
        format!(
            "CREATE TABLE IF NOT EXISTS {}.{} ({}, PRIMARY KEY ({key})){order}",
            quote(keyspace),
            quote(&table.name),
            columns.join(", ")
        ),
    )
}

fn cql_order(order: Order) -> &'static str {
    match order {
        Order::Ascending => "ASC",
        Order::Descending => "DESC",
    }
}

/// `system_schema` puts a space after the comma of a map.
fn same_type(there: &str, asked: &str) -> bool {
    let plain = |text: &str| text.replace(' ', "");
    plain(there) == plain(asked)
}

fn types(table: &TableDef, there: &[ColumnState]) -> Result<(), Conflict> {
    for (name, asked) in &table.columns {
        let Some(column) = there.iter().find(|column| column.name == *name) else {
            continue;
        };
        if !same_type(&column.cql_type, asked) {
            return Err(conflict(
                name,
                format!(
                    "it is of type {} there and {asked} is asked; a column keeps its type: declare {}, or give the new column another name",
                    column.cql_type, column.cql_type
                ),
            ));
        }
    }
    Ok(())
}

fn ordered(there: &[ColumnState], wanted: impl Fn(Kind) -> bool) -> Vec<&ColumnState> {
    let mut columns: Vec<_> = there.iter().filter(|c| wanted(c.kind)).collect();
    columns.sort_by_key(|column| column.position);
    columns
}

/// The first name of either list that the other one does not have in its place.
fn first_difference<'a>(there: &[&'a str], asked: &[&'a str]) -> Option<&'a str> {
    let longest = there.len().max(asked.len());
    (0..longest)
        .find(|at| there.get(*at) != asked.get(*at))
        .and_then(|at| asked.get(at).or(there.get(at)).copied())
}

fn partition(table: &TableDef, there: &[ColumnState]) -> Result<(), Conflict> {
    let is = ordered(there, |kind| kind == Kind::Partition);
    let is: Vec<_> = is.iter().map(|column| column.name.as_str()).collect();
    let asked: Vec<_> = table.partition.iter().map(String::as_str).collect();
    match first_difference(&is, &asked) {
        None => Ok(()),
        Some(column) => Err(conflict(
            column,
            format!(
                "the partition key is ({}) there and ({}) is asked; a table keeps its key: declare that one, or another table",
                is.join(", "),
                asked.join(", ")
            ),
        )),
    }
}

fn clustering(table: &TableDef, there: &[ColumnState]) -> Result<(), Conflict> {
    let is = ordered(there, |kind| matches!(kind, Kind::Clustering(_)));
    let names: Vec<_> = is.iter().map(|column| column.name.as_str()).collect();
    let asked: Vec<_> = table.clustering.iter().map(|(n, _)| n.as_str()).collect();
    if let Some(column) = first_difference(&names, &asked) {
        return Err(conflict(
            column,
            format!(
                "the clustering columns are ({}) there and ({}) are asked; a table keeps its key: declare those, or another table",
                names.join(", "),
                asked.join(", ")
            ),
        ));
    }
    for (column, (name, order)) in is.iter().zip(&table.clustering) {
        if column.kind != Kind::Clustering(*order) {
            let other = match order {
                Order::Ascending => Order::Descending,
                Order::Descending => Order::Ascending,
            };
            return Err(conflict(
                name,
                format!(
                    "rows are ordered {other:?} there and {order:?} is asked; a table keeps its order: declare {other:?}"
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
