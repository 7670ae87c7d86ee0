//! The cluster under test: applying objects, waiting for conditions, reaching a tenant's gateway and database.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, Service};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use simbdp_api::common::{Conditions, Engine};
use simbdp_api::names::{TenantName, tenant_objects};
use simbdp_api::wire::rest::{FileRecord, FileState, UploadResult};
use simbdp_api::{Broker, IngestPipeline, Tenant, labels};
use tokio::sync::OnceCell;

use crate::database::Database;
use crate::engines::coredms;
use crate::table::Cells;
use crate::turns;

/// Label of every Tenant that these tests make, so that the run can sweep up after itself.
pub const TEST_LABEL: &str = "simbdp.dev/test";
/// Longest wait for a database of three on a small machine, where several start at once.
pub const SLOW: Duration = Duration::from_secs(600);
/// Longest wait for anything else.
pub const QUICK: Duration = Duration::from_secs(120);

/// Asks until the answer is there; fails with the last reason.
pub async fn eventually<T, F, Fut>(what: &str, limit: Duration, mut ask: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(reason) if start.elapsed() > limit => {
                panic!("{what}: not within {limit:?}: {reason}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

/// The cluster of the current kubeconfig.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    pub http: reqwest::Client,
}

impl Cluster {
    pub async fn connect() -> Self {
        // Both of rustls's providers are in the tree; one must be chosen. A second choice is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        turns::together().await;
        let client = Client::try_default()
            .await
            .expect("KUBECONFIG names a cluster");
        let http = reqwest::Client::builder().build().unwrap();
        Self { client, http }
    }

    pub fn tenants(&self) -> Api<Tenant> {
        Api::all(self.client.clone())
    }

    pub fn pipelines(&self, tenant: &TenantName) -> Api<IngestPipeline> {
        Api::namespaced(self.client.clone(), &tenant.namespace())
    }

    pub fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Names of the pods with a label selector.
    pub async fn pod_names(&self, namespace: &str, selector: &str) -> Vec<String> {
        let list = self
            .pods(namespace)
            .list(&ListParams::default().labels(selector))
            .await
            .unwrap();
        list.iter().map(ResourceExt::name_any).collect()
    }

    /// Kills a pod without grace, as a crashed node would.
    pub async fn kill_pod(&self, namespace: &str, name: &str) {
        let params = DeleteParams::default().grace_period(0);
        self.pods(namespace).delete(name, &params).await.unwrap();
    }

    /// `http://address:port` of a Service.
    pub async fn service_url(&self, namespace: &str, name: &str, port: u16) -> String {
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let service = services.get(name).await.unwrap();
        format!(
            "http://{}:{port}",
            service.spec.unwrap().cluster_ip.unwrap()
        )
    }

    /// Applies a Tenant from its spec; does not wait.
    pub async fn apply_tenant(
        &self,
        name: &TenantName,
        spec: Value,
    ) -> Result<Tenant, kube::Error> {
        let object = json!({
            "apiVersion": "simbdp.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": name.as_str(), "labels": {TEST_LABEL: "true"}},
            "spec": spec,
        });
        let params = PatchParams::apply("cluster-test").force();
        self.tenants()
            .patch(name.as_str(), &params, &Patch::Apply(object))
            .await
    }

    /// Applies the Broker of tests that are run with Kafka; does not wait.
    pub async fn apply_kafka(&self) {
        let object = json!({
            "apiVersion": "simbdp.dev/v1alpha1", "kind": "Broker",
            "metadata": {"name": KAFKA, "labels": {TEST_LABEL: "true"}},
            "spec": {
                "type": "Kafka", "nodes": 3, "profile": "Development", "storage": {"size": "1Gi"}, "maxQueueSize": "64Mi",
                "resources": {"requests": {"cpu": "20m", "memory": "384Mi"}, "limits": {"memory": "768Mi"}},
            },
        });
        let brokers: Api<Broker> = Api::all(self.client.clone());
        let params = PatchParams::apply("cluster-test").force();
        brokers
            .patch(KAFKA, &params, &Patch::Apply(object))
            .await
            .unwrap();
    }

    /// Applies an IngestPipeline from its spec, once one of that name that is being deleted is gone; does not wait for more.
    /// One ingest app of it always runs, unless the spec says otherwise: most tests look at it, or kill it.
    pub async fn apply_pipeline(
        &self,
        tenant: &TenantName,
        name: &str,
        mut spec: Value,
    ) -> Result<IngestPipeline, kube::Error> {
        if spec.get("scaling").is_none() {
            spec["scaling"] = json!({"minReplicas": 1, "maxReplicas": 1});
        }
        let object = json!({
            "apiVersion": "simbdp.dev/v1alpha1", "kind": "IngestPipeline",
            "metadata": {"name": name},
            "spec": spec,
        });
        let pipelines = self.pipelines(tenant);
        eventually("the one before is gone", QUICK, || async {
            let before = pipelines.get_opt(name).await.map_err(|e| e.to_string())?;
            match before.is_some_and(|before| before.metadata.deletion_timestamp.is_some()) {
                true => Err("it is being deleted".to_owned()),
                false => Ok(()),
            }
        })
        .await;
        let params = PatchParams::apply("cluster-test").force();
        pipelines.patch(name, &params, &Patch::Apply(object)).await
    }

    /// Waits until a Tenant is Ready at its current generation.
    pub async fn tenant_ready(&self, name: &TenantName) {
        eventually(&format!("Tenant {name} Ready"), SLOW, || async {
            let tenant = self
                .tenants()
                .get(name.as_str())
                .await
                .map_err(|e| e.to_string())?;
            let status = tenant.status.clone().unwrap_or_default();
            ready(
                &status.conditions,
                status.observed_generation,
                tenant.metadata.generation,
            )
        })
        .await;
    }

    /// Waits until a pipeline is Ready at its current generation.
    pub async fn pipeline_ready(&self, tenant: &TenantName, name: &str) {
        eventually(
            &format!("IngestPipeline {tenant}/{name} Ready"),
            QUICK,
            || async {
                let pipeline = self
                    .pipelines(tenant)
                    .get(name)
                    .await
                    .map_err(|e| e.to_string())?;
                let status = pipeline.status.clone().unwrap_or_default();
                ready(
                    &status.conditions,
                    status.observed_generation,
                    pipeline.metadata.generation,
                )
            },
        )
        .await;
    }

    /// The tenant's namespace, when it is there.
    pub async fn namespace(&self, tenant: &TenantName) -> Option<Namespace> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.get_opt(&tenant.namespace()).await.unwrap()
    }
}

