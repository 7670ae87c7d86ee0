//! Most members hang: Kubernetes sees nothing wrong, but `Ready` says within 30 s that the database does not serve, and
//! who does not answer. Servers are stopped from the node's own side, so this machine must be the node.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::Api;
use simbdp_api::CoreDms;
use simbdp_api::common::Conditions;
use simbdp_api::names::tenant_objects;

use crate::harness::{QUICK, TestTenant, condition, eventually};
use crate::members::settled;
use crate::turns;

for_each_engine!(two_members_that_hang_are_named_and_serve_again);

/// What a lost majority is told within.
const TOLD: Duration = Duration::from_secs(30);

/// Processes that hang for as long as this lives.
struct Hanging(Vec<String>);

impl Hanging {
    fn new(pids: Vec<String>) -> Self {
        let hanging = Self(pids);
        assert!(hanging.signal("STOP"), "{:?} do not stop", hanging.0);
        hanging
    }

    fn signal(&self, signal: &str) -> bool {
        let signal = format!("-{signal}");
        let sent = Command::new("kill").arg(signal).args(&self.0).status();
        sent.is_ok_and(|status| status.success())
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // One that has ended meanwhile keeps no other from going on.
        self.signal("CONT");
    }
}

/// The first process of a pod's server, by its number on this machine.
fn server(pod: &Pod, program: &str) -> String {
    let uid = pod.uid().unwrap();
    let uids = [uid.clone(), uid.replace('-', "_")];
    let of_pod = |process: &Path| {
        let read = |file| std::fs::read_to_string(process.join(file)).unwrap_or_default();
        let groups = read("cgroup");
        uids.iter().any(|uid| groups.contains(uid)) && read("comm").trim() == program
    };
    let processes = std::fs::read_dir("/proc").unwrap();
    let found = processes
        .map(|process| process.unwrap().path())
        .find(|process| of_pod(process));
    let found = found.unwrap_or_else(|| panic!("no {program} of {} runs here", pod.name_any()));
    found.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Conditions of the database and of the tenant.
async fn conditions(tenant: &TestTenant) -> [Conditions; 2] {
    let (client, namespace) = (tenant.cluster.client.clone(), tenant.name.namespace());
    let api: Api<CoreDms> = Api::namespaced(client, &namespace);
    let database = api.get(tenant_objects::COREDMS).await.unwrap();
    let tenants = tenant.cluster.tenants();
    let owner = tenants.get(tenant.name.as_str()).await.unwrap();
    [
        database.status.unwrap_or_default().conditions,
        owner.status.unwrap_or_default().conditions,
    ]
}

/// Waits until `Ready` of both is so, and names these pods.
async fn ready_is(tenant: &TestTenant, status: &str, named: &[String], limit: Duration) {
    let what = format!("Ready of database and tenant is {status} and names {named:?}");
    eventually(&what, limit, || async {
        let told = conditions(tenant)
            .await
            .map(|conditions| condition(&conditions, "Ready").unwrap_or_default());
        let is = |(found, _, message): &(String, String, String)| {
            found == status && named.iter().all(|pod| message.contains(pod.as_str()))
        };
        match told.iter().all(is) {
            true => Ok(()),
            false => Err(format!("{told:?}")),
        }
    })
    .await;
}

async fn two_members_that_hang_are_named_and_serve_again(tenant: TestTenant) {
    // What it is told within is not to be waited for with others.
    turns::alone().await;
    // Nobody is restarted meanwhile.
    settled(&tenant).await;
    let pods = tenant.cluster.pods(&tenant.name.namespace());
    let program = match tenant.engine {
        simbdp_api::common::Engine::Cassandra => "java",
        simbdp_api::common::Engine::MongoDB => "mongod",
    };
    let named: Vec<_> = [1, 2]
        .map(|n| format!("{}-{n}", tenant_objects::COREDMS))
        .into();
    let mut servers = Vec::new();
    for pod in &named {
        servers.push(server(&pods.get(pod).await.unwrap(), program));
    }
    let hanging = Hanging::new(servers);
    let since = Instant::now();
    ready_is(&tenant, "False", &named, TOLD).await;
    println!("told after {:?}", since.elapsed());
    drop(hanging);
    let since = Instant::now();
    ready_is(&tenant, "True", &[], QUICK).await;
    println!("serves again after {:?}", since.elapsed());
}
