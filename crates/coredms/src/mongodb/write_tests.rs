//! The commands of a write, and answers to them.

use mongodb::bson::{Document, RawDocumentBuf, doc};
use simbdp_api::pipeline::TableSpec;
use simbdp_record::{Row, Rows, Value};

use super::{Answer, insert, replace};
use crate::mongodb::encode::{EncodedRows, RowEncoder};
use crate::store::StoreError;

fn encoded() -> EncodedRows {
    let table: TableSpec = serde_json::from_value(serde_json::json!({
        "name": "t",
        "columns": [{"name": "k", "type": "int"}, {"name": "v", "type": "text"}],
        "primaryKey": {"partition": ["k"]},
    }))
    .unwrap();
    let rows = (1..=2).map(|k| Row {
        values: vec![Some(Value::Int(k)), Some(Value::Text("$v".to_owned()))],
        version: 9,
    });
    let rows: Rows = rows.collect();
    RowEncoder::new(&table).unwrap().encode(&rows).unwrap()
}

fn concern() -> RawDocumentBuf {
    RawDocumentBuf::try_from(&doc! {"w": "majority"}).unwrap()
}

#[test]
fn rows_are_inserted_in_no_order() {
    let command = insert("t", &concern(), &encoded(), 0..2).unwrap();
    assert_eq!(
        Document::try_from(command).unwrap(),
        doc! {
            "insert": "t", "ordered": false, "writeConcern": {"w": "majority"},
            "documents": [{"_id": 1, "_v": 9_i64, "v": "$v"}, {"_id": 2, "_v": 9_i64, "v": "$v"}],
        }
    );
}

#[test]
fn what_is_there_is_replaced_where_its_version_is_lower() {
    let command = replace("t", &concern(), &encoded(), &[1]).unwrap();
    let document = doc! {"_id": 2, "_v": 9_i64, "v": "$v"};
    assert_eq!(
        Document::try_from(command).unwrap(),
        doc! {
            "update": "t", "ordered": false, "writeConcern": {"w": "majority"},
            "updates": [{
                "q": {"_id": 2},
                "u": [{"$replaceWith": {"$cond": [{"$lt": ["$_v", 9_i64]}, {"$literal": document}, "$$ROOT"]}}],
                "upsert": true,
            }],
        }
    );
}

fn fault(index: i32, code: i32, more: Document) -> Document {
    let mut fault = doc! {"index": index, "code": code, "errmsg": "no"};
    fault.extend(more);
    fault
}

#[test]
fn what_is_there_already_is_told_from_what_is_refused_and_what_may_pass() {
    let key = || doc! {"keyPattern": {"_id": 1}};
    let read = |faults: Vec<Document>| Answer::read(&doc! {"ok": 1, "writeErrors": faults});
    let answer = read(vec![fault(0, 11_000, key()), fault(3, 11_000, key())]).unwrap();
    assert_eq!(answer.there, [0, 3]);
    let other = doc! {"keyPattern": {"v": 1}};
    for fault in [fault(0, 121, doc! {}), fault(0, 11_000, other)] {
        let refused = read(vec![fault]);
        assert!(
            matches!(refused, Err(StoreError::Permanent(_))),
            "{refused:?}"
        );
    }
    let passing = read(vec![fault(0, 11_602, doc! {})]);
    assert!(
        matches!(passing, Err(StoreError::Transient(_))),
        "{passing:?}"
    );
    let late = Answer::read(&doc! {"ok": 1, "writeConcernError": {"code": 64, "errmsg": "late"}});
    assert_eq!(late.err(), Some(StoreError::Transient("late".to_owned())));
    assert!(
        Answer::read(&doc! {"ok": 1, "n": 2})
            .unwrap()
            .there
            .is_empty()
    );
}

#[test]
fn the_validators_reasons_name_their_columns() {
    let details = doc! {"errInfo": {"details": {"schemaRulesNotSatisfied": [
        {"propertiesNotSatisfied": [{"propertyName": "v"}]},
        {"additionalProperties": ["w"]},
    ]}}};
    let refused = Answer::read(&doc! {"writeErrors": [fault(0, 121, details)]});
    assert_eq!(
        refused.err(),
        Some(StoreError::Permanent("no: column `v`, `w`".to_owned()))
    );
}