fn ready(
    conditions: &Conditions,
    observed: Option<i64>,
    generation: Option<i64>,
) -> Result<(), String> {
    let ready = conditions.conditions.iter().find(|c| c.type_ == "Ready");
    match ready {
        Some(c) if c.status == "True" && observed == generation => Ok(()),
        Some(c) => Err(format!(
            "{}: {} (generation {observed:?} of {generation:?})",
            c.reason, c.message
        )),
        None => Err("no Ready condition yet".into()),
    }
}

/// Status, reason and message of a condition.
pub fn condition(conditions: &Conditions, kind: &str) -> Option<(String, String, String)> {
    let found = conditions.conditions.iter().find(|c| c.type_ == kind)?;
    Some((
        found.status.clone(),
        found.reason.clone(),
        found.message.clone(),
    ))
}

/// The Broker of tests that are run with Kafka.
pub const KAFKA: &str = "kafka";

/// A tenant under test: two users, a database in the Development profile.
#[derive(Clone)]
pub struct TestTenant {
    pub cluster: Cluster,
    pub name: TenantName,
    pub engine: Engine,
}

/// Spec of a small tenant.
pub fn small_tenant(engine: Engine, deletion_policy: &str) -> Value {
    json!({
        "coredms": coredms(engine),
        "users": [{"name": "loader", "role": "Writer"}, {"name": "analyst", "role": "Reader"}],
        "gateway": {"replicas": 1, "staging": {"size": "1Gi"}},
        "constraints": {"maxFileSize": "256Mi"},
        "deletionPolicy": deletion_policy,
    })
}

static ALPHA: OnceCell<()> = OnceCell::const_new();
static BETA: OnceCell<()> = OnceCell::const_new();
static MU: OnceCell<()> = OnceCell::const_new();

impl TestTenant {
    /// The tenant of an engine that most tests use: made once in a run.
    pub async fn of(engine: Engine) -> Self {
        match engine {
            Engine::Cassandra => Self::shared("alpha", engine, &ALPHA).await,
            Engine::MongoDB => Self::shared("mu", engine, &MU).await,
        }
    }

    /// The tenant of tests that concern no engine.
    pub async fn alpha() -> Self {
        Self::of(Engine::Cassandra).await
    }

    /// Another tenant, to be kept apart from the first.
    pub async fn beta() -> Self {
        Self::shared("beta", Engine::Cassandra, &BETA).await
    }

