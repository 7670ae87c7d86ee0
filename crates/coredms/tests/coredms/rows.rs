//! Rows: every type, the last accepted one, time to live, batches.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use simbdp_api::pipeline::TableSpec;
use simbdp_coredms::store::{RowQuery, StoreError, Table};
use simbdp_record::{Row, Rows, Value};

use crate::server::{Server, Tenant, connection, converge, database, eventually, tenant};
use crate::tables::spec;

on_each_engine! {
    every_type_comes_back_as_it_went
    keys_of_every_type_are_found
    the_last_accepted_wins_in_any_order_of_delivery
    rows_live_from_their_acceptance
    many_rows_go_in_few_batches_that_the_server_does_not_warn_of
    a_row_that_can_never_be_written_is_refused_for_good
    a_store_starts_while_the_database_is_down_and_follows_a_new_login
    a_table_or_column_that_is_not_there_yet_is_waited_for
}

pub async fn made(tenant: &Tenant, spec: &TableSpec) -> Arc<dyn Table> {
    converge(|| tenant.admin.ensure_table(&tenant.keyspace, spec)).await;
    tenant.store.table(&tenant.keyspace, spec).await.unwrap()
}

fn key(k: i32) -> RowQuery {
    RowQuery {
        partition: vec![("k".to_owned(), Value::Int(k))],
        limit: 100,
        ..RowQuery::default()
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

/// A value of each type, at the edges of what it can be.
fn every_type(on: &dyn Server) -> Vec<(&'static str, Vec<Value>)> {
    let text = |text: &str| Value::Text(text.to_owned());
    let decimals = on.decimals();
    vec![
        (
            "text",
            vec![text(""), text("naïve \u{1f680} 'quoted' \"too\"\0")],
        ),
        ("int", vec![Value::Int(i32::MIN), Value::Int(i32::MAX)]),
        (
            "bigint",
            vec![Value::Bigint(i64::MIN), Value::Bigint(i64::MAX)],
        ),
        (
            "float",
            vec![Value::Float(f32::MIN_POSITIVE), Value::Float(-3.5)],
        ),
        ("double", vec![Value::Double(f64::MAX), Value::Double(-0.1)]),
        (
            "decimal",
            decimals
                .iter()
                .map(|d| Value::Decimal(d.parse().unwrap()))
                .collect(),
        ),
        ("boolean", vec![Value::Boolean(true), Value::Boolean(false)]),
        (
            "timestamp",
            vec![Value::Timestamp(-1), Value::Timestamp(1_700_000_000_123)],
        ),
        (
            "date",
            vec![
                Value::Date("1582-10-04".parse().unwrap()),
                Value::Date("2024-02-29".parse().unwrap()),
            ],
        ),
        (
            "time",
            vec![
                Value::Time("00:00:00".parse().unwrap()),
                Value::Time("23:59:59.999999999".parse().unwrap()),
            ],
        ),
        (
            "uuid",
            vec![
                Value::Uuid(uuid::Uuid::max()),
                Value::Uuid(uuid::Uuid::now_v7()),
            ],
        ),
        (
            "blob",
            vec![Value::Blob(vec![]), Value::Blob(vec![0, 255, 10])],
        ),
    ]
}

async fn every_type_comes_back_as_it_went(on: &dyn Server) {
    let tenant = tenant(on, "types").await;
    let types = every_type(on);
    let mut columns = vec![json!({"name": "k", "type": "int"})];
    let mut first = vec![Some(Value::Int(1))];
    let mut last = vec![Some(Value::Int(2))];
    let mut nulls = vec![Some(Value::Int(3))];
    for (name, values) in &types {
        columns.push(json!({"name": format!("v_{name}"), "type": name}));
        columns.push(json!({"name": format!("l_{name}"), "type": format!("list<{name}>")}));
        columns.push(json!({"name": format!("m_{name}"), "type": format!("map<text,{name}>")}));
        let map = |values: &[Value]| {
            let pairs = values.iter().enumerate();
            Value::Map(
                pairs
                    .map(|(n, v)| (Value::Text(format!("key {n}")), v.clone()))
                    .collect(),
            )
        };
        first.extend([
            Some(values[0].clone()),
            Some(Value::List(values.clone())),
            Some(map(values)),
        ]);
        last.extend([
            values.last().cloned(),
            Some(Value::List(vec![values[0].clone()])),
            Some(map(&values[..1])),
        ]);
        nulls.extend([None, None, None]);
    }
    let spec =
        spec(json!({"name": "types", "columns": columns, "primaryKey": {"partition": ["k"]}}));
    let table = made(&tenant, &spec).await;
    let rows = [&first, &last, &nulls];
    let written = rows.map(|values| Row {
        values: values.clone(),
        version: 1,
    });
    assert_eq!(table.write(&written.into()).await.unwrap().rows, 3);
    for (k, values) in (1..).zip(rows) {
        assert_eq!(
            table.read(&key(k)).await.unwrap().rows,
            std::slice::from_ref(values)
        );
    }
    let mut empty = nulls.clone();
    empty[0] = Some(Value::Int(4));
    let mut emptied = empty.clone();
    emptied[2] = Some(Value::List(vec![]));
    emptied[3] = Some(Value::Map(vec![]));
    for place in [2, 3] {
        empty[place] = on.emptied(emptied[place].clone().unwrap());
    }
    table
        .write(&Rows::from([Row {
            values: emptied,
            version: 1,
        }]))
        .await
        .unwrap();
    assert_eq!(table.read(&key(4)).await.unwrap().rows, [empty]);
}

async fn keys_of_every_type_are_found(on: &dyn Server) {
    let tenant = tenant(on, "keys").await;
    for (name, values) in every_type(on) {
        let spec = spec(json!({
            "name": format!("by_{name}"),
            "columns": [
                {"name": "p", "type": name}, {"name": "q", "type": "text"}, {"name": "c", "type": name}, {"name": "v", "type": "int"},
            ],
            "primaryKey": {"partition": ["p", "q"], "clustering": [{"column": "c"}]},
        }));
        let table = made(&tenant, &spec).await;
        let value = values.last().unwrap().clone();
        let q = Value::Text("q".to_owned());
        let values = vec![
            Some(value.clone()),
            Some(q.clone()),
            Some(value.clone()),
            Some(Value::Int(7)),
        ];
        table
            .write(&Rows::from([Row {
                values: values.clone(),
                version: 1,
            }]))
            .await
            .unwrap();
        let query = RowQuery {
            partition: vec![("p".to_owned(), value.clone()), ("q".to_owned(), q)],
            clustering: vec![("c".to_owned(), value)],
            limit: 10,
            ..RowQuery::default()
        };
        assert_eq!(table.read(&query).await.unwrap().rows, [values], "{name}");
    }
}

fn versions() -> TableSpec {
    spec(json!({
        "name": "versions",
        "columns": [{"name": "k", "type": "int"}, {"name": "v", "type": "text"}, {"name": "w", "type": "text"}],
        "primaryKey": {"partition": ["k"]},
    }))
}

fn version(k: i32, version: i64, v: Option<&str>) -> Row {
    let text = |text: &str| Value::Text(text.to_owned());
    Row {
        values: vec![
            Some(Value::Int(k)),
            v.map(text),
            Some(text(&version.to_string())),
        ],
        version,
    }
}

async fn the_last_accepted_wins_in_any_order_of_delivery(on: &dyn Server) {
    let tenant = tenant(on, "versions").await;
    let table = made(&tenant, &versions()).await;
    let base = now();
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for (k, order) in (0..).zip(orders) {
        // The last of the three has a null where the others have a value.
        let row = |n: i64| version(k, base + n, (n < 2).then_some("old"));
        let rows = Rows::from(order.map(row));
        if k % 2 == 0 {
            for n in order {
                table.write(&Rows::from([row(n)])).await.unwrap();
            }
        } else {
            table.write(&rows).await.unwrap();
        }
        // And again, as after a crash.
        table.write(&rows).await.unwrap();
        assert_eq!(
            table.read(&key(k)).await.unwrap().rows,
            [row(2).values],
            "{order:?}"
        );
    }
}

async fn rows_live_from_their_acceptance(on: &dyn Server) {
    let tenant = tenant(on, "ttl").await;
    let mut spec = versions();
    spec.ttl = serde_json::from_value(json!("1h")).unwrap();
    let table = made(&tenant, &spec).await;
    let second = 1_000_000;
    let over = version(1, now() - 3_601 * second, Some("over"));
    let short = version(2, now() - 3_597 * second, Some("short"));
    let long = version(3, now() - 600 * second, Some("long"));
    assert_eq!(
        table
            .write(&Rows::from([over, short, long]))
            .await
            .unwrap()
            .rows,
        2
    );
    assert!(table.read(&key(1)).await.unwrap().rows.is_empty());
    assert_eq!(table.read(&key(3)).await.unwrap().rows.len(), 1);
    let left = on.seconds_left("t_ttl", "versions", 3).await;
    assert!((2_900..=3_000).contains(&left), "{left} seconds left");
    eventually("the short-lived row is gone", || async {
        table.read(&key(2)).await.unwrap().rows.is_empty()
    })
    .await;
}

async fn many_rows_go_in_few_batches_that_the_server_does_not_warn_of(on: &dyn Server) {
    let tenant = tenant(on, "batches").await;
    let wide = spec(json!({
        "name": "wide",
        "columns": [
            {"name": "note", "type": "text"}, {"name": "n", "type": "int"}, {"name": "id", "type": "uuid"}, {"name": "at", "type": "timestamp"}, {"name": "tags", "type": "list<int>"},
        ],
    }));
    let table = made(&tenant, &wide).await;
    let rows: Rows = (0..5_000)
        .map(|n: i32| Row {
            values: vec![
                Some(Value::Text(format!("source {}", n % 1_250))),
                Some(Value::Int(n / 10_000)),
                Some(Value::Bigint(n.into())),
                Some(Value::Text(format!("{n:025}"))),
                (n % 3 > 0).then_some(Value::Int(n)),
                Some(Value::Uuid(uuid::Uuid::now_v7())),
                Some(Value::Timestamp(n.into())),
                Some(Value::List(vec![Value::Int(n); 2])),
            ],
            version: now() + i64::from(n),
        })
        .collect();
    let report = table.write(&rows).await.unwrap();
    assert_eq!(report.rows, 5_000);
    assert!(
        report.batches < on.most_batches(),
        "{} batches",
        report.batches
    );
    assert_eq!(on.count("t_batches", "wide").await, 5_000);
    on.check_log();
    // Each row a partition of its own, and no cell without a value.
    let column = |n| json!({"name": format!("v{n}"), "type": "text"});
    let columns: Vec<_> = (0..8).map(column).collect();
    let key = json!({"partition": ["v0"]});
    let apart = spec(json!({"name": "apart", "columns": columns, "primaryKey": key}));
    let table = made(&tenant, &apart).await;
    let rows: Rows = (0..2_000)
        .map(|n: i32| Row {
            values: (0..8)
                .map(|c| Some(Value::Text(format!("{c} of {n}"))))
                .collect(),
            version: now(),
        })
        .collect();
    assert_eq!(table.write(&rows).await.unwrap().rows, 2_000);
    on.check_log();
}

async fn a_row_that_can_never_be_written_is_refused_for_good(on: &dyn Server) {
    let tenant = tenant(on, "refused").await;
    let spec = spec(json!({
        "name": "t",
        "columns": [{"name": "k", "type": "text"}, {"name": "v", "type": "int"}],
        "primaryKey": {"partition": ["k"]},
    }));
    let table = made(&tenant, &spec).await;
    let row = |k: &str, v: Value| Row {
        values: vec![Some(Value::Text(k.to_owned())), Some(v)],
        version: 1,
    };
    for (bad, word) in [
        (row("", Value::Int(1)), "empty"),
        (row(&"x".repeat(70_000), Value::Int(1)), "column `k`"),
        (row("k", Value::Bigint(1)), "column `v`"),
    ] {
        match table.write(&Rows::from([bad])).await {
            Err(StoreError::Permanent(text)) => assert!(text.contains(word), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    table
        .write(&Rows::from([row("k", Value::Int(1))]))
        .await
        .unwrap();
}

async fn a_store_starts_while_the_database_is_down_and_follows_a_new_login(on: &dyn Server) {
    let tenant = tenant(on, "later").await;
    let spec = versions();
    converge(|| tenant.admin.ensure_table(&tenant.keyspace, &spec)).await;
    let right = connection(on, "p_later", "password' of p_later");
    let mut down = right.clone();
    down.endpoints = vec!["127.0.0.1:1".to_owned()];
    let database_of_later = database(down);
    let store = database_of_later.store();
    assert!(!store.ready().await);
    assert!(matches!(
        store.table(&tenant.keyspace, &spec).await.err(),
        Some(StoreError::Transient(_))
    ));
    database_of_later.replace_login(right).await;
    assert!(store.ready().await);
    let table = store.table(&tenant.keyspace, &spec).await.unwrap();
    table
        .write(&Rows::from([version(1, 1, None)]))
        .await
        .unwrap();

    let wrong = connection(on, "p_later", "wrong");
    let store = database(wrong).store();
    assert!(matches!(
        store.table(&tenant.keyspace, &spec).await.err(),
        Some(StoreError::Transient(_))
    ));
}

async fn a_table_or_column_that_is_not_there_yet_is_waited_for(on: &dyn Server) {
    let tenant = tenant(on, "absent").await;
    let spec = versions();
    let absent = tenant.store.table(&tenant.keyspace, &spec).await.err();
    assert!(
        matches!(absent, Some(StoreError::Transient(_))),
        "{absent:?}"
    );
    let mut narrow = spec.clone();
    narrow.columns.pop();
    converge(|| tenant.admin.ensure_table(&tenant.keyspace, &narrow)).await;
    let absent = tenant.store.table(&tenant.keyspace, &spec).await.err();
    assert!(
        matches!(absent, Some(StoreError::Transient(_))),
        "{absent:?}"
    );
    made(&tenant, &spec).await;
}
