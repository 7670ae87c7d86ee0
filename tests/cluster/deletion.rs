//! A tenant is deleted in whatever order, while the operator is away: nothing hangs once it is back, and nothing
//! foreign is touched.

use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use simbdp_api::common::Engine;
use simbdp_api::names::tenant_objects;
use simbdp_api::{Broker, CoreDms, labels};

use crate::harness::{Cluster, QUICK, TestTenant, eventually, small_tenant};
use crate::main_job::sample;
use crate::turns;

const OPERATOR: &str = "simbdp-operator";
const OPERATOR_NAMESPACE: &str = "simbdp-system";
/// What the operator has from its return to the end.
const LIMIT: Duration = Duration::from_secs(120);

async fn operators(client: &Client, replicas: i32) {
    let api: Api<Deployment> = Api::namespaced(client.clone(), OPERATOR_NAMESPACE);
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    api.patch(OPERATOR, &PatchParams::default(), &patch)
        .await
        .unwrap();
    eventually("as many operators", QUICK, || async {
        let found = api.get(OPERATOR).await.unwrap().status.unwrap_or_default();
        match found.replicas.unwrap_or_default() {
            running if running == replicas => Ok(()),
            running => Err(format!("{running} run")),
        }
    })
    .await;
}

async fn delete<K>(api: Api<K>, name: &str)
where
    K: Clone + DeserializeOwned + std::fmt::Debug + Resource<DynamicType = ()>,
{
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => panic!("{name}: {error}"),
    }
}

/// What somebody deletes.
#[derive(Clone, Copy, Debug)]
enum Part {
    Tenant,
    Namespace,
    CoreDms,
    Secrets,
}

async fn delete_part(tenant: &TestTenant, part: Part) {
    let (client, namespace) = (tenant.cluster.client.clone(), tenant.name.namespace());
    match part {
        Part::Tenant => delete(tenant.cluster.tenants(), tenant.name.as_str()).await,
        Part::Namespace => delete(Api::<Namespace>::all(client), &namespace).await,
        Part::CoreDms => {
            let api = Api::<CoreDms>::namespaced(client, &namespace);
            delete(api, tenant_objects::COREDMS).await;
        }
        Part::Secrets => {
            let api = Api::<Secret>::namespaced(client, &namespace);
            api.delete_collection(&DeleteParams::default(), &ListParams::default())
                .await
                .unwrap();
        }
    }
}

/// A namespace and a Secret that look like the operator's and are somebody else's.
struct Foreign {
    namespaces: Api<Namespace>,
    secrets: Api<Secret>,
}

impl Foreign {
    const NAMESPACE: &str = "tenant-of-somebody-else";
    const SECRET: &str = "coredms-superuser";

    async fn make(client: &Client) -> Self {
        let foreign = Self {
            namespaces: Api::all(client.clone()),
            secrets: Api::namespaced(client.clone(), Self::NAMESPACE),
        };
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": Self::NAMESPACE},
        });
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": Self::SECRET},
            "stringData": {"password": "theirs"},
        });
        let params = PatchParams::apply("somebody-else");
        let (namespace, secret) = (Patch::Apply(namespace), Patch::Apply(secret));
        let made = foreign
            .namespaces
            .patch(Self::NAMESPACE, &params, &namespace);
        made.await.unwrap();
        let made = foreign.secrets.patch(Self::SECRET, &params, &secret);
        made.await.unwrap();
        foreign
    }

    async fn seen(&self) -> (Namespace, Secret) {
        let namespace = self.namespaces.get(Self::NAMESPACE).await.unwrap();
        (namespace, self.secrets.get(Self::SECRET).await.unwrap())
    }
}

async fn volumes(tenant: &TestTenant) -> usize {
    let api: Api<PersistentVolume> = Api::all(tenant.cluster.client.clone());
    let all = api.list(&ListParams::default()).await.unwrap();
    let namespace = tenant.name.namespace();
    let of_tenant = |volume: &&PersistentVolume| {
        let claim = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
        claim.is_some_and(|claim| claim.namespace.as_deref() == Some(&namespace))
    };
    all.iter().filter(of_tenant).count()
}

