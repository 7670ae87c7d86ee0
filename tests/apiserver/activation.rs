//! Activation: ingest apps follow what waits, and gateways wake them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use simbdp_api::wire::wake::{AUDIENCE, path};
use simbdp_api::{Broker, IngestPipeline};
use simbdp_operator::activation::authority;
use simbdp_operator::activation::scale::MANAGER;
use simbdp_operator::activation::serve::serve;
use simbdp_operator::activation::wake::{Refusal, Waker, Woken};
use simbdp_operator::activation::watcher::{Histories, look};
use simbdp_operator::activation::workload::Workload;
use simbdp_operator::context::Context;
use simbdp_operator::pipeline::PipelineController;
use simbdp_operator::pipeline::status::ACTIVE;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::campaign;
use crate::pipelines::{fill, run_until, with_pipeline};
use crate::world::World;

const COOLDOWN: Duration = Duration::from_secs(60);

/// A world with a pipeline `p` that is ready and scales so.
async fn scaling(name: &str, scaling: Value) -> World {
    let world = with_pipeline(name, json!({"deletionPolicy": "Delete"})).await;
    declare(&world, json!({"scaling": scaling})).await;
    world
}

async fn declare(world: &World, spec: Value) {
    let api: Api<IngestPipeline> = Api::namespaced(world.client.clone(), &world.tenant_namespace());
    let patch = Patch::Merge(json!({"spec": spec}));
    api.patch("p", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

async fn app(world: &World) -> Deployment {
    let api: Api<Deployment> = Api::namespaced(world.client.clone(), &world.tenant_namespace());
    api.get("ingest-p").await.unwrap()
}

async fn replicas(world: &World) -> i32 {
    app(world).await.spec.unwrap().replicas.unwrap()
}

/// Looks at the test's Broker at a time after the start.
struct Looks<'a> {
    world: &'a World,
    ctx: Context,
    start: Instant,
    histories: Histories,
}

impl<'a> Looks<'a> {
    fn new(world: &'a World) -> Self {
        Self {
            world,
            ctx: world.context(),
            start: Instant::now(),
            histories: Histories::new(),
        }
    }

    /// Whether the Broker answered.
    async fn look(&mut self, after: Duration) -> bool {
        let world = self.world;
        let broker = world.get::<Broker>(None, &world.name).await.unwrap();
        let namespace = world.tenant_namespace();
        let pipeline = world.get::<IngestPipeline>(Some(&namespace), "p").await;
        let workload = Workload::of(&pipeline.unwrap(), &app(world).await);
        let workloads = workload.into_iter().collect();
        let now = self.start + after;
        look(&self.ctx, &broker, workloads, &mut self.histories, now)
            .await
            .is_ok()
    }

    /// Replicas after a look.
    async fn after(&mut self, after: Duration) -> i32 {
        assert!(self.look(after).await);
        replicas(self.world).await
    }
}

async fn active(world: &World) -> (String, String) {
    let namespace = world.tenant_namespace();
    let told = world.told::<IngestPipeline>(Some(&namespace), "p", ACTIVE);
    let (status, reason, _) = told.await.unwrap();
    (status, reason)
}

async fn until_active(world: &World, status: &str, reason: &str) {
    run_until(world, "p", async || {
        active(world).await == (status.to_owned(), reason.to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_come_with_what_waits_and_go_after_a_quiet_cooldown() {
    let world = scaling(
        "acts",
        json!({"maxReplicas": 3, "targetBacklog": 10, "cooldownSeconds": 60}),
    )
    .await;
    until_active(&world, "False", "Idle").await;
    assert_eq!(replicas(&world).await, 0);
    let mut looks = Looks::new(&world);
    assert_eq!(looks.after(Duration::ZERO).await, 0);

    fill(&world, "p", 1);
    assert_eq!(looks.after(Duration::ZERO).await, 1);
    until_active(&world, "True", "Ingesting").await;
    fill(&world, "p", 900);
    assert_eq!(looks.after(Duration::ZERO).await, 3);
    run_until(&world, "p", async || {
        let pipeline = world.get::<IngestPipeline>(Some("tenant-acts"), "p").await;
        pipeline.unwrap().status.unwrap().replicas == Some(3)
    })
    .await;
    // A reconcile applies the Deployment, and leaves the number alone.
    campaign::second_writes_nothing_of::<PipelineController>(&world, Some("tenant-acts"), "p")
        .await;
    assert_eq!(replicas(&world).await, 3);

    fill(&world, "p", 0);
    assert_eq!(looks.after(Duration::ZERO).await, 3);
    let early = COOLDOWN - Duration::from_secs(1);
    assert_eq!(looks.after(early).await, 3);
    // Something came and went that no look saw: the gateway knows.
    world.gateways.lock().unwrap().quiet_seconds = Some(20);
    assert_eq!(looks.after(COOLDOWN).await, 3);
    let later = COOLDOWN + Duration::from_secs(39);
    assert_eq!(looks.after(later).await, 3);
    world.gateways.lock().unwrap().quiet_seconds = Some(61);
    assert_eq!(looks.after(later + Duration::from_secs(1)).await, 0);
    until_active(&world, "False", "Idle").await;
    let managers = app(&world).await.metadata.managed_fields.unwrap();
    let scales = |entry: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
        let fields = &entry.fields_v1.as_ref().unwrap().0;
        fields.pointer("/f:spec/f:replicas").is_some()
    };
    let owners: Vec<_> = managers.iter().filter(|entry| scales(entry)).collect();
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!(owners[0].manager.as_deref(), Some(MANAGER));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_scaled_while_the_broker_cannot_be_asked() {
    let world = scaling("blind", json!({"maxReplicas": 3, "cooldownSeconds": 60})).await;
    fill(&world, "p", 2500);
    let mut looks = Looks::new(&world);
    assert_eq!(looks.after(Duration::ZERO).await, 3);
    until_active(&world, "True", "Ingesting").await;
    fill(&world, "p", 0);
    assert_eq!(looks.after(Duration::ZERO).await, 3);

    let url = world.brokers.states().into_keys().next().unwrap();
    world.brokers.update(&url, |state| state.down = true);
    assert!(!looks.look(COOLDOWN).await);
    assert_eq!(replicas(&world).await, 3);
    until_active(&world, "Unknown", "BrokerNotAsked").await;
    world.brokers.update(&url, |state| state.down = false);
    // Nobody knows what was there meanwhile: the cooldown begins anew.
    assert_eq!(looks.after(COOLDOWN).await, 3);
    // So it does for an operator that has just begun to lead.
    let mut successor = Looks::new(&world);
    assert_eq!(successor.after(Duration::ZERO).await, 3);
    assert_eq!(looks.after(COOLDOWN * 2).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_pipeline_stays_at_none_and_the_least_is_kept_at_once() {
    let world = scaling("rests", json!({"minReplicas": 2, "cooldownSeconds": 60})).await;
    until_active(&world, "True", "Ingesting").await;
    assert_eq!(replicas(&world).await, 2);
    fill(&world, "p", 5000);
    declare(&world, json!({"paused": true})).await;
    until_active(&world, "False", "Paused").await;
    let mut looks = Looks::new(&world);
    assert_eq!(looks.after(Duration::ZERO).await, 0);
    let waker = Waker::new(Arc::new(world.context()));
    let token = token(&world, &world.tenant_namespace(), "gateway", AUDIENCE).await;
    let woken = waker
        .wake(Some(&token), &world.tenant_namespace(), "p")
        .await;
    assert!(matches!(woken, Err(Refusal::Paused(_))), "{woken:?}");
    declare(&world, json!({"paused": false})).await;
    until_active(&world, "True", "Ingesting").await;
    assert_eq!(replicas(&world).await, 2);
}

/// A token of a ServiceAccount, as a kubelet would give it to a pod.
async fn token(world: &World, namespace: &str, account: &str, audience: &str) -> String {
    let api: Api<ServiceAccount> = Api::namespaced(world.client.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![audience.to_owned()],
            expiration_seconds: Some(600),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let params = PostParams::default();
    let answer = api.create_token_request(account, &params, &request).await;
    answer.unwrap().status.unwrap().token
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_of_its_namespace_wakes_a_pipeline_and_nobody_else_does() {
    let world = scaling("wakes", json!({})).await;
    let namespace = world.tenant_namespace();
    let other = world.operator_namespace();
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), &other);
    let gateway = serde_json::from_value(json!({"metadata": {"name": "gateway"}})).unwrap();
    accounts
        .create(&PostParams::default(), &gateway)
        .await
        .unwrap();
    let waker = Waker::new(Arc::new(world.context()));
    let wake = async |token: Option<&str>, namespace: &str, pipeline: &str| {
        waker.wake(token, namespace, pipeline).await
    };
    let good = token(&world, &namespace, "gateway", AUDIENCE).await;
    let elsewhere = token(&world, &namespace, "gateway", "somebody.else").await;
    let ingest = token(&world, &namespace, "ingest", AUDIENCE).await;
    let stranger = token(&world, &other, "gateway", AUDIENCE).await;
    for bad in [None, Some("rubbish"), Some(elsewhere.as_str())] {
        assert_eq!(wake(bad, &namespace, "p").await, Err(Refusal::Unknown));
    }
    for (token, namespace) in [
        (&ingest, &namespace),
        (&stranger, &namespace),
        (&good, &other),
    ] {
        let refused = wake(Some(token), namespace, "p").await;
        assert!(
            matches!(refused, Err(Refusal::Forbidden { .. })),
            "{refused:?}"
        );
    }
    let missing = wake(Some(&good), &namespace, "nobody").await;
    assert_eq!(missing, Err(Refusal::NoPipeline("nobody".into())));
    assert_eq!(replicas(&world).await, 0);

    // Many at once are one change.
    let before = app(&world).await.metadata.generation.unwrap();
    let all = (0..8).map(|_| wake(Some(&good), &namespace, "p"));
    for woken in futures::future::join_all(all).await {
        assert_eq!(woken, Ok(Woken::Now));
    }
    assert_eq!(replicas(&world).await, 1);
    let another = Waker::new(Arc::new(world.context()));
    let woken = another.wake(Some(&good), &namespace, "p").await;
    assert_eq!(woken, Ok(Woken::Before));
    assert_eq!(app(&world).await.metadata.generation.unwrap(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_woken_over_tls_by_the_operator_s_own_authority() {
    let world = scaling("overtls", json!({})).await;
    let ctx = Arc::new(world.context());
    let authority = ctx.authority.get().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let name = authority::names(&ctx.identity).pop().unwrap();
    let tls = authority.server(authority::names(&ctx.identity)).unwrap();
    let stop = CancellationToken::new();
    let router = Waker::new(ctx.clone()).router();
    tokio::spawn(serve(listener, tls, router, stop.clone()));

    let namespace = world.tenant_namespace();
    let token = token(&world, &namespace, "gateway", AUDIENCE).await;
    let path = path(
        &simbdp_api::names::TenantName::new("overtls").unwrap(),
        &simbdp_api::names::PipelineName::new("p").unwrap(),
    );
    let url = format!("https://{name}:{}{path}", address.port());
    let client = |believed: &str| {
        let believed = reqwest::Certificate::from_pem_bundle(believed.as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only(believed);
        client.resolve(&name, address).build().unwrap()
    };
    let trust: Api<k8s_openapi::api::core::v1::ConfigMap> =
        Api::namespaced(world.client.clone(), &namespace);
    let trust = trust.get("operator-trust").await.unwrap().data.unwrap();
    let another = authority::Authority::generate().unwrap();
    let stranger = client(another.certificate()).post(&url).bearer_auth(&token);
    assert!(stranger.send().await.is_err(), "nobody else is believed");
    let request = client(&trust["ca.crt"]).post(&url).bearer_auth(&token);
    assert_eq!(request.send().await.unwrap().status(), 204);
    assert_eq!(replicas(&world).await, 1);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_that_start_at_once_have_one_authority() {
    let world = World::new("authority").await;
    let ctx = world.context();
    let ensure = async || loop {
        if let Ok(authority) = authority::ensure(&ctx.client, &ctx.identity).await {
            return authority.certificate().to_owned();
        }
    };
    let (one, other) = tokio::join!(ensure(), ensure());
    assert_eq!(one, other);
    assert_eq!(ensure().await, one);
    let namespace = world.operator_namespace();
    let secret = world.secret(&namespace, "simbdp-operator-authority").await;
    assert_eq!(secret["tls.crt"], one);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_of_an_operator_before_keeps_its_number() {
    let world = scaling("upgraded", json!({})).await;
    // As it was applied when the number was applied, too.
    let mut before = app(&world).await;
    let (name, namespace) = (before.name_any(), world.tenant_namespace());
    before.metadata.managed_fields = None;
    before.metadata.resource_version = None;
    before.metadata.uid = None;
    before.status = None;
    if let Some(spec) = &mut before.spec {
        spec.replicas = Some(3);
    }
    let api: Api<Deployment> = Api::namespaced(world.client.clone(), &namespace);
    api.delete(&name, &Default::default()).await.unwrap();
    while api.get_opt(&name).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    let params = PatchParams::apply("simbdp-pipeline").force();
    api.patch(&name, &params, &Patch::Apply(&before))
        .await
        .unwrap();
    until_active(&world, "True", "Ingesting").await;
    assert_eq!(replicas(&world).await, 3);
    campaign::second_writes_nothing_of::<PipelineController>(&world, Some(&namespace), "p").await;
    assert_eq!(replicas(&world).await, 3);
}
