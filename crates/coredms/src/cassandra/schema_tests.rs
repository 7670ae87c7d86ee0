//! Tables are created, extended, or refused with the column that conflicts.

use simbdp_api::pipeline::{Order, TableSpec};

use super::{declared, plan};
use crate::declaration::{ColumnState, Kind, TableDef};

fn table(json: serde_json::Value) -> TableDef {
    declared(&serde_json::from_value::<TableSpec>(json).unwrap())
}

fn flights() -> serde_json::Value {
    serde_json::json!({
        "name": "flights",
        "columns": [
            {"name": "order", "type": "text"},
            {"name": "at", "type": "timestamp"},
            {"name": "tags", "type": "map<text, int>"},
        ],
        "primaryKey": {"partition": ["order"], "clustering": [{"column": "at", "order": "Descending"}]},
    })
}

fn there() -> Vec<ColumnState> {
    let column = |name: &str, type_name: &str, kind, position| ColumnState {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        kind,
        position,
    };
    vec![
        column("at", "timestamp", Kind::Clustering(Order::Descending), 0),
        column("order", "text", Kind::Partition, 0),
        column("tags", "map<text, int>", Kind::Regular, -1),
    ]
}

#[test]
fn a_table_that_is_not_there_is_created() {
    let step = plan("t_a", &table(flights()), &[]).unwrap().unwrap();
    assert_eq!(
        step.cql,
        "CREATE TABLE IF NOT EXISTS \"t_a\".\"flights\" (\"order\" text, \"at\" timestamp, \"tags\" map<text,int>, \
         PRIMARY KEY ((\"order\"), \"at\")) WITH CLUSTERING ORDER BY (\"at\" DESC)"
    );
}

#[test]
fn without_a_key_the_identity_is_the_key() {
    let mut json = flights();
    json.as_object_mut().unwrap().remove("primaryKey");
    let step = plan("t_a", &table(json), &[]).unwrap().unwrap();
    assert!(
        step.cql.contains(
            "(\"simbdp_source\" text, \"simbdp_bucket\" int, \"simbdp_ordinal\" bigint, \"order\" text"
        ),
        "{}",
        step.cql
    );
    assert!(
        step.cql
            .contains("PRIMARY KEY ((\"simbdp_source\", \"simbdp_bucket\"), \"simbdp_ordinal\")"),
        "{}",
        step.cql
    );
}

#[test]
fn collections_in_a_key_are_frozen() {
    let json = serde_json::json!({
        "name": "t",
        "columns": [{"name": "k", "type": "list<int>"}],
        "primaryKey": {"partition": ["k"]},
    });
    let step = plan("t_a", &table(json), &[]).unwrap().unwrap();
    assert!(step.cql.contains("\"k\" frozen<list<int>>"), "{}", step.cql);
}

#[test]
fn the_same_table_again_changes_nothing() {
    assert_eq!(plan("t_a", &table(flights()), &there()).unwrap(), None);
}

#[test]
fn columns_are_added_and_those_of_others_stay() {
    let mut json = flights();
    let columns = json["columns"].as_array_mut().unwrap();
    columns.retain(|column| column["name"] != "tags");
    columns.push(serde_json::json!({"name": "select", "type": "decimal"}));
    columns.push(serde_json::json!({"name": "day", "type": "date"}));
    let step = plan("t_a", &table(json), &there()).unwrap().unwrap();
    assert_eq!(
        step.cql,
        "ALTER TABLE \"t_a\".\"flights\" ADD \"select\" decimal, \"day\" date"
    );
}

#[track_caller]
fn refused(change: impl FnOnce(&mut serde_json::Value), column: &str, words: &[&str]) {
    let mut json = flights();
    change(&mut json);
    let conflict = plan("t_a", &table(json), &there()).unwrap_err();
    assert_eq!(conflict.column, column);
    for word in words {
        assert!(conflict.reason.contains(word), "{}", conflict.reason);
    }
}

#[test]
fn a_change_that_is_no_addition_is_refused_with_what_is_there_and_what_was_asked() {
    refused(
        |json| json["columns"][2]["type"] = "map<text,bigint>".into(),
        "tags",
        &["map<text,int>", "map<text,bigint>"],
    );
    refused(
        |json| json["primaryKey"]["partition"] = serde_json::json!(["tags"]),
        "tags",
        &["frozen"],
    );
    refused(
        |json| {
            json["columns"]
                .as_array_mut()
                .unwrap()
                .push(serde_json::json!({"name": "day", "type": "date"}));
            json["primaryKey"]["partition"] = serde_json::json!(["order", "day"]);
        },
        "day",
        &["(order)", "(order, day)"],
    );
    refused(
        |json| json["primaryKey"]["clustering"] = serde_json::json!([]),
        "at",
        &["(at)", "()"],
    );
    refused(
        |json| json["primaryKey"]["clustering"][0]["order"] = "Ascending".into(),
        "at",
        &["Descending", "Ascending"],
    );
    refused(
        |json| {
            json.as_object_mut().unwrap().remove("primaryKey");
        },
        "simbdp_source",
        &["(order)"],
    );
}
