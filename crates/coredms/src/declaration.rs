//! A table as it is declared [pure], whatever the engine: its columns and key, what may be added to it, and how
//! long its rows live.

use simbdp_api::column_type::ColumnType;
use simbdp_api::pipeline::{Order, ShardKey, TableSpec};
use simbdp_record::Value;
use simbdp_record::row::IDENTITY_COLUMNS;

use crate::admin::AdminError;
use crate::store::StoreError;

/// Longest value of a key column, and of a whole partition key, in bytes.
pub(crate) const LONGEST_KEY: usize = 65_535;

/// Columns of the table with their types, the identity first where it is the key: the order of
/// [`simbdp_record::Row::values`].
pub(crate) fn columns(table: &TableSpec) -> Vec<(String, ColumnType)> {
    let identity = IDENTITY_COLUMNS
        .iter()
        .filter(|_| table.primary_key.is_none())
        .map(|(name, column_type)| ((*name).to_owned(), *column_type));
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
        None => {
            let [source, bucket, ordinal] = IDENTITY_COLUMNS.map(|(name, _)| name.to_owned());
            (vec![source, bucket], vec![(ordinal, Order::Ascending)])
        }
    }
}

/// Seconds that a row lives, counted from its version; [`None`] for ever.
pub(crate) fn ttl(table: &TableSpec) -> Result<Option<i64>, StoreError> {
    let seconds = table.ttl.as_ref().map(|ttl| ttl.seconds()).transpose();
    seconds
        .map(|seconds| seconds.map(i64::from))
        .map_err(|error| StoreError::Permanent(error.to_string()))
}

/// Columns of a table in the order of [`simbdp_record::Row::values`], and which of them are its key.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub columns: Vec<(String, ColumnType)>,
    /// Places of the partition key's columns, in the key's order.
    pub partition: Vec<usize>,
    /// Places of the clustering columns.
    pub clustering: Vec<usize>,
}

impl Shape {
    pub(crate) fn new(
        columns: Vec<(String, ColumnType)>,
        partition: &[String],
        clustering: &[String],
    ) -> Self {
        let places = |names: &[String]| -> Vec<usize> {
            names
                .iter()
                .filter_map(|name| columns.iter().position(|(column, _)| column == name))
                .collect()
        };
        Self {
            partition: places(partition),
            clustering: places(clustering),
            columns,
        }
    }

    /// That of a declared table.
    pub(crate) fn declared(table: &TableSpec) -> Self {
        let (partition, clustering) = key(table);
        let clustering: Vec<_> = clustering.into_iter().map(|(name, _)| name).collect();
        Self::new(columns(table), &partition, &clustering)
    }

    /// Names of all columns.
    pub(crate) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Places of the columns that are not in the key.
    pub(crate) fn cells(&self) -> impl Iterator<Item = usize> {
        let in_key =
            |place: &usize| self.partition.contains(place) || self.clustering.contains(place);
        (0..self.columns.len()).filter(move |place| !in_key(place))
    }
}

/// A table as it shall be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TableDef {
    pub name: String,
    /// Name and type, as the engine writes types.
    pub columns: Vec<(String, String)>,
    pub partition: Vec<String>,
    pub clustering: Vec<(String, Order)>,
}

