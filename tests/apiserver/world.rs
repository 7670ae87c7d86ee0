//! What a controller is given in these tests: the real API server behind a layer of faults, and in the
//! place of broker, database and gateway servers in memory, behind faults as well.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use simbdp_api::wire::config::PipelineConfig;
use simbdp_api::wire::internal::{DrainState, GatewayState, LoadedPipeline};
use simbdp_operator::activation::authority::Authority;
use simbdp_operator::config::{Config, Images, SharedCoreDms, SharedTemplate};
use simbdp_operator::context::{Context, Identity};
use simbdp_operator::controller_runtime::{Controller, Managed, ManagedStatus, drive};
use simbdp_operator::coredms::pulse::Pulses;
use simbdp_operator::error::ApiError;
use simbdp_operator::error::Failure;
use simbdp_operator::events::Events;
use simbdp_operator::exec::{Command, Exec, ExecError, Outcome};
use simbdp_operator::gateways::{GatewayError, GatewayStates};
use simbdp_operator::metrics::Metrics;
use simbdp_operator::requeue::Backoff;
use simbdp_operator::secrets_watch::SecretsWatch;
use simbdp_operator::tenant::memory::Memory;
use simbdp_testkit::fake_broker::FakeBrokers;
use simbdp_testkit::fake_coredms::FakeStores;
use simbdp_testkit::fault::{Call, Faults, Filter, Operation};
use simbdp_testkit::fault_admin::{FaultyBrokers, FaultyStores};
use simbdp_testkit::fault_http;

use crate::server;

/// Longest that anything here may take.
const LIMIT: Duration = Duration::from_secs(240);
/// Between two reconciles: what the controllers of Kubernetes do in it needs no reconcile of ours.
const PAUSE: Duration = Duration::from_millis(100);

/// The authority of every operator here, so that what they make is the same.
fn authority() -> Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    let generated = AUTHORITY.get_or_init(|| Authority::generate().unwrap());
    generated.clone()
}

/// One test's own operator, with a namespace of its own.
pub struct World {
    /// Of every object that the test makes.
    pub name: String,
    /// Without faults: the test's own.
    pub client: Client,
    /// What the operator's calls go by.
    pub faults: Faults,
    /// Brokers in memory.
    pub brokers: FakeBrokers,
    /// Databases in memory.
    pub stores: FakeStores,
    /// Commands that were run in pods.
    pub commands: Commands,
    /// What every gateway replica says of every pipeline.
    pub gateways: Arc<Mutex<LoadedPipeline>>,
    /// What replicas that are to go have left, by their address; nothing where it is not named.
    pub drained: Arc<Mutex<BTreeMap<String, DrainState>>>,
    /// What shared databases are like that the operator creates.
    pub template: Option<SharedTemplate>,
    config: kube::Config,
}

impl World {
    /// A world where nothing is yet but the operator's namespace.
    pub async fn new(name: &str) -> Self {
        Self::with(server::client().await, name).await
    }

    /// The same, with a client that several worlds share.
    pub async fn with(client: Client, name: &str) -> Self {
        let world = Self {
            name: name.to_owned(),
            client,
            faults: Faults::new(Filter::requests()),
            brokers: FakeBrokers::default(),
            stores: FakeStores::default(),
            commands: Commands::default(),
            gateways: Arc::default(),
            drained: Arc::default(),
            template: serde_json::from_value(json!({
                "maxTenants": 10, "storage": {"size": "1Gi"}, "profile": "Development",
            }))
            .unwrap(),
            config: server::config().await,
        };
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": world.operator_namespace()}}))
                .unwrap();
        let api: Api<Namespace> = Api::all(world.client.clone());
        api.create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        world
    }

    /// Namespace of this test's operator.
    pub fn operator_namespace(&self) -> String {
        format!("{}-operator", self.name)
    }

    /// Namespace of this test's tenant.
    pub fn tenant_namespace(&self) -> String {
        format!("tenant-{}", self.name)
    }

    /// Address of the tenant's database.
    pub fn database(&self) -> Vec<String> {
        vec![simbdp_operator::coredms::names::endpoint(
            Default::default(),
            "coredms",
            &self.tenant_namespace(),
        )]
    }

