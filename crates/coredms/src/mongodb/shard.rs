//! Plans how a table's collection is spread over the shards of a cluster [pure], or says what conflicts.
//!
//! A shard key names columns of the primary key alone, so that all writes of a row fall on one shard, whose index of
//! `_id` keeps it unique over the cluster. A router finds such a key in the equality of the whole `_id` that updates
//! have as their filter: equalities of parts of `_id` beside it would conflict with it.

use mongodb::bson::{Bson, Document, doc};
use simbdp_api::pipeline::{ShardKey, TableSpec};

use super::error::code;
use super::plan::Step;
use super::schema::create_indexes;
use super::{ADMIN, ID};
use crate::declaration::{self, Conflict};

/// Serves the shard key, as every shard must have it before rows are spread.
const SHARD_INDEX: &str = "simbdp_shard";

/// What is known of a collection and shards.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sharding {
    /// What answers is no router: there are no shards that it could spread rows over.
    NoRouter,
    /// A router answers, and the collection is not sharded, or is not there.
    Whole,
    /// It is sharded by this key.
    By(Document),
}

/// The key in the server's terms. Where the primary key is one column, that is `_id` itself.
pub(crate) fn pattern(table: &TableSpec, key: &ShardKey) -> Document {
    let (partition, clustering) = declaration::key(table);
    let sole = partition.len() + clustering.len() == 1;
    let field = |column: &String| match sole {
        true => ID.to_owned(),
        false => format!("{ID}.{column}"),
    };
    let kind = || match key.hashed {
        Some(_) => Bson::from("hashed"),
        None => Bson::from(1),
    };
    key.columns()
        .map(|column| (field(column), kind()))
        .collect()
}

/// Servers tell 1 as whichever number they have it.
fn is_same(there: &Document, asked: &Document) -> bool {
    let kind = |value: &Bson| match value {
        Bson::Int64(1) => Bson::Int32(1),
        Bson::Double(one) if *one == 1.0 => Bson::Int32(1),
        other => other.clone(),
    };
    let parts = |key: &Document| -> Vec<(String, Bson)> {
        key.iter()
            .map(|(field, value)| (field.clone(), kind(value)))
            .collect()
    };
    parts(there) == parts(asked)
}

/// The steps that spread a collection which is there by now; none where it is spread so, or nothing is asked.
pub(crate) fn plan(
    database: &str,
    table: &TableSpec,
    there: &Sharding,
) -> Result<Vec<Step>, Conflict> {
    let Some(key) = &table.shard_key else {
        return Ok(Vec::new());
    };
    let asked = pattern(table, key);
    match there {
        Sharding::NoRouter => Err(declaration::no_shards(
            key,
            "the database that answers is no mongos of a sharded cluster",
        )),
        Sharding::By(is) if is_same(is, &asked) => Ok(Vec::new()),
        Sharding::By(is) => Err(declaration::shard_key_conflict(
            key,
            &is.to_string(),
            &asked.to_string(),
        )),
        Sharding::Whole => Ok(spread(database, table, asked)),
    }
}

fn spread(database: &str, table: &TableSpec, key: Document) -> Vec<Step> {
    let name = &table.name;
    // The index of `_id` is always there.
    let has_index = is_same(&key, &doc! {ID: 1});
    let index = doc! {"name": SHARD_INDEX, "key": key.clone()};
    let indexes = if has_index { Vec::new() } else { vec![index] };
    // Somebody may have made the same index under another name.
    let index = create_indexes(database, name, indexes)
        .map(|step| step.unless(&[code::INDEX_OPTIONS_CONFLICT]));
    let enable = Step::new(
        format!("let collections of database `{database}` be sharded"),
        ADMIN,
        doc! {"enableSharding": database},
    );
    let shard = Step::new(
        format!("shard collection `{name}` by {key}"),
        ADMIN,
        doc! {"shardCollection": format!("{database}.{name}"), "key": key},
    );
    index.into_iter().chain([enable, shard]).collect()
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
