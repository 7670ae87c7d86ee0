//! Members of a replica set come and go one at a time, whatever dies meanwhile, and no acknowledged row is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use simbdp_api::common::Engine;
use simbdp_coredms::admin::{AdminError, ClusterSetup, EngineSetup, Member};
use simbdp_coredms::store::{RowQuery, StoreError, Table};
use simbdp_coredms::{AdminConnector, Connection, Connectors, StoreAdmin};
use simbdp_record::{Row, Rows, Value};
use simbdp_testkit::mongodb::MongoDb;

use crate::on_mongodb::{setup, system};
use crate::server::{PASSWORD, SUPERUSER, converge, database, eventually};
use crate::tables::spec;

/// Of the first so many members.
fn setup_of(servers: &MongoDb, members: usize) -> ClusterSetup {
    let mut setup = setup(servers, SUPERUSER, PASSWORD);
    if let EngineSetup::MongoDB(set) = &mut setup.engine {
        set.members.truncate(members);
    }
    setup
}

/// An operator that has just started, with a set of so many members.
async fn admin(servers: &MongoDb, members: usize) -> Result<Arc<dyn StoreAdmin>, AdminError> {
    let setup = setup_of(servers, members);
    let endpoints = servers.endpoints()[..members].to_vec();
    Connectors::new().bootstrap(&endpoints, &setup).await
}

fn serve(members: &[Member]) -> bool {
    let serves = ["PRIMARY", "SECONDARY"];
    members
        .iter()
        .all(|member| serves.contains(&member.state.as_str()))
}

/// Calls again and again until the set has these members and all serve.
async fn becomes(admin: &dyn StoreAdmin, wanted: &[String]) {
    eventually("the set has its members", || async {
        let before = admin.members().await.unwrap_or_default();
        let change = admin.ensure_members(wanted).await;
        assert!(
            matches!(change, Ok(()) | Err(AdminError::Unavailable(_))),
            "{change:?}"
        );
        let members = admin.members().await.unwrap_or_default();
        if !before.is_empty() && !members.is_empty() {
            assert!(
                members.len().abs_diff(before.len()) <= 1,
                "more than one at a time: {before:?} {members:?}"
            );
        }
        let mut named: Vec<_> = members.iter().map(|member| &member.address).collect();
        let mut all: Vec<_> = wanted.iter().collect();
        named.sort();
        all.sort();
        named == all && serve(&members)
    })
    .await;
}

async fn command(servers: &MongoDb, member: usize, command: Document) -> Document {
    let database = system(servers, member).database("admin");
    database.run_command(command).await.unwrap()
}

/// Members as one of them has them.
async fn hosts(servers: &MongoDb, member: usize) -> Vec<String> {
    let answer = command(servers, member, doc! {"replSetGetConfig": 1}).await;
    let members = answer.get_document("config").unwrap().get_array("members");
    let hosts = members.unwrap().iter().map(|member| {
        let host = member.as_document().unwrap().get_str("host");
        host.unwrap().to_owned()
    });
    hosts.collect()
}

/// The member that others follow, once there is one.
async fn primary(servers: &MongoDb, members: usize) -> usize {
    let found = Mutex::new(None);
    eventually("a primary", || async {
        for member in 0..members {
            let hello = command(servers, member, doc! {"hello": 1}).await;
            if hello.get_bool("isWritablePrimary").unwrap() {
                *found.lock().unwrap() = Some(member);
                return true;
            }
        }
        false
    })
    .await;
    found.into_inner().unwrap().unwrap()
}

/// A table, and one row after the other written to it until it is enough.
struct Writer {
    enough: Arc<AtomicBool>,
    table: Arc<dyn Table>,
    task: tokio::task::JoinHandle<i32>,
}

impl Writer {
    async fn start(admin: &dyn StoreAdmin, servers: &MongoDb) -> Self {
        let tenancy = crate::server::tenancy_of("moving", None);
        converge(|| admin.ensure_tenancy(&tenancy)).await;
        let spec = spec(serde_json::json!({
            "name": "t",
            "columns": [{"name": "k", "type": "int"}, {"name": "v", "type": "bigint"}],
            "primaryKey": {"partition": ["k"]},
        }));
        converge(|| admin.ensure_table(&tenancy.keyspace, &spec)).await;
        let store = database(Connection {
            engine: Engine::MongoDB,
            endpoints: servers.endpoints()[..3].to_vec(),
            username: tenancy.platform_role.name.clone(),
            password: tenancy.platform_role.password.clone(),
            tls: None,
        })
        .store();
        let table = store.table(&tenancy.keyspace, &spec).await.unwrap();
        let enough = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(write(Arc::clone(&table), Arc::clone(&enough)));
        Self {
            enough,
            table,
            task,
        }
    }

