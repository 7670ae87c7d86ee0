//! A plan says what the controllers then do, in the words of whoever would refuse it, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::{Value, json};
use simbdp_api::{Broker, CoreDms, IngestPipeline, Tenant};
use simbdp_operator::context::Context;
use simbdp_operator::controller_runtime::drive;
use simbdp_operator::coredms::CoreDmsController;
use simbdp_operator::pipeline::PipelineController;
use simbdp_operator::plan::difference::LAST_APPLIED;
use simbdp_operator::plan::report::{Action, Item, Place};
use simbdp_operator::plan::{self, Document, Plan, Platform, Section};
use simbdp_operator::tenant::TenantController;

use crate::end_state::KINDS;
use crate::pipelines::pipeline;
use crate::shared::share;
use crate::tenants::{
    self, Servers, ready_broker, tenant, tenant_named, until_gone, until_in_place,
};
use crate::world::World;

const SERVERS: Servers = Servers { pods: true };

fn platform(world: &World) -> Platform {
    Platform::new(&world.operator_namespace(), world.context().config)
}

fn documents(all: &[Value]) -> Vec<Document> {
    let texts: Vec<_> = all.iter().map(Value::to_string).collect();
    plan::parse(&texts.join("\n---\n"), "default").unwrap()
}

async fn planned(world: &World, all: &[Value]) -> Plan {
    let made = plan::apply(&world.client, &platform(world), documents(all)).await;
    made.unwrap()
}

async fn planned_deletion(world: &World, all: &[Value]) -> Plan {
    let made = plan::delete(&world.client, &platform(world), documents(all)).await;
    made.unwrap()
}

fn table() -> Value {
    json!({
        "name": "planes",
        "columns": [{"name": "id", "type": "bigint"}],
        "primaryKey": {"partition": ["id"]},
    })
}

fn pipeline_of(world: &World, table: Value) -> Value {
    pipeline(&world.tenant_namespace(), "p", table)
}

/// As `kubectl apply --server-side` does.
async fn apply(world: &World, object: &Value) {
    let params = PatchParams::apply("kubectl").force();
    let client = world.client.clone();
    let name = object["metadata"]["name"].as_str().unwrap();
    let gvk = GroupVersionKind::gvk("simbdp.dev", "v1alpha1", object["kind"].as_str().unwrap());
    let plural = match gvk.kind.as_str() {
        "CoreDms" => "coredms".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let resource = ApiResource::from_gvk_with_plural(&gvk, &plural);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    api.patch(name, &params, &Patch::Apply(object))
        .await
        .unwrap();
}

/// A tenant that is in place, with its database's objects.
async fn tenant_in_place(name: &str, spec: Value) -> World {
    let world = World::new(name).await;
    ready_broker(&world).await;
    apply(&world, &tenant(&world, spec)).await;
    reconciled(&world).await;
    world
}

/// Reconciles the Tenant, and lets its database's own controller make what it makes.
async fn reconciled(world: &World) {
    until_in_place(world).await;
    let ctx = world.context();
    // It waits for members that do not run here; its objects are there after the first look.
    for _ in 0..3 {
        let _ = database(&ctx, world).await;
    }
}

async fn database(ctx: &Context, world: &World) -> bool {
    let namespace = world.tenant_namespace();
    drive::<CoreDmsController>(ctx, Some(&namespace), "coredms")
        .await
        .is_ok()
}

/// Until pipeline `p` is ready.
async fn pipeline_ready(world: &World) {
    let namespace = world.tenant_namespace();
    let ready = async || {
        world
            .holds::<IngestPipeline>(Some(&namespace), "p", &["Ready"])
            .await
    };
    world
        .run::<PipelineController>(Some(&namespace), "p", &SERVERS, ready)
        .await;
}

/// With a pipeline `p` that is ready.
async fn with_pipeline(name: &str, spec: Value) -> World {
    let world = tenant_in_place(name, spec).await;
    apply(&world, &pipeline_of(&world, table())).await;
    pipeline_ready(&world).await;
    world
}

type Names = BTreeSet<(String, String)>;

/// What the operator and Kubernetes have made in a namespace, by kind and name, with its resourceVersion.
async fn made(world: &World, namespace: &str) -> BTreeMap<(String, String), String> {
    let mut all = BTreeMap::new();
    for (group, version, kind, plural) in KINDS {
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        let api: Api<DynamicObject> =
            Api::namespaced_with(world.client.clone(), namespace, &resource);
        for object in api.list(&ListParams::default()).await.unwrap() {
            let manager = object.labels().get("app.kubernetes.io/managed-by");
            let ours = manager.map(String::as_str) == Some("simbdp-operator");
            if ours || matches!(kind, "PersistentVolumeClaim" | "IngestPipeline") {
                let version = object.resource_version().unwrap_or_default();
                all.insert((kind.to_owned(), object.name_any()), version);
            }
        }
    }
    all
}

/// Waits until nothing changes any more of itself.
async fn still(world: &World) -> BTreeMap<(String, String), String> {
    let namespace = world.tenant_namespace();
    let mut before = made(world, &namespace).await;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = made(world, &namespace).await;
        if now == before {
            return now;
        }
        before = now;
    }
    panic!("it does not come to rest");
}

