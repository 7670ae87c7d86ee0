//! The controllers of Broker and CoreDms.

use futures::future::{BoxFuture, LocalBoxFuture};
use kube::api::Api;
use serde_json::{Value, json};
use simbdp_api::{Broker, CoreDms};
use simbdp_operator::broker::BrokerController;
use simbdp_operator::controller_runtime::{Controller, Managed};
use simbdp_operator::coredms::CoreDmsController;
use simbdp_testkit::fault::Fault;

use crate::campaign::{self, Scenario};
use crate::world::{Outside, World};

/// Every pod of the operator's namespace runs.
struct Kubelet;

impl Outside for Kubelet {
    fn act<'a>(&'a self, world: &'a World) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            world.run_pods(&world.operator_namespace()).await;
        })
    }
}

/// A kind of server.
pub trait Server: Sync {
    type Controller: Controller<Object: Managed>;
    fn namespace(world: &World) -> Option<String>;
    fn object(world: &World, policy: &str) -> Value;
}

type Object<S> = <<S as Server>::Controller as Controller>::Object;

/// A RabbitMQ.
struct RabbitMq;

impl Server for RabbitMq {
    type Controller = BrokerController;
    fn namespace(_: &World) -> Option<String> {
        None
    }
    fn object(world: &World, _policy: &str) -> Value {
        json!({
            "apiVersion": "simbdp.dev/v1alpha1", "kind": "Broker",
            "metadata": {"name": world.name}, "spec": {"storage": {"size": "1Gi"}},
        })
    }
}

/// A Cassandra.
pub struct Cassandra;

impl Server for Cassandra {
    type Controller = CoreDmsController;
    fn namespace(world: &World) -> Option<String> {
        Some(world.operator_namespace())
    }
    fn object(world: &World, policy: &str) -> Value {
        json!({
            "apiVersion": "simbdp.dev/v1alpha1", "kind": "CoreDms",
            "metadata": {"name": world.name, "namespace": world.operator_namespace()},
            "spec": {"storage": {"size": "1Gi"}, "profile": "Development", "deletionPolicy": policy},
        })
    }
}

/// Creation of one.
pub struct Creation<S>(pub S);

impl<S: Server> Scenario for Creation<S> {
    type Controller = S::Controller;
    fn prepare<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let namespace = S::namespace(world);
            world
                .create::<Object<S>>(namespace.as_deref(), S::object(world, "Retain"))
                .await;
        })
    }
    fn namespace(&self, world: &World) -> Option<String> {
        S::namespace(world)
    }
    fn outside(&self) -> Box<dyn Outside> {
        Box::new(Kubelet)
    }
    fn settled<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move {
            let namespace = S::namespace(world);
            world
                .holds::<Object<S>>(namespace.as_deref(), &world.name, &["Ready"])
                .await
        })
    }
    fn end_state<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, String> {
        Box::pin(async move { world.end_state(&world.operator_namespace()).await })
    }
}

