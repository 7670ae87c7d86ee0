//! An external CoreDms and an external Broker: somebody else runs them, and they are reached over TLS alone. What is wrong with
//! a connection is told, tenants come and go, and all that others have there stays as it was.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use simbdp_api::common::Engine;
use simbdp_api::{Broker, CoreDms};

use crate::elsewhere::{Elsewhere, PASSWORD, USER};
use crate::harness::{Cluster, QUICK, SLOW, TestTenant, condition, eventually};
use crate::main_job::{data, planes_cells, planes_ndjson, sample};
use crate::table::differences;
use crate::turns;

const OPERATOR: &str = "simbdp-system";
const PIPELINE: &str = "planes";

#[tokio::test]
async fn tenants_come_and_go_in_somebody_elses_cassandra_over_tls() {
    tenants_come_and_go(Engine::Cassandra).await;
}

#[tokio::test]
async fn tenants_come_and_go_in_somebody_elses_mongodb_over_tls() {
    tenants_come_and_go(Engine::MongoDB).await;
}

async fn tenants_come_and_go(engine: Engine) {
    let cluster = Cluster::connect().await;
    turns::with(turns::own(engine)).await;
    let elsewhere = Elsewhere::start(engine).await;
    let before = elsewhere.content().await;
    let before_in_broker = elsewhere.broker.content().await;

    declare(&cluster, &elsewhere, None).await;
    for said in [
        told(&cluster, &elsewhere, "TlsFailed").await,
        told_of_broker(&cluster, &elsewhere, "TlsFailed").await,
    ] {
        let fault = "it speaks TLS, and this connection does not";
        assert!(
            said.contains(fault) && said.contains("spec.external.tls"),
            "{said}"
        );
    }
    declare(
        &cluster,
        &elsewhere,
        Some(json!({"trustBundle": elsewhere.authority})),
    )
    .await;
    told(&cluster, &elsewhere, "Answers").await;
    told_of_broker(&cluster, &elsewhere, "Ready").await;

    let tenant = TestTenant::own(elsewhere.guest, engine).await;
    let spec = json!({
        "coredms": {"engine": engine, "placement": "Shared", "ref": {"name": elsewhere.name}},
        "broker": {"ref": {"name": elsewhere.name}},
        "users": [{"name": "loader", "role": "Writer"}],
        "gateway": {"replicas": 1, "staging": {"size": "1Gi"}},
        "deletionPolicy": "Delete",
    });
    cluster.apply_tenant(&tenant.name, spec).await.unwrap();
    cluster.tenant_ready(&tenant.name).await;
    tenant
        .pipeline(PIPELINE, sample("planes.yaml", PIPELINE))
        .await;
    let csv = data("planes.csv");
    tenant
        .post_messages(PIPELINE, "all", &planes_ndjson(&csv))
        .await;
    let expected = planes_cells(&csv);
    eventually("every row is there", QUICK, || async {
        let rows = elsewhere
            .admin
            .rows(&tenant.name.keyspace(), PIPELINE, &["tailnum"])
            .await;
        differences(&rows, &expected)
    })
    .await;

    let parameters = DeleteParams::default();
    let (tenants, name) = (cluster.tenants(), tenant.name.as_str());
    tenants.delete(name, &parameters).await.unwrap();
    gone("the tenant", || tenants.get_opt(name)).await;
    let databases = databases(&cluster);
    databases.delete(elsewhere.name, &parameters).await.unwrap();
    gone("the CoreDms", || databases.get_opt(elsewhere.name)).await;
    let brokers = brokers(&cluster);
    brokers.delete(elsewhere.name, &parameters).await.unwrap();
    gone("the Broker", || brokers.get_opt(elsewhere.name)).await;
    assert_eq!(elsewhere.content().await, before);
    assert_eq!(elsewhere.broker.content().await, before_in_broker);
    cluster
        .secrets(OPERATOR)
        .delete(elsewhere.name, &parameters)
        .await
        .unwrap();
    elsewhere.stop().await;
}

fn databases(cluster: &Cluster) -> Api<CoreDms> {
    Api::namespaced(cluster.client.clone(), OPERATOR)
}

/// Applies the login and the CoreDms.
async fn declare(cluster: &Cluster, elsewhere: &Elsewhere, tls: Option<Value>) {
    let parameters = PatchParams::apply("cluster-test").force();
    let login: Value = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": elsewhere.name},
        "stringData": {"username": USER, "password": PASSWORD},
    });
    let secrets: Api<Secret> = cluster.secrets(OPERATOR);
    secrets
        .patch(elsewhere.name, &parameters, &Patch::Apply(login))
        .await
        .unwrap();
    let mut external =
        json!({"addresses": elsewhere.addresses, "secretRef": {"name": elsewhere.name}});
    if let Some(tls) = tls {
        external["tls"] = tls;
    }
    let object = json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "CoreDms", "metadata": {"name": elsewhere.name},
        "spec": {"engine": elsewhere.engine, "maxTenants": 2, "external": external},
    });
    let applied = databases(cluster)
        .patch(elsewhere.name, &parameters, &Patch::Apply(object))
        .await;
    applied.unwrap();

    let broker = &elsewhere.broker;
    external["addresses"] = json!(broker.addresses);
    if let Some(url) = &broker.management_url {
        external["managementUrl"] = match external.get("tls") {
            Some(_) => json!(url),
            None => json!(url.replace("https://", "http://")),
        };
    }
    let object = json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "Broker", "metadata": {"name": elsewhere.name},
        "spec": {"type": broker.kind, "external": external},
    });
    let applied = brokers(cluster)
        .patch(elsewhere.name, &parameters, &Patch::Apply(object))
        .await;
    applied.unwrap();
}

fn brokers(cluster: &Cluster) -> Api<Broker> {
    Api::all(cluster.client.clone())
}

/// Waits until the Broker's condition `Ready` has a reason, and returns its message.
async fn told_of_broker(cluster: &Cluster, elsewhere: &Elsewhere, reason: &str) -> String {
    let what = format!("Ready of {} says {reason}", elsewhere.broker.kind);
    eventually(&what, SLOW, || async {
        let broker = brokers(cluster).get(elsewhere.name).await.unwrap();
        let conditions = broker.status.unwrap_or_default().conditions;
        match condition(&conditions, "Ready") {
            Some((_, found, message)) if found == reason => Ok(message),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// Waits until the database's condition has a reason, and returns its message.
async fn told(cluster: &Cluster, elsewhere: &Elsewhere, reason: &str) -> String {
    eventually(&format!("DatabaseReady says {reason}"), SLOW, || async {
        let coredms = databases(cluster).get(elsewhere.name).await.unwrap();
        let conditions = coredms.status.unwrap_or_default().conditions;
        match condition(&conditions, "DatabaseReady") {
            Some((_, found, message)) if found == reason => Ok(message),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

async fn gone<K, F>(what: &str, get: impl Fn() -> F)
where
    F: Future<Output = Result<Option<K>, kube::Error>>,
{
    eventually(&format!("{what} is gone"), QUICK, || async {
        match get().await.unwrap() {
            Some(_) => Err("it is there".to_owned()),
            None => Ok(()),
        }
    })
    .await;
}