fn names(items: &[Item], place: Place, namespace: Option<&str>) -> Names {
    let inside = |item: &&Item| item.place == place && item.namespace.as_deref() == namespace;
    let items = items.iter().filter(inside);
    items
        .map(|item| (item.kind.clone(), item.name.clone()))
        .collect()
}

fn section<'a>(plan: &'a Plan, kind: &str) -> &'a Section {
    let mut documents = plan.documents.iter();
    documents.find(|section| section.kind == kind).unwrap()
}

fn refusals(section: &Section) -> Vec<String> {
    let refused = section.refused.iter();
    refused
        .map(|refusal| format!("{}: {}", refusal.reason, refusal.message))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tenant_s_plan_names_exactly_what_is_then_made() {
    let world = World::new("planned").await;
    ready_broker(&world).await;
    let spec = json!({"gateway": {"replicas": 2, "staging": {"size": "1Gi"}}});
    let all = [pipeline_of(&world, table()), tenant(&world, spec)];
    let plan = planned(&world, &all).await;
    assert_eq!(plan.summary.refused, 0, "{plan:#?}");
    assert!(
        world.get::<Tenant>(None, "planned").await.is_none(),
        "nothing is made"
    );
    let items: Vec<Item> = plan
        .documents
        .iter()
        .flat_map(|one| one.create.clone())
        .collect();

    apply(&world, &all[1]).await;
    reconciled(&world).await;
    apply(&world, &all[0]).await;
    let namespace = world.tenant_namespace();
    pipeline_ready(&world).await;
    let there: Names = still(&world).await.into_keys().collect();
    assert_eq!(names(&items, Place::Cluster, Some(&namespace)), there);

    let whole = names(&items, Place::Cluster, None);
    let pair = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
    assert_eq!(
        whole,
        [pair("Namespace", &namespace), pair("Tenant", "planned")].into()
    );

    let store = world.stores.state(&world.database());
    let mut database: Names = store
        .keyspaces
        .keys()
        .map(|name| pair("Keyspace", name))
        .collect();
    database.extend(store.roles.keys().map(|name| pair("Role", name)));
    database.insert(pair("Table", "t_planned.planes"));
    database.remove(&pair("Keyspace", "system_auth"));
    assert_eq!(names(&items, Place::Database, None), database);

    let broker = world.brokers.states().into_values().next().unwrap();
    let queues = broker.vhosts.values().flat_map(|host| host.queues.keys());
    let mut inside: Names = queues.map(|name| pair("Queue", name)).collect();
    inside.extend(broker.vhosts.keys().map(|name| pair("VirtualHost", name)));
    inside.insert(pair("User", "tenant-planned"));
    assert_eq!(names(&items, Place::Broker, None), inside);

    let again = planned(&world, &all).await;
    assert!(
        again.documents.iter().all(|one| one.action == Action::None),
        "{again:#?}"
    );
    assert_eq!(again.summary, Default::default(), "{again:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_change_nothing() {
    let world = with_pipeline("untouched", json!({})).await;
    let own = async || {
        let tenant = world.get::<Tenant>(None, "untouched").await.unwrap();
        let broker = world.get::<Broker>(None, "untouched").await.unwrap();
        (
            tenant.resource_version(),
            broker.resource_version(),
            still(&world).await,
        )
    };
    let before = own().await;
    let other = json!({
        "users": [{"name": "bob", "role": "Reader"}], "quota": {"pods": 30},
        "gateway": {"replicas": 3, "staging": {"size": "1Gi"}},
    });
    let mut wider = table();
    let built = json!({"name": "built", "type": "int"});
    wider["columns"].as_array_mut().unwrap().push(built);
    let all = [tenant(&world, other), pipeline_of(&world, wider)];
    let plan = planned(&world, &all).await;
    assert!(plan.summary.create > 0 && plan.summary.change > 0 && plan.summary.lose > 0);
    planned_deletion(&world, &all).await;
    assert_eq!(own().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_with_its_consequences() {
    let spec =
        json!({"users": [{"name": "ada", "role": "Writer"}, {"name": "bob", "role": "Reader"}]});
    let world = with_pipeline("changed", spec).await;
    still(&world).await;
    let changes = json!({
        "users": [{"name": "ada", "role": "Writer"}],
        "coredms": {
            "storage": {"size": "1Gi"}, "profile": "Development", "resources": {"limits": {"memory": "2Gi"}},
        },
        "quota": {"pods": 25, "storage": "1024Gi", "requestsPerSecond": 90},
    });
    let plan = planned(&world, &[tenant(&world, changes.clone())]).await;
    let one = section(&plan, "Tenant");
    assert_eq!(refusals(one), [""; 0]);
    let paths: BTreeSet<_> = one
        .change
        .iter()
        .map(|change| format!("{} {}", change.kind, change.path))
        .collect();
    for path in [
        "Tenant spec.users[bob]",
        "Tenant spec.quota.pods",
        "CoreDms spec.resources",
        "ResourceQuota spec.hard.pods",
        "Secret data[users.json]",
    ] {
        assert!(paths.contains(path), "{path} is not in {paths:#?}");
    }
    let restarted = names(&one.restart, Place::Cluster, Some("tenant-changed"));
    let set = |name: &str| ("StatefulSet".to_owned(), name.to_owned());
    assert_eq!(restarted, [set("coredms"), set("gateway")].into());
    let lost = names(&one.lose, Place::Cluster, Some("tenant-changed"));
    assert_eq!(lost, [("Secret".to_owned(), "user-bob".to_owned())].into());
    assert_eq!(one.create, []);

    apply(&world, &tenant(&world, changes)).await;
    let gone = async || {
        !made(&world, "tenant-changed")
            .await
            .contains_key(&("Secret".to_owned(), "user-bob".to_owned()))
    };
    world
        .run::<TenantController>(None, "changed", &SERVERS, gone)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_had_and_a_lower_ceiling_are_refused_before_the_apply() {
    let world = with_pipeline("conflict", json!({})).await;
    let mut other = table();
    other["columns"][0]["type"] = json!("text");
    let plan = planned(&world, &[pipeline_of(&world, other)]).await;
    let told = refusals(&plan.documents[0]);
    assert!(
        told[0].starts_with("TableConflict: table `planes`, column `id`"),
        "{told:?}"
    );

    let mut file = pipeline(&world.tenant_namespace(), "files", table());
    file["spec"] = json!({
        "batch": {"constraints": {"maxFileSize": "10Mi"}}, "table": table(),
    });
    apply(&world, &file).await;
    let lower = json!({"constraints": {"maxFileSize": "1Mi"}});
    let plan = planned(&world, &[tenant(&world, lower)]).await;
    let told = refusals(&plan.documents[0]);
    assert!(
        told[0].contains("AboveCeiling: IngestPipeline files: "),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_is_refused_in_the_same_words() {
    let world = tenant_in_place("refused", json!({})).await;
    let told = async |changes: Value| {
        let plan = planned(&world, &[tenant(&world, changes)]).await;
        assert_eq!(plan.summary.refused, 1);
        (refusals(&plan.documents[0]).remove(0), plan)
    };
    let engine = json!({"coredms": {"engine": "MongoDB", "storage": {"size": "1Gi"}, "profile": "Development"}});
    let (message, plan) = told(engine).await;
    assert!(
        message.contains("spec.coredms") && message.contains("engine is immutable"),
        "{message}"
    );
    let one = &plan.documents[0];
    assert_eq!(
        (one.action, one.create.len(), one.change.len()),
        (Action::Refuse, 0, 0)
    );
    let (message, _) = told(json!({"user": []})).await;
    assert!(message.contains("spec.user"), "{message}");

    let other = |changes: Value| tenant_named(&world, "refused-2", changes);
    let told = async |changes: Value| {
        let plan = planned(&world, &[other(changes)]).await;
        refusals(&plan.documents[0]).join("; ")
    };
    let message = told(json!({"broker": {"ref": {"name": "nowhere"}}})).await;
    assert!(
        message.starts_with("BrokerNotFound: Broker `nowhere` is not there"),
        "{message}"
    );
    let message = told(json!({"quota": {"pods": 2}})).await;
    assert!(
        message.starts_with("QuotaTooSmall: spec.quota.pods is 2"),
        "{message}"
    );
    let reference = json!({"placement": "Shared", "ref": {"name": "nowhere"}});
    let message = told(json!({"coredms": reference})).await;
    assert!(message.starts_with("CoreDmsNotFound: "), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_see_what_those_before_them_would_take() {
    let world = World::new("several").await;
    ready_broker(&world).await;
    share(&world, "one-place", json!({"maxTenants": 1})).await;
    let shared = json!({"placement": "Shared", "ref": {"name": "one-place"}});
    let named = |name: &str| tenant_named(&world, name, json!({"coredms": shared}));
    let plan = planned(&world, &[named("several-a"), named("several-b")]).await;
    assert_eq!(refusals(&plan.documents[0]), [""; 0]);
    assert_eq!(plan.documents[0].change[0].path, "spec.claims[several-a]");
    let told = refusals(&plan.documents[1]);
    assert!(told[0].starts_with("CoreDmsFull: "), "{told:?}");

    let namespace = world.operator_namespace();
    let broker = |name: &str| {
        json!({
            "apiVersion": "simbdp.dev/v1alpha1", "kind": "Broker",
            "metadata": {"name": name}, "spec": {"storage": {"size": "1Gi"}},
        })
    };
    let coredms = json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "CoreDms",
        "metadata": {"name": "broker-several-b", "namespace": namespace},
        "spec": {"storage": {"size": "1Gi"}},
    });
    let plan = planned(&world, &[coredms, broker("several-b")]).await;
    let told = refusals(section(&plan, "CoreDms"));
    let taken = "NameTaken: StatefulSet `broker-several-b`";
    assert!(told.iter().any(|one| one.starts_with(taken)), "{told:?}");
    let plan = planned(&world, &[named("several-a"), named("several-a")]).await;
    assert!(refusals(&plan.documents[1])[0].starts_with("DeclaredTwice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_database_is_created_from_the_template_when_there_is_none() {
    let world = World::new("template").await;
    ready_broker(&world).await;
    let shared = json!({"coredms": {"placement": "Shared"}});
    let plan = planned(&world, &[tenant(&world, shared)]).await;
    let one = section(&plan, "Tenant");
    assert_eq!(refusals(one), [""; 0]);
    let beside = names(
        &one.create,
        Place::Cluster,
        Some(&world.operator_namespace()),
    );
    for (kind, name) in [
        ("CoreDms", "shared-cassandra-1"),
        ("PersistentVolumeClaim", "data-shared-cassandra-1-2"),
    ] {
        assert!(
            beside.contains(&(kind.to_owned(), name.to_owned())),
            "{beside:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_with_delete_names_what_is_lost_and_nothing_is_left_then() {
    let world = with_pipeline("lost", json!({"deletionPolicy": "Delete"})).await;
    let there: Names = still(&world).await.into_keys().collect();
    let plan = planned_deletion(&world, &[tenant(&world, json!({}))]).await;
    let one = section(&plan, "Tenant");
    let namespace = world.tenant_namespace();
    let mut going = names(&one.remove, Place::Cluster, Some(&namespace));
    let lost = names(&one.lose, Place::Cluster, Some(&namespace));
    going.extend(lost.clone());
    assert!(there.is_subset(&going), "{:?}", there.difference(&going));
    assert_eq!(plan.summary.volumes, 4, "{lost:?}");
    assert!(
        lost.iter()
            .any(|(kind, name)| kind == "Secret" && name == "user-ada")
    );
    let inside = names(&one.lose, Place::Database, None);
    assert!(
        inside.contains(&("Table".to_owned(), "t_lost.planes".to_owned())),
        "{inside:?}"
    );
    assert_eq!(one.keep, []);

    let broker = json!({"apiVersion": "simbdp.dev/v1alpha1", "kind": "Broker", "metadata": {"name": "lost"}});
    let plan = planned_deletion(&world, std::slice::from_ref(&broker)).await;
    let told = refusals(&plan.documents[0]);
    assert!(
        told[0].starts_with("InUse: ") && told[0].contains("lost"),
        "{told:?}"
    );
    let both = planned_deletion(&world, &[broker, tenant(&world, json!({}))]).await;
    assert_eq!(both.summary.refused, 0, "{both:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_with_retain_names_what_is_kept_and_that_is_left_then() {
    let world = World::new("kept").await;
    ready_broker(&world).await;
    apply(&world, &tenant(&world, json!({}))).await;
    until_in_place(&world).await;
    still(&world).await;
    let plan = planned_deletion(&world, &[tenant(&world, json!({}))]).await;
    let one = section(&plan, "Tenant");
    let namespace = world.tenant_namespace();
    let kept = names(&one.keep, Place::Cluster, Some(&namespace));
    let gone = names(&one.remove, Place::Cluster, Some(&namespace));
    assert_eq!(one.lose, []);
    assert_eq!(plan.summary.volumes, 0);

    tenants::delete(&world).await;
    until_gone(&world).await;
    let left: Names = still(&world).await.into_keys().collect();
    assert_eq!(left, kept);
    assert!(gone.is_disjoint(&left), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_database_that_tenants_use_does_not_go() {
    let world = World::new("inuse").await;
    ready_broker(&world).await;
    share(&world, "busy", json!({"maxTenants": 2})).await;
    crate::shared::create(&world, "inuse-a", json!({})).await;
    crate::shared::in_place(&world, "inuse-a").await;
    let namespace = world.operator_namespace();
    let coredms = json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "CoreDms",
        "metadata": {"name": "busy", "namespace": namespace},
    });
    let plan = planned_deletion(&world, std::slice::from_ref(&coredms)).await;
    let told = refusals(&plan.documents[0]);
    assert!(
        told[0].starts_with("InUse: ") && told[0].contains("inuse-a"),
        "{told:?}"
    );
    assert_eq!(plan.documents[0].remove, []);
    let tenant = tenant_named(&world, "inuse-a", json!({}));
    let plan = planned_deletion(&world, &[coredms, tenant]).await;
    assert_eq!(plan.summary.refused, 0, "{plan:#?}");
    let freed = &section(&plan, "Tenant").remove;
    assert!(
        freed
            .iter()
            .any(|item| item.kind == "Place" && item.name == "inuse-a")
    );
    assert!(
        world
            .get::<CoreDms>(Some(&namespace), "busy")
            .await
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_applied_by_itself_is_changed_as_kubectl_would() {
    let world = World::new("clientside").await;
    ready_broker(&world).await;
    let two = json!([{"name": "ada", "role": "Writer"}, {"name": "bob", "role": "Reader"}]);
    let before = tenant(&world, json!({"users": two, "deletionPolicy": "Delete"}));
    let mut created = before.clone();
    let applied = before.to_string();
    created["metadata"]["annotations"] = json!({LAST_APPLIED: applied});
    world.create::<Tenant>(None, created).await;
    let plan = planned(&world, &[tenant(&world, json!({}))]).await;
    let one = section(&plan, "Tenant");
    let own = one.change.iter().filter(|change| change.kind == "Tenant");
    let mut told: Vec<_> = own
        .map(|change| (change.path.as_str(), change.to.clone()))
        .collect();
    told.sort_by_key(|(path, _)| *path);
    // What is left out takes its default.
    let policy = ("spec.deletionPolicy", Some(json!("Retain")));
    assert_eq!(told, [policy, ("spec.users[bob]", None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_of_the_cluster_is_found_with_its_configuration() {
    let world = World::new("located").await;
    let namespace = world.operator_namespace();
    let client = &world.client;
    let error = Platform::find(client, Some(&namespace)).await.unwrap_err();
    assert!(
        error.to_string().starts_with("no operator is found"),
        "{error}"
    );

    let labels = json!({
        "app.kubernetes.io/name": "simbdp", "app.kubernetes.io/component": "operator",
        "app.kubernetes.io/version": "9.9.9",
    });
    let config = "images: {cassandra: r/c, mongodb: r/m, rabbitmq: r/r, simbdp: 'r/simbdp:9.9.9'}";
    let map: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "conf"}, "data": {"operator.yaml": config},
    }))
    .unwrap();
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "simbdp-operator", "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "replicas": 0, "template": {
            "metadata": {"labels": labels},
            "spec": {
                "serviceAccountName": "someone", "containers": [{"name": "operator", "image": "i"}],
                "volumes": [{"name": "config", "configMap": {"name": "conf"}}],
            },
        }},
    }))
    .unwrap();
    let params = PostParams::default();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    maps.create(&params, &map).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    deployments.create(&params, &deployment).await.unwrap();
    let found = Platform::find(client, Some(&namespace)).await.unwrap();
    assert_eq!(
        (found.service_account.as_str(), found.version.as_str()),
        ("someone", "9.9.9")
    );
    assert_eq!(found.config.images.cassandra, "r/c");
    assert!(found.other_version().unwrap().contains("9.9.9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_s_deletion_tells_what_is_waited_for_and_what_stays() {
    let world = with_pipeline("plandrained", json!({})).await;
    let namespace = world.tenant_namespace();
    let api: Api<IngestPipeline> = Api::namespaced(world.client.clone(), &namespace);
    let status = Patch::Merge(json!({"status": {"backlog": 7, "rows": 40}}));
    api.patch_status("p", &PatchParams::default(), &status)
        .await
        .unwrap();
    let alone = pipeline_of(&world, table());
    let plan = planned_deletion(&world, std::slice::from_ref(&alone)).await;
    let one = &plan.documents[0];
    assert!(
        one.notes[0].starts_with("7 files or messages are"),
        "{:?}",
        one.notes
    );
    assert_eq!((one.lose.len(), one.keep.len()), (0, 1));
    assert_eq!(
        one.keep[0].detail.as_deref(),
        Some("40 rows written by its pipelines")
    );
    let removed = names(&one.remove, Place::Cluster, Some(&namespace));
    assert!(removed.contains(&("Deployment".to_owned(), "ingest-p".to_owned())));

    let discard = json!({"metadata": {"annotations": {"simbdp.dev/discard-backlog": "true"}}});
    api.patch("p", &PatchParams::default(), &Patch::Merge(discard))
        .await
        .unwrap();
    let plan = planned_deletion(&world, &[alone]).await;
    let lost = &plan.documents[0].lose;
    assert_eq!(lost[0].detail.as_deref(), Some("7 files or messages"));
}
