//! Encoded rows: keys, lives, faults; and what is decoded again.

use mongodb::bson::{Document, RawDocument, doc};
use simbdp_api::pipeline::TableSpec;
use simbdp_record::{Row, Rows, Value};

use super::RowEncoder;
use crate::mongodb::decode;
use crate::store::StoreError;

fn encoder(json: serde_json::Value) -> RowEncoder {
    let table: TableSpec = serde_json::from_value(json).unwrap();
    RowEncoder::new(&table).unwrap()
}

fn keyed(key: &[&str], kind: &str) -> RowEncoder {
    encoder(serde_json::json!({
        "name": "t",
        "columns": [{"name": "v", "type": "int"}, {"name": "a", "type": kind}, {"name": "b", "type": kind}],
        "primaryKey": {"partition": key},
    }))
}

fn encode(encoder: &RowEncoder, values: Vec<Option<Value>>) -> Result<Document, StoreError> {
    let row = Row { values, version: 1 };
    let encoded = encoder.encode(&Rows::from([row.clone()]))?;
    let raw = RawDocument::from_bytes(&encoded.bytes[encoded.rows[0].document.clone()]).unwrap();
    assert_eq!(decode::row(&encoder.shape, raw).unwrap(), row.values);
    Ok(Document::try_from(raw).unwrap())
}

fn text(text: &str) -> Option<Value> {
    Some(Value::Text(text.to_owned()))
}

#[test]
fn the_key_is_a_value_or_a_document_in_the_keys_order() {
    let seven = || Some(Value::Int(7));
    let one = encode(&keyed(&["a"], "text"), vec![seven(), text("x"), None]).unwrap();
    assert_eq!(one, doc! {"_id": "x", "_v": 1_i64, "v": 7, "b": null});
    let two = encode(
        &keyed(&["b", "a"], "text"),
        vec![None, text("x"), text("y")],
    )
    .unwrap();
    let names: Vec<_> = two.get_document("_id").unwrap().keys().cloned().collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(
        two,
        doc! {"_id": {"b": "y", "a": "x"}, "_v": 1_i64, "v": null}
    );
}

#[test]
fn without_a_key_the_identity_is_the_key() {
    let encoder =
        encoder(serde_json::json!({"name": "t", "columns": [{"name": "v", "type": "int"}]}));
    let values = vec![
        text("file"),
        Some(Value::Int(0)),
        Some(Value::Bigint(3)),
        None,
    ];
    assert_eq!(
        encode(&encoder, values).unwrap(),
        doc! {
            "_id": {"simbdp_source": "file", "simbdp_bucket": 0, "simbdp_ordinal": 3_i64}, "_v": 1_i64, "v": null,
        }
    );
}

#[test]
fn equal_keys_are_written_alike() {
    let id = |kind: &str, value: Value| {
        let values = vec![None, Some(value), None];
        encode(&keyed(&["a"], kind), values).unwrap().remove("_id")
    };
    let decimal = |text: &str| Value::Decimal(text.parse().unwrap());
    assert_eq!(
        id("decimal", decimal("1.10")),
        id("decimal", decimal("1.1"))
    );
    assert_eq!(
        id("double", Value::Double(-0.0)),
        id("double", Value::Double(0.0))
    );
}

#[track_caller]
fn refused(encoder: &RowEncoder, values: Vec<Option<Value>>, words: &[&str]) {
    match encode(encoder, values) {
        Err(StoreError::Permanent(reason)) => {
            for word in words {
                assert!(reason.contains(word), "{reason}");
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_is_named() {
    let key = keyed(&["a"], "text");
    refused(&key, vec![None, None, None], &["column `a`", "null"]);
    refused(&key, vec![None, text(""), None], &["empty"]);
    refused(
        &key,
        vec![None, text(&"x".repeat(70_000)), None],
        &["column `a`", "65535"],
    );
    refused(
        &key,
        vec![Some(Value::Bigint(1)), text("x"), None],
        &["column `v`", "type int"],
    );
    refused(&key, vec![None, text("x")], &["2 values", "3 columns"]);
    refused(
        &key,
        vec![None, text("x"), text(&"x".repeat(17 << 20))],
        &["bytes"],
    );
    let decimal = Some(Value::Decimal("1E+9999".parse().unwrap()));
    refused(
        &keyed(&["a"], "decimal"),
        vec![None, decimal, None],
        &["column `a`", "34 digits"],
    );
}

#[test]
fn a_row_whose_time_is_over_is_left_out() {
    let encoder = encoder(serde_json::json!({
        "name": "t", "columns": [{"name": "k", "type": "int"}], "primaryKey": {"partition": ["k"]}, "ttl": "1h",
    }));
    let values = vec![Some(Value::Int(1))];
    let rows = Rows::from([Row { values, version: 1 }]);
    assert!(encoder.encode(&rows).unwrap().rows.is_empty());
}
