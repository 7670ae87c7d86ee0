//! Another number of members: one comes or goes at a time, what was begun is gone through with, and a volume that has
//! left never serves again.

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures::future::{BoxFuture, LocalBoxFuture};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use simbdp_api::CoreDms;
use simbdp_api::common::Engine;
use simbdp_coredms::admin::Member;
use simbdp_operator::controller_runtime::drive;
use simbdp_operator::coredms::{CoreDmsController, names};
use simbdp_testkit::fault::Fault;

use crate::campaign::{self, Change, Scenario};
use crate::world::{Outside, World};

/// What a CoreDms of an engine declares.
fn object(world: &World, engine: Engine, replicas: u16) -> Value {
    json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "CoreDms",
        "metadata": {"name": world.name, "namespace": world.operator_namespace()},
        "spec": {
            "engine": engine, "storage": {"size": "1Gi"}, "profile": "Development",
            "replicas": replicas,
        },
    })
}

/// Runs every pod, each at an address of its own, and carries out what Cassandra is asked for.
#[derive(Default)]
pub struct Servers {
    /// UIDs of claims whose members have left.
    left: Mutex<BTreeSet<String>>,
    /// Whether who leaves, or is repaired, takes its time.
    pub slow: bool,
}

fn ordinal(pod: &str) -> u16 {
    pod.rsplit_once('-').unwrap().1.parse().unwrap()
}

pub fn address(pod: &str) -> String {
    format!("10.0.0.{}", ordinal(pod) + 1)
}

async fn pods(world: &World) -> Vec<Pod> {
    let api: Api<Pod> = Api::namespaced(world.client.clone(), &world.operator_namespace());
    api.list(&ListParams::default()).await.unwrap().items
}

pub async fn claims(world: &World) -> Vec<PersistentVolumeClaim> {
    let api: Api<PersistentVolumeClaim> =
        Api::namespaced(world.client.clone(), &world.operator_namespace());
    api.list(&ListParams::default()).await.unwrap().items
}

pub async fn claim_of(world: &World, pod: &str) -> Option<PersistentVolumeClaim> {
    let name = format!("data-{pod}");
    let mut claims = claims(world).await.into_iter();
    claims.find(|claim| claim.name_any() == name)
}

pub fn database(world: &World, engine: Engine) -> Vec<String> {
    names::endpoints(engine, &world.name, &world.operator_namespace())
}

fn running(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) == Some("Running")
}

impl Servers {
    async fn patch(&self, world: &World, pod: &str, ready: bool) {
        let api: Api<Pod> = Api::namespaced(world.client.clone(), &world.operator_namespace());
        let volume = claim_of(world, pod).await.and_then(|claim| claim.uid());
        let condition = json!({
            "type": "Ready", "status": if ready { "True" } else { "False" },
            "lastTransitionTime": "2020-01-01T00:00:00Z",
        });
        let prepared = json!({
            "name": "prepare", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "message": volume}},
        });
        let status = json!({"status": {
            "phase": "Running", "podIP": address(pod), "podIPs": [{"ip": address(pod)}],
            "conditions": [condition], "initContainerStatuses": [prepared],
        }});
        // It may go at the same moment.
        let _ = api
            .patch_status(pod, &PatchParams::default(), &Patch::Merge(status))
            .await;
    }

    /// New members join; who was asked to leave leaves, and is gone a moment later; repairs go on for a moment.
    async fn ring(&self, world: &World) {
        let endpoints = database(world, Engine::Cassandra);
        if !self.slow {
            world.stores.update(&endpoints, |state| {
                state.repairs.values_mut().for_each(|ended| *ended = true);
            });
        }
        for (pod, command) in world.commands.take() {
            if let Some(keyspace) = command.strip_prefix("repair --full ") {
                world.stores.update(&endpoints, |state| {
                    let repair = (address(&pod), keyspace.to_owned());
                    state.repairs.insert(repair, false);
                });
            }
            if command != "decommission" {
                continue;
            }
            world.stores.update(&endpoints, |state| {
                let all = state.members.len();
                let named = |member: &&mut Member| member.address == address(&pod);
                let member = state.members.iter_mut().find(named);
                if let Some(member) = member.filter(|member| member.state == "NORMAL") {
                    assert!(all > 3, "too few would be left");
                    member.state = "LEAVING".into();
                }
            });
        }
        if self.slow {
            return;
        }
        let leaving: Vec<_> = world
            .stores
            .state(&endpoints)
            .members
            .into_iter()
            .filter(|member| member.state == "LEAVING")
            .collect();
        for member in leaving {
            let pods = pods(world).await;
            let names = pods.iter().map(ResourceExt::name_any);
            for pod in names.filter(|pod| address(pod) == member.address) {
                let claim = claim_of(world, &pod).await.unwrap();
                self.left.lock().unwrap().extend(claim.uid());
                self.patch(world, &pod, false).await;
            }
            world.stores.update(&endpoints, |state| {
                state
                    .members
                    .retain(|other| other.address != member.address);
            });
        }
    }
}

