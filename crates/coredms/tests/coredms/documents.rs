//! Rows as documents of MongoDB: what is stored, what is refused, what wins.

use std::time::{SystemTime, UNIX_EPOCH};

use mongodb::bson::{Bson, DateTime, Document, doc};
use serde_json::json;
use simbdp_coredms::store::{RowQuery, RowRange, StoreError};
use simbdp_record::{Row, Rows, Value};

use crate::on_mongodb::{documents, login};
use crate::rows::made;
use crate::server::{eventually, mongodb, tenancy, tenant};
use crate::tables::spec;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn row(values: Vec<Option<Value>>, version: i64) -> Rows {
    Rows::from([Row { values, version }])
}

fn key(k: i32) -> RowQuery {
    RowQuery {
        partition: vec![("k".to_owned(), Value::Int(k))],
        limit: 10,
        ..RowQuery::default()
    }
}

fn things(more: serde_json::Value) -> serde_json::Value {
    json!({
        "name": "things",
        "columns": [{"name": "k", "type": "int"}, more],
        "primaryKey": {"partition": ["k"]},
    })
}

#[tokio::test]
async fn a_row_is_a_plain_document() {
    let on = mongodb().await;
    let tenant = tenant(on, "plain").await;
    let spec = spec(json!({
        "name": "flights",
        "columns": [
            {"name": "at", "type": "timestamp"}, {"name": "carrier", "type": "text"}, {"name": "n", "type": "int"},
            {"name": "seats", "type": "bigint"}, {"name": "tags", "type": "map<text,int>"}, {"name": "codes", "type": "map<int,text>"},
            {"name": "note", "type": "text"},
        ],
        "primaryKey": {"partition": ["carrier", "n"], "clustering": [{"column": "at", "order": "Descending"}]},
        "ttl": "3650d",
    }));
    let table = made(&tenant, &spec).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let version = i64::try_from(now.as_micros()).unwrap();
    let values = vec![
        Some(Value::Timestamp(5)),
        Some(text("UA")),
        Some(Value::Int(1)),
        Some(Value::Bigint(2)),
        Some(Value::Map(vec![(text("a"), Value::Int(3))])),
        Some(Value::Map(vec![(Value::Int(4), text("b"))])),
        None,
    ];
    table.write(&row(values, version)).await.unwrap();
    let stored = documents(on, "t_plain", "flights", doc! {}).await;
    let end = version.div_euclid(1_000) + i64::from(version % 1_000 > 0) + 3_650 * 86_400_000;
    assert_eq!(
        stored,
        [doc! {
            "_id": {"carrier": "UA", "n": 1, "at": DateTime::from_millis(5)},
            "_v": version,
            "_e": DateTime::from_millis(end),
            "seats": 2_i64,
            "tags": {"a": 3},
            "codes": [{"k": 4, "v": "b"}],
            "note": Bson::Null,
        }]
    );
}

#[tokio::test]
async fn whoever_writes_keeps_to_the_types() {
    let on = mongodb().await;
    let tenant = tenant(on, "valid").await;
    let table = made(&tenant, &spec(things(json!({"name": "v", "type": "int"})))).await;
    table
        .write(&row(vec![Some(Value::Int(1)), None], 1))
        .await
        .unwrap();
    let client = login(on, &tenancy(on, "valid").tenant_role);
    let things = client.database("t_valid").collection::<Document>("things");
    things
        .insert_one(doc! {"_id": 2, "_v": 1_i64, "v": 2})
        .await
        .unwrap();
    things
        .insert_one(doc! {"_id": 3, "_v": 1_i64, "v": Bson::Null})
        .await
        .unwrap();
    for wrong in [
        doc! {"_id": "4", "_v": 1_i64, "v": 2},
        doc! {"_id": 4, "_v": 1_i64, "v": "2"},
        doc! {"_id": 4, "_v": 1_i64, "w": 2},
        doc! {"_id": 4, "v": 2},
    ] {
        let error = things.insert_one(wrong.clone()).await.err();
        let error = error
            .unwrap_or_else(|| panic!("{wrong} is let in"))
            .to_string();
        assert!(error.contains("121"), "{error}");
    }
    // What another program wrote is read as a row.
    assert_eq!(
        table.read(&key(2)).await.unwrap().rows,
        [[Some(Value::Int(2)), Some(Value::Int(2))]]
    );
}