    /// An operator that has just started, and remembers nothing.
    pub fn context(&self) -> Context {
        let client = fault_http::client(self.config.clone(), &self.faults).unwrap();
        Context {
            config: Config {
                images: Images {
                    cassandra: "example/cassandra".into(),
                    mongodb: "example/mongo".into(),
                    rabbitmq: "example/rabbitmq".into(),
                    kafka: "example/kafka".into(),
                    simbdp: "example/simbdp:1".into(),
                },
                image_pull_policy: Default::default(),
                default_broker: None,
                shared_coredms: SharedCoreDms {
                    cassandra: self.template.clone(),
                    mongodb: None,
                },
                isolation_check: None,
            },
            identity: Identity {
                namespace: self.operator_namespace(),
                service_account: "simbdp".into(),
                pod: "operator-0".into(),
                service: "simbdp-operator".into(),
            },
            coredms: Arc::new(FaultyStores::new(
                Arc::new(self.stores.clone()),
                self.faults.clone(),
            )),
            broker: Arc::new(FaultyBrokers::new(
                Arc::new(self.brokers.clone()),
                self.faults.clone(),
            )),
            exec: Arc::new(FaultyExec {
                commands: self.commands.clone(),
                faults: self.faults.clone(),
            }),
            gateways: Arc::new(PerfectGateways {
                client: self.client.clone(),
                figures: Arc::clone(&self.gateways),
                drained: Arc::clone(&self.drained),
            }),
            metrics: Metrics::default(),
            events: Events::new(client.clone(), "operator-0"),
            clock: Arc::new(Timestamp::now),
            backoff: Backoff::default(),
            secrets: SecretsWatch::new(client.clone(), None),
            pulses: Pulses::default(),
            authority: OnceLock::from(authority()),
            memory: Memory::default(),
            client,
        }
    }

    /// Reconciles until `settled`; the outside world does its part between reconciles. An operator that
    /// crashed is started anew. Returns the last failure that was not injected, should it never settle.
    pub async fn run<C: Controller>(
        &self,
        namespace: Option<&str>,
        object: &str,
        outside: &dyn Outside,
        settled: impl AsyncFn() -> bool,
    ) {
        let started = Instant::now();
        let mut ctx = self.context();
        let mut last: Option<Failure> = None;
        while started.elapsed() < LIMIT {
            if let Err(failure) = drive::<C>(&ctx, namespace, object).await {
                last = Some(failure);
            }
            if self.faults.crashed() {
                self.faults.restart();
                ctx = self.context();
            }
            outside.act(self).await;
            if settled().await {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!(
            "{object} does not settle; hit: {:?}, last failure: {last:?}",
            self.faults.hit()
        );
    }

    /// An object, if it is there.
    pub async fn get<K: Managed>(&self, namespace: Option<&str>, name: &str) -> Option<K> {
        K::api(&self.client, namespace).get_opt(name).await.unwrap()
    }

    /// Whether conditions of an object hold for its present generation.
    pub async fn holds<K: Managed>(
        &self,
        namespace: Option<&str>,
        name: &str,
        kinds: &[&str],
    ) -> bool {
        let Some(object) = self.get::<K>(namespace, name).await else {
            return false;
        };
        let conditions = object
            .status()
            .map(|status| status.conditions().conditions.clone());
        let conditions = conditions.unwrap_or_default();
        kinds.iter().all(|kind| {
            conditions.iter().any(|condition| {
                condition.type_ == *kind
                    && condition.status == "True"
                    && condition.observed_generation == object.meta().generation
            })
        })
    }

    /// Why a condition of an object is as it is: status, reason and message; nothing while there is none.
    pub async fn told<K: Managed>(
        &self,
        namespace: Option<&str>,
        name: &str,
        kind: &str,
    ) -> Option<(String, String, String)> {
        let object = self.get::<K>(namespace, name).await?;
        let conditions = &object.status()?.conditions().conditions;
        let condition = conditions
            .iter()
            .find(|condition| condition.type_ == kind)?;
        Some((
            condition.status.clone(),
            condition.reason.clone(),
            condition.message.clone(),
        ))
    }

    /// Makes a condition of an object hold, in the place of its own controller.
    pub async fn make_ready<K: Managed>(&self, namespace: Option<&str>, name: &str) {
        let api = K::api(&self.client, namespace);
        let object = api.get(name).await.unwrap();
        let condition = json!({
            "type": "Ready", "status": "True", "reason": "Ready", "message": "",
            "lastTransitionTime": "2020-01-01T00:00:00Z", "observedGeneration": object.meta().generation,
        });
        let status = json!({"status": {"observedGeneration": object.meta().generation, "conditions": [condition]}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
    }

    /// Writes an object as somebody else than the operator would.
    pub async fn create<K>(&self, namespace: Option<&str>, object: serde_json::Value)
    where
        K: Managed,
    {
        let object: K = serde_json::from_value(object).unwrap();
        K::api(&self.client, namespace)
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
    }

    /// A Secret's texts by key.
    pub async fn secret(&self, namespace: &str, name: &str) -> BTreeMap<String, String> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let data = api.get(name).await.unwrap().data.unwrap_or_default();
        data.into_iter()
            .map(|(key, bytes)| (key, String::from_utf8(bytes.0).unwrap()))
            .collect()
    }

    /// Makes a Secret with a login in it.
    pub async fn create_login(&self, namespace: &str, name: &str, username: &str, password: &str) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "simbdp-operator"}},
            "stringData": {"username": username, "password": password},
        }))
        .unwrap();
        match api.create(&PostParams::default(), &secret).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => drop(other.unwrap()),
        }
    }

    /// Does what a kubelet would: every pod of a namespace runs and is ready.
    pub async fn run_pods(&self, namespace: &str) {
        self.run_pods_that(namespace, |_| true).await;
    }

    /// The same for the pods that can be run.
    pub async fn run_pods_that(&self, namespace: &str, can: impl Fn(&Pod) -> bool) {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pods = api.list(&ListParams::default()).await.unwrap().items;
        for pod in pods.into_iter().filter(can) {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            if phase == Some("Running") || pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"});
            let status = json!({"status": {"phase": "Running", "conditions": [ready]}});
            // It may go at the same moment.
            let _ = api
                .patch_status(
                    &pod.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(status),
                )
                .await;
        }
    }
}

