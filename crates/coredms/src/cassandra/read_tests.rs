//! Queries by key, and what is said of those that cannot be served.

use simbdp_record::Value;

use super::select;
use crate::declaration::Shape;
use crate::store::{RowQuery, RowRange, StoreError};

fn shape() -> Shape {
    let columns = [
        ("tenant", "text"),
        ("day", "date"),
        ("order", "int"),
        ("seq", "bigint"),
        ("note", "text"),
    ];
    let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    Shape::new(
        columns
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.parse().unwrap()))
            .collect(),
        &own(&["tenant", "order"]),
        &own(&["day", "seq"]),
    )
}

fn partition() -> Vec<(String, Value)> {
    vec![
        ("order".to_owned(), Value::Int(1)),
        ("tenant".to_owned(), Value::Text("a".to_owned())),
    ]
}

fn date() -> Value {
    Value::Date("2024-02-29".parse().unwrap())
}

#[track_caller]
fn refused(query: &RowQuery, words: &[&str]) {
    let Err(StoreError::BadQuery(text)) = select("t_a", "t", &shape(), query) else {
        panic!("not refused");
    };
    for word in words {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn a_partition_a_prefix_and_a_range() {
    let query = RowQuery {
        partition: partition(),
        clustering: vec![("day".to_owned(), date())],
        range: Some(RowRange {
            column: "seq".to_owned(),
            lower: Some((Value::Bigint(1), true)),
            upper: Some((Value::Bigint(9), false)),
        }),
        ..RowQuery::default()
    };
    let select = select("t_a", "t", &shape(), &query).unwrap();
    assert_eq!(
        select.cql,
        "SELECT \"tenant\", \"day\", \"order\", \"seq\", \"note\" FROM \"t_a\".\"t\" \
         WHERE \"tenant\" = ? AND \"order\" = ? AND \"day\" = ? AND \"seq\" >= ? AND \"seq\" < ?"
    );
}

#[test]
fn what_cannot_be_served_is_named_with_what_would_be_right() {
    let mut missing = RowQuery {
        partition: partition(),
        ..RowQuery::default()
    };
    missing.partition.pop();
    refused(&missing, &["`tenant` is missing", "(tenant, order)"]);

    let mut unknown = RowQuery {
        partition: partition(),
        ..RowQuery::default()
    };
    unknown.partition.push(("nope".to_owned(), Value::Int(1)));
    refused(&unknown, &["no column `nope`"]);

    let twice = RowQuery {
        partition: [partition(), partition()].concat(),
        ..RowQuery::default()
    };
    refused(&twice, &["more than once"]);

    let not_key = RowQuery {
        partition: [partition(), vec![("note".to_owned(), Value::Int(1))]].concat(),
        ..RowQuery::default()
    };
    refused(
        &not_key,
        &["`note` is not in the partition key (tenant, order)"],
    );

    let mut mistyped = partition();
    mistyped[0].1 = Value::Text("1".to_owned());
    let mistyped = RowQuery {
        partition: mistyped,
        ..RowQuery::default()
    };
    refused(&mistyped, &["column `order`", "a text", "type int"]);

    let skips = RowQuery {
        partition: partition(),
        clustering: vec![("seq".to_owned(), Value::Bigint(1))],
        ..RowQuery::default()
    };
    refused(&skips, &["`seq`", "(day, seq)", "next one is `day`"]);

    let range = RowQuery {
        partition: partition(),
        range: Some(RowRange {
            column: "note".to_owned(),
            lower: None,
            upper: None,
        }),
        ..RowQuery::default()
    };
    refused(&range, &["`note`", "next one is `day`"]);
}
