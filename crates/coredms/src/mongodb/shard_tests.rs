//! Collections are sharded once, by the declared key, or refused with both keys.

use mongodb::bson::{Document, doc};
use simbdp_api::pipeline::TableSpec;

use super::{Sharding, pattern, plan};

fn table(shard_key: serde_json::Value) -> TableSpec {
    serde_json::from_value(serde_json::json!({
        "name": "orders",
        "columns": [
            {"name": "country", "type": "text"},
            {"name": "id", "type": "bigint"},
        ],
        "primaryKey": {"partition": ["country"], "clustering": [{"column": "id"}]},
        "shardKey": shard_key,
    }))
    .unwrap()
}

fn hashed() -> TableSpec {
    table(serde_json::json!({"hashed": "id"}))
}

fn geographic() -> TableSpec {
    table(serde_json::json!({"ranged": ["country", "id"]}))
}

fn key(table: &TableSpec) -> Document {
    pattern(table, table.shard_key.as_ref().unwrap())
}

fn commands(table: &TableSpec) -> Vec<(String, Document)> {
    plan("t_a", table, &Sharding::Whole)
        .unwrap()
        .into_iter()
        .map(|step| (step.database, step.command))
        .collect()
}

#[test]
fn keys_are_parts_of_the_id_in_the_declared_order() {
    assert_eq!(key(&hashed()), doc! {"_id.id": "hashed"});
    assert_eq!(key(&geographic()), doc! {"_id.country": 1, "_id.id": 1});
    let mut sole = hashed();
    sole.primary_key = serde_json::from_value(serde_json::json!({"partition": ["id"]})).unwrap();
    assert_eq!(key(&sole), doc! {"_id": "hashed"});
    let mut identity = table(serde_json::json!({"hashed": "simbdp_source"}));
    identity.primary_key = None;
    assert_eq!(key(&identity), doc! {"_id.simbdp_source": "hashed"});
}

#[test]
fn a_collection_gets_its_index_and_is_sharded() {
    let admin = |command: Document| ("admin".to_owned(), command);
    let index = doc! {"name": "simbdp_shard", "key": {"_id.id": "hashed"}};
    assert_eq!(
        commands(&hashed()),
        [
            (
                "t_a".to_owned(),
                doc! {"createIndexes": "orders", "indexes": [index], "commitQuorum": "majority"},
            ),
            admin(doc! {"enableSharding": "t_a"}),
            admin(doc! {"shardCollection": "t_a.orders", "key": {"_id.id": "hashed"}}),
        ]
    );
}

#[test]
fn the_id_itself_needs_no_further_index() {
    let mut sole = table(serde_json::json!({"ranged": ["id"]}));
    sole.primary_key = serde_json::from_value(serde_json::json!({"partition": ["id"]})).unwrap();
    let commands = commands(&sole);
    assert_eq!(commands.len(), 2);
    assert_eq!(
        commands[1].1,
        doc! {"shardCollection": "t_a.orders", "key": {"_id": 1}}
    );
}

#[test]
fn what_is_sharded_so_is_left_alone() {
    for there in [
        doc! {"_id.country": 1, "_id.id": 1},
        doc! {"_id.country": 1.0, "_id.id": 1_i64},
    ] {
        assert_eq!(
            plan("t_a", &geographic(), &Sharding::By(there)).unwrap(),
            []
        );
    }
    let mut unasked = geographic();
    unasked.shard_key = None;
    for there in [Sharding::NoRouter, Sharding::Whole, Sharding::By(doc! {})] {
        assert_eq!(plan("t_a", &unasked, &there).unwrap(), []);
    }
}

#[test]
fn another_key_is_a_conflict_that_names_both() {
    for other in [
        doc! {"_id.country": "hashed"},
        doc! {"_id.id": 1, "_id.country": 1},
        doc! {"_id.country": 1},
    ] {
        let conflict = plan("t_a", &geographic(), &Sharding::By(other.clone())).unwrap_err();
        assert_eq!(conflict.column, "country");
        assert!(conflict.reason.contains(&other.to_string()), "{conflict:?}");
        assert!(conflict.reason.contains(&key(&geographic()).to_string()));
    }
}

#[test]
fn a_database_without_shards_says_so() {
    let conflict = plan("t_a", &hashed(), &Sharding::NoRouter).unwrap_err();
    assert_eq!(conflict.column, "id");
    assert!(conflict.reason.contains("mongos"), "{conflict:?}");
    assert!(conflict.reason.contains("leave shardKey out"));
}