impl Outside for Servers {
    fn act<'a>(&'a self, world: &'a World) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let coredms = world
                .get::<CoreDms>(Some(&world.operator_namespace()), &world.name)
                .await;
            let cassandra = coredms.is_some_and(|coredms| coredms.spec.engine == Engine::Cassandra);
            if cassandra {
                self.ring(world).await;
            }
            for pod in pods(world).await {
                if running(&pod) || pod.metadata.deletion_timestamp.is_some() {
                    continue;
                }
                let name = pod.name_any();
                let uid = claim_of(world, &name).await.and_then(|claim| claim.uid());
                let Some(uid) = uid else {
                    continue;
                };
                assert!(
                    !self.left.lock().unwrap().contains(&uid),
                    "{name} has a volume that has left"
                );
                self.patch(world, &name, true).await;
                if cassandra
                    && world
                        .stores
                        .state(&database(world, Engine::Cassandra))
                        .superuser
                        .is_some()
                {
                    world
                        .stores
                        .update(&database(world, Engine::Cassandra), |state| {
                            let address = address(&name);
                            state.repairs.retain(|(member, _), _| *member != address);
                            if !state.members.iter().any(|member| member.address == address) {
                                state.members.push(Member {
                                    address,
                                    state: "NORMAL".into(),
                                    up: true,
                                });
                            }
                        });
                }
            }
        })
    }
}

