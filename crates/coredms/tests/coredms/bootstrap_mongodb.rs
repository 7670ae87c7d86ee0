//! First login: one replica set from every state that a crash can leave.

use std::time::Duration;

use futures::future::join_all;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use simbdp_coredms::admin::{AdminError, EngineSetup};
use simbdp_coredms::{AdminConnector, Connectors};
use simbdp_testkit::mongodb::{MongoDb, REPLICA_SET};
use tokio::net::TcpStream;

use crate::on_mongodb::{setup, system};
use crate::server::{PASSWORD, SUPERUSER, Server, all_up, converge, eventually, mongodb};

const NOT_YET_INITIALIZED: i32 = 94;

async fn admin_command(servers: &MongoDb, member: usize, command: Document) -> Document {
    let database = system(servers, member).database("admin");
    database.run_command(command).await.unwrap()
}

/// What makes a set one: made when it is initiated, the same on every member.
async fn set_id(servers: &MongoDb, member: usize) -> String {
    let answer = admin_command(servers, member, doc! {"replSetGetConfig": 1}).await;
    let settings = answer
        .get_document("config")
        .unwrap()
        .get_document("settings")
        .unwrap();
    settings.get_object_id("replicaSetId").unwrap().to_hex()
}

async fn is_new(servers: &MongoDb, member: usize) -> bool {
    let status = doc! {"replSetGetStatus": 1};
    let answer = system(servers, member)
        .database("admin")
        .run_command(status)
        .await;
    match answer.err().map(|error| *error.kind) {
        Some(ErrorKind::Command(command)) => command.code == NOT_YET_INITIALIZED,
        _ => false,
    }
}

async fn bootstrapped(servers: &MongoDb, password: &str) {
    let setup = setup(servers, SUPERUSER, password);
    let endpoints = servers.endpoints();
    converge(|| async { Connectors::new().bootstrap(&endpoints, &setup).await }).await;
}

