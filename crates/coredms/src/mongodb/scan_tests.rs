//! Queries as bounds of an index.

use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use simbdp_api::pipeline::TableSpec;
use simbdp_record::Value;

use super::{Scan, Scanner};
use crate::mongodb::encode::RowEncoder;
use crate::store::{RowQuery, RowRange, StoreError};

const NOW: i64 = 5;

fn scanner(orders: [&str; 2]) -> Scanner {
    let table: TableSpec = serde_json::from_value(serde_json::json!({
        "name": "weather",
        "columns": [{"name": "origin", "type": "text"}, {"name": "day", "type": "int"}, {"name": "hour", "type": "int"}],
        "primaryKey": {
            "partition": ["origin"],
            "clustering": [{"column": "day", "order": orders[0]}, {"column": "hour", "order": orders[1]}],
        },
    }))
    .unwrap();
    Scanner::new(&table, &RowEncoder::new(&table).unwrap())
}

fn query(lower: Option<(i32, bool)>, upper: Option<(i32, bool)>) -> RowQuery {
    let bound = |bound: Option<(i32, bool)>| bound.map(|(n, inclusive)| (Value::Int(n), inclusive));
    RowQuery {
        partition: vec![("origin".to_owned(), Value::Text("JFK".to_owned()))],
        range: Some(RowRange {
            column: "day".to_owned(),
            lower: bound(lower),
            upper: bound(upper),
        }),
        limit: 10,
        ..RowQuery::default()
    }
}

fn id(scan: &Scan) -> &Document {
    scan.filter.get_document("_id").unwrap()
}

fn key(day: impl Into<Bson>, hour: impl Into<Bson>) -> Document {
    doc! {"origin": "JFK", "day": day, "hour": hour}
}

fn page(key: Document) -> Option<Vec<u8>> {
    let raw = RawDocumentBuf::try_from(&doc! {"_id": key, "_v": 1_i64}).unwrap();
    Scanner::page(&raw)
}

#[test]
fn a_range_is_bounded_by_whole_keys() {
    let up = scanner(["Ascending", "Ascending"]);
    let scan = up
        .plan(&query(Some((2, true)), Some((4, false))), NOW)
        .unwrap();
    assert_eq!(
        id(&scan),
        &doc! {"$gte": key(2, Bson::MinKey), "$lt": key(4, Bson::MinKey)}
    );
    assert_eq!((scan.sort, scan.bounds), (doc! {"_id": 1}, None));
    let scan = up
        .plan(&query(Some((2, false)), Some((4, true))), NOW)
        .unwrap();
    assert_eq!(
        id(&scan),
        &doc! {"$gt": key(2, Bson::MaxKey), "$lte": key(4, Bson::MaxKey)}
    );
    let scan = up.plan(&query(None, None), NOW).unwrap();
    assert_eq!(
        id(&scan),
        &doc! {"$gte": key(Bson::MinKey, Bson::MinKey), "$lte": key(Bson::MaxKey, Bson::MaxKey)}
    );
}

#[test]
fn a_page_goes_on_behind_the_last_row() {
    let mut query = query(Some((2, true)), Some((4, true)));
    query.page = page(key(3, 7));
    let up = scanner(["Ascending", "Ascending"])
        .plan(&query, NOW)
        .unwrap();
    assert_eq!(
        id(&up),
        &doc! {"$gt": key(3, 7), "$lte": key(4, Bson::MaxKey)}
    );
    let down = scanner(["Descending", "Descending"])
        .plan(&query, NOW)
        .unwrap();
    assert_eq!(
        id(&down),
        &doc! {"$gte": key(2, Bson::MinKey), "$lt": key(3, 7)}
    );
    assert_eq!(down.sort, doc! {"_id": -1});
    let mixed = scanner(["Descending", "Ascending"])
        .plan(&query, NOW)
        .unwrap();
    let bound = |day: Bson, hour: Bson, id: Bson| {
        doc! {"_id.origin": "JFK", "_id.day": day, "_id.hour": hour, "_id": id}
    };
    // The index goes from the last day to the first.
    assert_eq!(
        mixed.bounds,
        Some((
            "simbdp_order",
            bound(3.into(), 7.into(), Bson::MaxKey),
            bound(2.into(), Bson::MaxKey, Bson::MaxKey)
        ))
    );
}

#[test]
fn bounds_in_both_directions_are_told_in_the_order_of_the_index() {
    let mixed = scanner(["Descending", "Ascending"]);
    let bounds = |lower, upper| {
        let (_, from, to) = mixed
            .plan(&query(lower, upper), NOW)
            .unwrap()
            .bounds
            .unwrap();
        let parts =
            |bound: Document| -> Vec<Bson> { bound.into_iter().map(|(_, v)| v).skip(1).collect() };
        (parts(from), parts(to))
    };
    let (min, max) = (Bson::MinKey, Bson::MaxKey);
    let list = |values: [&Bson; 3]| values.map(Clone::clone).to_vec();
    let (two, four) = (Bson::Int32(2), Bson::Int32(4));
    assert_eq!(
        bounds(Some((2, true)), Some((4, true))),
        (list([&four, &min, &min]), list([&two, &max, &max]))
    );
    assert_eq!(
        bounds(Some((2, false)), Some((4, false))),
        (list([&four, &max, &max]), list([&two, &min, &min]))
    );
    assert_eq!(
        bounds(None, None),
        (list([&max, &min, &min]), list([&min, &max, &max]))
    );
}

#[test]
fn a_whole_key_is_looked_up() {
    let mut query = query(None, None);
    query.range = None;
    query.clustering = vec![
        ("day".to_owned(), Value::Int(1)),
        ("hour".to_owned(), Value::Int(2)),
    ];
    let scan = scanner(["Descending", "Ascending"])
        .plan(&query, NOW)
        .unwrap();
    assert_eq!((id(&scan), scan.bounds.is_none()), (&key(1, 2), true));
    assert!(scan.filter.contains_key("_e") && scan.filter.contains_key("_deleted"));
}

#[test]
fn a_page_of_another_query_is_refused() {
    let up = scanner(["Ascending", "Ascending"]);
    let mut other = key(3, 7);
    other.insert("origin", "EWR");
    for page in [
        page(other),
        page(doc! {"origin": "JFK", "hour": 1, "day": 1}),
        Some(b"nonsense".to_vec()),
        Some(Vec::new()),
    ] {
        let query = RowQuery {
            page,
            ..query(None, None)
        };
        match up.plan(&query, NOW) {
            Err(StoreError::BadQuery(reason)) => assert!(reason.contains("page"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}
