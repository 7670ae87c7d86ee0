//! Tenants that share databases: who gets which place, who keeps it, and when it is free again.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use futures::future::join_all;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use simbdp_api::common::ObjectRef;
use simbdp_api::{CoreDms, Tenant, TenantStatus};
use simbdp_operator::context::Context;
use simbdp_operator::controller_runtime::drive;
use simbdp_operator::coredms::CoreDmsController;
use simbdp_operator::coredms::place::DatabasePlace;
use simbdp_operator::tenant::TenantController;
use simbdp_operator::tenant::status::{BROKER_READY, CREDENTIALS_READY, DATABASE_READY};
use simbdp_testkit::fake_coredms::Table;

use crate::campaign;
use crate::tenants::{Servers, ready_broker, run_database, tenant_named};
use crate::world::{Outside, World};

const SERVERS: Servers = Servers { pods: false };

/// Nothing happens outside of the controller.
struct Nobody;

impl Outside for Nobody {
    fn act<'a>(&'a self, _: &'a World) -> BoxFuture<'a, ()> {
        Box::pin(async move {})
    }
}

fn databases(world: &World) -> Api<CoreDms> {
    Api::namespaced(world.client.clone(), &world.operator_namespace())
}

/// A shared CoreDms of the test's operator that is ready.
pub async fn share(world: &World, name: &str, spec: Value) -> CoreDms {
    let namespace = world.operator_namespace();
    let mut all = json!({"storage": {"size": "1Gi"}, "profile": "Development"});
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    let object = json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "CoreDms",
        "metadata": {"name": name, "namespace": namespace}, "spec": all,
    });
    world.create::<CoreDms>(Some(&namespace), object).await;
    let coredms = databases(world).get(name).await.unwrap();
    run_database(world, &coredms).await;
    coredms
}

/// Tenants by the CoreDms in which they have places.
async fn places(world: &World) -> BTreeMap<String, Vec<String>> {
    let all = databases(world).list(&ListParams::default()).await.unwrap();
    all.into_iter()
        .map(|one| {
            let tenants = one.spec.claims.iter().map(|claim| claim.tenant.clone());
            (one.name_any(), tenants.collect())
        })
        .collect()
}

pub async fn create(world: &World, name: &str, coredms: Value) {
    let mut coredms = coredms;
    coredms["placement"] = json!("Shared");
    let changes = json!({"coredms": coredms, "deletionPolicy": "Delete"});
    world
        .create::<Tenant>(None, tenant_named(world, name, changes))
        .await;
}

async fn status(world: &World, name: &str) -> TenantStatus {
    let tenant = world.get::<Tenant>(None, name).await.unwrap();
    tenant.status.unwrap_or_default()
}

async fn place(world: &World, name: &str) -> Option<String> {
    status(world, name).await.coredms.map(|place| place.name)
}

pub async fn in_place(world: &World, name: &str) {
    let kinds = [DATABASE_READY, BROKER_READY, CREDENTIALS_READY];
    let settled = async || world.holds::<Tenant>(None, name, &kinds).await;
    world
        .run::<TenantController>(None, name, &SERVERS, settled)
        .await;
}

/// Reconciles until the Tenant says why it has no place; returns the message.
async fn refused(world: &World, name: &str, reason: &str) -> String {
    let told = async || world.told::<Tenant>(None, name, DATABASE_READY).await;
    let settled = async || told().await.is_some_and(|told| told.1 == reason);
    world
        .run::<TenantController>(None, name, &SERVERS, settled)
        .await;
    assert!(world.holds::<Tenant>(None, name, &["Stalled"]).await);
    told().await.unwrap().2
}

pub async fn delete(world: &World, name: &str) {
    let api: Api<Tenant> = Api::all(world.client.clone());
    api.delete(name, &Default::default()).await.unwrap();
    let gone = async || world.get::<Tenant>(None, name).await.is_none();
    world
        .run::<TenantController>(None, name, &SERVERS, gone)
        .await;
}

/// Several operators reconcile each of the Tenants again and again until all have places; databases become ready
/// meanwhile.
async fn all_placed(world: &World, names: &[String]) {
    let operators = operators(world);
    let races = names.iter().zip(operators.iter().cycle());
    join_all(races.map(|(name, operator)| until_placed(world, operator, name))).await;
}