    /// Every row that was acknowledged is there.
    async fn end(self) {
        self.enough.store(true, Ordering::Relaxed);
        let rows = self.task.await.unwrap();
        assert!(rows > 10, "{rows} rows");
        for k in 0..rows {
            let query = RowQuery {
                partition: vec![("k".to_owned(), Value::Int(k))],
                limit: 1,
                ..RowQuery::default()
            };
            let page = self.table.read(&query).await.unwrap();
            assert_eq!(page.rows.len(), 1, "row {k} of {rows}");
        }
    }
}

async fn write(table: Arc<dyn Table>, enough: Arc<AtomicBool>) -> i32 {
    let mut k = 0;
    while !enough.load(Ordering::Relaxed) {
        let row = Row {
            values: vec![Some(Value::Int(k)), Some(Value::Bigint(1))],
            version: 1,
        };
        let rows: Rows = [row].into_iter().collect();
        match table.write(&rows).await {
            Ok(_) => k += 1,
            Err(StoreError::Transient(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
    k
}

#[tokio::test]
async fn a_set_of_three_has_five_members_and_three_again_while_rows_are_written() {
    let servers = MongoDb::start(5).await.unwrap();
    let all = servers.endpoints();
    let three = converge(|| admin(&servers, 3)).await;
    let writer = Writer::start(&*three, &servers).await;
    let five = converge(|| admin(&servers, 5)).await;

    // The call is killed at one point after the other; the operator after it starts anew.
    for millis in (0..300).step_by(15) {
        let killed = async { admin(&servers, 5).await?.ensure_members(&all).await };
        let _ = tokio::time::timeout(Duration::from_millis(millis), killed).await;
    }
    becomes(&*five, &all).await;
    assert_eq!(hosts(&servers, 4).await, all);

    // The last one leads: another one is elected before it goes.
    eventually("the last one leads", || async {
        let last = system(&servers, 4).database("admin");
        // Another election may be under way.
        let _ = last.run_command(doc! {"replSetStepUp": 1}).await;
        primary(&servers, 5).await == 4
    })
    .await;
    for millis in (0..300).step_by(15) {
        let killed = async { admin(&servers, 5).await?.ensure_members(&all[..3]).await };
        let _ = tokio::time::timeout(Duration::from_millis(millis), killed).await;
    }
    becomes(&*five, &all[..3]).await;
    assert_eq!(hosts(&servers, 0).await, all[..3]);
    assert!(primary(&servers, 3).await < 3);
    writer.end().await;
}

#[tokio::test]
async fn two_operators_at_once_change_one_member_at_a_time() {
    let servers = MongoDb::start(4).await.unwrap();
    let all = servers.endpoints();
    let one = converge(|| admin(&servers, 3)).await;
    becomes(&*one, &all[..3]).await;
    let other = converge(|| admin(&servers, 3)).await;
    let (first, second) = tokio::join!(one.ensure_members(&all), other.ensure_members(&all));
    for result in [first, second] {
        assert!(
            matches!(result, Ok(()) | Err(AdminError::Unavailable(_))),
            "{result:?}"
        );
    }
    becomes(&*one, &all).await;
    let (first, second) = tokio::join!(
        one.ensure_members(&all[..3]),
        other.ensure_members(&all[..3])
    );
    for result in [first, second] {
        assert!(
            matches!(result, Ok(()) | Err(AdminError::Unavailable(_))),
            "{result:?}"
        );
    }
    becomes(&*one, &all[..3]).await;
}

#[tokio::test]
async fn while_a_member_is_down_nobody_is_added() {
    let mut servers = MongoDb::start(4).await.unwrap();
    let all = servers.endpoints();
    let one = converge(|| admin(&servers, 3)).await;
    becomes(&*one, &all[..3]).await;
    let down = (primary(&servers, 3).await + 1) % 3;
    servers.kill(down).unwrap();
    eventually("it is seen down", || async {
        let members = one.members().await.unwrap_or_default();
        members.iter().any(|member| !member.up)
    })
    .await;
    match one.ensure_members(&all).await {
        Err(AdminError::Unavailable(reason)) => assert!(reason.contains(&all[down]), "{reason}"),
        other => panic!("{other:?}"),
    }
    servers.run(down).await.unwrap();
    becomes(&*one, &all).await;
}
