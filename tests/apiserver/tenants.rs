//! The Tenant controller.

use futures::future::{BoxFuture, LocalBoxFuture};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Secret};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use simbdp_api::wire::internal::DrainState;
use simbdp_api::{Broker, CoreDms, Tenant};
use simbdp_operator::coredms::place::DatabasePlace;
use simbdp_operator::tenant::TenantController;
use simbdp_operator::tenant::status::{
    BROKER_READY, CREDENTIALS_READY, DATABASE_READY, GATEWAY_READY,
};
use simbdp_testkit::fake_coredms::Table;
use simbdp_testkit::fault::Fault;

use crate::campaign::{self, Scenario};
use crate::world::{Outside, World};

/// The controllers of Broker and CoreDms, and a kubelet, as far as a Tenant sees them.
pub struct Servers {
    /// Whether pods become ready.
    pub pods: bool,
}

impl Outside for Servers {
    fn act<'a>(&'a self, world: &'a World) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let namespace = world.tenant_namespace();
            for namespace in [&namespace, &world.operator_namespace()] {
                let api: Api<CoreDms> = Api::namespaced(world.client.clone(), namespace);
                for coredms in api.list(&ListParams::default()).await.unwrap() {
                    run_database(world, &coredms).await;
                }
            }
            if self.pods {
                world.run_pods(&namespace).await;
            }
        })
    }
}

/// Does what the controller of a CoreDms would, for one that is not external.
pub async fn run_database(world: &World, coredms: &CoreDms) {
    let (name, place) = (coredms.name_any(), DatabasePlace::of(coredms));
    let namespace = Some(place.namespace.as_str());
    let ready = coredms.status.iter().any(|status| {
        let conditions = &status.conditions.conditions;
        simbdp_operator::conditions::holds(conditions, "Ready")
    });
    let leaves = coredms.metadata.deletion_timestamp.is_some();
    if ready || leaves || place.external.is_some() {
        return;
    }
    let password = format!("superuser-of-{}", world.name);
    world
        .create_login(
            &place.namespace,
            &place.secret(),
            "simbdp_operator",
            &password,
        )
        .await;
    world.stores.update(&place.endpoints(), |state| {
        state.superuser = Some(("simbdp_operator".into(), password));
    });
    world.make_ready::<CoreDms>(namespace, &name).await;
}

/// A Broker that is ready, of this test alone.
pub async fn ready_broker(world: &World) {
    let broker = json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "Broker",
        "metadata": {"name": world.name}, "spec": {"storage": {"size": "1Gi"}},
    });
    world.create::<Broker>(None, broker).await;
    let secret = format!("broker-{}-admin", world.name);
    world
        .create_login(&world.operator_namespace(), &secret, "admin", "admin")
        .await;
    world.make_ready::<Broker>(None, &world.name).await;
}

/// A Tenant that uses the test's Broker.
pub fn tenant(world: &World, changes: Value) -> Value {
    tenant_named(world, &world.name, changes)
}

/// The same, of another name.
pub fn tenant_named(world: &World, name: &str, changes: Value) -> Value {
    let mut spec = json!({
        "coredms": {"storage": {"size": "1Gi"}, "profile": "Development"},
        "broker": {"ref": {"name": world.name}},
        "gateway": {"staging": {"size": "1Gi"}},
        "users": [{"name": "ada", "role": "Writer"}],
        "quota": {"pods": 20, "storage": "1024Gi"},
    });
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": name}, "spec": spec,
    })
}

/// All that a Tenant can be without a kubelet.
const IN_PLACE: [&str; 3] = [DATABASE_READY, BROKER_READY, CREDENTIALS_READY];

pub async fn in_place(world: &World) -> bool {
    world.holds::<Tenant>(None, &world.name, &IN_PLACE).await
}

pub async fn until_in_place(world: &World) {
    let settled = async || in_place(world).await;
    world
        .run::<TenantController>(None, &world.name, &Servers { pods: false }, settled)
        .await;
}

pub async fn delete(world: &World) {
    let api: Api<Tenant> = Api::all(world.client.clone());
    api.delete(&world.name, &Default::default()).await.unwrap();
}

pub async fn until_gone(world: &World) {
    let settled = async || world.get::<Tenant>(None, &world.name).await.is_none();
    world
        .run::<TenantController>(None, &world.name, &Servers { pods: false }, settled)
        .await;
}

async fn namespace(world: &World) -> Option<Namespace> {
    let api: Api<Namespace> = Api::all(world.client.clone());
    api.get_opt(&world.tenant_namespace()).await.unwrap()
}

