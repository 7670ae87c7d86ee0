//! Plans a table's collection [pure]: creates it with its validator and indexes, adds columns to the validator,
//! or names the column that conflicts.

use std::collections::BTreeSet;

use mongodb::bson::{Document, doc};
use simbdp_api::column_type::ColumnType;
use simbdp_api::pipeline::{Order, TableSpec};

use super::error::code;
use super::plan::Step;
use super::validator::Declared;
use super::{EXPIRY, ID};
use crate::declaration::{self, Conflict, TableDef};

/// Removes rows whose life is over.
const TTL_INDEX: &str = "simbdp_ttl";
/// Has rows in an order that neither direction of the index of `_id` has.
pub(crate) const ORDER_INDEX: &str = "simbdp_order";

/// A collection that is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CollectionState {
    /// With `validator`, `validationLevel` and `validationAction`.
    pub options: Document,
    pub indexes: BTreeSet<String>,
}

impl CollectionState {
    /// What its validator says was declared.
    pub(crate) fn declared(&self) -> Option<Declared> {
        Declared::read(self.options.get_document("validator").ok()?)
    }
}

/// How rows of a partition lie in the index of `_id` when they are wanted in the declared order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    /// As wanted.
    Forward,
    /// The other way round.
    Backward,
    /// Neither: they need [`ORDER_INDEX`].
    Mixed,
}

/// The direction that serves these orders.
pub(crate) fn direction(clustering: &[(String, Order)]) -> Direction {
    let all = |wanted: Order| clustering.iter().all(|(_, order)| *order == wanted);
    match (all(Order::Ascending), all(Order::Descending)) {
        (true, _) => Direction::Forward,
        (false, true) => Direction::Backward,
        (false, false) => Direction::Mixed,
    }
}

/// The keys of [`ORDER_INDEX`]; `_id` comes last so that every bound of a scan lies between two rows.
pub(crate) fn order_keys(partition: &[String], clustering: &[(String, Order)]) -> Document {
    let field = |name: &String| format!("{ID}.{name}");
    let mut keys: Document = partition
        .iter()
        .map(|name| (field(name), 1.into()))
        .collect();
    for (name, order) in clustering {
        let sign = match order {
            Order::Ascending => 1,
            Order::Descending => -1,
        };
        keys.insert(field(name), sign);
    }
    keys.insert(ID, 1);
    keys
}

fn validation(declared: &Declared) -> Document {
    doc! {"validator": declared.validator(), "validationLevel": "strict", "validationAction": "error"}
}

/// The steps that make the table as declared; none where it is.
pub(crate) fn plan(
    database: &str,
    table: &TableSpec,
    there: Option<&CollectionState>,
) -> Result<Vec<Step>, Conflict> {
    let name = &table.name;
    let asked = Declared::of(table);
    let def = TableDef::declared(table, |column_type: ColumnType, _| column_type.to_string());
    let before = there.and_then(CollectionState::declared);
    if let Some(before) = &before {
        declaration::missing(&def, &before.states())?;
    }
    let wanted = validation(&match before {
        Some(before) => before.with(asked),
        None => asked,
    });
    let mut steps = Vec::new();
    match there {
        None => {
            let mut command = doc! {"create": name};
            command.extend(wanted);
            let action = format!("create collection `{name}`");
            steps.push(Step::new(action, database, command).unless(&[code::NAMESPACE_EXISTS]));
        }
        Some(state)
            if wanted
                .iter()
                .any(|(key, value)| state.options.get(key) != Some(value)) =>
        {
            let mut command = doc! {"collMod": name};
            command.extend(wanted);
            let action = format!("set the columns of collection `{name}`");
            steps.push(Step::new(action, database, command));
        }
        Some(_) => {}
    }
    let indexes = there.map(|state| &state.indexes);
    steps.extend(missing_indexes(database, table, &def, indexes));
    Ok(steps)
}

fn missing_indexes(
    database: &str,
    table: &TableSpec,
    def: &TableDef,
    there: Option<&BTreeSet<String>>,
) -> Option<Step> {
    let ttl = table
        .ttl
        .is_some()
        .then(|| doc! {"name": TTL_INDEX, "key": {EXPIRY: 1}, "expireAfterSeconds": 0});
    let order = (direction(&def.clustering) == Direction::Mixed)
        .then(|| doc! {"name": ORDER_INDEX, "key": order_keys(&def.partition, &def.clustering)});
    let missing = |index: &Document| {
        let name = index.get_str("name").unwrap_or_default();
        there.is_none_or(|there| !there.contains(name))
    };
    create_indexes(
        database,
        &table.name,
        [ttl, order].into_iter().flatten().filter(missing).collect(),
    )
}

/// Creates indexes; a majority must have built them, so that a member that is down does not hold it up.
pub(crate) fn create_indexes(
    database: &str,
    collection: &str,
    indexes: Vec<Document>,
) -> Option<Step> {
    let action = format!("create indexes of collection `{collection}`");
    let command =
        doc! {"createIndexes": collection, "indexes": &indexes, "commitQuorum": "majority"};
    (!indexes.is_empty()).then(|| Step::new(action, database, command))
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