pub async fn ask(world: &World, replicas: u16) {
    let namespace = world.operator_namespace();
    let api: Api<CoreDms> = Api::namespaced(world.client.clone(), &namespace);
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    api.patch(&world.name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

pub async fn until(world: &World, servers: &Servers, is: impl AsyncFn() -> bool) {
    let namespace = world.operator_namespace();
    world
        .run::<CoreDmsController>(Some(&namespace), &world.name, servers, is)
        .await;
}

/// Ready, with nothing left to be done.
pub async fn settled(world: &World) -> bool {
    let namespace = world.operator_namespace();
    let (namespace, name) = (Some(namespace.as_str()), world.name.as_str());
    let reconciling = world.told::<CoreDms>(namespace, name, "Reconciling").await;
    reconciling.is_some_and(|(status, _, _)| status == "False")
        && world.holds::<CoreDms>(namespace, name, &["Ready"]).await
}

pub async fn ready(world: &World, engine: Engine, replicas: u16, servers: &Servers) {
    let namespace = world.operator_namespace();
    world
        .create::<CoreDms>(Some(&namespace), object(world, engine, replicas))
        .await;
    if engine == Engine::Cassandra {
        let members = (1..=replicas).map(|n| Member {
            address: format!("10.0.0.{n}"),
            state: "NORMAL".into(),
            up: true,
        });
        let members = members.collect();
        world
            .stores
            .update(&database(world, engine), |state| state.members = members);
    }
    until(world, servers, async || settled(world).await).await;
}

async fn resized(world: &World, replicas: u16, servers: &Servers) {
    ask(world, replicas).await;
    until(world, servers, async || settled(world).await).await;
    let (pods, claims) = (pods(world).await, claims(world).await);
    assert_eq!(pods.len(), usize::from(replicas));
    assert_eq!(claims.len(), usize::from(replicas));
    assert!(claims.iter().all(|claim| {
        let ours = |key: &String| key.starts_with("simbdp.dev/");
        !claim.annotations().keys().any(ours)
    }));
}

fn commands(world: &World, word: &str) -> Vec<u16> {
    let all = world.commands.all().into_iter();
    let named = all.filter(|(_, command)| command == word);
    named.map(|(pod, _)| ordinal(&pod)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cassandra_grows_and_shrinks_by_one_member_at_a_time() {
    let (world, servers) = (World::new("sized").await, Servers::default());
    ready(&world, Engine::Cassandra, 3, &servers).await;
    resized(&world, 5, &servers).await;
    assert_eq!(commands(&world, "cleanup"), [0, 1, 2, 3]);
    assert_eq!(commands(&world, "decommission"), [0_u16; 0]);
    resized(&world, 3, &servers).await;
    assert_eq!(commands(&world, "decommission"), [4, 3]);
    let namespace = world.operator_namespace();
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), &namespace);
    let members = api.get(&names::members(&world.name)).await.unwrap();
    let members = members.data.unwrap().into_keys().map(|pod| ordinal(&pod));
    assert_eq!(members.collect::<Vec<_>>(), [0, 1, 2]);
    campaign::second_writes_nothing::<CoreDmsController>(&world, Some(&namespace)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_grows_and_shrinks_by_one_voter_at_a_time() {
    let (world, servers) = (World::new("voted").await, Servers::default());
    ready(&world, Engine::MongoDB, 3, &servers).await;
    resized(&world, 5, &servers).await;
    let state = world.stores.state(&database(&world, Engine::MongoDB));
    assert_eq!(state.members.len(), 5);
    resized(&world, 3, &servers).await;
    let state = world.stores.state(&database(&world, Engine::MongoDB));
    let hosts: Vec<_> = state
        .members
        .iter()
        .map(|member| member.address.split('.').next().unwrap_or_default())
        .map(ordinal)
        .collect();
    assert_eq!(hosts, [0, 1, 2]);
    assert!(world.commands.all().is_empty());
    let namespace = world.operator_namespace();
    campaign::second_writes_nothing::<CoreDmsController>(&world, Some(&namespace)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_leaves_though_the_mind_is_changed_and_comes_back_anew() {
    let world = World::new("mind").await;
    let mut servers = Servers {
        slow: true,
        ..Servers::default()
    };
    ready(&world, Engine::Cassandra, 4, &servers).await;
    let last = format!("{}-3", world.name);
    let before = claim_of(&world, &last).await.unwrap().uid();
    ask(&world, 3).await;
    let namespace = world.operator_namespace();
    let says = async |word: &str| {
        let told = world
            .told::<CoreDms>(Some(&namespace), &world.name, "Reconciling")
            .await;
        told.is_some_and(|(_, reason, message)| reason == "ScalingIn" && message.contains(word))
    };
    until(&world, &servers, async || says("hands its data over").await).await;
    ask(&world, 4).await;
    for _ in 0..3 {
        drive::<CoreDmsController>(&world.context(), Some(&namespace), &world.name)
            .await
            .unwrap();
    }
    assert!(says("hands its data over").await);
    servers.slow = false;
    until(&world, &servers, async || settled(&world).await).await;
    assert_eq!(pods(&world).await.len(), 4);
    let after = claim_of(&world, &last).await.unwrap().uid();
    assert_ne!(before, after, "it has a volume of its own again");
    assert_eq!(commands(&world, "decommission"), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_s_scaling_takes_no_member_away_for_good() {
    let (world, servers) = (World::new("meddled").await, Servers::default());
    ready(&world, Engine::Cassandra, 3, &servers).await;
    let namespace = world.operator_namespace();
    let api: Api<k8s_openapi::api::apps::v1::StatefulSet> =
        Api::namespaced(world.client.clone(), &namespace);
    let patch = Patch::Merge(json!({"spec": {"replicas": 1}}));
    api.patch(&world.name, &PatchParams::default(), &patch)
        .await
        .unwrap();
    let whole = async || settled(&world).await && pods(&world).await.len() == 3;
    until(&world, &servers, whole).await;
    assert!(world.commands.all().is_empty());
}

/// From so many members of an engine to so many.
struct Resizing(Engine, u16, u16);

impl Scenario for Resizing {
    type Controller = CoreDmsController;
    fn prepare<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            ready(world, self.0, self.1, &Servers::default()).await;
        })
    }
    fn namespace(&self, world: &World) -> Option<String> {
        Some(world.operator_namespace())
    }
    fn outside(&self) -> Box<dyn Outside> {
        Box::new(Servers::default())
    }
    fn settled<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move { settled(world).await })
    }
    fn end_state<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, String> {
        Box::pin(async move {
            let members = world.stores.state(&database(world, self.0)).members;
            let pods: Vec<_> = pods(world)
                .await
                .iter()
                .map(ResourceExt::name_any)
                .collect();
            assert_eq!(pods.len(), usize::from(self.2));
            assert_eq!(members.len(), usize::from(self.2), "{members:?}");
            world.end_state(&world.operator_namespace()).await
        })
    }
}

impl Change for Resizing {
    fn ask<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            ask(world, self.2).await;
        })
    }
}

const FAULTS: [Fault; 3] = [Fault::Status(500), Fault::CrashBefore, Fault::CrashAfter];

async fn more_and_fewer(engine: Engine, few: u16, many: u16, prefix: &str) {
    let more = Resizing(engine, few, many);
    let fewer = Resizing(engine, many, few);
    campaign::there_and_back(&more, &fewer, prefix, &FAULTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_cassandra_comes_and_goes_whichever_call_fails() {
    more_and_fewer(Engine::Cassandra, 3, 4, "zc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_mongodb_come_and_go_whichever_call_fails() {
    more_and_fewer(Engine::MongoDB, 3, 5, "zm").await;
}
