//! Volumes of members grow where their StorageClass lets them; nothing happens to them where it does not.

use futures::future::{BoxFuture, LocalBoxFuture};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use simbdp_api::CoreDms;
use simbdp_operator::coredms::CoreDmsController;
use simbdp_testkit::fault::Fault;

use crate::campaign::{self, Scenario};
use crate::world::{Outside, World};

/// A storage that gives volumes as they are asked for, and to those that it has what they ask for.
struct Storage;

impl Outside for Storage {
    fn act<'a>(&'a self, world: &'a World) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let namespace = world.operator_namespace();
            let api: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), &namespace);
            for claim in claims(world).await {
                let asked = requested(&claim);
                let status = json!({"status": {"phase": "Bound", "capacity": {"storage": asked}}});
                let (name, params) = (claim.name_any(), PatchParams::default());
                api.patch_status(&name, &params, &Patch::Merge(status))
                    .await
                    .unwrap();
            }
            world.run_pods(&namespace).await;
        })
    }
}

async fn claims(world: &World) -> Vec<PersistentVolumeClaim> {
    let namespace = world.operator_namespace();
    let api: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), &namespace);
    api.list(&ListParams::default()).await.unwrap().items
}

fn requested(claim: &PersistentVolumeClaim) -> String {
    let resources = claim.spec.as_ref().unwrap().resources.as_ref().unwrap();
    resources.requests.as_ref().unwrap()["storage"].0.clone()
}

async fn sizes(world: &World) -> Vec<String> {
    claims(world).await.iter().map(requested).collect()
}

async fn class(world: &World, grows: bool) {
    let api: Api<StorageClass> = Api::all(world.client.clone());
    let class = serde_json::from_value(json!({
        "metadata": {"name": world.name}, "provisioner": "example.com/none", "allowVolumeExpansion": grows,
    }));
    api.create(&PostParams::default(), &class.unwrap())
        .await
        .unwrap();
}

fn declared(world: &World) -> Value {
    let storage = json!({"size": "1Gi", "storageClassName": world.name});
    json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "CoreDms",
        "metadata": {"name": world.name, "namespace": world.operator_namespace()},
        "spec": {"storage": storage, "profile": "Development"},
    })
}

async fn until(world: &World, is: impl AsyncFn() -> bool) {
    let namespace = world.operator_namespace();
    world
        .run::<CoreDmsController>(Some(&namespace), &world.name, &Storage, is)
        .await;
}

async fn holds(world: &World, kinds: &[&str]) -> bool {
    let namespace = world.operator_namespace();
    world
        .holds::<CoreDms>(Some(&namespace), &world.name, kinds)
        .await
}

async fn running(world: &World) {
    let namespace = world.operator_namespace();
    world
        .create::<CoreDms>(Some(&namespace), declared(world))
        .await;
    until(world, async || {
        holds(world, &["Ready", "VolumesReady"]).await
    })
    .await;
}

async fn ask(world: &World, size: &str) -> Result<CoreDms, kube::Error> {
    let namespace = world.operator_namespace();
    let api: Api<CoreDms> = Api::namespaced(world.client.clone(), &namespace);
    let patch = Patch::Merge(json!({"spec": {"storage": {"size": size}}}));
    api.patch(&world.name, &PatchParams::default(), &patch)
        .await
}

/// Volumes that are asked to grow while the operator fails at any call.
struct Growth;

impl Scenario for Growth {
    type Controller = CoreDmsController;
    fn prepare<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            class(world, true).await;
            running(world).await;
            ask(world, "2Gi").await.unwrap();
        })
    }
    fn namespace(&self, world: &World) -> Option<String> {
        Some(world.operator_namespace())
    }
    fn outside(&self) -> Box<dyn Outside> {
        Box::new(Storage)
    }
    fn settled<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move {
            let namespace = world.operator_namespace();
            let told = world
                .told::<CoreDms>(Some(&namespace), &world.name, "Reconciling")
                .await;
            template(world).await.as_deref() == Some("2Gi")
                && holds(world, &["Ready", "VolumesReady"]).await
                && told.is_some_and(|(status, ..)| status == "False")
        })
    }
    fn end_state<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, String> {
        Box::pin(async move { world.end_state(&world.operator_namespace()).await })
    }
}

