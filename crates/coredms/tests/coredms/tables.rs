//! Tables: made, extended, shared, refused.

use serde_json::json;
use simbdp_api::pipeline::TableSpec;
use simbdp_coredms::admin::AdminError;
use simbdp_coredms::store::RowQuery;
use simbdp_record::{Row, Rows, Value};

use crate::server::{Server, converge, tenant};

on_each_engine! {
    pipelines_share_a_table_by_adding_to_it
    reserved_words_are_names_like_any_other
    a_table_of_a_keyspace_that_is_not_there_yet_waits_for_it
    a_shard_key_is_refused_where_there_are_no_shards
}

pub fn spec(json: serde_json::Value) -> TableSpec {
    serde_json::from_value(json).unwrap()
}

async fn pipelines_share_a_table_by_adding_to_it(on: &dyn Server) {
    let tenant = tenant(on, "merge").await;
    let key = json!({"partition": ["k"], "clustering": [{"column": "c", "order": "Descending"}]});
    let first = spec(json!({
        "name": "shared",
        "columns": [
            {"name": "k", "type": "text"},
            {"name": "c", "type": "timestamp"},
            {"name": "m", "type": "map<text,int>"},
        ],
        "primaryKey": key,
    }));
    let second = spec(json!({
        "name": "shared",
        "columns": [
            {"name": "extra", "type": "list<decimal>"},
            {"name": "c", "type": "timestamp"},
            {"name": "k", "type": "text"},
        ],
        "primaryKey": key,
    }));
    let ks = &tenant.keyspace;
    converge(|| tenant.admin.ensure_table(ks, &first)).await;
    converge(|| tenant.admin.ensure_table(ks, &second)).await;
    let both = on.table(ks, "shared").await;
    for column in ["k", "c", "m", "extra"] {
        assert!(both.contains(&format!("\"{column}\"")), "{column}: {both}");
    }
    converge(|| tenant.admin.ensure_table(ks, &first)).await;
    converge(|| tenant.admin.ensure_table(ks, &second)).await;
    assert_eq!(on.table(ks, "shared").await, both);

    let mut other = first.clone();
    other.columns[2].column_type = "map<text,bigint>".parse().unwrap();
    other.columns.push(
        spec(json!({"name": "x", "columns": [{"name": "fresh", "type": "int"}]}))
            .columns
            .remove(0),
    );
    let error = tenant.admin.ensure_table(ks, &other).await.unwrap_err();
    match &error {
        AdminError::TableConflict { table, column, .. } => {
            assert_eq!((table.as_str(), column.as_str()), ("shared", "m"));
        }
        other => panic!("{other}"),
    }
    let text = error.to_string();
    assert!(
        text.contains("map<text,int>") && text.contains("map<text,bigint>"),
        "{text}"
    );
    assert_eq!(on.table(ks, "shared").await, both, "nothing was altered");

    let mut turned = first.clone();
    if let Some(key) = &mut turned.primary_key {
        key.clustering[0].order = simbdp_api::pipeline::Order::Ascending;
    }
    let error = tenant.admin.ensure_table(ks, &turned).await.unwrap_err();
    assert!(
        matches!(&error, AdminError::TableConflict { column, .. } if column == "c"),
        "{error}"
    );
}

/// <https://cassandra.apache.org/doc/5.0/cassandra/reference/cql-commands/reserved-words.html>
const RESERVED: [&str; 58] = [
    "add",
    "allow",
    "alter",
    "and",
    "apply",
    "asc",
    "authorize",
    "batch",
    "begin",
    "by",
    "columnfamily",
    "create",
    "default",
    "delete",
    "desc",
    "describe",
    "drop",
    "entries",
    "execute",
    "from",
    "full",
    "grant",
    "if",
    "in",
    "index",
    "infinity",
    "insert",
    "into",
    "is",
    "keyspace",
    "limit",
    "materialized",
    "mbean",
    "mbeans",
    "modify",
    "nan",
    "norecursive",
    "not",
    "null",
    "of",
    "on",
    "or",
    "order",
    "primary",
    "rename",
    "replace",
    "revoke",
    "schema",
    "select",
    "set",
    "table",
    "to",
    "token",
    "truncate",
    "unlogged",
    "update",
    "use",
    "using",
];

async fn reserved_words_are_names_like_any_other(on: &dyn Server) {
    let tenant = tenant(on, "reserved").await;
    let columns: Vec<_> = RESERVED
        .iter()
        .map(|name| json!({"name": name, "type": "int"}))
        .collect();
    let table = spec(json!({
        "name": "select",
        "columns": columns,
        "primaryKey": {"partition": ["order"], "clustering": [{"column": "from"}]},
    }));
    let ks = &tenant.keyspace;
    converge(|| tenant.admin.ensure_table(ks, &table)).await;
    let mut wider = table.clone();
    let with = spec(json!({"name": "x", "columns": [{"name": "with", "type": "text"}]}));
    wider.columns.extend(with.columns);
    converge(|| tenant.admin.ensure_table(ks, &wider)).await;
    let table = tenant.store.table(ks, &wider).await.unwrap();
    let mut values: Vec<_> = (0..58).map(|n| Some(Value::Int(n))).collect();
    values.push(Some(Value::Text("it's \"here\"".to_owned())));
    let row = Row {
        values: values.clone(),
        version: 1,
    };
    table.write(&Rows::from([row])).await.unwrap();
    let place = |name: &str| RESERVED.iter().position(|word| *word == name).unwrap();
    let query = RowQuery {
        partition: vec![("order".to_owned(), values[place("order")].clone().unwrap())],
        clustering: vec![("from".to_owned(), values[place("from")].clone().unwrap())],
        limit: 10,
        ..RowQuery::default()
    };
    assert_eq!(table.read(&query).await.unwrap().rows, [values]);
}

async fn a_table_of_a_keyspace_that_is_not_there_yet_waits_for_it(on: &dyn Server) {
    let tenant = tenant(on, "early").await;
    let table = spec(json!({"name": "t", "columns": [{"name": "v", "type": "int"}]}));
    let error = tenant
        .admin
        .ensure_table("t_nowhere", &table)
        .await
        .unwrap_err();
    assert!(matches!(error, AdminError::Unavailable(_)), "{error}");
}

async fn a_shard_key_is_refused_where_there_are_no_shards(on: &dyn Server) {
    let tenant = tenant(on, "unsharded").await;
    let columns = json!([{"name": "country", "type": "text"}, {"name": "id", "type": "bigint"}]);
    let table = |shard_key: serde_json::Value| {
        spec(json!({
            "name": "orders",
            "columns": columns,
            "primaryKey": {"partition": ["country"], "clustering": [{"column": "id"}]},
            "shardKey": shard_key,
        }))
    };
    let ks = &tenant.keyspace;
    for (key, first) in [
        (json!({"hashed": "id"}), "id"),
        (json!({"ranged": ["country", "id"]}), "country"),
    ] {
        let error = tenant
            .admin
            .ensure_table(ks, &table(key))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, AdminError::TableConflict { column, .. } if column == first),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains("leave shardKey out"), "{text}");
    }
    // Nothing was made of it: the same table with another key is made, and not refused.
    let mut other = table(json!(null));
    other.primary_key = None;
    converge(|| tenant.admin.ensure_table(ks, &other)).await;
}
