//! One Cassandra and one RabbitMQ for all tests; for each test a tenant of its own, and processes of the program.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, put};
use sha2::{Digest, Sha256};
use simbdp_api::broker::BrokerType;
use simbdp_api::common::Engine;
use simbdp_api::names::{PipelineName, TenantName};
use simbdp_api::pipeline::{Compression, Format, TableSpec};
use simbdp_api::wire::rest::{FileRecord, FileState};
use simbdp_api::wire::work::{FileWork, headers};
use simbdp_broker::admin::{AdminConnector as _, BrokerAdmin, PipelineQueues};
use simbdp_broker::queue::HeaderValue;
use simbdp_broker::source::KAFKA as KAFKA_BINDING;
use simbdp_broker::{Message, Publisher};
use simbdp_coredms::admin::{
    AdminError, ClusterSetup, EngineSetup, ReplicaSet, Replication, RoleLogin, StoreAdmin, Tenancy,
};
use simbdp_coredms::binding::binding_type;
use simbdp_coredms::store::{RowQuery, StoreError, Table};
use simbdp_coredms::{AdminConnector as _, Connection, Connectors, Ledger, Options};
use simbdp_record::Value;
use simbdp_testkit::cassandra::{Cassandra, DATACENTER};
use simbdp_testkit::kafka::Kafka;
use simbdp_testkit::mongodb::{self, MongoDb};
use simbdp_testkit::rabbitmq::RabbitMq;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

pub const TOKEN: &str = "internal";
pub const VERSION: i64 = 1_700_000_000_000_000;
/// Most bytes of a queue.
const QUEUE_BYTES: u64 = 64 << 20;
const LIMIT: Duration = Duration::from_secs(120);

static RABBITMQ: OnceCell<RabbitMq> = OnceCell::const_new();
static KAFKA: OnceCell<Kafka> = OnceCell::const_new();
static CASSANDRA: OnceCell<Cassandra> = OnceCell::const_new();
static MONGODB: OnceCell<MongoDb> = OnceCell::const_new();

async fn rabbitmq() -> &'static RabbitMq {
    let start = || async { RabbitMq::start().await.unwrap() };
    RABBITMQ.get_or_init(start).await
}

async fn kafka() -> &'static Kafka {
    let start = || async { Kafka::start(1).await.unwrap() };
    KAFKA.get_or_init(start).await
}

/// An engine and a broker.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub engine: Engine,
    pub broker: BrokerType,
}

/// Runs each case on each engine and each broker; the name of a test shows them.
macro_rules! on_each_pair {
    ($($case:ident)*) => {
        crate::support::on_each_pair!(@ cassandra_rabbitmq Cassandra RabbitMQ $($case)*);
        crate::support::on_each_pair!(@ cassandra_kafka Cassandra Kafka $($case)*);
        crate::support::on_each_pair!(@ mongodb_rabbitmq MongoDB RabbitMQ $($case)*);
        crate::support::on_each_pair!(@ mongodb_kafka MongoDB Kafka $($case)*);
    };
    (@ $name:ident $engine:ident $broker:ident $($case:ident)*) => {
        mod $name {
            $(#[tokio::test]
            async fn $case() {
                let pair = crate::support::Pair {
                    engine: simbdp_api::common::Engine::$engine,
                    broker: simbdp_api::broker::BrokerType::$broker,
                };
                super::$case(pair).await;
            })*
        }
    };
}
pub(crate) use on_each_pair;

/// Where the database of an engine is, and how it is set up.
async fn coredms(engine: Engine) -> (Vec<String>, EngineSetup) {
    match engine {
        Engine::Cassandra => {
            let start = || async { Cassandra::start(1).await.unwrap() };
            let server = CASSANDRA.get_or_init(start).await;
            (server.endpoints(), EngineSetup::Cassandra(replication()))
        }
        Engine::MongoDB => {
            let start = || async { MongoDb::start(1).await.unwrap() };
            let server = MONGODB.get_or_init(start).await;
            let set = ReplicaSet {
                name: mongodb::REPLICA_SET.into(),
                members: server.endpoints(),
                keyfile: server.keyfile().into(),
                election_timeout: mongodb::ELECTION_TIMEOUT,
                heartbeat_interval: mongodb::HEARTBEAT_INTERVAL,
            };
            (server.endpoints(), EngineSetup::MongoDB(set))
        }
    }
}

fn replication() -> Replication {
    Replication {
        datacenter: DATACENTER.into(),
        factor: 1,
    }
}