/// A tenant with a pipeline, to be deleted.
async fn lives(name: &str) -> TestTenant {
    let tenant = TestTenant::own(name, Engine::MongoDB).await;
    let spec = small_tenant(Engine::MongoDB, "Delete");
    let applied = tenant.cluster.apply_tenant(&tenant.name, spec).await;
    applied.unwrap();
    tenant.cluster.tenant_ready(&tenant.name).await;
    tenant
        .pipeline("planes", sample("planes.yaml", "planes"))
        .await;
    tenant
}

async fn ends_of(tenant: &TestTenant, order: &[Part]) {
    let start = Instant::now();
    eventually(&format!("the end after {order:?}"), LIMIT, || async {
        let found = tenant
            .cluster
            .tenants()
            .get_opt(tenant.name.as_str())
            .await
            .unwrap();
        let namespace = tenant.cluster.namespace(&tenant.name).await;
        match (found, namespace, volumes(tenant).await) {
            (None, None, 0) => Ok(()),
            (found, namespace, volumes) => Err(format!(
                "{:?}, {:?}, {volumes} volumes",
                found.map(|tenant| tenant.status),
                namespace.map(|namespace| namespace.status)
            )),
        }
    })
    .await;
    println!("{order:?}: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_tenant_ends_in_whatever_order_its_parts_are_deleted() {
    use Part::{CoreDms, Namespace, Secrets, Tenant};
    turns::alone().await;
    let client = Cluster::connect().await.client;
    let foreign = Foreign::make(&client).await;
    let before = foreign.seen().await;
    let orders = [
        ("omega-1", [Secrets, CoreDms, Tenant, Namespace]),
        ("omega-2", [Namespace, Secrets, CoreDms, Tenant]),
        ("omega-3", [Tenant, Namespace, CoreDms, Secrets]),
    ];
    let tenants = join_all(orders.map(|(name, _)| lives(name))).await;
    operators(&client, 0).await;
    let orders = orders.map(|(_, order)| order);
    for (tenant, order) in tenants.iter().zip(&orders) {
        for part in order {
            delete_part(tenant, *part).await;
        }
    }
    operators(&client, 2).await;
    let ends = tenants.iter().zip(&orders);
    join_all(ends.map(|(tenant, order)| ends_of(tenant, order))).await;
    assert_eq!(foreign.seen().await, before);
    delete(foreign.namespaces, Foreign::NAMESPACE).await;
}

#[tokio::test]
async fn a_broker_that_a_tenant_uses_waits_for_it_and_goes_then() {
    let tenant = TestTenant::own("psi", Engine::MongoDB).await;
    let client = tenant.cluster.client.clone();
    let brokers: Api<Broker> = Api::all(client.clone());
    let broker = json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "Broker",
        "metadata": {"name": "psi", "labels": {labels::APP_PART_OF: "test"}},
        "spec": {"storage": {"size": "1Gi"}},
    });
    let params = PatchParams::apply("cluster-test");
    brokers
        .patch("psi", &params, &Patch::Apply(broker))
        .await
        .unwrap();
    let mut spec = small_tenant(Engine::MongoDB, "Delete");
    spec["broker"] = json!({"ref": {"name": "psi"}});
    let applied = tenant.cluster.apply_tenant(&tenant.name, spec).await;
    applied.unwrap();
    tenant.cluster.tenant_ready(&tenant.name).await;
    delete(brokers.clone(), "psi").await;
    eventually("it says who uses it", QUICK, || async {
        let broker = brokers.get("psi").await.unwrap();
        let conditions = broker.status.unwrap_or_default().conditions.conditions;
        let says = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            c.reason == "InUse" && c.message.contains("psi")
        };
        match conditions.iter().any(says) {
            true => Ok(()),
            false => Err(format!("{conditions:?}")),
        }
    })
    .await;
    delete(tenant.cluster.tenants(), tenant.name.as_str()).await;
    eventually("both are gone", LIMIT, || async {
        let tenant = tenant.cluster.tenants().get_opt("psi").await.unwrap();
        match (tenant, brokers.get_opt("psi").await.unwrap()) {
            (None, None) => Ok(()),
            (tenant, broker) => Err(format!(
                "{:?}, {:?}",
                tenant.map(|tenant| tenant.name_any()),
                broker.map(|broker| broker.status)
            )),
        }
    })
    .await;
}
