//! A member whose volume was lost is marked when it is back with another one. Whichever call fails, the mark goes only when
//! all that the member holds was repaired, and nothing else is begun before.

use futures::future::LocalBoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use serde_json::Value;
use simbdp_api::CoreDms;
use simbdp_api::common::Engine;
use simbdp_api::labels::TO_REPAIR;
use simbdp_operator::controller_runtime::drive;
use simbdp_operator::coredms::{CoreDmsController, names};
use simbdp_testkit::fault::Fault;

use crate::campaign::{self, Change, Scenario};
use crate::size::{Servers, address, ask, claim_of, claims, database, ready, settled, until};
use crate::world::{Outside, World};

/// Of the keyspace that every database has.
const REPAIR: &str = "repair --full system_auth";

/// The first member, which has begun the cluster.
fn first(world: &World) -> String {
    names::member(&world.name, 0)
}

/// Takes the first member's volume away, and its pod for as long as that keeps it.
async fn lose(world: &World) {
    let (namespace, pod) = (world.operator_namespace(), first(world));
    let before = claim_of(world, &pod).await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    claims
        .delete(&before.name_any(), &DeleteParams::default())
        .await
        .unwrap();
    let now = DeleteParams::default().grace_period(0);
    for _ in 0..300 {
        let claim = claim_of(world, &pod).await;
        if claim.is_some_and(|claim| claim.uid() != before.uid()) {
            return;
        }
        // It may be gone already.
        let _ = pods.delete(&pod, &now).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{} has its volume still", first(world));
}

/// The volume with which the operator knows the first member.
async fn known(world: &World) -> String {
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.operator_namespace());
    let members = api.get(&names::members(&world.name)).await.unwrap();
    let text = &members.data.unwrap()[&first(world)];
    let joined: Value = serde_json::from_str(text).unwrap();
    joined["volume"].as_str().unwrap().to_owned()
}

async fn marked(world: &World) -> Vec<String> {
    let claims = claims(world).await.into_iter();
    let marked = claims.filter(|claim| claim.annotations().contains_key(TO_REPAIR));
    marked.map(|claim| claim.name_any()).collect()
}

/// Whether the operator knows the new volume, and has nothing left to do.
async fn repaired(world: &World) -> bool {
    let claim = claim_of(world, &first(world)).await;
    claim.and_then(|claim| claim.uid()) == Some(known(world).await)
        && marked(world).await.is_empty()
        && settled(world).await
}

/// How often the first member was asked for a repair, and whether it has ended well.
fn repairs(world: &World) -> (usize, bool) {
    let all = world.commands.all();
    let repairs = all
        .iter()
        .filter(|(pod, command)| *pod == first(world) && command == REPAIR);
    let state = world.stores.state(&database(world, Engine::Cassandra));
    let key = (address(&first(world)), "system_auth".to_owned());
    (repairs.count(), state.repairs.get(&key) == Some(&true))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_member_is_repaired_once_and_before_anything_else() {
    let (world, servers) = (World::new("replaced").await, Servers::default());
    ready(&world, Engine::Cassandra, 3, &servers).await;
    assert!(world.commands.all().is_empty());
    lose(&world).await;
    ask(&world, 4).await;
    let four = async || repaired(&world).await && claims(&world).await.len() == 4;
    until(&world, &servers, four).await;
    let all = world.commands.all();
    assert_eq!(all[0], (first(&world), REPAIR.to_owned()));
    assert_eq!(repairs(&world).0, 1);
    let cleaned = all.iter().filter(|(_, command)| command == "cleanup");
    assert_eq!(cleaned.count(), 3);
    let namespace = world.operator_namespace();
    campaign::second_writes_nothing::<CoreDmsController>(&world, Some(&namespace)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_goes_on_is_waited_for_and_one_that_is_forgotten_is_done_again() {
    let world = World::new("repairs").await;
    let mut servers = Servers::default();
    ready(&world, Engine::Cassandra, 3, &servers).await;
    world.commands.outlast();
    lose(&world).await;
    servers.slow = true;
    until(&world, &servers, async || repairs(&world).0 > 0).await;
    let namespace = world.operator_namespace();
    for _ in 0..3 {
        drive::<CoreDmsController>(&world.context(), Some(&namespace), &world.name)
            .await
            .unwrap();
    }
    assert_eq!(repairs(&world), (1, false));
    assert_eq!(marked(&world).await, [format!("data-{}", first(&world))]);
    let told = world
        .told::<CoreDms>(Some(&namespace), &world.name, "Reconciling")
        .await;
    let (status, reason, message) = told.unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Repairing"));
    assert!(message.contains(&first(&world)), "{message}");
    // The member is started again, and knows of no repair.
    world
        .stores
        .update(&database(&world, Engine::Cassandra), |state| {
            state.repairs.clear();
        });
    servers.slow = false;
    until(&world, &servers, async || repaired(&world).await).await;
    assert_eq!(repairs(&world), (2, true));
}

/// The first member loses its volume.
struct Loss;

impl Scenario for Loss {
    type Controller = CoreDmsController;
    fn prepare<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            ready(world, Engine::Cassandra, 3, &Servers::default()).await;
            world.commands.outlast();
        })
    }
    fn namespace(&self, world: &World) -> Option<String> {
        Some(world.operator_namespace())
    }
    fn outside(&self) -> Box<dyn Outside> {
        Box::new(Servers::default())
    }
    fn settled<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move { repaired(world).await })
    }
    fn end_state<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, String> {
        Box::pin(async move {
            let (asked, ended) = repairs(world);
            assert!(asked > 0 && ended, "{asked} repairs; {ended}");
            world.end_state(&world.operator_namespace()).await
        })
    }
}

impl Change for Loss {
    fn ask<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            world.commands.forget();
            lose(world).await;
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_member_is_repaired_whichever_call_fails() {
    let faults = [Fault::Status(500), Fault::CrashBefore, Fault::CrashAfter];
    campaign::round(&[&Loss], "rp", &faults).await;
}
