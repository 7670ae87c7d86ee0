//! A database and a broker that the operator does not run: they are looked at, tenants get what they need in them, and nothing
//! else in them is touched.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use simbdp_api::{Broker, CoreDms, Tenant};
use simbdp_operator::broker::BrokerController;
use simbdp_operator::conditions::READY;
use simbdp_operator::coredms::CoreDmsController;
use simbdp_operator::coredms::observe::DATABASE_READY;
use simbdp_testkit::fake_broker::Vhost;
use simbdp_testkit::fake_coredms::{Keyspace, Role};

use crate::campaign;
use crate::shared;
use crate::tenants::{self, Servers, ready_broker, tenant, until_in_place};
use crate::world::World;

const SERVERS: Servers = Servers { pods: false };

fn addresses() -> Vec<String> {
    ["db-1.example:9142", "db-2.example:9142"]
        .map(str::to_owned)
        .into()
}

/// An external CoreDms of the test's name, in a database where others have data, too.
async fn external(world: &World) {
    let namespace = world.operator_namespace();
    world.stores.update(&addresses(), |state| {
        state.datacenter = "frankfurt".into();
        state.superuser = Some(("ada".into(), "secret".into()));
        state.roles.insert("somebody".into(), Role::default());
        state.keyspaces.insert("theirs".into(), Keyspace::default());
    });
    let object = json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "CoreDms",
        "metadata": {"name": world.name, "namespace": namespace},
        "spec": {
            "maxTenants": 2,
            "external": {"addresses": addresses(), "secretRef": {"name": "login"}},
        },
    });
    world.create::<CoreDms>(Some(&namespace), object).await;
}

async fn until(world: &World, reason: &str) -> String {
    let namespace = world.operator_namespace();
    let told = async || {
        world
            .told::<CoreDms>(Some(&namespace), &world.name, DATABASE_READY)
            .await
    };
    let settled = async || told().await.is_some_and(|told| told.1 == reason);
    world
        .run::<CoreDmsController>(Some(&namespace), &world.name, &SERVERS, settled)
        .await;
    told().await.unwrap().2
}