async fn template(world: &World) -> Option<String> {
    let api: Api<StatefulSet> = Api::namespaced(world.client.clone(), &world.operator_namespace());
    let set = api.get_opt(&world.name).await.unwrap()?;
    Some(requested(&set.spec?.volume_claim_templates?[0]))
}

async fn pods(world: &World) -> Vec<Option<String>> {
    let api: Api<Pod> = Api::namespaced(world.client.clone(), &world.operator_namespace());
    let pods = api.list(&ListParams::default()).await.unwrap();
    pods.iter().map(ResourceExt::uid).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_grow_and_no_member_is_restarted_for_it() {
    let world = World::new("growing").await;
    class(&world, true).await;
    running(&world).await;
    let before = pods(&world).await;
    ask(&world, "2Gi").await.unwrap();
    until(&world, async || Growth.settled(&world).await).await;
    assert_eq!(sizes(&world).await, ["2Gi"; 3]);
    assert_eq!((pods(&world).await, before.len()), (before, 3));
    let namespace = world.operator_namespace();
    campaign::second_writes_nothing::<CoreDmsController>(&world, Some(&namespace)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_survives_every_fault() {
    campaign::run(
        &Growth,
        "growth",
        &[Fault::Status(500), Fault::CrashBefore, Fault::CrashAfter],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_class_does_not_let_them_nothing_is_altered_and_it_is_said() {
    let world = World::new("fixed").await;
    class(&world, false).await;
    running(&world).await;
    ask(&world, "2Gi").await.unwrap();
    let namespace = world.operator_namespace();
    let told = async || {
        world
            .told::<CoreDms>(Some(&namespace), &world.name, "Stalled")
            .await
    };
    let says = async || told().await.is_some_and(|(status, ..)| status == "True");
    until(&world, says).await;
    let (_, reason, message) = told().await.unwrap();
    assert_eq!(reason, "StorageClassCannotExpand");
    assert!(
        message.contains(&world.name) && message.ends_with("back to 1Gi"),
        "{message}"
    );
    assert!(holds(&world, &["Ready"]).await);
    assert_eq!(sizes(&world).await, ["1Gi"; 3]);
    assert_eq!(template(&world).await.as_deref(), Some("1Gi"));
    let smaller = ask(&world, "512Mi").await.unwrap_err().to_string();
    assert!(smaller.contains("storage.size can only grow"), "{smaller}");
    // The other way out.
    let classes: Api<StorageClass> = Api::all(world.client.clone());
    let patch = Patch::Merge(json!({"allowVolumeExpansion": true}));
    classes
        .patch(&world.name, &PatchParams::default(), &patch)
        .await
        .unwrap();
    until(&world, async || Growth.settled(&world).await).await;
    assert_eq!(sizes(&world).await, ["2Gi"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_class_that_is_not_there_is_named_and_waited_for() {
    let world = World::new("classless").await;
    let namespace = world.operator_namespace();
    world
        .create::<CoreDms>(Some(&namespace), declared(&world))
        .await;
    let told = async || {
        world
            .told::<CoreDms>(Some(&namespace), &world.name, "Ready")
            .await
    };
    until(&world, async || told().await.is_some()).await;
    let (_, reason, message) = told().await.unwrap();
    assert_eq!(reason, "StorageClassMissing");
    assert!(
        message.contains(&format!("StorageClass `{}`", world.name)),
        "{message}"
    );
    assert_eq!(pods(&world).await, []);
    class(&world, true).await;
    until(&world, async || holds(&world, &["Ready"]).await).await;
}