#[tokio::test]
async fn what_the_validator_refuses_is_refused_for_good_and_named() {
    let on = mongodb().await;
    let tenant = tenant(on, "named").await;
    let optional = spec(things(json!({"name": "v", "type": "int"})));
    let required = spec(things(
        json!({"name": "v", "type": "int", "required": true}),
    ));
    // The conversion does not let a null pass here; another declaration of the table would.
    let table = made(&tenant, &required).await;
    let null = row(vec![Some(Value::Int(1)), None], 1);
    match table.write(&null).await {
        Err(StoreError::Permanent(reason)) => assert!(reason.contains("column `v`"), "{reason}"),
        other => panic!("{other:?}"),
    }
    made(&tenant, &optional).await;
    table.write(&null).await.unwrap();
    // What one pipeline allows is not taken back by the other.
    made(&tenant, &required).await;
    table
        .write(&row(vec![Some(Value::Int(2)), None], 1))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_decimal_that_does_not_fit_is_refused_for_good() {
    let on = mongodb().await;
    let tenant = tenant(on, "decimals").await;
    let table = made(
        &tenant,
        &spec(things(json!({"name": "v", "type": "decimal"}))),
    )
    .await;
    for (k, number) in (1..).zip(["0.12345678901234567890123456789012345", "1E+7000"]) {
        let value = Some(Value::Decimal(number.parse().unwrap()));
        match table.write(&row(vec![Some(Value::Int(k)), value], 1)).await {
            Err(StoreError::Permanent(reason)) => {
                assert!(
                    reason.contains("column `v`") && reason.contains("34 digits"),
                    "{reason}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_map_may_have_any_key() {
    let on = mongodb().await;
    let tenant = tenant(on, "mapkeys").await;
    let table = made(
        &tenant,
        &spec(things(json!({"name": "v", "type": "map<text,int>"}))),
    )
    .await;
    let map = |keys: &[&str]| {
        let pairs = keys.iter().map(|key| (text(key), Value::Int(1))).collect();
        Some(Value::Map(pairs))
    };
    let strange = map(&["$set", "a.b", ".", "", "$", "_id", "ü"]);
    // Inserted, then replaced: both ways must take them.
    for version in [1, 2] {
        let values = vec![Some(Value::Int(1)), strange.clone()];
        table.write(&row(values.clone(), version)).await.unwrap();
        assert_eq!(table.read(&key(1)).await.unwrap().rows, [values]);
    }
    match table
        .write(&row(vec![Some(Value::Int(2)), map(&["a\0b"])], 1))
        .await
    {
        Err(StoreError::Permanent(reason)) => assert!(reason.contains("zero byte"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let twice = Value::Map(vec![(text("a"), Value::Int(1)), (text("a"), Value::Int(2))]);
    table
        .write(&row(vec![Some(Value::Int(3)), Some(twice)], 1))
        .await
        .unwrap();
    let last = Value::Map(vec![(text("a"), Value::Int(2))]);
    assert_eq!(table.read(&key(3)).await.unwrap().rows[0][1], Some(last));
}

#[tokio::test]
async fn a_deleted_row_wins_or_loses_by_its_version() {
    let on = mongodb().await;
    let tenant = tenant(on, "deleted").await;
    let table = made(&tenant, &spec(things(json!({"name": "v", "type": "int"})))).await;
    let things = on
        .system()
        .database("t_deleted")
        .collection::<Document>("things");
    things
        .insert_one(doc! {"_id": 1, "_v": 10_i64, "_deleted": true})
        .await
        .unwrap();
    let values = vec![Some(Value::Int(1)), Some(Value::Int(7))];
    table.write(&row(values.clone(), 9)).await.unwrap();
    assert!(table.read(&key(1)).await.unwrap().rows.is_empty());
    table.write(&row(values.clone(), 11)).await.unwrap();
    assert_eq!(table.read(&key(1)).await.unwrap().rows, [values]);
}

#[tokio::test]
async fn many_writers_of_one_key_leave_the_highest_version() {
    let on = mongodb().await;
    let tenant = tenant(on, "race").await;
    let table = made(&tenant, &spec(things(json!({"name": "v", "type": "int"})))).await;
    for k in 0..10 {
        let writes = (1..=12).map(|n| {
            let values = vec![Some(Value::Int(k)), Some(Value::Int(n))];
            let (table, rows) = (table.clone(), row(values, n.into()));
            async move { table.write(&rows).await.unwrap() }
        });
        futures::future::join_all(writes).await;
        assert_eq!(
            table.read(&key(k)).await.unwrap().rows[0][1],
            Some(Value::Int(12))
        );
    }
}

#[tokio::test]
async fn an_index_that_somebody_else_made_is_no_key() {
    let on = mongodb().await;
    let tenant = tenant(on, "unique").await;
    let table = made(&tenant, &spec(things(json!({"name": "v", "type": "int"})))).await;
    let index = doc! {"name": "mine", "key": {"v": 1}, "unique": true};
    let database = login(on, &tenancy(on, "unique").tenant_role).database("t_unique");
    let command = doc! {"createIndexes": "things", "indexes": [index]};
    database.run_command(command).await.unwrap();
    let values = |k| vec![Some(Value::Int(k)), Some(Value::Int(1))];
    table.write(&row(values(1), 1)).await.unwrap();
    let refused = table.write(&row(values(2), 1)).await;
    assert!(
        matches!(refused, Err(StoreError::Permanent(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_server_removes_rows_whose_life_is_over() {
    let on = mongodb().await;
    let tenant = tenant(on, "reaped").await;
    let mut spec = spec(things(json!({"name": "v", "type": "int"})));
    spec.ttl = serde_json::from_value(json!("1s")).unwrap();
    let table = made(&tenant, &spec).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let version = i64::try_from(now.as_micros()).unwrap();
    table
        .write(&row(vec![Some(Value::Int(1)), None], version))
        .await
        .unwrap();
    eventually("the document is gone", || async {
        documents(on, "t_reaped", "things", doc! {})
            .await
            .is_empty()
    })
    .await;
}

/// Rows of one partition, `day` descending and `hour` ascending.
fn weather() -> serde_json::Value {
    json!({
        "name": "weather",
        "columns": [{"name": "origin", "type": "text"}, {"name": "day", "type": "int"}, {"name": "hour", "type": "int"}],
        "primaryKey": {
            "partition": ["origin"],
            "clustering": [{"column": "day", "order": "Descending"}, {"column": "hour"}],
        },
    })
}

#[tokio::test]
async fn an_order_of_both_directions_is_read_in_pages() {
    let on = mongodb().await;
    let tenant = tenant(on, "mixed").await;
    let table = made(&tenant, &spec(weather())).await;
    let all = ["JFK", "EWR"].into_iter().flat_map(|origin| {
        (1..=5).flat_map(move |day| (0..6).map(move |hour| (origin, day, hour)))
    });
    let values = |(origin, day, hour): (&str, i32, i32)| {
        vec![
            Some(text(origin)),
            Some(Value::Int(day)),
            Some(Value::Int(hour)),
        ]
    };
    let rows = all.map(|row| Row {
        values: values(row),
        version: 1,
    });
    table.write(&rows.collect()).await.unwrap();
    let read = async |days: Option<RowRange>, day: Option<i32>| {
        let mut query = RowQuery {
            partition: vec![("origin".to_owned(), text("JFK"))],
            clustering: day
                .map(|day| ("day".to_owned(), Value::Int(day)))
                .into_iter()
                .collect(),
            range: days,
            limit: 4,
            page: None,
        };
        let mut rows = Vec::new();
        loop {
            let page = table.read(&query).await.unwrap();
            assert!(page.rows.len() <= 4);
            rows.extend(page.rows);
            query.page = page.next;
            if query.page.is_none() {
                return rows;
            }
        }
    };
    let expected = |days: &[i32]| -> Vec<_> {
        let hours = |day: &i32| {
            let day = *day;
            (0..6).map(move |hour| values(("JFK", day, hour)))
        };
        days.iter().flat_map(hours).collect()
    };
    let days = |lower: Option<(i32, bool)>, upper: Option<(i32, bool)>| {
        let bound =
            |bound: Option<(i32, bool)>| bound.map(|(day, inclusive)| (Value::Int(day), inclusive));
        Some(RowRange {
            column: "day".to_owned(),
            lower: bound(lower),
            upper: bound(upper),
        })
    };
    assert_eq!(read(None, None).await, expected(&[5, 4, 3, 2, 1]));
    assert_eq!(read(None, Some(3)).await, expected(&[3]));
    assert_eq!(
        read(days(Some((2, true)), Some((4, false))), None).await,
        expected(&[3, 2])
    );
    assert_eq!(
        read(days(Some((2, false)), Some((4, true))), None).await,
        expected(&[4, 3])
    );
    assert_eq!(
        read(days(Some((4, true)), None), None).await,
        expected(&[5, 4])
    );
    assert_eq!(
        read(days(Some((4, true)), Some((2, true))), None).await,
        expected(&[])
    );
    let hours = RowRange {
        column: "hour".to_owned(),
        lower: Some((Value::Int(1), false)),
        upper: Some((Value::Int(3), true)),
    };
    let found = read(Some(hours), Some(2)).await;
    assert_eq!(found, [values(("JFK", 2, 2)), values(("JFK", 2, 3))]);
}
