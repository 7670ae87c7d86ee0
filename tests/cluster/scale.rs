//! Members come and go one at a time while rows are written and the operator is killed: every acknowledged row is there
//! afterwards, and volumes that have left are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use simbdp_api::common::Engine;
use simbdp_api::names::tenant_objects;
use simbdp_api::{CoreDms, labels};

use crate::harness::{QUICK, SLOW, TestTenant, condition, eventually, small_tenant};
use crate::main_job::sample;

/// Rows of one request.
const ROWS: usize = 20;
const OPERATOR: &str = "app.kubernetes.io/component=operator";

#[tokio::test]
async fn a_cassandra_of_three_has_four_members_and_three_again() {
    grows_and_shrinks("rho", Engine::Cassandra, 4).await;
}

#[tokio::test]
async fn a_mongodb_of_three_has_five_members_and_three_again() {
    grows_and_shrinks("sigma", Engine::MongoDB, 5).await;
}

#[tokio::test]
async fn numbers_of_members_that_lose_rows_are_refused() {
    let tenant = TestTenant::own("tau", Engine::MongoDB).await;
    for (engine, replicas, refusal) in [
        (Engine::Cassandra, 2, "greater than or equal to 3"),
        (Engine::MongoDB, 4, "replicas of MongoDB are 3, 5 or 7"),
    ] {
        let applied = tenant
            .cluster
            .apply_tenant(&tenant.name, spec(engine, replicas));
        let refused = applied.await.unwrap_err().to_string();
        assert!(refused.contains(refusal), "{refused}");
    }
}

fn spec(engine: Engine, replicas: u16) -> Value {
    let mut spec = small_tenant(engine, "Delete");
    spec["coredms"]["replicas"] = json!(replicas);
    spec
}

async fn grows_and_shrinks(name: &str, engine: Engine, more: u16) {
    let tenant = TestTenant::own(name, engine).await;
    let applied = tenant.cluster.apply_tenant(&tenant.name, spec(engine, 3));
    applied.await.unwrap();
    tenant.cluster.tenant_ready(&tenant.name).await;
    tenant
        .pipeline("planes", sample("planes.yaml", "planes"))
        .await;

    let enough = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(tenant.clone(), Arc::clone(&enough)));
    resize(&tenant, more, "ScalingOut").await;
    resize(&tenant, 3, "ScalingIn").await;
    enough.store(true, Ordering::Relaxed);
    let requests = writer.await.unwrap();
    assert!(requests > 1, "nothing was written meanwhile");

    eventually("every row that was acknowledged", SLOW, || async {
        match tenant.rows("planes", &["tailnum"]).await.len() {
            rows if rows == requests * ROWS => Ok(()),
            rows => Err(format!("{rows} of {} rows", requests * ROWS)),
        }
    })
    .await;
    eventually("three volumes", QUICK, || async {
        match claims(&tenant).await {
            3 => Ok(()),
            claims => Err(format!("{claims} claims")),
        }
    })
    .await;
    let tenants = tenant.cluster.tenants();
    tenants
        .delete(tenant.name.as_str(), &Default::default())
        .await
        .unwrap();
}

/// Posts rows until it is enough; returns how many requests were acknowledged.
async fn write(tenant: TestTenant, enough: Arc<AtomicBool>) -> usize {
    let mut requests = 0;
    while !enough.load(Ordering::Relaxed) {
        let rows = (0..ROWS).map(|row| {
            let row = json!({"tailnum": format!("N{requests}-{row}"), "engines": row});
            format!("{row}\n")
        });
        let (key, rows): (_, String) = (format!("rows-{requests}"), rows.collect());
        tenant.post_messages("planes", &key, &rows).await;
        requests += 1;
    }
    requests
}

async fn coredms(tenant: &TestTenant) -> CoreDms {
    let api: Api<CoreDms> =
        Api::namespaced(tenant.cluster.client.clone(), &tenant.name.namespace());
    api.get(tenant_objects::COREDMS).await.unwrap()
}

/// Changes the number of members, and kills the operator when it has begun.
async fn resize(tenant: &TestTenant, replicas: u16, reason: &str) {
    let spec = spec(tenant.engine, replicas);
    let applied = tenant.cluster.apply_tenant(&tenant.name, spec);
    applied.await.unwrap();
    eventually(reason, QUICK, || async {
        let status = coredms(tenant).await.status.unwrap_or_default();
        match condition(&status.conditions, "Reconciling") {
            Some((_, is, _)) if is == reason => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    for pod in tenant.cluster.pod_names("simbdp-system", OPERATOR).await {
        tenant.cluster.kill_pod("simbdp-system", &pod).await;
    }
    let wanted = format!("{replicas}/{replicas}");
    eventually(&format!("{replicas} members"), SLOW * 2, || async {
        let coredms = coredms(tenant).await;
        let status = coredms.status.unwrap_or_default();
        let told = condition(&status.conditions, "Reconciling");
        let asked = coredms.spec.replicas == Some(replicas)
            && status.observed_generation == coredms.metadata.generation;
        match &told {
            Some((is, _, _))
                if asked && is == "False" && status.members == Some(wanted.clone()) =>
            {
                Ok(())
            }
            _ => Err(format!("{:?}: {told:?}", status.members)),
        }
    })
    .await;
    tenant.cluster.tenant_ready(&tenant.name).await;
}

async fn claims(tenant: &TestTenant) -> usize {
    let api: Api<PersistentVolumeClaim> =
        Api::namespaced(tenant.cluster.client.clone(), &tenant.name.namespace());
    let selector = format!("{}={}", labels::COREDMS, tenant_objects::COREDMS);
    let list = api.list(&ListParams::default().labels(&selector)).await;
    list.unwrap().items.len()
}
