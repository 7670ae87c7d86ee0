//! One real control plane (etcd, kube-apiserver, kube-controller-manager) for the whole run.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, Config, ResourceExt};
use tokio::sync::OnceCell;

/// The servers, and the pipe that ends them when this process does, however it ends.
struct Server {
    kubeconfig: PathBuf,
    _process: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static DEFINITIONS: OnceCell<()> = OnceCell::const_new();

/// A free port and the next one, which is free as well.
fn free_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

fn start() -> Server {
    let root = env!("CARGO_MANIFEST_DIR");
    let directory = std::env::temp_dir().join(format!("simbdp-apiserver-{}", std::process::id()));
    let port = free_ports();
    // The shell outlives this process for the moment that it takes to clear up.
    let mut process = Command::new("sh")
        .args(["-c", "\"$0\" \"$1\" \"$2\"; rm -rf \"$1\""])
        .arg(format!("{root}/deploy/local/apiserver.sh"))
        .arg(&directory)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(
        line.trim(),
        "ready",
        "the control plane did not start; see {}",
        directory.display()
    );
    Server {
        kubeconfig: directory.join("kubeconfig"),
        _process: process,
    }
}

/// Configuration of a client that may do everything.
pub async fn config() -> Config {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start))
        .await
        .unwrap();
    let kubeconfig = Kubeconfig::read_from(&server.kubeconfig).unwrap();
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap()
}

/// A client that may do everything, of a server that has the custom resources.
pub async fn client() -> Client {
    let client = Client::try_from(config().await).unwrap();
    DEFINITIONS.get_or_init(|| install(client.clone())).await;
    client
}

async fn install(client: Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    for definition in simbdp_api::custom_resource_definitions() {
        let name = definition.name_any();
        api.patch(
            &name,
            &PatchParams::apply("test").force(),
            &Patch::Apply(&definition),
        )
        .await
        .unwrap();
        await_condition(api.clone(), &name, conditions::is_crd_established())
            .await
            .unwrap();
    }
}