    async fn shared(name: &str, engine: Engine, once: &OnceCell<()>) -> Self {
        let tenant = Self::named(name, engine).await;
        turns::with(name).await;
        once.get_or_init(|| async {
            let mut spec = small_tenant(engine, "Delete");
            // Each kind of broker with one of the engines: the two know nothing of each other.
            if engine == Engine::MongoDB {
                tenant.cluster.apply_kafka().await;
                spec["broker"] = json!({"ref": {"name": KAFKA}});
            }
            tenant
                .cluster
                .apply_tenant(&tenant.name, spec)
                .await
                .unwrap();
            tenant.cluster.tenant_ready(&tenant.name).await;
        })
        .await;
        // The apps of tests before would fill a small node.
        let pipelines = tenant.cluster.pipelines(&tenant.name);
        pipelines
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .unwrap();
        tenant
    }

    /// A handle of a test's own tenant, of which there is one at a time: each takes a good part of a small node.
    pub async fn own(name: &str, engine: Engine) -> Self {
        let tenant = Self::named(name, engine).await;
        turns::with(turns::own(engine)).await;
        tenant
    }

    /// A handle of a tenant by name; makes nothing.
    async fn named(name: &str, engine: Engine) -> Self {
        Self {
            cluster: Cluster::connect().await,
            name: TenantName::new(name).unwrap(),
            engine,
        }
    }

    /// Applies a pipeline and waits until it is Ready.
    pub async fn pipeline(&self, name: &str, spec: Value) {
        self.cluster
            .apply_pipeline(&self.name, name, spec)
            .await
            .unwrap();
        self.cluster.pipeline_ready(&self.name, name).await;
    }

    /// A key of a Secret in the tenant's namespace.
    pub async fn secret(&self, secret: &str, key: &str) -> String {
        let found = self
            .cluster
            .secrets(&self.name.namespace())
            .get(secret)
            .await
            .unwrap();
        let data: BTreeMap<_, _> = found.data.unwrap();
        String::from_utf8(data[key].0.clone()).unwrap()
    }

    /// The token of a user.
    pub async fn token(&self, user: &str) -> String {
        self.secret(&format!("{}{user}", tenant_objects::USER_PREFIX), "token")
            .await
    }

    /// A request to the gateway, as a user.
    pub async fn request(&self, user: &str, method: Method, path: &str) -> RequestBuilder {
        let base = self
            .cluster
            .service_url(&self.name.namespace(), tenant_objects::GATEWAY, 8080)
            .await;
        let token = self.token(user).await;
        self.cluster
            .http
            .request(method, format!("{base}{path}"))
            .bearer_auth(token)
    }