async fn gateway_replicas(world: &World) -> Option<i32> {
    let api: Api<StatefulSet> = Api::namespaced(world.client.clone(), &world.tenant_namespace());
    api.get("gateway").await.unwrap().spec.unwrap().replicas
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_replicas_go_once_they_take_nothing_and_have_nothing() {
    let world = World::new("shrinking").await;
    ready_broker(&world).await;
    let gateway =
        |replicas: u16| json!({"gateway": {"staging": {"size": "1Gi"}, "replicas": replicas}});
    world
        .create::<Tenant>(None, tenant(&world, gateway(3)))
        .await;
    until_in_place(&world).await;
    assert_eq!(gateway_replicas(&world).await, Some(3));
    let replica = |ordinal: u16| {
        simbdp_operator::tenant::observe::replica_url(
            &simbdp_api::names::TenantName::new("shrinking").unwrap(),
            ordinal,
        )
    };
    let receiving = DrainState {
        staged_files: 0,
        receiving: 1,
    };
    world.drained.lock().unwrap().insert(replica(1), receiving);
    let api: Api<Tenant> = Api::all(world.client.clone());
    let fewer = Patch::Merge(json!({"spec": gateway(1)}));
    api.patch("shrinking", &PatchParams::default(), &fewer)
        .await
        .unwrap();
    let run = async |replicas: i32| {
        let settled = async || gateway_replicas(&world).await == Some(replicas);
        world
            .run::<TenantController>(None, "shrinking", &Servers { pods: false }, settled)
            .await;
    };
    run(2).await;
    let told: Vec<_> = world.drained.lock().unwrap().keys().cloned().collect();
    assert_eq!(
        told,
        [replica(1), replica(2)],
        "each that is to go, and no other"
    );
    world.drained.lock().unwrap().clear();
    run(1).await;
}

/// Where the database of a scenario's Tenant is.
#[derive(Clone, Copy)]
enum Place {
    Own,
    Shared,
}

impl Place {
    /// What is declared of it.
    fn changes(self) -> Value {
        match self {
            Self::Own => json!({}),
            Self::Shared => json!({"coredms": {"placement": "Shared"}}),
        }
    }

    /// What there is of it at the end, beside what is in the tenant's namespace.
    async fn end_state(self, world: &World) -> String {
        match self {
            Self::Own => String::new(),
            Self::Shared => world.end_state(&world.operator_namespace()).await,
        }
    }
}

/// Creation of a Tenant.
struct Creation(Place);

impl Scenario for Creation {
    type Controller = TenantController;
    fn prepare<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            ready_broker(world).await;
            world
                .create::<Tenant>(None, tenant(world, self.0.changes()))
                .await;
        })
    }
    fn namespace(&self, _: &World) -> Option<String> {
        None
    }
    fn outside(&self) -> Box<dyn Outside> {
        Box::new(Servers { pods: false })
    }
    fn settled<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move { in_place(world).await })
    }
    fn end_state<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, String> {
        Box::pin(async move {
            let own = world.end_state(&world.tenant_namespace()).await;
            own + &self.0.end_state(world).await
        })
    }
}

/// Deletion of a Tenant that is in place.
struct Deletion {
    policy: &'static str,
    place: Place,
}

