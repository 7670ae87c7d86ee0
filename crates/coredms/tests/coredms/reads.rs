//! Reads by key: prefixes, ranges, pages, and queries that cannot be served.

use serde_json::json;
use simbdp_coredms::store::{RowQuery, RowRange, StoreError};
use simbdp_record::{Row, Rows, Value};

use crate::rows::made;
use crate::server::{Server, tenant};
use crate::tables::spec;

on_each_engine! {
    prefixes_and_ranges_find_exactly_their_rows
    pages_give_every_row_once_in_order
    what_cannot_be_served_is_a_bad_query
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn weather(order: &str) -> serde_json::Value {
    json!({
        "name": format!("weather_{}", order.to_lowercase()),
        "columns": [
            {"name": "origin", "type": "text"}, {"name": "day", "type": "int"}, {"name": "hour", "type": "int"}, {"name": "temp", "type": "double"},
        ],
        "primaryKey": {
            "partition": ["origin"],
            "clustering": [{"column": "day", "order": order}, {"column": "hour"}],
        },
    })
}

fn rows() -> Vec<Row> {
    let hours = |day: i32| (0..24).map(move |hour| (day, hour));
    (1..=5)
        .flat_map(hours)
        .map(|(day, hour)| Row {
            values: vec![
                Some(text("JFK")),
                Some(Value::Int(day)),
                Some(Value::Int(hour)),
                (hour % 5 > 0).then(|| Value::Double(f64::from(day * hour))),
            ],
            version: 1,
        })
        .collect()
}

fn range(column: &str, lower: Option<(i32, bool)>, upper: Option<(i32, bool)>) -> Option<RowRange> {
    let bound = |bound: Option<(i32, bool)>| bound.map(|(n, inclusive)| (Value::Int(n), inclusive));
    Some(RowRange {
        column: column.to_owned(),
        lower: bound(lower),
        upper: bound(upper),
    })
}

fn jfk() -> RowQuery {
    RowQuery {
        partition: vec![("origin".to_owned(), text("JFK"))],
        limit: 1_000,
        ..RowQuery::default()
    }
}

async fn prefixes_and_ranges_find_exactly_their_rows(on: &dyn Server) {
    let tenant = tenant(on, "ranges").await;
    let table = made(&tenant, &spec(weather("Ascending"))).await;
    table.write(&Rows::from_iter(rows())).await.unwrap();
    let found = async |query: RowQuery| {
        let page = table.read(&query).await.unwrap();
        assert_eq!(page.columns, ["origin", "day", "hour", "temp"]);
        page.rows
    };
    let expected = |keep: fn(i32, i32) -> bool| -> Vec<Vec<Option<Value>>> {
        rows()
            .into_iter()
            .map(|row| row.values)
            .filter(|values| match (&values[1], &values[2]) {
                (Some(Value::Int(day)), Some(Value::Int(hour))) => keep(*day, *hour),
                _ => false,
            })
            .collect()
    };
    assert_eq!(found(jfk()).await, expected(|_, _| true));
    let mut days = jfk();
    days.range = range("day", Some((2, true)), Some((4, false)));
    assert_eq!(found(days).await, expected(|day, _| (2..4).contains(&day)));
    let mut hours = jfk();
    hours.clustering = vec![("day".to_owned(), Value::Int(3))];
    hours.range = range("hour", Some((20, false)), None);
    assert_eq!(
        found(hours.clone()).await,
        expected(|day, hour| day == 3 && hour > 20)
    );
    hours.range = range("hour", None, Some((2, true)));
    assert_eq!(
        found(hours.clone()).await,
        expected(|day, hour| day == 3 && hour <= 2)
    );
    hours.range = None;
    hours.clustering.push(("hour".to_owned(), Value::Int(7)));
    assert_eq!(
        found(hours).await,
        expected(|day, hour| day == 3 && hour == 7)
    );
    let mut nobody = jfk();
    nobody.partition[0].1 = text("XXX");
    assert!(found(nobody).await.is_empty());
}

async fn pages_give_every_row_once_in_order(on: &dyn Server) {
    let tenant = tenant(on, "pages").await;
    let table = made(&tenant, &spec(weather("Descending"))).await;
    table.write(&Rows::from_iter(rows())).await.unwrap();
    let whole = table.read(&jfk()).await.unwrap();
    assert_eq!((whole.rows.len(), whole.next), (120, None));
    assert_eq!(
        whole.rows[0][1],
        Some(Value::Int(5)),
        "the last day is first"
    );
    let mut query = jfk();
    query.limit = 50;
    let mut pages = Vec::new();
    loop {
        let page = table.read(&query).await.unwrap();
        pages.push(page.rows);
        match page.next {
            Some(next) => query.page = Some(next),
            None => break,
        }
    }
    let sizes: Vec<_> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [50, 50, 20]);
    assert_eq!(pages.concat(), whole.rows);
}

async fn what_cannot_be_served_is_a_bad_query(on: &dyn Server) {
    let tenant = tenant(on, "badquery").await;
    let table = made(&tenant, &spec(weather("Ascending"))).await;
    let mut missing = jfk();
    missing.partition.clear();
    let mut mistyped = jfk();
    mistyped.partition[0].1 = Value::Int(1);
    let mut skips = jfk();
    skips.range = range("hour", None, None);
    let mut page = jfk();
    page.page = Some(b"not a page at all".to_vec());
    for (query, word) in [
        (missing, "`origin` is missing"),
        (mistyped, "type text"),
        (skips, "next one is `day`"),
        (page, "page"),
    ] {
        match table.read(&query).await {
            Err(StoreError::BadQuery(text)) => assert!(text.contains(word), "{text}"),
            other => panic!("{word}: {other:?}"),
        }
    }
}
