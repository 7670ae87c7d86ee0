//! A Tenant is made and deleted while the operator is killed; Retain keeps its rows, Delete leaves nothing.

use k8s_openapi::api::core::v1::{Namespace, PersistentVolume};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use simbdp_api::common::Engine;
use simbdp_api::labels;

use crate::brokers::OPERATOR_NAMESPACE;
use crate::harness::{QUICK, SLOW, TestTenant, eventually, small_tenant};
use crate::main_job::{WEATHER_DOUBLES, WEATHER_KEY, data, head, sample};
use crate::table::{assert_same, from_csv};

const OPERATOR: &str = "app.kubernetes.io/component=operator";

/// Kills every operator; one that another test killed first is as dead.
pub async fn kill_operators(tenant: &TestTenant) {
    let pods = tenant.cluster.pods(OPERATOR_NAMESPACE);
    let at_once = DeleteParams::default().grace_period(0);
    for pod in tenant.cluster.pod_names(OPERATOR_NAMESPACE, OPERATOR).await {
        match pods.delete(&pod, &at_once).await {
            Err(kube::Error::Api(answer)) if answer.code == 404 => (),
            deleted => drop(deleted.unwrap()),
        }
    }
}

async fn gone(tenant: &TestTenant) {
    eventually(&format!("Tenant {} is gone", tenant.name), SLOW, || async {
        match tenant
            .cluster
            .tenants()
            .get_opt(tenant.name.as_str())
            .await
            .unwrap()
        {
            None => Ok(()),
            Some(tenant) => Err(format!("{:?}", tenant.status.map(|s| s.conditions))),
        }
    })
    .await;
}

#[tokio::test]
async fn with_cassandra_a_tenant_lives_and_ends_while_the_operator_dies() {
    lives_and_ends("gamma", Engine::Cassandra).await;
}

#[tokio::test]
async fn with_mongodb_a_tenant_lives_and_ends_while_the_operator_dies() {
    lives_and_ends("nu", Engine::MongoDB).await;
}

/// Made, retained, found again with its rows, and deleted; the operator is killed at each.
async fn lives_and_ends(name: &str, engine: Engine) {
    let tenant = TestTenant::own(name, engine).await;
    tenant
        .cluster
        .apply_tenant(&tenant.name, small_tenant(engine, "Retain"))
        .await
        .unwrap();
    eventually("the database is being made", QUICK, || async {
        match tenant
            .cluster
            .pod_names(&tenant.name.namespace(), labels::COREDMS)
            .await
            .len()
        {
            0 => Err("no member yet".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    kill_operators(&tenant).await;
    tenant.cluster.tenant_ready(&tenant.name).await;

    tenant
        .pipeline("weather", sample("weather.yaml", "weather"))
        .await;
    let csv = head(&data("weather.csv"), 2_000);
    let upload = tenant
        .upload("weather", "weather.csv", csv.as_bytes())
        .await;
    assert_eq!(tenant.ended(upload.id).await.accepted, Some(2_000));
    let token = tenant.token("loader").await;

    tenant
        .cluster
        .tenants()
        .delete(tenant.name.as_str(), &Default::default())
        .await
        .unwrap();
    kill_operators(&tenant).await;
    gone(&tenant).await;
    assert!(
        tenant.cluster.namespace(&tenant.name).await.is_some(),
        "Retain keeps the namespace"
    );
    eventually("workloads stop", QUICK, || async {
        match tenant
            .cluster
            .pod_names(&tenant.name.namespace(), labels::TENANT)
            .await
            .len()
        {
            0 => Ok(()),
            n => Err(format!("{n} pods")),
        }
    })
    .await;

    tenant
        .cluster
        .apply_tenant(&tenant.name, small_tenant(engine, "Delete"))
        .await
        .unwrap();
    tenant.cluster.tenant_ready(&tenant.name).await;
    assert_eq!(tenant.token("loader").await, token, "credentials are kept");
    tenant
        .pipeline("weather", sample("weather.yaml", "weather"))
        .await;
    let found = tenant.rows("weather", &WEATHER_KEY).await;
    assert_same(&found, &from_csv(&csv, &WEATHER_KEY, &WEATHER_DOUBLES));

    tenant
        .cluster
        .tenants()
        .delete(tenant.name.as_str(), &Default::default())
        .await
        .unwrap();
    kill_operators(&tenant).await;
    gone(&tenant).await;
    assert_nothing_left(&tenant).await;
}

async fn assert_nothing_left(tenant: &TestTenant) {
    let namespaces: Api<Namespace> = Api::all(tenant.cluster.client.clone());
    let volumes: Api<PersistentVolume> = Api::all(tenant.cluster.client.clone());
    let namespace = tenant.name.namespace();
    eventually("namespace and volumes are gone", QUICK, || async {
        if namespaces.get_opt(&namespace).await.unwrap().is_some() {
            return Err("the namespace is there".to_owned());
        }
        let list = volumes.list(&ListParams::default()).await.unwrap();
        let left: Vec<String> = list
            .iter()
            .filter(|volume| {
                let claim = volume
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.claim_ref.as_ref());
                claim.and_then(|claim| claim.namespace.as_ref()) == Some(&namespace)
            })
            .map(ResourceExt::name_any)
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("volumes {left:?}"))
        }
    })
    .await;
}