/// Commands that were run in pods and have not been carried out yet, and all of them: pod of each, and its words after the
/// program.
#[derive(Clone, Default)]
pub struct Commands(Arc<Mutex<Run>>);

#[derive(Default)]
struct Run {
    unheard: bool,
    waiting: Vec<(String, String)>,
    all: Vec<(String, String)>,
}

impl Commands {
    /// Those that nobody has carried out yet.
    pub fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.0.lock().unwrap().waiting)
    }

    /// From now on each outlasts what is waited for.
    pub fn outlast(&self) {
        self.0.lock().unwrap().unheard = true;
    }

    /// Every one, from now on.
    pub fn forget(&self) {
        self.0.lock().unwrap().all.clear();
    }

    /// Every one.
    pub fn all(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().all.clone()
    }

    fn add(&self, command: &Command) -> Outcome {
        let command = (command.pod.clone(), command.words[1..].join(" "));
        let mut run = self.0.lock().unwrap();
        run.waiting.push(command.clone());
        run.all.push(command);
        match run.unheard {
            true => Outcome::Unfinished,
            false => Outcome::Succeeded {
                output: String::new(),
            },
        }
    }
}

/// Takes commands down, behind faults.
struct FaultyExec {
    commands: Commands,
    faults: Faults,
}

impl Exec for FaultyExec {
    fn run<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Result<Outcome, ExecError>> {
        Box::pin(async move {
            let words = command.words.join(" ");
            let call = Call::new(Operation::Write, format!("exec {} {words}", command.pod));
            let work = async { Ok(self.commands.add(command)) };
            let error = |interruption: simbdp_testkit::fault::Interruption| {
                Err(ExecError {
                    command: words.clone(),
                    pod: command.pod.clone(),
                    source: ApiError(kube::Error::Service(interruption.to_string().into())),
                })
            };
            self.faults.around(call, work, error).await
        })
    }
}

/// What happens outside of the controller between two reconciles.
pub trait Outside: Sync {
    /// Does its part; called often.
    fn act<'a>(&'a self, world: &'a World) -> BoxFuture<'a, ()>;
}

/// Gateways that have always loaded what lies in the ConfigMap of pipelines.
struct PerfectGateways {
    client: Client,
    figures: Arc<Mutex<LoadedPipeline>>,
    drained: Arc<Mutex<BTreeMap<String, DrainState>>>,
}

impl GatewayStates for PerfectGateways {
    fn state<'a>(
        &'a self,
        url: &'a str,
        _token: &'a str,
    ) -> BoxFuture<'a, Result<GatewayState, GatewayError>> {
        Box::pin(async move {
            // http://gateway-0.gateway-replicas.tenant-x.svc:8081
            let namespace = url.split('.').nth(2).unwrap();
            let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
            let map = api.get_opt("pipelines").await.unwrap().unwrap_or_default();
            let files = map.data.unwrap_or_default();
            let figures = self.figures.lock().unwrap().clone();
            let pipelines = files.values().map(|file| {
                let config: PipelineConfig = serde_json::from_str(file).unwrap();
                LoadedPipeline {
                    name: config.pipeline.to_string(),
                    generation: config.generation,
                    rows: Some(0),
                    rejected: Some(0),
                    ..figures.clone()
                }
            });
            Ok(GatewayState {
                pipelines: pipelines.collect(),
                staged_files: 0,
                coredms: true,
                broker: true,
            })
        })
    }

    fn drain<'a>(
        &'a self,
        url: &'a str,
        _token: &'a str,
    ) -> BoxFuture<'a, Result<DrainState, GatewayError>> {
        Box::pin(async move {
            let mut drained = self.drained.lock().unwrap();
            Ok(*drained.entry(url.to_owned()).or_default())
        })
    }
}
