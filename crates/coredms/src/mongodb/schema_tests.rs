//! Collections are created, extended, or refused with the column that conflicts.

use std::collections::BTreeSet;

use mongodb::bson::{Document, doc};
use simbdp_api::pipeline::{Order, TableSpec};

use super::{CollectionState, Direction, direction, plan};
use crate::declaration::Conflict;
use crate::mongodb::plan::Step;

fn flights() -> serde_json::Value {
    serde_json::json!({
        "name": "flights",
        "columns": [
            {"name": "carrier", "type": "text"},
            {"name": "at", "type": "timestamp"},
            {"name": "delay", "type": "float", "required": true},
            {"name": "tags", "type": "map<text, int>"},
        ],
        "primaryKey": {"partition": ["carrier"], "clustering": [{"column": "at", "order": "Descending"}]},
    })
}

fn planned(
    json: serde_json::Value,
    there: Option<&CollectionState>,
) -> Result<Vec<Step>, Conflict> {
    plan(
        "t_a",
        &serde_json::from_value::<TableSpec>(json).unwrap(),
        there,
    )
}

/// The collection after these steps.
fn after(there: Option<CollectionState>, steps: &[Step]) -> CollectionState {
    let mut state = there.unwrap_or_default();
    for step in steps {
        for key in ["validator", "validationLevel", "validationAction"] {
            if let Some(value) = step.command.get(key) {
                state.options.insert(key, value.clone());
            }
        }
        let indexes = step.command.get_array("indexes").cloned();
        state
            .indexes
            .extend(indexes.unwrap_or_default().iter().map(|index| {
                index
                    .as_document()
                    .unwrap()
                    .get_str("name")
                    .unwrap()
                    .to_owned()
            }));
    }
    state
}

fn there() -> CollectionState {
    after(None, &planned(flights(), None).unwrap())
}

fn properties(state: &CollectionState) -> Document {
    let validator = state.options.get_document("validator").unwrap();
    let schema = validator.get_document("$jsonSchema").unwrap();
    schema.get_document("properties").unwrap().clone()
}

#[test]
fn a_table_is_created_with_its_types_and_then_stays() {
    let state = there();
    let properties = properties(&state);
    assert_eq!(
        properties.get_document("_id").unwrap(),
        &doc! {
            "bsonType": "object", "required": ["carrier", "at"], "additionalProperties": false,
            "properties": {"carrier": {"bsonType": "string"}, "at": {"bsonType": "date"}},
        }
    );
    assert_eq!(
        properties.get_document("delay").unwrap(),
        &doc! {"bsonType": "double"}
    );
    assert_eq!(
        properties.get_document("tags").unwrap(),
        &doc! {"bsonType": ["object", "null"], "additionalProperties": {"bsonType": "int"}}
    );
    assert!(
        !properties.contains_key("carrier"),
        "it is in the key alone"
    );
    assert_eq!(planned(flights(), Some(&state)).unwrap(), []);
}

#[test]
fn columns_are_added_and_those_of_others_stay() {
    let mut json = flights();
    let columns = json["columns"].as_array_mut().unwrap();
    columns.retain(|column| column["name"] != "tags");
    columns.push(serde_json::json!({"name": "day", "type": "date"}));
    let steps = planned(json.clone(), Some(&there())).unwrap();
    assert_eq!(steps.len(), 1);
    let both = after(Some(there()), &steps);
    assert!(properties(&both).contains_key("tags") && properties(&both).contains_key("day"));
    for json in [json, flights()] {
        assert_eq!(planned(json, Some(&both)).unwrap(), []);
    }
}

#[test]
fn a_column_that_may_be_null_for_one_may_be_for_all() {
    let mut json = flights();
    json["columns"][2]["required"] = false.into();
    let loose = after(Some(there()), &planned(json, Some(&there())).unwrap());
    assert_eq!(
        properties(&loose).get_document("delay").unwrap(),
        &doc! {"bsonType": ["double", "null"]}
    );
    assert_eq!(planned(flights(), Some(&loose)).unwrap(), []);
}

#[test]
fn a_validator_that_was_taken_off_is_put_back() {
    let mut state = there();
    state.options.insert("validationLevel", "off");
    assert_eq!(planned(flights(), Some(&state)).unwrap().len(), 1);
    state.options = Document::new();
    let steps = planned(flights(), Some(&state)).unwrap();
    assert_eq!(after(Some(state), &steps), there());
}

#[test]
fn indexes_are_made_where_they_are_needed() {
    let mut json = flights();
    json["ttl"] = "90d".into();
    json["primaryKey"]["clustering"][0]["order"] = "Ascending".into();
    let state = after(None, &planned(json.clone(), None).unwrap());
    assert_eq!(state.indexes, BTreeSet::from(["simbdp_ttl".to_owned()]));
    assert_eq!(planned(json, Some(&state)).unwrap(), []);
    assert!(there().indexes.is_empty());
    let orders = |orders: &[Order]| {
        let columns: Vec<_> = orders.iter().map(|order| (String::new(), *order)).collect();
        direction(&columns)
    };
    let (up, down) = (Order::Ascending, Order::Descending);
    assert_eq!(orders(&[]), Direction::Forward);
    assert_eq!(orders(&[up, up]), Direction::Forward);
    assert_eq!(orders(&[down, down]), Direction::Backward);
    assert_eq!(orders(&[down, up]), Direction::Mixed);
}

#[track_caller]
fn refused(change: impl FnOnce(&mut serde_json::Value), column: &str, words: &[&str]) {
    let mut json = flights();
    change(&mut json);
    let conflict = planned(json, Some(&there())).unwrap_err();
    assert_eq!(conflict.column, column);
    for word in words {
        assert!(conflict.reason.contains(word), "{}", conflict.reason);
    }
}

#[test]
fn a_change_that_is_no_addition_is_refused_with_what_is_there_and_what_was_asked() {
    refused(
        |json| json["columns"][2]["type"] = "double".into(),
        "delay",
        &["float", "double"],
    );
    refused(
        |json| json["primaryKey"]["partition"] = serde_json::json!(["tags"]),
        "tags",
        &["(carrier)", "(tags)"],
    );
    refused(
        |json| json["primaryKey"]["clustering"][0]["order"] = "Ascending".into(),
        "at",
        &["Descending", "Ascending"],
    );
}
