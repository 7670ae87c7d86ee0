//! A gateway over fakes, and short ways to ask it.
#![allow(dead_code)]

pub mod fake_dead_letters;
pub mod fakes;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine;
use futures::StreamExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simbdp_api::names::TenantName;
use simbdp_gateway::config::Paths;
use simbdp_gateway::gateway::{Backends, Gateway, Limits, Settings};
use simbdp_gateway::wake::Operator;
use simbdp_gateway::{admin, api};
use tokio::io::AsyncWriteExt;
use tower::ServiceExt;

use fake_dead_letters::FakeDeadLetters;
use fakes::{FakeLedger, FakePublisher, FakeStore};

pub const WRITER: &str = "Bearer ann-token";
pub const READER: &str = "Bearer bob-token";
/// A second writer.
pub const DORA: &str = "Bearer dora-token";
pub const CSV: &str = "id,name\n1,a\n2,b\n";

/// Directories and servers that outlive a gateway: starting another one is a restart.
pub struct World {
    pub root: tempfile::TempDir,
    pub limits: Limits,
    pub peers: Vec<String>,
    pub operator: Option<Operator>,
    pub publisher: Arc<FakePublisher>,
    pub dead_letters: Arc<FakeDeadLetters>,
    pub ledger: Arc<FakeLedger>,
    pub store: Arc<FakeStore>,
}

impl World {
    pub fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let publisher = Arc::<FakePublisher>::default();
        let world = Self {
            root: tempfile::tempdir().unwrap(),
            limits: Limits::default(),
            peers: Vec::new(),
            dead_letters: FakeDeadLetters::over(publisher.clone()),
            publisher,
            operator: None,
            ledger: Arc::default(),
            store: Arc::default(),
        };
        for directory in ["pipelines", "users", "internal"] {
            std::fs::create_dir(world.root.path().join(directory)).unwrap();
        }
        world.write("internal/token", "internal-secret\n");
        world.write("users/users.json", &users().to_string());
        world.pipeline(files("flights", json!({})));
        world.pipeline(messages("planes"));
        world
    }

    pub fn write(&self, path: &str, text: &str) {
        std::fs::write(self.root.path().join(path), text).unwrap();
    }

    pub fn pipeline(&self, config: Value) {
        let name = config["pipeline"].as_str().unwrap();
        self.write(&format!("pipelines/{name}.json"), &config.to_string());
    }

    /// Closes a pipeline, as its deletion does, in a generation after.
    pub fn close(&self, mut config: Value) {
        config["closed"] = json!("the pipeline is being deleted");
        config["generation"] = json!(5);
        self.pipeline(config);
    }

    pub fn remove_pipeline(&self, name: &str) {
        let path = self.root.path().join(format!("pipelines/{name}.json"));
        std::fs::remove_file(path).unwrap();
    }

    pub fn staging(&self) -> PathBuf {
        self.root.path().join("staging")
    }

    pub fn start(&self) -> Running {
        let at = |name: &str| self.root.path().join(name);
        let settings = Settings {
            tenant: TenantName::new("x").unwrap(),
            replica: "http://gateway-0.test:8081".into(),
            peers: self.peers.clone(),
            staging: self.staging(),
            paths: Paths {
                pipelines: at("pipelines"),
                users: at("users"),
                internal: at("internal"),
            },
            operator: self.operator.clone(),
            limits: self.limits.clone(),
        };
        let backends = Backends {
            store: self.store.clone(),
            ledger: self.ledger.clone(),
            publisher: self.publisher.clone(),
            dead_letters: self.dead_letters.clone(),
        };
        std::fs::create_dir_all(self.staging()).unwrap();
        let gateway = Gateway::open(settings, backends).unwrap();
        Running {
            public: api::public(Arc::clone(&gateway)),
            internal: api::internal(Arc::clone(&gateway)),
            admin: admin::router(Arc::clone(&gateway)),
            gateway,
        }
    }

    /// Names of the files in a directory of the staging volume.
    pub fn staged(&self, directory: &str) -> Vec<String> {
        list(&self.staging().join(directory))
    }
}

pub fn list(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn users() -> Value {
    let user = |name: &str, role: &str| {
        let cheap = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(64, 1, 1, None).unwrap(),
        );
        let hash = cheap
            .hash_password(format!("{name}-password").as_bytes())
            .unwrap();
        json!({
            "name": name,
            "role": role,
            "passwordHash": hash.to_string(),
            "tokenSha256": sha256(format!("{name}-token").as_bytes()),
        })
    };
    json!({"users": [user("ann", "Writer"), user("bob", "Reader"), user("dora", "Writer")]})
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub fn content_digest(bytes: &[u8]) -> String {
    let base64 = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(bytes));
    format!("sha-256=:{base64}:")
}

pub async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = async_compression::tokio::write::GzipEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

/// A body that comes when it is told to.
pub fn on_demand() -> (futures::channel::mpsc::UnboundedSender<&'static str>, Body) {
    let (sender, chunks) = futures::channel::mpsc::unbounded();
    let body = Body::from_stream(chunks.map(Ok::<_, std::io::Error>));
    (sender, body)
}

/// A batch pipeline of columns `id` and `name`, with constraints of one's own.
pub fn files(name: &str, constraints: Value) -> Value {
    let mut mode = json!({
        "type": "batch",
        "formats": ["csv", "ndjson"],
        "compression": ["none", "gzip", "zstd"],
        "maxFileSize": 1_000_000,
    });
    for (key, value) in constraints.as_object().unwrap() {
        mode[key] = value.clone();
    }
    pipeline(name, mode)
}

/// A stream pipeline of columns `id` and `name`.
pub fn messages(name: &str) -> Value {
    pipeline(name, json!({"type": "stream", "maxMessageSize": 200}))
}

fn pipeline(name: &str, mode: Value) -> Value {
    json!({
        "tenant": "x",
        "pipeline": name,
        "generation": 4,
        "mode": mode,
        "keyspace": "t_x",
        "table": {
            "name": name,
            "columns": [
                {"name": "id", "type": "int"},
                {"name": "name", "type": "text", "required": true},
            ],
            "primaryKey": {"partition": ["id"], "clustering": [{"column": "name"}]},
        },
    })
}

/// A gateway.
#[derive(Clone)]
pub struct Running {
    pub gateway: Arc<Gateway>,
    pub public: Router,
    pub internal: Router,
    pub admin: Router,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a problem of this status whose text has `part`.
    #[track_caller]
    pub fn problem(&self, status: u16, part: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{text}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["instance"].is_string(), "{text}");
        assert!(text.contains(part), "`{part}` is not in {text}");
        problem
    }
}

pub async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}

impl Running {
    pub async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("authorization", READER);
        ask(&self.public, request.body(Body::empty()).unwrap()).await
    }

    pub async fn put(&self, name: &str, bytes: impl Into<Body>) -> Answer {
        self.put_to(&format!("/v1/pipelines/flights/files/{name}"), &[], bytes)
            .await
    }

    pub async fn put_to(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        bytes: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::put(path).header("authorization", WRITER);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        ask(&self.public, request.body(bytes.into()).unwrap()).await
    }

    pub async fn post(
        &self,
        media: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        self.post_to("planes", media, headers, body).await
    }

    pub async fn post_to(
        &self,
        pipeline: &str,
        media: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::post(format!("/v1/pipelines/{pipeline}/messages"))
            .header("content-type", media);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", WRITER);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        ask(&self.public, request.body(body.into()).unwrap()).await
    }

    pub async fn inside(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", "Bearer internal-secret");
        ask(&self.internal, request.body(body.into()).unwrap()).await
    }
}