/// The database as the operator sees it. Sessions live in the runtime that opened them, which is the test's own.
async fn coredms_admin(engine: Engine) -> Arc<dyn StoreAdmin> {
    let (endpoints, engine) = coredms(engine).await;
    let setup = ClusterSetup {
        superuser: "operator".into(),
        password: "operator".into(),
        engine,
    };
    let connector = Connectors::new();
    loop {
        match connector.bootstrap(&endpoints, &setup).await {
            Ok(admin) => return admin,
            Err(AdminError::Unavailable(_)) => sleep(Duration::from_millis(100)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Asks until it is so.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is().await {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// A tenant with one pipeline.
pub struct Pipeline {
    pub mounted: TempDir,
    pub ledger: Arc<dyn Ledger>,
    pub publisher: Arc<dyn Publisher>,
    pub gateway: Gateway,
    table: Arc<dyn Table>,
    broker_admin: Arc<dyn BrokerAdmin>,
    pub broker: simbdp_broker::Connection,
    pub tenant: TenantName,
    pub pipeline: PipelineName,
}

pub fn table() -> TableSpec {
    serde_json::from_value(serde_json::json!({
        "name": "things",
        "columns": [
            {"name": "all", "type": "text"},
            {"name": "id", "type": "int"},
            {"name": "name", "type": "text"},
        ],
        "primaryKey": {"partition": ["all"], "clustering": [{"column": "id"}]},
    }))
    .unwrap()
}

impl Pipeline {
    pub async fn new(pair: Pair, tenant: &str, mode: serde_json::Value) -> Self {
        // The program does so at its start; it fails where another test has.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let Pair { engine, broker } = pair;
        // Servers are the same for all pairs.
        let tenant = format!(
            "{tenant}-{}-{}",
            binding_type(engine),
            broker_binding(broker)
        );
        let tenant = TenantName::new(tenant).unwrap();
        let pipeline = PipelineName::new("p").unwrap();
        let login = coredms_tenancy(engine, &tenant).await;
        let broker = broker_tenancy(broker, &tenant, &pipeline).await;
        let mounted = tempfile::tempdir().unwrap();
        let config = serde_json::json!({
            "tenant": tenant, "pipeline": pipeline, "generation": 1, "mode": mode,
            "keyspace": tenant.keyspace(), "table": table(),
        });
        let (host, port) = login.endpoints[0].split_once(':').unwrap();
        for (path, text) in [
            ("pipelines/p.json", config.to_string()),
            ("internal/token", TOKEN.to_owned()),
            ("bindings/coredms/type", binding_type(engine).to_owned()),
            ("bindings/coredms/host", host.to_owned()),
            ("bindings/coredms/port", port.to_owned()),
            ("bindings/coredms/username", login.username.clone()),
            ("bindings/coredms/password", login.password.clone()),
            ("bindings/coredms/datacenter", DATACENTER.to_owned()),
            (
                "bindings/broker/type",
                broker_binding(pair.broker).to_owned(),
            ),
            ("bindings/broker/host", broker.connection.hosts.join(",")),
            ("bindings/broker/port", broker.connection.port.to_string()),
            ("bindings/broker/vhost", broker.connection.vhost.clone()),
            (
                "bindings/broker/username",
                broker.connection.username.clone(),
            ),
            (
                "bindings/broker/password",
                broker.connection.password.clone(),
            ),
            ("bindings/broker/max-queue-bytes", QUEUE_BYTES.to_string()),
        ] {
            write(&mounted.path().join(path), &text);
        }
        let database = simbdp_coredms::open(login, Options::default());
        let prepared = loop {
            match database.store().table(&tenant.keyspace(), &table()).await {
                Ok(table) => break table,
                Err(StoreError::Transient(_)) => sleep(Duration::from_millis(100)).await,
                Err(error) => panic!("{error}"),
            }
        };
        Self {
            ledger: database.ledger(&tenant.platform_keyspace()),
            publisher: simbdp_broker::publisher(mounted.path().join("bindings/broker")).unwrap(),
            mounted,
            gateway: Gateway::start().await,
            table: prepared,
            broker_admin: broker.admin,
            broker: broker.connection,
            tenant,
            pipeline,
        }
    }

    /// Starts the program, in a process of its own.
    pub async fn start(&self) -> App {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let path = |name: &str| self.mounted.path().join(name);
        let log = path(&format!("{}.log", Uuid::new_v4()));
        let child = Command::new(env!("CARGO_BIN_EXE_simbdp-ingest"))
            .arg("run")
            .env("SIMBDP_TENANT", self.tenant.as_str())
            .env("SIMBDP_PIPELINE", self.pipeline.as_str())
            .env("SIMBDP_NAMESPACE", self.tenant.namespace())
            .env("SIMBDP_PIPELINES", path("pipelines"))
            .env("SIMBDP_BINDINGS", path("bindings"))
            .env("SIMBDP_INTERNAL", path("internal"))
            .env("SIMBDP_ADMIN_ADDRESS", format!("127.0.0.1:{port}"))
            .env("SIMBDP_GATEWAY_HOSTS", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let app = App {
            child,
            url: format!("http://127.0.0.1:{port}"),
            log,
        };
        until("the program is ready", async || {
            app.get("/readyz").await == Some(200)
        })
        .await;
        app
    }

    /// Stages a file and queues it, as the gateway does.
    pub async fn upload(&self, staged: impl Into<Bytes>, compression: Compression) -> FileWork {
        let staged = staged.into();
        let work = FileWork {
            id: Uuid::now_v7(),
            pipeline: self.pipeline.to_string(),
            pipeline_uid: None,
            name: "things.csv".into(),
            format: Format::Csv,
            compression,
            size: staged.len() as u64,
            lines: 1,
            sha256: hex::encode(Sha256::digest(&staged)),
            version: VERSION,
            user: "u".into(),
            replica: self.gateway.url.clone(),
            force: false,
            accepted_at: VERSION / 1_000,
            mends: None,
            mended_rows: false,
            replay: None,
        };
        self.gateway
            .state
            .content
            .lock()
            .unwrap()
            .insert(work.id, staged);
        self.publish(vec![Message {
            id: work.id.to_string(),
            body: serde_json::to_vec(&work).unwrap().into(),
            headers: Vec::new(),
        }])
        .await;
        work
    }

    pub async fn publish(&self, messages: Vec<Message>) {
        for result in self
            .publisher
            .publish(&self.pipeline.queue(), messages)
            .await
        {
            result.unwrap();
        }
    }

    pub async fn file(&self, id: Uuid) -> FileRecord {
        until("the file has ended", async || {
            let file = self.ledger.file(id).await.unwrap();
            file.is_some_and(|file| matches!(file.state, FileState::Done | FileState::Failed))
        })
        .await;
        self.ledger.file(id).await.unwrap().unwrap()
    }

    /// Messages that wait or are being worked on, and dead letters.
    pub async fn depths(&self) -> (u64, u64) {
        let totals = self
            .broker_admin
            .queue_totals(&self.tenant.vhost())
            .await
            .unwrap();
        let depth = |name: String| {
            let queue = totals.iter().find(|queue| queue.name == name);
            queue.map_or(0, |queue| queue.ready + queue.unacknowledged)
        };
        (
            depth(self.pipeline.queue()),
            depth(self.pipeline.dead_letter_queue()),
        )
    }

    /// Names by id, as the database has them.
    pub async fn rows(&self) -> BTreeMap<i32, String> {
        let mut query = RowQuery {
            partition: vec![("all".into(), Value::Text("x".into()))],
            limit: 5_000,
            ..RowQuery::default()
        };
        let mut found = BTreeMap::new();
        loop {
            let page = self.table.read(&query).await.unwrap();
            for row in page.rows {
                match (&row[1], &row[2]) {
                    (Some(Value::Int(id)), Some(Value::Text(name))) => {
                        found.insert(*id, name.clone())
                    }
                    other => panic!("{other:?}"),
                };
            }
            query.page = page.next;
            if query.page.is_none() {
                return found;
            }
        }
    }
}

async fn coredms_tenancy(engine: Engine, tenant: &TenantName) -> Connection {
    let role = |name: String| RoleLogin {
        password: format!("of {name}"),
        name,
    };
    let tenancy = Tenancy {
        keyspace: tenant.keyspace(),
        platform_keyspace: tenant.platform_keyspace(),
        tenant_role: role(tenant.tenant_role()),
        platform_role: role(tenant.platform_role()),
        replication: Some(replication()),
    };
    let admin = coredms_admin(engine).await;
    until("the tenancy is there", async || {
        match admin.ensure_tenancy(&tenancy).await {
            Ok(()) => admin
                .ensure_table(&tenancy.keyspace, &table())
                .await
                .is_ok(),
            Err(AdminError::Unavailable(_)) => false,
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    Connection {
        engine,
        endpoints: coredms(engine).await.0,
        username: tenancy.platform_role.name,
        password: tenancy.platform_role.password,
        tls: None,
    }
}

struct BrokerTenancy {
    admin: Arc<dyn BrokerAdmin>,
    connection: simbdp_broker::Connection,
}

/// `type` of the binding.
fn broker_binding(broker: BrokerType) -> &'static str {
    match broker {
        BrokerType::RabbitMQ => "rabbitmq",
        BrokerType::Kafka => KAFKA_BINDING,
    }
}

async fn broker_tenancy(
    broker: BrokerType,
    tenant: &TenantName,
    pipeline: &PipelineName,
) -> BrokerTenancy {
    let (vhost, user, password) = (tenant.vhost(), tenant.broker_user(), "password".to_owned());
    let (management, connection) = match broker {
        BrokerType::RabbitMQ => {
            let server = rabbitmq().await;
            (
                server.management(),
                server.connection(&vhost, &user, &password),
            )
        }
        BrokerType::Kafka => {
            let server = kafka().await;
            (
                server.management(),
                server.connection(&vhost, &user, &password),
            )
        }
    };
    let connectors = simbdp_broker::Connectors::default();
    let admin = connectors.connect(&management).await.unwrap();
    let tenancy = simbdp_broker::admin::Tenancy {
        vhost: vhost.clone(),
        username: user,
        password,
        max_connections: 20,
        max_queues: 20,
    };
    admin.ensure_tenancy(&tenancy).await.unwrap();
    let queues = PipelineQueues {
        vhost,
        queue: pipeline.queue(),
        dead_letter_queue: pipeline.dead_letter_queue(),
        max_bytes: QUEUE_BYTES,
        consumer_timeout_ms: 600_000,
        consumers: 2,
    };
    admin.ensure_queues(&queues).await.unwrap();
    BrokerTenancy { admin, connection }
}

/// A process of the program.
pub struct App {
    child: Child,
    url: String,
    log: std::path::PathBuf,
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl App {
    async fn get(&self, path: &str) -> Option<u16> {
        let response = reqwest::get(format!("{}{path}", self.url)).await.ok()?;
        Some(response.status().as_u16())
    }

    pub async fn metrics(&self) -> String {
        let response = reqwest::get(format!("{}/metrics", self.url)).await.unwrap();
        response.text().await.unwrap()
    }

    #[cfg(feature = "failpoints")]
    pub async fn fail_at(&self, name: &str, action: &'static str) {
        let url = format!("{}/failpoints/{name}", self.url);
        let response = reqwest::Client::new()
            .put(url)
            .body(action)
            .send()
            .await
            .unwrap();
        assert!(response.status().is_success());
    }

    #[cfg(feature = "failpoints")]
    pub async fn died(&mut self) {
        until("the program died", async || {
            self.child.try_wait().unwrap().is_some()
        })
        .await;
    }

    /// SIGTERM, and its exit.
    pub async fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let mut status = None;
        until("the program ended", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Peak resident memory without the pages of the program's own file, of which a build for tests has several times as
    /// many as a release.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let bytes = |name: &str| {
            let mut lines = status.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)).unwrap();
            let number = line.trim().strip_suffix(" kB").unwrap().trim();
            number.parse::<u64>().unwrap() * 1024
        };
        bytes("VmHWM:") - bytes("RssFile:")
    }
}

/// The gateway's internal API: contents in, rejects out.
pub struct Gateway {
    pub url: String,
    pub state: Contents,
}

#[derive(Clone, Default)]
pub struct Contents {
    pub content: Arc<Mutex<BTreeMap<Uuid, Bytes>>>,
    pub rejects: Arc<Mutex<BTreeMap<Uuid, String>>>,
}

impl Gateway {
    async fn start() -> Self {
        let state = Contents::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/internal/files/{id}/content", get(content).delete(discard))
            .route("/internal/files/{id}/rejects", put(rejects))
            .layer(DefaultBodyLimit::disable())
            .with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, state }
    }
}

fn authorize(headers: &HeaderMap) {
    assert_eq!(
        headers.get("authorization").unwrap(),
        &format!("Bearer {TOKEN}")
    );
}

async fn content(
    State(state): State<Contents>,
    UrlPath(id): UrlPath<Uuid>,
    headers: HeaderMap,
) -> Result<Bytes, StatusCode> {
    authorize(&headers);
    state
        .content
        .lock()
        .unwrap()
        .get(&id)
        .cloned()
        .ok_or(StatusCode::NOT_FOUND)
}

async fn discard(
    State(state): State<Contents>,
    UrlPath(id): UrlPath<Uuid>,
    headers: HeaderMap,
) -> StatusCode {
    authorize(&headers);
    state.content.lock().unwrap().remove(&id);
    StatusCode::NO_CONTENT
}

async fn rejects(
    State(state): State<Contents>,
    UrlPath(id): UrlPath<Uuid>,
    headers: HeaderMap,
    rows: String,
) -> StatusCode {
    authorize(&headers);
    state.rejects.lock().unwrap().insert(id, rows);
    StatusCode::NO_CONTENT
}

pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub fn thing(id: i32) -> Message {
    Message {
        id: format!("s:{id}"),
        body: format!(r#"{{"all":"x","id":{id},"name":"n{id}"}}"#).into(),
        headers: vec![
            (headers::SOURCE.into(), HeaderValue::Text("s".into())),
            (headers::ORDINAL.into(), HeaderValue::Long(i64::from(id))),
            (
                headers::VERSION.into(),
                HeaderValue::Long(VERSION + i64::from(id)),
            ),
        ],
    }
}
