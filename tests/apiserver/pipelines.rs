//! The IngestPipeline controller.

use futures::future::LocalBoxFuture;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use simbdp_api::wire::config::PipelineConfig;
use simbdp_api::wire::internal::LoadedPipeline;
use simbdp_api::{IngestPipeline, Tenant, labels};
use simbdp_operator::pipeline::PipelineController;
use simbdp_operator::pipeline::status::{ACCEPTING, ACTIVE, QUEUES_READY, TABLE_READY};
use simbdp_operator::tenant::TenantController;
use simbdp_operator::tenant::status::BACKLOG_SETTLED;
use simbdp_testkit::fault::Fault;

use crate::campaign::{self, Scenario};
use crate::tenants::{self, Servers, ready_broker, tenant, until_in_place};
use crate::world::{Outside, World};

/// A pipeline of the test's name, or of another one, in the tenant's namespace.
pub fn pipeline(namespace: &str, name: &str, table: Value) -> Value {
    json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "IngestPipeline",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"stream": {}, "table": table},
    })
}

fn table(column_type: &str) -> Value {
    json!({
        "name": "planes",
        "columns": [{"name": "id", "type": "bigint"}, {"name": "built", "type": column_type}],
        "primaryKey": {"partition": ["id"]},
    })
}

async fn tenant_in_place(world: &World) {
    tenant_of(world, json!({"deletionPolicy": "Delete"})).await;
}

async fn tenant_of(world: &World, spec: Value) {
    ready_broker(world).await;
    world.create::<Tenant>(None, tenant(world, spec)).await;
    until_in_place(world).await;
}

/// A world with a Tenant of this spec and a pipeline `p` that is ready.
pub async fn with_pipeline(name: &str, spec: Value) -> World {
    let world = World::new(name).await;
    tenant_of(&world, spec).await;
    create(&world, "p", table("int")).await;
    ready(&world, "p").await;
    world
}

async fn create(world: &World, name: &str, table: Value) {
    let namespace = world.tenant_namespace();
    let object = pipeline(&namespace, name, table);
    world
        .create::<IngestPipeline>(Some(&namespace), object)
        .await;
}

pub async fn run_until(world: &World, name: &str, settled: impl AsyncFn() -> bool) {
    let namespace = world.tenant_namespace();
    world
        .run::<PipelineController>(Some(&namespace), name, &Servers { pods: true }, settled)
        .await;
}

async fn holds(world: &World, name: &str, kinds: &[&str]) -> bool {
    let namespace = world.tenant_namespace();
    world
        .holds::<IngestPipeline>(Some(&namespace), name, kinds)
        .await
}

async fn ready(world: &World, name: &str) {
    run_until(world, name, async || holds(world, name, &["Ready"]).await).await;
}

async fn config(world: &World, name: &str) -> Option<PipelineConfig> {
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.tenant_namespace());
    let file = api
        .get("pipelines")
        .await
        .unwrap()
        .data?
        .remove(&format!("{name}.json"))?;
    Some(serde_json::from_str(&file).unwrap())
}

async fn condition(
    world: &World,
    namespace: &str,
    name: &str,
    kind: &str,
) -> (String, String, String) {
    let pipeline = world
        .get::<IngestPipeline>(Some(namespace), name)
        .await
        .unwrap();
    let conditions = pipeline.status.unwrap_or_default().conditions.conditions;
    let condition = conditions
        .into_iter()
        .find(|condition| condition.type_ == kind)
        .unwrap();
    (condition.status, condition.reason, condition.message)
}

/// How full the work queue of a pipeline is.
pub fn fill(world: &World, name: &str, ready: u64) {
    let url = world.brokers.states().into_keys().next().unwrap();
    world.brokers.update(&url, |state| {
        let vhost = state.vhosts.get_mut(&world.tenant_namespace()).unwrap();
        vhost
            .queues
            .get_mut(&format!("ingest.{name}"))
            .unwrap()
            .ready = ready;
    });
}

async fn delete(world: &World, name: &str) {
    let api: Api<IngestPipeline> = Api::namespaced(world.client.clone(), &world.tenant_namespace());
    api.delete(name, &Default::default()).await.unwrap();
}

async fn gone(world: &World, name: &str) -> bool {
    world
        .get::<IngestPipeline>(Some(&world.tenant_namespace()), name)
        .await
        .is_none()
}

/// Creation of a pipeline of a tenant that is in place.
struct Creation;

