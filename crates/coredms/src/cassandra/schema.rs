//! Plans a table [pure]: creates it, adds columns, or names the column that conflicts.
//!
//! Compaction and `gc_grace_seconds` stay at the server's defaults, and there is no
//! `default_time_to_live`: rows carry their own, counted from acceptance.

use simbdp_api::column_type::ColumnType;
use simbdp_api::pipeline::{Order, TableSpec};

use super::plan::Step;
use super::quote;
use crate::declaration::{self, ColumnState, Conflict, TableDef};

/// The CQL type. Collections in a key must be frozen.
pub(crate) fn cql_type(column_type: ColumnType, in_key: bool) -> String {
    match column_type {
        ColumnType::Scalar(scalar) => scalar.name().to_owned(),
        collection if in_key => format!("frozen<{collection}>"),
        collection => collection.to_string(),
    }
}

/// The declared table, in CQL's types.
pub(crate) fn declared(table: &TableSpec) -> TableDef {
    TableDef::declared(table, cql_type)
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
    let missing = declaration::missing(table, there)?;
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

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