    /// GET as the Reader, which must answer 200.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let response = self
            .request("analyst", Method::GET, path)
            .await
            .send()
            .await
            .unwrap();
        let status = response.status();
        let body = response.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }

    /// Uploads a file as the Writer; retries what says that it may be retried.
    pub async fn upload(&self, pipeline: &str, name: &str, content: &[u8]) -> UploadResult {
        let path = format!("/v1/pipelines/{pipeline}/files/{name}");
        eventually(&format!("upload of {name}"), QUICK, || async {
            let request = self
                .request("loader", Method::PUT, &path)
                .await
                .body(content.to_vec());
            let response = request.send().await.map_err(|e| e.to_string())?;
            let status = response.status();
            let body = response.text().await.map_err(|e| e.to_string())?;
            match status {
                StatusCode::ACCEPTED | StatusCode::OK => Ok(serde_json::from_str(&body).unwrap()),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(body),
                _ => panic!("upload of {name}: {status}: {body}"),
            }
        })
        .await
    }

    /// Waits until a file has ended, and returns its ledger entry.
    pub async fn ended(&self, id: uuid::Uuid) -> FileRecord {
        eventually(&format!("end of file {id}"), SLOW, || async {
            let request = self
                .request("analyst", Method::GET, &format!("/v1/files/{id}"))
                .await;
            let response = request.send().await.map_err(|e| e.to_string())?;
            let record: FileRecord = response.json().await.map_err(|e| e.to_string())?;
            match record.state {
                FileState::Done | FileState::Failed | FileState::Duplicate => Ok(record),
                state => Err(format!("{state:?}")),
            }
        })
        .await
    }

    /// Posts messages as NDJSON under one key until all are accepted; safe to repeat by its key.
    pub async fn post_messages(&self, pipeline: &str, key: &str, ndjson: &str) {
        let path = format!("/v1/pipelines/{pipeline}/messages");
        eventually(&format!("messages {key}"), SLOW, || async {
            let request = self
                .request("loader", Method::POST, &path)
                .await
                .header("idempotency-key", key)
                .header("content-type", "application/x-ndjson")
                .body(ndjson.to_owned());
            let response = request.send().await.map_err(|e| e.to_string())?;
            let status = response.status();
            let body = response.text().await.map_err(|e| e.to_string())?;
            match status {
                StatusCode::ACCEPTED => Ok(()),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(body),
                _ => panic!("messages {key}: {status}: {body}"),
            }
        })
        .await;
    }

    /// The tenant's database with the credentials of its binding Secret, by the members' own addresses.
    pub async fn database(&self) -> Result<Database, String> {
        let (user, password) = (
            self.secret(tenant_objects::COREDMS_BINDING, "username")
                .await,
            self.secret(tenant_objects::COREDMS_BINDING, "password")
                .await,
        );
        self.database_as(&user, &password).await
    }

    /// The same as any role.
    pub async fn database_as(&self, user: &str, password: &str) -> Result<Database, String> {
        Database::open(self.engine, &self.member_addresses().await, user, password).await
    }

    /// Every row of a table, once the database answers.
    pub async fn rows(&self, table: &str, key: &[&str]) -> Cells {
        let database = eventually("a session", QUICK, || self.database()).await;
        database.rows(&self.name.keyspace(), table, key).await
    }

    /// Pods of the database, with their addresses.
    pub async fn members(&self) -> Vec<(String, String)> {
        let selector = format!("{}={}", labels::COREDMS, tenant_objects::COREDMS);
        let pods = self.cluster.pods(&self.name.namespace());
        let list = pods
            .list(&ListParams::default().labels(&selector))
            .await
            .unwrap();
        list.iter()
            .filter_map(|pod| Some((pod.name_any(), pod.status.as_ref()?.pod_ip.clone()?)))
            .collect()
    }

    async fn member_addresses(&self) -> Vec<String> {
        let members = self.members().await.into_iter();
        members.map(|(_, address)| address).collect()
    }

    /// The pod of the member that takes a MongoDB's writes.
    pub async fn primary(&self) -> Result<String, String> {
        let secret = |key| self.secret(tenant_objects::COREDMS_BINDING, key);
        let (user, password) = (secret("username").await, secret("password").await);
        for (pod, address) in self.members().await {
            if Database::open(self.engine, &[address], &user, &password)
                .await
                .is_ok()
            {
                return Ok(pod);
            }
        }
        Err("no primary".to_owned())
    }

    /// How many ingest apps of a pipeline are to run.
    pub async fn replicas(&self, pipeline: &str) -> i32 {
        let client = self.cluster.client.clone();
        let api: Api<Deployment> = Api::namespaced(client, &self.name.namespace());
        let found = api.get(&format!("ingest-{pipeline}")).await.unwrap();
        found.spec.unwrap().replicas.unwrap()
    }

    /// Pods of a pipeline's ingest app.
    pub async fn ingest_pods(&self, pipeline: &str) -> Vec<Pod> {
        let selector = format!(
            "{}={pipeline},{}=ingest",
            labels::PIPELINE,
            labels::APP_COMPONENT
        );
        let pods = self.cluster.pods(&self.name.namespace());
        let list = pods
            .list(&ListParams::default().labels(&selector))
            .await
            .unwrap();
        list.items
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect()
    }

    /// Arms a failpoint in a pod's admin port.
    pub async fn arm(&self, pod: &Pod, failpoint: &str, action: &str) {
        let address = pod
            .status
            .as_ref()
            .and_then(|s| s.pod_ip.clone())
            .expect("the pod has an address");
        let url = format!("http://{address}:9090/failpoints/{failpoint}");
        let response = self
            .cluster
            .http
            .put(&url)
            .body(action.to_owned())
            .send()
            .await
            .unwrap();
        assert!(
            response.status().is_success(),
            "{url}: {}",
            response.status()
        );
    }

    /// Sum of restarts of a pod's containers.
    pub async fn restarts(&self, pod: &str) -> i32 {
        let pod = self
            .cluster
            .pods(&self.name.namespace())
            .get_opt(pod)
            .await
            .unwrap();
        pod.and_then(|p| p.status)
            .and_then(|s| s.container_statuses)
            .map_or(0, |statuses| statuses.iter().map(|c| c.restart_count).sum())
    }
}