impl Scenario for Deletion {
    type Controller = TenantController;
    fn prepare<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            ready_broker(world).await;
            let mut changes = self.place.changes();
            changes["deletionPolicy"] = json!(self.policy);
            world.create::<Tenant>(None, tenant(world, changes)).await;
            until_in_place(world).await;
            delete(world).await;
        })
    }
    fn namespace(&self, _: &World) -> Option<String> {
        None
    }
    fn outside(&self) -> Box<dyn Outside> {
        Box::new(Servers { pods: false })
    }
    fn settled<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move { world.get::<Tenant>(None, &world.name).await.is_none() })
    }
    fn end_state<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, String> {
        Box::pin(async move {
            let left = namespace(world).await.map(|mut namespace| {
                namespace
                    .annotations_mut()
                    .retain(|key, _| !key.ends_with("digest"));
                namespace.metadata.annotations
            });
            let objects = world.end_state(&world.tenant_namespace()).await;
            let shared = self.place.end_state(world).await;
            format!("{left:?}\n{objects}{shared}").replace(&world.name, "NAME")
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_becomes_ready_and_a_second_reconcile_writes_nothing() {
    let world = World::new("second").await;
    ready_broker(&world).await;
    world
        .create::<Tenant>(None, tenant(&world, json!({})))
        .await;
    let settled = async || {
        world
            .holds::<Tenant>(None, &world.name, &["Ready", GATEWAY_READY])
            .await
    };
    world
        .run::<TenantController>(None, &world.name, &Servers { pods: true }, settled)
        .await;
    campaign::second_writes_nothing::<TenantController>(&world, None).await;

    let status = world
        .get::<Tenant>(None, "second")
        .await
        .unwrap()
        .status
        .unwrap();
    assert_eq!(
        status.endpoint.as_deref(),
        Some("http://gateway.tenant-second.svc:8080")
    );
    assert_eq!(status.namespace_uid, namespace(&world).await.unwrap().uid());
    let binding = world.secret("tenant-second", "coredms-binding").await;
    let roles = world.stores.state(&world.database()).roles;
    assert_eq!(roles["t_second"].password, binding["password"]);
    let broker = world.brokers.states().into_values().next().unwrap();
    let binding = world.secret("tenant-second", "broker-binding").await;
    assert_eq!(broker.users["tenant-second"], binding["password"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_converges_whichever_call_fails() {
    campaign::run(
        &Creation(Place::Own),
        "tc",
        &[Fault::Status(500), Fault::CrashBefore, Fault::CrashAfter],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_in_a_shared_database_converges_whichever_call_fails() {
    campaign::run(
        &Creation(Place::Shared),
        "sc",
        &[Fault::Status(500), Fault::CrashBefore, Fault::CrashAfter],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_from_a_shared_database_leaves_nothing_whichever_call_fails() {
    let deletion = Deletion {
        policy: "Delete",
        place: Place::Shared,
    };
    campaign::run(&deletion, "sd", &[Fault::Status(500), Fault::CrashAfter]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_in_a_shared_database_leaves_the_same_whichever_call_fails() {
    let deletion = Deletion {
        policy: "Retain",
        place: Place::Shared,
    };
    campaign::run(&deletion, "sr", &[Fault::Status(500), Fault::CrashAfter]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_leaves_nothing_whichever_call_fails() {
    campaign::run(
        &Deletion {
            policy: "Delete",
            place: Place::Own,
        },
        "td",
        &[Fault::Status(500), Fault::CrashAfter],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_leaves_the_same_whichever_call_fails() {
    campaign::run(
        &Deletion {
            policy: "Retain",
            place: Place::Own,
        },
        "tr",
        &[Fault::Status(500), Fault::CrashAfter],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_tenant_is_adopted_with_its_rows_and_credentials() {
    let world = World::new("adopted").await;
    ready_broker(&world).await;
    world
        .create::<Tenant>(None, tenant(&world, json!({})))
        .await;
    until_in_place(&world).await;
    let credentials = world.secret("tenant-adopted", "user-ada").await;
    let uid = namespace(&world).await.unwrap().uid();
    world.stores.update(&world.database(), |state| {
        let keyspace = state.keyspaces.get_mut("t_adopted").unwrap();
        keyspace.tables.insert("flights".into(), Table::default());
    });

    delete(&world).await;
    until_gone(&world).await;
    let state = world.stores.state(&world.database());
    assert!(state.keyspaces["t_adopted"].tables.contains_key("flights"));
    assert!(
        state.roles.values().all(|role| !role.login),
        "logins are off"
    );
    let vhost = |world: &World| {
        world.brokers.states().into_values().next().unwrap().vhosts["tenant-adopted"].clone()
    };
    assert!(vhost(&world).permissions.is_empty());
    let volumes: Api<PersistentVolumeClaim> =
        Api::namespaced(world.client.clone(), "tenant-adopted");
    assert_eq!(
        volumes
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1,
        "staging stays"
    );
    assert!(
        world
            .get::<CoreDms>(Some("tenant-adopted"), "coredms")
            .await
            .is_none()
    );

    world
        .create::<Tenant>(None, tenant(&world, json!({})))
        .await;
    until_in_place(&world).await;
    assert_eq!(namespace(&world).await.unwrap().uid(), uid);
    assert_eq!(
        world.secret("tenant-adopted", "user-ada").await,
        credentials
    );
    let state = world.stores.state(&world.database());
    assert!(state.keyspaces["t_adopted"].tables.contains_key("flights"));
    assert!(state.roles.values().all(|role| role.login));
    assert_eq!(vhost(&world).permissions.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_s_namespace_is_refused_and_not_touched() {
    let world = World::new("taken").await;
    ready_broker(&world).await;
    let api: Api<Namespace> = Api::all(world.client.clone());
    let foreign = serde_json::from_value(json!({"metadata": {"name": "tenant-taken"}})).unwrap();
    let before = api.create(&PostParams::default(), &foreign).await.unwrap();
    world
        .create::<Tenant>(None, tenant(&world, json!({"deletionPolicy": "Delete"})))
        .await;
    let stalled = async || world.holds::<Tenant>(None, "taken", &["Stalled"]).await;
    world
        .run::<TenantController>(None, "taken", &Servers { pods: false }, stalled)
        .await;
    let status = world
        .get::<Tenant>(None, "taken")
        .await
        .unwrap()
        .status
        .unwrap();
    let ready = status
        .conditions
        .conditions
        .iter()
        .find(|c| c.type_ == "Ready")
        .unwrap();
    assert_eq!(ready.reason, "NamespaceTaken");

    delete(&world).await;
    until_gone(&world).await;
    let after = api.get("tenant-taken").await.unwrap();
    assert_eq!(after.resource_version(), before.resource_version());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_broker_is_named_with_those_that_are_there() {
    let world = World::new("unknown").await;
    ready_broker(&world).await;
    let elsewhere = json!({"broker": {"ref": {"name": "nope"}}});
    world
        .create::<Tenant>(None, tenant(&world, elsewhere))
        .await;
    let stalled = async || world.holds::<Tenant>(None, "unknown", &["Stalled"]).await;
    world
        .run::<TenantController>(None, "unknown", &Servers { pods: false }, stalled)
        .await;
    let status = world
        .get::<Tenant>(None, "unknown")
        .await
        .unwrap()
        .status
        .unwrap();
    let told = status
        .conditions
        .conditions
        .iter()
        .find(|c| c.type_ == BROKER_READY)
        .unwrap();
    assert_eq!(
        (told.status.as_str(), told.reason.as_str()),
        ("False", "NotFound")
    );
    assert!(
        told.message.contains("`nope`") && told.message.contains("unknown"),
        "{}",
        told.message
    );
    assert!(namespace(&world).await.is_none(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_secret_rotates_what_derives_from_it() {
    let world = World::new("rotated").await;
    ready_broker(&world).await;
    world
        .create::<Tenant>(None, tenant(&world, json!({})))
        .await;
    until_in_place(&world).await;
    let hashes = world.secret("tenant-rotated", "gateway-users").await;
    let api: Api<Secret> = Api::namespaced(world.client.clone(), "tenant-rotated");
    let edit = |password: &str| Patch::Merge(json!({"stringData": {"password": password}}));
    api.patch("user-ada", &PatchParams::default(), &edit("mine"))
        .await
        .unwrap();
    api.patch("broker-binding", &PatchParams::default(), &edit("new"))
        .await
        .unwrap();
    let rotated = async || {
        let broker = world.brokers.states().into_values().next().unwrap();
        world.secret("tenant-rotated", "gateway-users").await != hashes
            && broker.users["tenant-rotated"] == "new"
    };
    world
        .run::<TenantController>(None, "rotated", &Servers { pods: false }, rotated)
        .await;
    assert_eq!(
        world.secret("tenant-rotated", "user-ada").await["password"],
        "mine"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_leaves_takes_the_secret_along() {
    let world = World::new("leaving").await;
    ready_broker(&world).await;
    world
        .create::<Tenant>(None, tenant(&world, json!({})))
        .await;
    until_in_place(&world).await;
    let api: Api<Tenant> = Api::all(world.client.clone());
    let users = Patch::Merge(json!({"spec": {"users": [{"name": "bob", "role": "Reader"}]}}));
    api.patch("leaving", &PatchParams::default(), &users)
        .await
        .unwrap();
    until_in_place(&world).await;
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), "tenant-leaving");
    assert!(secrets.get_opt("user-ada").await.unwrap().is_none());
    assert!(secrets.get_opt("user-bob").await.unwrap().is_some());
    let users = world.secret("tenant-leaving", "gateway-users").await;
    assert!(users["users.json"].contains("bob") && !users["users.json"].contains("ada"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hangs_when_broker_and_database_went_first() {
    let world = World::new("bereft").await;
    ready_broker(&world).await;
    world
        .create::<Tenant>(None, tenant(&world, json!({"deletionPolicy": "Delete"})))
        .await;
    until_in_place(&world).await;
    let brokers: Api<Broker> = Api::all(world.client.clone());
    brokers.delete("bereft", &Default::default()).await.unwrap();
    let databases: Api<CoreDms> = Api::namespaced(world.client.clone(), "tenant-bereft");
    databases
        .delete("coredms", &Default::default())
        .await
        .unwrap();
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), "tenant-bereft");
    secrets
        .delete("internal-token", &Default::default())
        .await
        .unwrap();
    delete(&world).await;
    until_gone(&world).await;
    assert!(namespace(&world).await.is_none());
}
