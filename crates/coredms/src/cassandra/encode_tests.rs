//! Encoded rows: layout in the protocol, tokens, costs, faults.

use simbdp_api::column_type::{ColumnType, ScalarType};
use simbdp_record::{Row, Rows, Value};

use super::{Cells, EncodedRows, Encoding, Layout, Shape, put};

fn layout(columns: &[(&str, &str)], partition: &[&str], clustering: &[&str]) -> Layout {
    let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    Layout::new(Shape::new(
        columns
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.parse::<ColumnType>().unwrap()))
            .collect(),
        &own(partition),
        &own(clustering),
    ))
}

fn encode(layout: &Layout, rows: &Rows, ttl: Option<i32>) -> Result<EncodedRows, String> {
    let mut encoding = Encoding::new(layout, rows);
    for row in rows.iter() {
        encoding.row(row, ttl)?;
    }
    Ok(encoding.finish())
}

/// A row by itself: its bytes, its token and its cost.
fn row(layout: &Layout, row: &Row, ttl: Option<i32>) -> Result<(Vec<u8>, i64, usize), String> {
    encode(layout, &Rows::from([row.clone()]), ttl).map(|rows| nth(&rows, 0))
}

fn nth(rows: &EncodedRows, n: usize) -> (Vec<u8>, i64, usize) {
    (
        rows.values(n).0.to_vec(),
        rows.rows[n].token,
        rows.rows[n].cost,
    )
}

fn values(values: Vec<Option<Value>>) -> Row {
    Row { values, version: 7 }
}

#[test]
fn values_nulls_version_and_ttl_are_in_the_order_of_the_markers() {
    let layout = layout(
        &[("k", "int"), ("v", "text"), ("w", "list<int>")],
        &["k"],
        &[],
    );
    let list = Value::List(vec![Value::Int(5)]);
    let (encoded, ..) = row(
        &layout,
        &values(vec![Some(Value::Int(1)), None, Some(list)]),
        Some(60),
    )
    .unwrap();
    let expected: Vec<u8> = [
        &[0, 0, 0, 4, 0, 0, 0, 1][..],
        &[255, 255, 255, 255],
        &[0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 5],
        &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7],
        &[0, 0, 0, 4, 0, 0, 0, 60],
    ]
    .concat();
    assert_eq!(encoded, expected);
}

#[test]
fn tokens_are_those_of_the_server() {
    // SELECT token(k) of a text and of a bigint key, and of the composite (text, int), as Cassandra says.
    let text = layout(&[("k", "text")], &["k"], &[]);
    let token = |layout: &Layout, v| row(layout, &values(v), None).unwrap().1;
    assert_eq!(
        token(&text, vec![Some(Value::Text("test".into()))]),
        -6_017_608_668_500_074_083
    );
    let bigint = layout_of("bigint");
    assert_eq!(
        token(&bigint, vec![Some(Value::Bigint(1))]),
        6_292_367_497_774_912_474
    );
}

fn layout_of(column_type: &str) -> Layout {
    layout(&[("k", column_type)], &["k"], &[])
}

#[test]
fn the_partition_key_is_hashed_in_the_keys_order() {
    let one = layout(&[("a", "text"), ("b", "int")], &["a", "b"], &[]);
    let other = layout(&[("b", "int"), ("a", "text")], &["a", "b"], &[]);
    let (a, b) = (Some(Value::Text("x".into())), Some(Value::Int(3)));
    let first = row(&one, &values(vec![a.clone(), b.clone()]), None).unwrap();
    let second = row(&other, &values(vec![b, a]), None).unwrap();
    assert_eq!(first.1, second.1);
}

#[test]
fn faults_name_the_column_and_what_would_be_right() {
    let table = layout(
        &[("k", "text"), ("c", "text"), ("v", "int")],
        &["k"],
        &["c"],
    );
    let text = |length: usize| Some(Value::Text("x".repeat(length)));
    let fault = |v: Vec<Option<Value>>| row(&table, &values(v), None).unwrap_err();
    assert_eq!(
        fault(vec![text(1), text(1), Some(Value::Bigint(1))]),
        "column `v`: the value is a bigint and the column is of type int"
    );
    assert_eq!(
        fault(vec![None, text(1), None]),
        "column `k` is part of the key and is null"
    );
    assert!(fault(vec![text(1), text(65_536), None]).contains("column `c`"));
    assert!(fault(vec![text(0), text(1), None]).contains("empty"));
    assert!(fault(vec![text(1)]).contains("1 values"));
}

#[test]
fn the_cost_counts_what_a_member_counts() {
    let table = layout(&[("k", "int"), ("v", "text")], &["k"], &[]);
    let (_, _, cost) = row(
        &table,
        &values(vec![Some(Value::Int(1)), Some(Value::Text("12345".into()))]),
        None,
    )
    .unwrap();
    assert_eq!(cost, 24 + 20 + 5);
    assert_eq!(ScalarType::Text.name(), "text");
}

#[test]
fn common_types_are_written_as_the_driver_writes_them() {
    let text = |length| Value::Text("Zürich, Genève".chars().take(length).collect());
    let texts = (0..15).map(|length| (ScalarType::Text, text(length)));
    let others = [
        (ScalarType::Int, Value::Int(-2_013)),
        (ScalarType::Bigint, Value::Bigint(i64::MIN)),
        (ScalarType::Double, Value::Double(-0.1)),
        (ScalarType::Float, Value::Float(-0.1)),
        (ScalarType::Timestamp, Value::Timestamp(-1)),
        (ScalarType::Uuid, Value::Uuid(uuid::Uuid::from_u128(7))),
        (ScalarType::Boolean, Value::Boolean(true)),
        (ScalarType::Boolean, Value::Boolean(false)),
    ];
    for (scalar, value) in texts.chain(others) {
        let (mut ours, mut theirs) = (Cells::default(), Vec::new());
        let column_type = ColumnType::Scalar(scalar);
        ours.push(column_type, &value).unwrap();
        put(column_type, &value, &mut theirs).unwrap();
        assert_eq!(ours.0, theirs, "{value:?}");
    }
}

#[test]
fn a_row_does_not_depend_on_the_one_before() {
    let layout = layout(
        &[("a", "text"), ("b", "int"), ("c", "int")],
        &["b", "a"],
        &["c"],
    );
    let text = |length: usize| Some(Value::Text("x".repeat(length)));
    let rows = [(100, 1), (1, 2), (0, 3)]
        .map(|(length, n)| values(vec![text(length), Some(Value::Int(n)), Some(Value::Int(n))]));
    let together = encode(&layout, &Rows::from(rows.clone()), None).unwrap();
    for (n, alone) in rows.iter().enumerate() {
        assert_eq!(nth(&together, n), row(&layout, alone, None).unwrap());
    }
}
