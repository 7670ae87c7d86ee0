//! `plan` against an API server that is empty but for a Broker, answers dry runs with what it is sent, and takes nothing
//! else.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::program::{Ran, bare, end, run};

/// Requests that would have written something.
type Writes = Arc<Mutex<Vec<String>>>;

const LISTS: [&str; 4] = ["tenants", "coredms", "ingestpipelines", "namespaces"];

async fn answer(State(writes): State<Writes>, method: Method, uri: Uri, body: Bytes) -> Response {
    let json = |code: StatusCode, body: Value| (code, axum::Json(body)).into_response();
    let last = uri.path().rsplit('/').next().unwrap().to_owned();
    let list = |items: Value| {
        let body = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
        json(StatusCode::OK, body)
    };
    if method == Method::GET {
        return match last.as_str() {
            "brokers" => list(json!([{
                "apiVersion": "simbdp.dev/v1alpha1", "kind": "Broker", "metadata": {"name": "main"},
                "spec": {"default": true, "storage": {"size": "1Gi"}},
            }])),
            kinds if LISTS.contains(&kinds) => list(json!([])),
            _ => json(StatusCode::NOT_FOUND, status(404, "it is not there")),
        };
    }
    if !uri.query().unwrap_or_default().contains("dryRun=All") {
        writes.lock().unwrap().push(format!("{method} {uri}"));
        return json(StatusCode::INTERNAL_SERVER_ERROR, status(500, "no"));
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    match body["spec"]["coredms"]["engine"] == "Oracle" {
        true => json(
            StatusCode::UNPROCESSABLE_ENTITY,
            status(422, "spec.coredms.engine: unsupported"),
        ),
        false => json(StatusCode::OK, body),
    }
}

fn status(code: u16, message: &str) -> Value {
    let reason = match code {
        404 => "NotFound",
        422 => "Invalid",
        _ => "InternalError",
    };
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": message,
        "metadata": {},
    })
}

/// The API server, and a directory for files.
struct Cluster {
    directory: TempDir,
    writes: Writes,
}

impl Cluster {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let cluster = Self {
            directory: tempfile::tempdir().unwrap(),
            writes: Writes::default(),
        };
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&cluster.writes));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {}}],
        });
        cluster.file("kubeconfig", &kubeconfig.to_string());
        let images = "images: {cassandra: r/cassandra, mongodb: r/mongo, rabbitmq: r/rabbitmq, simbdp: 'r/simbdp:1'}";
        cluster.file("operator.yaml", images);
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn plan(&self, file: &Path, args: &[&str]) -> Command {
        let mut command = bare(&["plan", "-f"]);
        command
            .arg(file)
            .arg("--operator-config")
            .arg(self.path("operator.yaml"))
            .args(args)
            .env_remove("SIMBDP_OPERATOR_NAMESPACE")
            .env("KUBECONFIG", self.path("kubeconfig"));
        command
    }

    fn untouched(&self) {
        assert_eq!(*self.writes.lock().unwrap(), [""; 0]);
    }
}

fn tenant(engine: &str) -> String {
    format!(
        "{{apiVersion: simbdp.dev/v1alpha1, kind: Tenant, metadata: {{name: acme}}, \
         spec: {{coredms: {{engine: {engine}, storage: {{size: 1Gi}}}}, users: [{{name: ada, role: Writer}}]}}}}"
    )
}

fn summary_of(ran: &Ran) -> &str {
    ran.stdout.lines().last().unwrap_or_default()
}

#[tokio::test]
async fn a_plan_is_printed_and_nothing_is_written() {
    let cluster = Cluster::start().await;
    let file = cluster.file("tenant.yaml", &tenant("Cassandra"));
    let ran = run(cluster.plan(&file, &[])).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.starts_with("Tenant acme is created\n  create\n"),
        "{}",
        ran.stdout
    );
    assert!(summary_of(&ran).starts_with("Plan: "), "{}", ran.stdout);
    let ran = run(cluster.plan(&file, &["-o", "json"])).await;
    let plan = ran.json();
    assert_eq!(
        (ran.code, &plan["documents"][0]["action"]),
        (0, &json!("create"))
    );
    let created = plan["documents"][0]["create"].as_array().unwrap();
    let claim = created
        .iter()
        .find(|item| item["name"] == "data-coredms-2")
        .unwrap();
    assert_eq!(claim["detail"], "1Gi");
    assert_eq!(plan["summary"]["create"], created.len());
    let csv = run(cluster.plan(&file, &["-o", "csv"])).await.stdout;
    assert!(
        csv.starts_with("document,effect,kind,namespace,name,detail\n"),
        "{csv}"
    );
    cluster.untouched();
}

#[tokio::test]
async fn documents_come_from_standard_input_as_well() {
    let cluster = Cluster::start().await;
    let mut command = cluster.plan(Path::new("-"), &["-o", "json"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(tenant("Cassandra").as_bytes())
        .await
        .unwrap();
    drop(input);
    let ran = end(child).await;
    assert_eq!(ran.json()["documents"][0]["name"], "acme", "{ran:?}");
}

#[tokio::test]
async fn what_would_be_refused_is_told_with_exit_code_1() {
    let cluster = Cluster::start().await;
    let file = cluster.file("tenant.yaml", &tenant("Oracle"));
    let ran = run(cluster.plan(&file, &[])).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stdout
            .contains("the API server refuses it: spec.coredms.engine: unsupported")
    );
    assert!(
        summary_of(&ran).ends_with("1 document refused."),
        "{}",
        ran.stdout
    );
    let nameless = cluster.file("nameless.yaml", "{apiVersion: v1, kind: Tenant}");
    let ran = run(cluster.plan(&nameless, &[])).await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .contains("nameless.yaml: document 1: metadata.name is missing"),
        "{ran:?}"
    );
    cluster.untouched();
}

#[tokio::test]
async fn what_keeps_a_plan_from_being_made_has_the_usual_exit_codes() {
    let cluster = Cluster::start().await;
    let ran = run(cluster.plan(Path::new("/nonexistent.yaml"), &[])).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let ran = run(bare(&["plan"])).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    let file = cluster.file("tenant.yaml", &tenant("Cassandra"));
    let mut command = cluster.plan(&file, &[]);
    command.env("KUBECONFIG", "/nonexistent");
    let ran = run(command).await;
    assert_eq!(ran.code, 3, "{ran:?}");
}