/// Deletion of one that is ready, by a policy.
struct Deletion<S>(S, &'static str);

impl<S: Server> Scenario for Deletion<S> {
    type Controller = S::Controller;
    fn prepare<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let namespace = S::namespace(world);
            let namespace = namespace.as_deref();
            world
                .create::<Object<S>>(namespace, S::object(world, self.1))
                .await;
            let settled = async || {
                world
                    .holds::<Object<S>>(namespace, &world.name, &["Ready"])
                    .await
            };
            world
                .run::<S::Controller>(namespace, &world.name, &Kubelet, settled)
                .await;
            let api: Api<Object<S>> = Managed::api(&world.client, namespace);
            api.delete(&world.name, &Default::default()).await.unwrap();
        })
    }
    fn namespace(&self, world: &World) -> Option<String> {
        S::namespace(world)
    }
    fn outside(&self) -> Box<dyn Outside> {
        Box::new(Kubelet)
    }
    fn settled<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move {
            let namespace = S::namespace(world);
            world
                .get::<Object<S>>(namespace.as_deref(), &world.name)
                .await
                .is_none()
        })
    }
    fn end_state<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, String> {
        Box::pin(async move {
            // What has an owner goes a moment later, by the cluster's own garbage collector.
            let started = std::time::Instant::now();
            loop {
                let state = world.end_state(&world.operator_namespace()).await;
                if !state.contains("\"owners\": 1") || started.elapsed().as_secs() > 60 {
                    return state;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        })
    }
}

const FAULTS: [Fault; 3] = [Fault::Status(500), Fault::CrashBefore, Fault::CrashAfter];

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reconcile_of_a_broker_writes_nothing() {
    let world = World::new("still-broker").await;
    ready(&Creation(RabbitMq), &world).await;
    campaign::second_writes_nothing::<BrokerController>(&world, None).await;
    assert!(world.get::<Broker>(None, &world.name).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reconcile_of_a_database_writes_nothing() {
    let world = World::new("still-coredms").await;
    ready(&Creation(Cassandra), &world).await;
    let namespace = world.operator_namespace();
    campaign::second_writes_nothing::<CoreDmsController>(&world, Some(&namespace)).await;
    assert!(
        world
            .get::<CoreDms>(Some(&namespace), &world.name)
            .await
            .is_some()
    );
}

/// Makes one and waits until it is ready.
pub async fn ready<S: Server>(creation: &Creation<S>, world: &World) {
    creation.prepare(world).await;
    let settled = async || creation.settled(world).await;
    let namespace = S::namespace(world);
    world
        .run::<S::Controller>(namespace.as_deref(), &world.name, &Kubelet, settled)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_of_a_broker_converges_whichever_call_fails() {
    campaign::run(&Creation(RabbitMq), "bc", &FAULTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_of_a_database_converges_whichever_call_fails() {
    campaign::run(&Creation(Cassandra), "dc", &FAULTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_of_a_broker_converges_whichever_call_fails() {
    let deletion = Deletion(RabbitMq, "");
    campaign::run(&deletion, "bd", &FAULTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_of_a_database_converges_whichever_call_fails() {
    let deletion = Deletion(Cassandra, "Delete");
    campaign::run(&deletion, "dd", &FAULTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_of_a_database_converges_whichever_call_fails() {
    let deletion = Deletion(Cassandra, "Retain");
    campaign::run(&deletion, "dr", &FAULTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_objects_have_the_names_of_a_broker_s_is_told_so_and_harms_nothing() {
    let world = World::new("namesake").await;
    ready(&Creation(RabbitMq), &world).await;
    let (namespace, name) = (world.operator_namespace(), format!("broker-{}", world.name));
    let before = world.end_state(&namespace).await;
    let mut object = Cassandra::object(&world, "Delete");
    object["metadata"]["name"] = json!(name);
    world.create::<CoreDms>(Some(&namespace), object).await;
    let told = async || {
        world
            .told::<CoreDms>(Some(&namespace), &name, "Stalled")
            .await
    };
    let says = async || told().await.is_some_and(|(status, ..)| status == "True");
    world
        .run::<CoreDmsController>(Some(&namespace), &name, &Kubelet, says)
        .await;
    let (_, reason, message) = told().await.unwrap();
    assert_eq!(reason, "ObjectNotOurs");
    let owner = format!("belongs to Broker `{}`", world.name);
    assert!(message.contains(&owner), "{message}");
    let api: Api<CoreDms> = Managed::api(&world.client, Some(&namespace));
    api.delete(&name, &Default::default()).await.unwrap();
    let gone = async || {
        world
            .get::<CoreDms>(Some(&namespace), &name)
            .await
            .is_none()
    };
    world
        .run::<CoreDmsController>(Some(&namespace), &name, &Kubelet, gone)
        .await;
    assert_eq!(world.end_state(&namespace).await, before);
}