impl Scenario for Creation {
    type Controller = PipelineController;
    fn prepare<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            tenant_in_place(world).await;
            create(world, &world.name, table("int")).await;
        })
    }
    fn namespace(&self, world: &World) -> Option<String> {
        Some(world.tenant_namespace())
    }
    fn outside(&self) -> Box<dyn Outside> {
        Box::new(Servers { pods: false })
    }
    fn settled<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move {
            let namespace = world.tenant_namespace();
            let active = world.told::<IngestPipeline>(Some(&namespace), &world.name, ACTIVE);
            // That the broker could not be asked is a condition, and is asked again.
            let asked = active.await.is_some_and(|(status, ..)| status == "False");
            asked && holds(world, &world.name, &[TABLE_READY, QUEUES_READY, ACCEPTING]).await
        })
    }
    fn end_state<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, String> {
        Box::pin(async move { world.end_state(&world.tenant_namespace()).await })
    }
}

/// Deletion of a pipeline whose backlog is thrown away.
struct Deletion;

impl Scenario for Deletion {
    type Controller = PipelineController;
    fn prepare<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            Creation.prepare(world).await;
            let settled = async || Creation.settled(world).await;
            let namespace = world.tenant_namespace();
            world
                .run::<PipelineController>(
                    Some(&namespace),
                    &world.name,
                    &Servers { pods: false },
                    settled,
                )
                .await;
            fill(world, &world.name, 3);
            let api: Api<IngestPipeline> = Api::namespaced(world.client.clone(), &namespace);
            let discard = json!({"metadata": {"annotations": {"simbdp.dev/discard-backlog": ""}}});
            api.patch(&world.name, &PatchParams::default(), &Patch::Merge(discard))
                .await
                .unwrap();
            delete(world, &world.name).await;
        })
    }
    fn namespace(&self, world: &World) -> Option<String> {
        Some(world.tenant_namespace())
    }
    fn outside(&self) -> Box<dyn Outside> {
        Box::new(Servers { pods: false })
    }
    fn settled<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move { gone(world, &world.name).await })
    }
    fn end_state<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, String> {
        Box::pin(async move { world.end_state(&world.tenant_namespace()).await })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_converges_whichever_call_fails() {
    campaign::run(
        &Creation,
        "pc",
        &[Fault::Status(500), Fault::CrashBefore, Fault::CrashAfter],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_converges_whichever_call_fails() {
    campaign::run(&Deletion, "pd", &[Fault::Status(500), Fault::CrashAfter]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_becomes_ready_and_a_second_reconcile_writes_nothing() {
    let world = World::new("piped").await;
    tenant_in_place(&world).await;
    create(&world, "piped", table("int")).await;
    ready(&world, "piped").await;
    campaign::second_writes_nothing::<PipelineController>(&world, Some("tenant-piped")).await;
    let status = world
        .get::<IngestPipeline>(Some("tenant-piped"), "piped")
        .await
        .unwrap()
        .status
        .unwrap();
    assert_eq!(
        (status.mode.as_deref(), status.backlog, status.replicas),
        (Some("Stream"), Some(0), Some(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_share_a_config_map_and_a_table_and_a_conflict_names_the_other() {
    let world = World::new("shared").await;
    tenant_in_place(&world).await;
    create(&world, "first", table("int")).await;
    ready(&world, "first").await;
    create(&world, "second", table("int")).await;
    ready(&world, "second").await;
    let before = config(&world, "first").await;
    create(&world, "third", table("text")).await;
    run_until(&world, "third", async || {
        holds(&world, "third", &["Stalled"]).await
    })
    .await;
    let (status, reason, message) = condition(&world, "tenant-shared", "third", "Ready").await;
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "TableConflict")
    );
    assert!(
        message.contains("`built`") && message.contains("first, second"),
        "{message}"
    );
    assert_eq!(
        config(&world, "third").await,
        None,
        "the gateway takes nothing for it"
    );
    assert_eq!(config(&world, "first").await, before);
    ready(&world, "first").await;

    delete(&world, "second").await;
    run_until(&world, "second", async || gone(&world, "second").await).await;
    assert_eq!(config(&world, "second").await, None);
    assert_eq!(config(&world, "first").await, before);
    let state = world.stores.state(&world.database());
    assert_eq!(
        state.keyspaces["t_shared"].tables["planes"].columns["built"],
        "int"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_outside_of_a_tenant_s_namespace_stalls_and_goes_without_more_ado() {
    let world = World::new("outside").await;
    let namespace = world.operator_namespace();
    world
        .create::<IngestPipeline>(
            Some(&namespace),
            pipeline(&namespace, "outside", table("int")),
        )
        .await;
    let nothing = Servers { pods: false };
    let stalled = async || {
        world
            .holds::<IngestPipeline>(Some(&namespace), "outside", &["Stalled"])
            .await
    };
    world
        .run::<PipelineController>(Some(&namespace), "outside", &nothing, stalled)
        .await;
    let (_, reason, message) = condition(&world, &namespace, "outside", "Ready").await;
    assert_eq!(reason, "NotATenantNamespace");
    assert!(
        message.contains("create the IngestPipeline in the namespace `tenant-<name>`"),
        "{message}"
    );
    let api: Api<IngestPipeline> = Api::namespaced(world.client.clone(), &namespace);
    api.delete("outside", &Default::default()).await.unwrap();
    let gone = async || {
        world
            .get::<IngestPipeline>(Some(&namespace), "outside")
            .await
            .is_none()
    };
    world
        .run::<PipelineController>(Some(&namespace), "outside", &nothing, gone)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_closes_the_pipeline_and_waits_for_its_backlog() {
    let world = with_pipeline("draining", json!({"deletionPolicy": "Delete"})).await;
    fill(&world, "p", 2);
    delete(&world, "p").await;
    let waits = async || {
        let told = condition(&world, "tenant-draining", "p", "Ready").await;
        told.2.contains("2 files or messages are waited for")
    };
    run_until(&world, "p", waits).await;
    assert!(config(&world, "p").await.unwrap().closed.is_some());
    let apps: Api<Deployment> = Api::namespaced(world.client.clone(), "tenant-draining");
    assert!(
        apps.get_opt("ingest-p").await.unwrap().is_some(),
        "the backlog is still ingested"
    );
    fill(&world, "p", 0);
    run_until(&world, "p", async || gone(&world, "p").await).await;
    assert!(
        apps.get_opt("ingest-p")
            .await
            .unwrap()
            .is_none_or(|app| app.metadata.deletion_timestamp.is_some())
    );
    let broker = world.brokers.states().into_values().next().unwrap();
    assert!(broker.vhosts["tenant-draining"].queues.is_empty());
    let state = world.stores.state(&world.database());
    assert!(
        state.keyspaces["t_draining"].tables.contains_key("planes"),
        "the table stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_waits_for_what_the_gateway_has_taken_and_not_queued_yet() {
    let world = with_pipeline("landing", json!({"deletionPolicy": "Delete"})).await;
    world.gateways.lock().unwrap().in_flight = 1;
    delete(&world, "p").await;
    let says = async |part: &str| {
        let (_, _, message) = condition(&world, "tenant-landing", "p", "Ready").await;
        message.contains(part)
    };
    run_until(&world, "p", async || says("1 requests that began").await).await;
    *world.gateways.lock().unwrap() = LoadedPipeline {
        unpublished: 2,
        ..Default::default()
    };
    run_until(&world, "p", async || says("2 staged files are not").await).await;
    let apps: Api<Deployment> = Api::namespaced(world.client.clone(), "tenant-landing");
    assert!(apps.get_opt("ingest-p").await.unwrap().is_some());
    world.gateways.lock().unwrap().unpublished = 0;
    run_until(&world, "p", async || gone(&world, "p").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_pipeline_goes_whatever_comes_into_its_queue_afterwards() {
    let world = with_pipeline("drained", json!({"deletionPolicy": "Delete"})).await;
    delete(&world, "p").await;
    run_until(&world, "p", async || {
        holds(&world, "p", &[BACKLOG_SETTLED]).await
    })
    .await;
    fill(&world, "p", 5);
    run_until(&world, "p", async || gone(&world, "p").await).await;
    let broker = world.brokers.states().into_values().next().unwrap();
    assert!(broker.vhosts["tenant-drained"].queues.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_not_ready_while_a_former_app_of_its_own_may_take_work() {
    let world = with_pipeline("former", json!({})).await;
    let namespace = world.tenant_namespace();
    let apps: Api<Deployment> = Api::namespaced(world.client.clone(), &namespace);
    let ingest = apps.get("ingest-p").await.unwrap().spec.unwrap();
    let former: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": "ingest-p-former",
            "labels": ingest.selector.match_labels,
            "annotations": {labels::CONFIG_DIGEST: "another"},
        },
        "spec": ingest.template.spec,
    }))
    .unwrap();
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    pods.create(&PostParams::default(), &former).await.unwrap();
    run_until(&world, "p", async || {
        condition(&world, &namespace, "p", "Ready").await.1 == "RollingOut"
    })
    .await;

    let at_once = DeleteParams::default().grace_period(0);
    pods.delete("ingest-p-former", &at_once).await.unwrap();
    ready(&world, "p").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_tenant_s_pipelines_stop_and_work_again_when_it_is_adopted() {
    let world = with_pipeline("paused", json!({})).await;
    tenants::delete(&world).await;
    let stopped = async || {
        let (_, reason, _) = condition(&world, "tenant-paused", "p", "Ready").await;
        reason == "TenantStopped"
    };
    run_until(&world, "p", stopped).await;
    tenants::until_gone(&world).await;
    run_until(&world, "p", stopped).await;
    assert!(
        config(&world, "p")
            .await
            .unwrap()
            .closed
            .unwrap()
            .contains("Tenant `paused`")
    );
    let apps: Api<Deployment> = Api::namespaced(world.client.clone(), "tenant-paused");
    assert!(apps.get_opt("ingest-p").await.unwrap().is_none());

    world
        .create::<Tenant>(None, tenant(&world, json!({})))
        .await;
    until_in_place(&world).await;
    ready(&world, "p").await;
    assert_eq!(config(&world, "p").await.unwrap().closed, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_deleted_while_its_tenant_is_retained_leaves_nothing_to_adopt() {
    let world = with_pipeline("ghost", json!({})).await;
    tenants::delete(&world).await;
    tenants::until_gone(&world).await;
    run_until(&world, "p", async || {
        condition(&world, "tenant-ghost", "p", "Ready").await.1 == "TenantStopped"
    })
    .await;
    assert!(config(&world, "p").await.unwrap().closed.is_some());
    delete(&world, "p").await;
    run_until(&world, "p", async || gone(&world, "p").await).await;
    assert_eq!(config(&world, "p").await, None, "no gateway shows it again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_deleted_says_what_it_discards_and_does_not_wait_for_it() {
    let world = with_pipeline("discarded", json!({"deletionPolicy": "Delete"})).await;
    fill(&world, "p", 4);
    tenants::delete(&world).await;
    let told = async || {
        let tenant = world.get::<Tenant>(None, "discarded").await.unwrap();
        let conditions = tenant.status.unwrap().conditions.conditions;
        conditions
            .iter()
            .any(|c| c.type_ == "BacklogDiscarded" && c.message.contains("4 messages in queues"))
    };
    world
        .run::<TenantController>(None, "discarded", &Servers { pods: false }, told)
        .await;
    let deleting = async || {
        let pipeline = world
            .get::<IngestPipeline>(Some("tenant-discarded"), "p")
            .await;
        pipeline.is_none_or(|pipeline| pipeline.metadata.deletion_timestamp.is_some())
    };
    world
        .run::<TenantController>(None, "discarded", &Servers { pods: false }, deleting)
        .await;
    run_until(&world, "p", async || gone(&world, "p").await).await;
    tenants::until_gone(&world).await;
    let broker = world.brokers.states().into_values().next().unwrap();
    assert!(broker.vhosts.is_empty() && broker.users.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_above_a_ceiling_is_told_the_field_the_value_and_the_ceiling() {
    let world = World::new("ceiling").await;
    tenant_of(&world, json!({"constraints": {"maxFileSize": "1Mi"}})).await;
    let mut wide = pipeline("tenant-ceiling", "wide", table("int"));
    wide["spec"].as_object_mut().unwrap().remove("stream");
    wide["spec"]["batch"] = json!({"constraints": {"maxFileSize": "2Mi"}});
    world
        .create::<IngestPipeline>(Some("tenant-ceiling"), wide)
        .await;
    run_until(&world, "wide", async || {
        holds(&world, "wide", &["Stalled"]).await
    })
    .await;
    let (_, reason, message) = condition(&world, "tenant-ceiling", "wide", "Ready").await;
    assert_eq!(reason, "AboveCeiling");
    assert!(
        message.contains("spec.batch.constraints.maxFileSize is 2Mi"),
        "{message}"
    );
    let pipeline = world
        .get::<IngestPipeline>(Some("tenant-ceiling"), "wide")
        .await
        .unwrap();
    assert_eq!(pipeline.name_any(), "wide");
}