impl TableDef {
    /// The declared table. `type_name` writes a column's type, which may depend on whether it is in the key.
    pub(crate) fn declared(
        table: &TableSpec,
        type_name: impl Fn(ColumnType, bool) -> String,
    ) -> Self {
        let (partition, clustering) = key(table);
        let in_key =
            |name: &String| partition.contains(name) || clustering.iter().any(|(c, _)| c == name);
        let columns = columns(table)
            .into_iter()
            .map(|(name, column_type)| {
                let type_name = type_name(column_type, in_key(&name));
                (name, type_name)
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
    pub type_name: String,
    pub kind: Kind,
    /// Place in the partition key or among the clustering columns.
    pub position: i32,
}

/// Columns, by name and type, of a table with this key once it is made.
pub(crate) fn states(
    columns: impl IntoIterator<Item = (String, String)>,
    partition: &[String],
    clustering: &[(String, Order)],
) -> Vec<ColumnState> {
    let place = |place: usize| i32::try_from(place).unwrap_or(i32::MAX);
    let state = |(name, type_name): (String, String)| {
        let in_partition = partition.iter().position(|column| *column == name);
        let in_clustering = clustering.iter().position(|(column, _)| *column == name);
        let (kind, position) = match (in_partition, in_clustering) {
            (Some(at), _) => (Kind::Partition, place(at)),
            (None, Some(at)) => (Kind::Clustering(clustering[at].1), place(at)),
            (None, None) => (Kind::Regular, -1),
        };
        ColumnState {
            name,
            type_name,
            kind,
            position,
        }
    };
    columns.into_iter().map(state).collect()
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

/// Columns that a table which is there does not have yet, or what can never be had by adding.
pub(crate) fn missing<'a>(
    table: &'a TableDef,
    there: &[ColumnState],
) -> Result<Vec<&'a (String, String)>, Conflict> {
    types(table, there)?;
    partition(table, there)?;
    clustering(table, there)?;
    Ok(table
        .columns
        .iter()
        .filter(|(name, _)| !there.iter().any(|column| column.name == *name))
        .collect())
}

/// Whether a table that was made as `before` declares can be had as `asked` by adding to it; the error is that of the
/// database's own look at it.
pub fn compatible(before: &TableSpec, asked: &TableSpec) -> Result<(), AdminError> {
    let declared =
        |table: &TableSpec| TableDef::declared(table, |column_type, _| column_type.to_string());
    let spec = before;
    let before = declared(before);
    let there = states(before.columns, &before.partition, &before.clustering);
    missing(&declared(asked), &there)
        .map(drop)
        .and_then(|()| shard_keys(spec, asked))
        .map_err(|conflict| AdminError::TableConflict {
            table: asked.name.clone(),
            column: conflict.column,
            reason: conflict.reason,
        })
}

/// A database without shards cannot keep a shard key.
pub(crate) fn no_shards(key: &ShardKey, reason: &str) -> Conflict {
    let column = key.columns().next().map_or("", String::as_str);
    conflict(
        column,
        format!(
            "shardKey is declared, but {reason}: leave shardKey out, or place the Tenant in an external MongoDB that is a sharded cluster"
        ),
    )
}

/// A table keeps its shard key.
pub(crate) fn shard_key_conflict(key: &ShardKey, is: &str, asked: &str) -> Conflict {
    let column = key.columns().next().map_or("", String::as_str);
    conflict(
        column,
        format!(
            "the shard key is {is} there and shardKey asks for {asked}; a table keeps its shard key: declare that one, or another table"
        ),
    )
}

/// Two declarations of one table: one without a shard key asks for none.
fn shard_keys(before: &TableSpec, asked: &TableSpec) -> Result<(), Conflict> {
    match (&before.shard_key, &asked.shard_key) {
        (Some(is), Some(key)) if is != key => Err(shard_key_conflict(key, &show(is), &show(key))),
        _ => Ok(()),
    }
}

/// A shard key as it is declared.
fn show(key: &ShardKey) -> String {
    match &key.hashed {
        Some(column) => format!("hashed: {column}"),
        None => {
            let columns: Vec<_> = key.columns().map(String::as_str).collect();
            format!("ranged: [{}]", columns.join(", "))
        }
    }
}

/// A type without the space that an engine may write after a comma.
fn plain(type_name: &str) -> String {
    type_name.replace(' ', "")
}

fn types(table: &TableDef, there: &[ColumnState]) -> Result<(), Conflict> {
    for (name, asked) in &table.columns {
        let Some(column) = there.iter().find(|column| column.name == *name) else {
            continue;
        };
        let (is, asked) = (plain(&column.type_name), plain(asked));
        if is != asked {
            return Err(conflict(
                name,
                format!(
                    "it is of type {is} there and {asked} is asked; a column keeps its type: declare {is}, or give the new column another name"
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

/// Says that a value is not of its column's type.
pub(crate) fn mismatch(wanted: &str, value: &Value) -> String {
    let is = match value {
        Value::Text(_) => "a text",
        Value::Int(_) => "an int",
        Value::Bigint(_) => "a bigint",
        Value::Float(_) => "a float",
        Value::Double(_) => "a double",
        Value::Decimal(_) => "a decimal",
        Value::Boolean(_) => "a boolean",
        Value::Timestamp(_) => "a timestamp",
        Value::Date(_) => "a date",
        Value::Time(_) => "a time",
        Value::Uuid(_) => "a uuid",
        Value::Blob(_) => "a blob",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    };
    format!("the value is {is} and the column is of type {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &str, key: &str) -> TableSpec {
        let text = format!("{{name: t, columns: [{columns}], primaryKey: {key}}}");
        serde_yaml::from_str(&text).unwrap()
    }

    #[test]
    fn a_table_is_had_by_adding_columns_and_by_nothing_else() {
        let (id, at) = ("{name: id, type: bigint}", "{name: at, type: timestamp}");
        let key = "{partition: [id]}";
        let before = table(id, key);
        let both = format!("{id}, {at}");
        assert_eq!(compatible(&before, &before), Ok(()));
        assert_eq!(compatible(&before, &table(&both, key)), Ok(()));
        assert_eq!(compatible(&table(&both, key), &before), Ok(()));
        let other_type = compatible(&before, &table("{name: id, type: text}", key));
        assert!(
            other_type
                .unwrap_err()
                .to_string()
                .contains("column `id`: it is of type bigint")
        );
        let clustered = "{partition: [id], clustering: [{column: at}]}";
        assert!(compatible(&table(&both, key), &table(&both, clustered)).is_err());
    }

    #[test]
    fn a_table_keeps_its_shard_key() {
        let plain = table("{name: id, type: bigint}", "{partition: [id]}");
        let with = |key: &str| TableSpec {
            shard_key: Some(serde_yaml::from_str(key).unwrap()),
            ..plain.clone()
        };
        let (hashed, ranged) = (with("{hashed: id}"), with("{ranged: [id]}"));
        assert_eq!(compatible(&hashed, &hashed), Ok(()));
        assert_eq!(compatible(&plain, &hashed), Ok(()));
        let changed = compatible(&hashed, &ranged).unwrap_err().to_string();
        assert!(changed.contains("hashed: id there"), "{changed}");
        assert!(changed.contains("ranged: [id]"), "{changed}");
    }
}
