//! A change of a database that runs: its members are restarted one at a time, and what cannot start harms nobody.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, LocalBoxFuture};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use simbdp_api::CoreDms;
use simbdp_operator::coredms::CoreDmsController;
use simbdp_testkit::fault::Fault;

use crate::campaign::{self, Scenario};
use crate::servers::{Cassandra, Creation, Server, ready};
use crate::world::{Outside, World};

/// A version that no registry has.
const BAD: &str = "9.9";

async fn pods(world: &World) -> Vec<Pod> {
    let api: Api<Pod> = Api::namespaced(world.client.clone(), &world.operator_namespace());
    api.list(&ListParams::default()).await.unwrap().items
}

fn image(pod: &Pod) -> String {
    let spec = pod.spec.as_ref().unwrap();
    spec.containers[0].image.clone().unwrap()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    ready.any(|condition| condition.status == "True")
}

/// Runs what can be run, and sees to it that two of three members serve at all times.
struct StrictKubelet;

impl Outside for StrictKubelet {
    fn act<'a>(&'a self, world: &'a World) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let pods = pods(world).await;
            let serving = pods.iter().filter(|pod| is_ready(pod)).count();
            assert!(serving >= 2, "{serving} members serve");
            let namespace = world.operator_namespace();
            let api: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
            for pod in pods.iter().filter(|pod| image(pod).ends_with(BAD)) {
                let waiting =
                    json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}});
                let status = json!({"status": {"phase": "Pending", "containerStatuses": [{
                    "name": "cassandra", "image": image(pod), "imageID": "", "ready": false, "restartCount": 0,
                    "state": waiting,
                }]}});
                let patch = Patch::Merge(status);
                // It may go at the same moment.
                let _ = api
                    .patch_status(&pod.name_any(), &PatchParams::default(), &patch)
                    .await;
            }
            world
                .run_pods_that(&namespace, |pod| !image(pod).ends_with(BAD))
                .await;
        })
    }
}

async fn change(world: &World, spec: Value) {
    let namespace = world.operator_namespace();
    let api: Api<CoreDms> = Api::namespaced(world.client.clone(), &namespace);
    let patch = Patch::Merge(json!({"spec": spec}));
    api.patch(&world.name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// Reconciles until it is so.
async fn until(world: &World, is: impl AsyncFn() -> bool) {
    let namespace = world.operator_namespace();
    world
        .run::<CoreDmsController>(Some(&namespace), &world.name, &StrictKubelet, is)
        .await;
}

/// Ready, and every member as declared last.
async fn settled(world: &World) -> bool {
    let namespace = world.operator_namespace();
    let current = ["Ready"];
    let Some(coredms) = world.get::<CoreDms>(Some(&namespace), &world.name).await else {
        return false;
    };
    let conditions = coredms.status.map(|status| status.conditions.conditions);
    let reconciling = conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Reconciling" && condition.status == "True");
    !reconciling
        && world
            .holds::<CoreDms>(Some(&namespace), &world.name, &current)
            .await
}

async fn images(world: &World) -> BTreeMap<String, String> {
    let pods = pods(world).await;
    pods.iter()
        .map(|pod| (pod.name_any(), image(pod)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_restarted_one_at_a_time_until_each_is_as_declared() {
    let world = World::new("rolled").await;
    ready(&Creation(Cassandra), &world).await;
    change(&world, json!({"version": "5.1"})).await;
    until(&world, async || settled(&world).await).await;
    let images = images(&world).await;
    assert_eq!(images.len(), 3);
    assert!(
        images
            .values()
            .all(|image| image == "example/cassandra:5.1"),
        "{images:?}"
    );
    let namespace = world.operator_namespace();
    campaign::second_writes_nothing::<CoreDmsController>(&world, Some(&namespace)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_had_stops_at_one_member_and_heals_when_it_is_reverted() {
    let world = World::new("reverted").await;
    ready(&Creation(Cassandra), &world).await;
    let uids = async || -> Vec<_> { pods(&world).await.iter().map(ResourceExt::uid).collect() };
    let before = uids().await;
    change(&world, json!({"version": BAD})).await;
    let says_so = async || {
        let namespace = world.operator_namespace();
        let coredms = world.get::<CoreDms>(Some(&namespace), &world.name).await;
        let status = coredms
            .and_then(|coredms| coredms.status)
            .unwrap_or_default();
        let conditions = status.conditions.conditions;
        conditions.iter().any(|condition| {
            condition.type_ == "Reconciling" && condition.reason == "ImagePullBackOff"
        })
    };
    until(&world, says_so).await;
    let bad = images(&world).await;
    assert_eq!(
        bad.values().filter(|image| image.ends_with(BAD)).count(),
        1,
        "{bad:?}"
    );

    change(&world, json!({"version": "5.0"})).await;
    until(&world, async || settled(&world).await).await;
    let (after, images) = (uids().await, images(&world).await);
    assert!(
        images
            .values()
            .all(|image| image == "example/cassandra:5.0"),
        "{images:?}"
    );
    let same = after.iter().filter(|uid| before.contains(uid)).count();
    assert_eq!(same, 2, "the others were never touched");
}

/// A change of the version.
struct Change;

impl Scenario for Change {
    type Controller = CoreDmsController;
    fn prepare<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            ready(&Creation(Cassandra), world).await;
            change(world, json!({"version": "5.1"})).await;
        })
    }
    fn namespace(&self, world: &World) -> Option<String> {
        Cassandra::namespace(world)
    }
    fn outside(&self) -> Box<dyn Outside> {
        Box::new(StrictKubelet)
    }
    fn settled<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move { settled(world).await })
    }
    fn end_state<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, String> {
        Box::pin(async move { world.end_state(&world.operator_namespace()).await })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_database_converges_whichever_call_fails() {
    let faults = [Fault::Status(500), Fault::CrashBefore, Fault::CrashAfter];
    campaign::run(&Change, "dv", &faults).await;
}