fn operators(world: &World) -> [Context; 3] {
    [world.context(), world.context(), world.context()]
}

async fn until_placed(world: &World, operator: &Context, name: &str) {
    for _ in 0..400 {
        // A refusal is part of the race: somebody else was first.
        let _ = drive::<TenantController>(operator, None, name).await;
        if place(world, name).await.is_some() {
            return;
        }
        SERVERS.act(world).await;
    }
    panic!("{name} gets no place: {:?}", status(world, name).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_tenants_that_race_fill_what_is_there_and_then_one_new_database() {
    let world = World::new("crowd").await;
    ready_broker(&world).await;
    for name in ["one", "two", "three"] {
        share(&world, name, json!({"maxTenants": 10})).await;
    }
    let names: Vec<_> = (0..30).map(|n| format!("crowd-{n}")).collect();
    join_all(names.iter().map(|name| create(&world, name, json!({})))).await;
    all_placed(&world, &names).await;

    let full = places(&world).await;
    let counts: Vec<_> = full
        .iter()
        .map(|(name, tenants)| (name.as_str(), tenants.len()))
        .collect();
    assert_eq!(counts, [("one", 10), ("three", 10), ("two", 10)]);
    let all: BTreeSet<_> = full.values().flatten().collect();
    assert_eq!(all.len(), 30, "nobody has two places");
    for (coredms, tenants) in &full {
        for tenant in tenants {
            assert_eq!(place(&world, tenant).await.as_ref(), Some(coredms));
        }
    }

    let late: Vec<_> = (0..4).map(|n| format!("crowd-late-{n}")).collect();
    join_all(late.iter().map(|name| create(&world, name, json!({})))).await;
    all_placed(&world, &late).await;
    let after = places(&world).await;
    assert_eq!(after.len(), 4, "one new one for all: {:?}", after.keys());
    assert_eq!(
        BTreeSet::from_iter(&after["shared-cassandra-1"]),
        BTreeSet::from_iter(&late)
    );
    assert!(full.iter().all(|(name, tenants)| after[name] == *tenants));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_that_both_think_they_lead_give_nobody_two_places() {
    let world = World::new("overlap").await;
    ready_broker(&world).await;
    for name in ["one", "two", "three"] {
        share(&world, name, json!({"maxTenants": 10})).await;
    }
    let names: Vec<_> = (0..6).map(|n| format!("overlap-{n}")).collect();
    join_all(names.iter().map(|name| create(&world, name, json!({})))).await;
    let two = &operators(&world)[..2];
    let all = names
        .iter()
        .flat_map(|name| two.iter().map(move |operator| (name, operator)));
    join_all(all.map(|(name, operator)| until_placed(&world, operator, name))).await;
    let places = places(&world).await;
    let claims: Vec<_> = places.values().flatten().collect();
    let tenants = BTreeSet::from_iter(claims.iter().copied());
    assert_eq!((claims.len(), tenants.len()), (6, 6), "{places:?}");
    for (coredms, tenants) in &places {
        for tenant in tenants {
            assert_eq!(place(&world, tenant).await.as_ref(), Some(coredms));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_database_is_taken_or_refused_with_what_would_be_right() {
    let world = World::new("named").await;
    ready_broker(&world).await;
    share(&world, "roomy", json!({"maxTenants": 10})).await;
    share(&world, "small", json!({"maxTenants": 1})).await;
    share(&world, "private", json!({})).await;
    let wants = async |tenant: &str, name: &str| {
        create(&world, tenant, json!({"ref": {"name": name}})).await;
    };
    wants("named-a", "small").await;
    in_place(&world, "named-a").await;
    let told = status(&world, "named-a").await;
    let expected = ObjectRef {
        namespace: "named-operator".into(),
        name: "small".into(),
    };
    assert_eq!(told.coredms, Some(expected));
    assert_eq!(
        told.placement.as_deref(),
        Some("small: 0 of 1 places taken; named in spec.coredms.ref")
    );
    assert_eq!(told.database.as_deref(), Some("small"));

    wants("named-b", "nope").await;
    let message = refused(&world, "named-b", "CoreDmsNotFound").await;
    assert!(message.contains("shared are roomy, small"), "{message}");
    wants("named-c", "private").await;
    refused(&world, "named-c", "CoreDmsNotShared").await;
    wants("named-d", "small").await;
    let message = refused(&world, "named-d", "CoreDmsFull").await;
    assert!(message.contains("raise its spec.maxTenants"), "{message}");
    let more = Patch::Merge(json!({"spec": {"maxTenants": 2}}));
    let params = PatchParams::default();
    databases(&world)
        .patch("small", &params, &more)
        .await
        .unwrap();
    in_place(&world, "named-d").await;
    assert_eq!(place(&world, "named-d").await.as_deref(), Some("small"));

    let api: Api<Tenant> = Api::all(world.client.clone());
    let elsewhere = Patch::Merge(json!({"spec": {"coredms": {"ref": {"name": "roomy"}}}}));
    api.patch("named-a", &params, &elsewhere).await.unwrap();
    let message = refused(&world, "named-a", "CoreDmsImmutable").await;
    assert!(
        message.contains("set spec.coredms.ref to `small`"),
        "{message}"
    );
    assert_eq!(places(&world).await["small"], ["named-a", "named-d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_and_without_a_template_the_tenant_says_what_to_do() {
    let mut world = World::new("roomless").await;
    world.template = None;
    ready_broker(&world).await;
    create(&world, "roomless", json!({})).await;
    let message = refused(&world, "roomless", "NoRoom").await;
    assert!(
        message.contains("create one with spec.maxTenants") && message.contains("sharedCoredms"),
        "{message}"
    );
    assert!(places(&world).await.is_empty(), "nothing was made");
    share(&world, "late", json!({"maxTenants": 1})).await;
    in_place(&world, "roomless").await;
    assert_eq!(place(&world, "roomless").await.as_deref(), Some("late"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_keeps_its_place_and_a_second_reconcile_writes_nothing() {
    let world = World::new("sticky").await;
    ready_broker(&world).await;
    share(&world, "first", json!({"maxTenants": 3})).await;
    create(&world, "sticky-other", json!({})).await;
    in_place(&world, "sticky-other").await;
    create(&world, "sticky", json!({})).await;
    let settled = async || world.holds::<Tenant>(None, "sticky", &["Ready"]).await;
    world
        .run::<TenantController>(None, "sticky", &Servers { pods: true }, settled)
        .await;
    // An emptier one comes, and every operator is a new one.
    share(&world, "second", json!({"maxTenants": 3})).await;
    campaign::second_writes_nothing::<TenantController>(&world, None).await;
    assert_eq!(places(&world).await["first"], ["sticky-other", "sticky"]);
    let told = status(&world, "sticky").await;
    assert_eq!(
        told.placement.as_deref(),
        Some("first: 1 of 3 places taken; the only one with room")
    );

    let binding = world.secret("tenant-sticky", "coredms-binding").await;
    assert_eq!(binding["host"], "first.sticky-operator.svc");
    let shared = DatabasePlace::of(&databases(&world).get("first").await.unwrap());
    let roles = world.stores.state(&shared.endpoints()).roles;
    assert_eq!(roles["t_sticky"].password, binding["password"]);
    let own = BTreeSet::from(["t_sticky".to_owned()]);
    assert_eq!(roles["t_sticky"].keyspaces, own, "its own alone");
    let own = world.get::<CoreDms>(Some("tenant-sticky"), "coredms").await;
    assert!(own.is_none(), "no database of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_place_stays_taken_and_a_deleted_one_is_free() {
    let world = World::new("freed").await;
    ready_broker(&world).await;
    let shared = share(&world, "small", json!({"maxTenants": 2})).await;
    let endpoints = DatabasePlace::of(&shared).endpoints();
    for name in ["freed", "freed-other"] {
        create(&world, name, json!({"ref": {"name": "small"}})).await;
        in_place(&world, name).await;
    }
    world.stores.update(&endpoints, |state| {
        let keyspace = state.keyspaces.get_mut("t_freed").unwrap();
        keyspace.tables.insert("flights".into(), Table::default());
    });
    let api: Api<Tenant> = Api::all(world.client.clone());
    let retain = Patch::Merge(json!({"spec": {"deletionPolicy": "Retain"}}));
    api.patch("freed", &PatchParams::default(), &retain)
        .await
        .unwrap();
    let others = |world: &World| {
        let state = world.stores.state(&endpoints);
        let role = state.roles["t_freed_other"].clone();
        (role, state.keyspaces["t_freed_other"].clone())
    };
    let before = others(&world);

    delete(&world, "freed").await;
    assert_eq!(places(&world).await["small"], ["freed", "freed-other"]);
    let state = world.stores.state(&endpoints);
    assert!(!state.roles["t_freed"].login && !state.roles["p_freed"].login);
    create(&world, "freed-late", json!({"ref": {"name": "small"}})).await;
    refused(&world, "freed-late", "CoreDmsFull").await;

    // Applied again, now without naming it.
    create(&world, "freed", json!({})).await;
    in_place(&world, "freed").await;
    assert_eq!(place(&world, "freed").await.as_deref(), Some("small"));
    let state = world.stores.state(&endpoints);
    assert!(state.roles["t_freed"].login);
    assert!(state.keyspaces["t_freed"].tables.contains_key("flights"));

    delete(&world, "freed").await;
    let state = world.stores.state(&endpoints);
    assert!(!state.roles.contains_key("t_freed") && !state.keyspaces.contains_key("t_freed"));
    assert!(!state.keyspaces.contains_key("p_freed"));
    assert_eq!(others(&world), before, "the other's are as they were");
    in_place(&world, "freed-late").await;
    assert_eq!(places(&world).await["small"], ["freed-other", "freed-late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_tenants_stays_until_they_are_gone() {
    let world = World::new("needed").await;
    let namespace = world.operator_namespace();
    ready_broker(&world).await;
    share(
        &world,
        "small",
        json!({"maxTenants": 2, "deletionPolicy": "Delete"}),
    )
    .await;
    create(&world, "needed", json!({})).await;
    in_place(&world, "needed").await;
    let run = async |settled: &dyn Fn(Option<(String, String, String)>, bool) -> bool| {
        let settled = async || {
            let told = world.told::<CoreDms>(Some(&namespace), "small", "TearingDown");
            let there = world.get::<CoreDms>(Some(&namespace), "small").await;
            settled(told.await, there.is_some())
        };
        world
            .run::<CoreDmsController>(Some(&namespace), "small", &SERVERS, settled)
            .await;
    };
    // Its own controller has seen it once, which is what gives it the finalizer.
    let finalized = async || {
        let coredms = databases(&world).get("small").await.unwrap();
        !coredms.finalizers().is_empty()
    };
    world
        .run::<CoreDmsController>(Some(&namespace), "small", &SERVERS, finalized)
        .await;
    databases(&world)
        .delete("small", &Default::default())
        .await
        .unwrap();
    run(&|told, _| told.is_some_and(|told| told.1 == "InUse" && told.2.contains("needed"))).await;
    create(&world, "needed-late", json!({"ref": {"name": "small"}})).await;
    refused(&world, "needed-late", "CoreDmsLeaving").await;

    delete(&world, "needed").await;
    run(&|_, there| !there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_waits_to_be_deleted_until_the_shared_database_can_forget_it() {
    let world = World::new("waited").await;
    ready_broker(&world).await;
    let shared = share(&world, "small", json!({"maxTenants": 2})).await;
    create(&world, "waited", json!({})).await;
    in_place(&world, "waited").await;
    let down = Patch::Merge(json!({"status": {"conditions": [{
        "type": "Ready", "status": "False", "reason": "QuorumLost", "message": "1 of 3",
        "lastTransitionTime": "2020-01-01T00:00:00Z",
    }]}}));
    let params = PatchParams::default();
    databases(&world)
        .patch_status("small", &params, &down)
        .await
        .unwrap();
    let api: Api<Tenant> = Api::all(world.client.clone());
    api.delete("waited", &Default::default()).await.unwrap();
    let waits = async || {
        let told = world.told::<Tenant>(None, "waited", "TearingDown").await;
        told.is_some_and(|told| told.1 == "WaitingForDatabase")
    };
    world
        .run::<TenantController>(None, "waited", &Nobody, waits)
        .await;
    assert_eq!(places(&world).await["small"], ["waited"]);
    world
        .make_ready::<CoreDms>(shared.namespace().as_deref(), "small")
        .await;
    let gone = async || world.get::<Tenant>(None, "waited").await.is_none();
    world
        .run::<TenantController>(None, "waited", &SERVERS, gone)
        .await;
    assert!(places(&world).await["small"].is_empty());
}