async fn password(world: &World, password: &str) {
    let api: Api<Secret> = Api::namespaced(world.client.clone(), &world.operator_namespace());
    let edit = Patch::Merge(json!({"stringData": {"password": password}}));
    api.patch("login", &PatchParams::default(), &edit)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_not_to_answer_has_a_condition_of_its_own() {
    let world = World::new("elsewhere").await;
    external(&world).await;
    let message = until(&world, "SecretMissing").await;
    assert!(message.contains("/login is not there"), "{message}");
    let namespace = world.operator_namespace();
    world.create_login(&namespace, "login", "ada", "").await;
    let message = until(&world, "MissingKey").await;
    assert!(message.contains("`password`"), "{message}");
    password(&world, "wrong").await;
    let message = until(&world, "LoginRefused").await;
    assert!(
        message.contains("`ada`") && !message.contains("wrong"),
        "{message}"
    );
    world.stores.update(&addresses(), |state| state.down = true);
    password(&world, "secret").await;
    until(&world, "DatabaseUnavailable").await;
    world
        .stores
        .update(&addresses(), |state| state.down = false);
    until(&world, "Answers").await;
    let status = world.get::<CoreDms>(Some(&namespace), "elsewhere").await;
    let status = status.unwrap().status.unwrap();
    assert_eq!(status.members.as_deref(), Some("3/3"));
    assert_eq!(status.datacenter.as_deref(), Some("frankfurt"));
    assert_eq!(status.tenants.as_deref(), Some("0/2"));
    campaign::second_writes_nothing::<CoreDmsController>(&world, Some(&namespace)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_come_and_go_and_nothing_else_in_it_changes() {
    let world = World::new("guests").await;
    let namespace = world.operator_namespace();
    ready_broker(&world).await;
    external(&world).await;
    world
        .create_login(&namespace, "login", "ada", "secret")
        .await;
    until(&world, "Answers").await;
    let before = world.stores.state(&addresses());
    assert_eq!(before.writes, 0, "it was looked at alone");

    shared::create(&world, "guests", json!({"ref": {"name": "guests"}})).await;
    shared::in_place(&world, "guests").await;
    let state = world.stores.state(&addresses());
    assert!(state.keyspaces.contains_key("t_guests") && state.roles["t_guests"].login);
    assert!(
        state.default_superuser_login,
        "no login but tenants' is changed"
    );
    assert_eq!(
        state.system_auth_replication,
        before.system_auth_replication
    );
    let binding = world.secret("tenant-guests", "coredms-platform").await;
    assert_eq!(binding["host"], "db-1.example,db-2.example");
    assert_eq!(
        (binding["port"].as_str(), binding["datacenter"].as_str()),
        ("9142", "frankfurt")
    );
    let sets: Api<StatefulSet> = Api::namespaced(world.client.clone(), &namespace);
    assert!(
        sets.list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );

    shared::delete(&world, "guests").await;
    assert!(world.get::<Tenant>(None, "guests").await.is_none());
    let databases: Api<CoreDms> = Api::namespaced(world.client.clone(), &namespace);
    databases
        .delete("guests", &Default::default())
        .await
        .unwrap();
    let gone = async || {
        let coredms = world.get::<CoreDms>(Some(&namespace), "guests").await;
        coredms.is_none()
    };
    world
        .run::<CoreDmsController>(Some(&namespace), "guests", &SERVERS, gone)
        .await;
    let mut after = world.stores.state(&addresses());
    after.writes = before.writes;
    assert_eq!(after, before);
    assert_eq!(
        world.secret(&namespace, "login").await["password"],
        "secret"
    );
}

/// A Kafka's management URL, as it derives from its addresses.
const KAFKA: &str = "kafka://kafka-1.example:9094,kafka-2.example:9094";

async fn broker_until(world: &World, reason: &str) -> String {
    let told = async || world.told::<Broker>(None, &world.name, READY).await;
    let settled = async || told().await.is_some_and(|told| told.1 == reason);
    world
        .run::<BrokerController>(None, &world.name, &SERVERS, settled)
        .await;
    told().await.unwrap().2
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_come_and_go_in_an_external_broker() {
    let world = World::new("bought").await;
    let namespace = world.operator_namespace();
    world.brokers.update(KAFKA, |state| {
        state.administrator = Some(("ada".into(), "secret".into()));
        state.vhosts.insert("theirs".into(), Vhost::default());
    });
    let object = json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "Broker", "metadata": {"name": world.name},
        "spec": {"type": "Kafka", "external": {
            "addresses": ["kafka-1.example:9094", "kafka-2.example:9094"],
            "secretRef": {"name": "login"}, "tls": {},
        }},
    });
    world.create::<Broker>(None, object).await;
    let message = broker_until(&world, "SecretMissing").await;
    assert!(message.contains(&format!("{namespace}/login")), "{message}");
    world
        .create_login(&namespace, "login", "ada", "wrong")
        .await;
    let message = broker_until(&world, "LoginRefused").await;
    assert!(
        message.contains("Secret login") && !message.contains("wrong"),
        "{message}"
    );
    password(&world, "secret").await;
    broker_until(&world, "Ready").await;
    let status = world.get::<Broker>(None, "bought").await.unwrap().status;
    let status = status.unwrap();
    assert_eq!(status.endpoint.as_deref(), Some("kafka-1.example:9094"));
    assert!(status.version.is_some() && status.nodes.is_none());
    campaign::second_writes_nothing::<BrokerController>(&world, None).await;
    let before = world.brokers.state(KAFKA);
    assert_eq!(before.writes, 0, "it was looked at alone");

    let changes = json!({"deletionPolicy": "Delete"});
    world.create::<Tenant>(None, tenant(&world, changes)).await;
    until_in_place(&world).await;
    let binding = world.secret("tenant-bought", "broker-binding").await;
    for (key, value) in [
        ("type", "kafka"),
        ("host", "kafka-1.example,kafka-2.example"),
        ("port", "9094"),
        ("tls", "true"),
    ] {
        assert_eq!(binding[key], value, "{key}");
    }
    assert!(!binding.contains_key("ca.crt"));
    assert!(
        world
            .brokers
            .state(KAFKA)
            .vhosts
            .contains_key("tenant-bought")
    );

    tenants::delete(&world).await;
    tenants::until_gone(&world).await;
    let brokers: Api<Broker> = Api::all(world.client.clone());
    brokers.delete("bought", &Default::default()).await.unwrap();
    let gone = async || world.get::<Broker>(None, "bought").await.is_none();
    world
        .run::<BrokerController>(None, "bought", &SERVERS, gone)
        .await;
    let mut after = world.brokers.state(KAFKA);
    after.writes = before.writes;
    assert_eq!(after, before);
    assert_eq!(
        world.secret(&namespace, "login").await["password"],
        "secret"
    );
}