#[tokio::test]
async fn a_set_is_initiated_when_all_members_answer_and_once_however_often_it_is_tried() {
    let mut servers = MongoDb::start(3).await.unwrap();
    let setup = setup(&servers, SUPERUSER, PASSWORD);
    let endpoints = servers.endpoints();
    servers.kill(2).unwrap();
    let failed = Connectors::new().bootstrap(&endpoints, &setup).await.err();
    match failed {
        Some(AdminError::Unavailable(reason)) => {
            assert!(reason.contains(&endpoints[2]), "{reason}");
            assert!(!reason.contains(servers.keyfile()), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(is_new(&servers, 0).await && is_new(&servers, 1).await);
    servers.run(2).await.unwrap();

    // The call is killed at one point after the other; the operator after it starts anew.
    for millis in (0..400).step_by(20) {
        let killed = async { Connectors::new().bootstrap(&endpoints, &setup).await };
        let _ = tokio::time::timeout(Duration::from_millis(millis), killed).await;
    }
    // Two at once, as while a lead is handed over.
    let twice = || converge(|| async { Connectors::new().bootstrap(&endpoints, &setup).await });
    tokio::join!(twice(), twice());
    let ids = join_all((0..3).map(|member| set_id(&servers, member))).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn what_a_crash_left_half_done_is_finished() {
    let servers = MongoDb::start(1).await.unwrap();
    let member = doc! {"_id": 0, "host": servers.endpoints().remove(0)};
    let config = doc! {"_id": REPLICA_SET, "members": [member]};
    // Initiated, without a user.
    admin_command(&servers, 0, doc! {"replSetInitiate": config}).await;
    let id = set_id(&servers, 0).await;
    bootstrapped(&servers, "first").await;
    // The Secret was lost with the operator, and made anew; somebody took a role away.
    let update =
        doc! {"updateUser": SUPERUSER, "pwd": "of a lost Secret", "roles": ["clusterMonitor"]};
    admin_command(&servers, 0, update).await;
    bootstrapped(&servers, "first").await;
    assert_eq!(set_id(&servers, 0).await, id);
    let connection = simbdp_coredms::Connection {
        engine: simbdp_api::common::Engine::MongoDB,
        endpoints: servers.endpoints(),
        username: SUPERUSER.to_owned(),
        password: "first".to_owned(),
        tls: None,
    };
    let admin = Connectors::new().connect(&connection).await.unwrap();
    assert_eq!(admin.members().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_member_whose_volume_is_lost_is_filled_by_the_others() {
    let mut servers = MongoDb::start(3).await.unwrap();
    bootstrapped(&servers, PASSWORD).await;
    let id = set_id(&servers, 0).await;
    // Also the one that a new set would be initiated through.
    for lost in [2, 0] {
        servers.kill(lost).unwrap();
        servers.wipe(lost).unwrap();
        // While it is away, and after it came back empty.
        bootstrapped(&servers, PASSWORD).await;
        servers.run(lost).await.unwrap();
        bootstrapped(&servers, PASSWORD).await;
        let setup = setup(&servers, SUPERUSER, PASSWORD);
        let endpoints = servers.endpoints();
        eventually("every member serves", || async {
            let admin = Connectors::new().bootstrap(&endpoints, &setup).await;
            let members = match admin {
                Ok(admin) => admin.members().await.unwrap_or_default(),
                Err(_) => Vec::new(),
            };
            let serves = ["PRIMARY", "SECONDARY"];
            members
                .iter()
                .filter(|member| serves.contains(&member.state.as_str()))
                .count()
                == 3
        })
        .await;
        for member in 0..3 {
            assert_eq!(set_id(&servers, member).await, id);
        }
    }
}

#[tokio::test]
async fn a_set_none_of_whose_members_finds_itself_is_restarted_and_stays_the_same() {
    let mut servers = MongoDb::start(1).await.unwrap();
    bootstrapped(&servers, PASSWORD).await;
    let id = set_id(&servers, 0).await;
    // It starts where no name of the configuration leads to it.
    servers.kill(0).unwrap();
    let before = servers.readdress(0, None).unwrap();
    servers.run(0).await.unwrap();
    let setup = setup(&servers, SUPERUSER, PASSWORD);
    let endpoints = servers.endpoints();
    eventually("it is told to start again", || async {
        match Connectors::new().bootstrap(&endpoints, &setup).await.err() {
            Some(AdminError::Unavailable(reason)) => reason.contains("all are restarted"),
            other => panic!("{other:?}"),
        }
    })
    .await;
    eventually("the server ends", || async {
        TcpStream::connect(&endpoints[0]).await.is_err()
    })
    .await;
    servers.kill(0).unwrap();
    servers.readdress(0, Some(before)).unwrap();
    servers.run(0).await.unwrap();
    bootstrapped(&servers, PASSWORD).await;
    assert_eq!(set_id(&servers, 0).await, id);
}

#[tokio::test]
async fn a_second_bootstrap_writes_nothing() {
    let on = mongodb().await;
    let before = on.stored_password(SUPERUSER).await;
    let connector = Connectors::new();
    let setup = on.setup(SUPERUSER, PASSWORD);
    for _ in 0..2 {
        let admin = connector.bootstrap(&on.endpoints(), &setup).await.unwrap();
        all_up(&*admin).await;
    }
    assert_eq!(on.stored_password(SUPERUSER).await, before);
}

#[tokio::test]
async fn another_keyfile_is_told_from_a_member_that_is_away() {
    let on = mongodb().await;
    let mut setup = on.setup(SUPERUSER, PASSWORD);
    if let EngineSetup::MongoDB(set) = &mut setup.engine {
        set.keyfile = "anotherkeyfile".to_owned();
    }
    match Connectors::new()
        .bootstrap(&on.endpoints(), &setup)
        .await
        .err()
    {
        Some(AdminError::Refused { reason, .. }) => {
            assert!(
                reason.contains("keyfile") && !reason.contains("anotherkeyfile"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
}
