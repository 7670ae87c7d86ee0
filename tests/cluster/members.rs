//! Members are changed, fail to start and lose their volumes while messages come in: nothing that was accepted is lost,
//! and nobody has to help.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};
use simbdp_api::common::Engine;
use simbdp_api::names::tenant_objects;
use simbdp_api::{CoreDms, labels};

use crate::harness::{QUICK, SLOW, TestTenant, condition, eventually, small_tenant};
use crate::main_job::{data, planes_cells, planes_ndjson, sample};
use crate::missed::Missed;
use crate::table::differences;

for_each_engine!(
    a_change_of_resources_and_an_image_that_cannot_be_had,
    a_member_whose_volume_is_lost,
);

/// A version that no registry has.
const BAD: &str = "9.9";

/// Messages that come in until it is told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    posting: tokio::task::JoinHandle<usize>,
}

impl Load {
    async fn start(tenant: &TestTenant, pipeline: &'static str) -> Self {
        let table = pipeline.replace('-', "_");
        tenant
            .pipeline(pipeline, sample("planes.yaml", &table))
            .await;
        let stop = Arc::new(AtomicBool::new(false));
        let (tenant, stopped) = (tenant.clone(), stop.clone());
        let posting = tokio::spawn(async move {
            let messages = planes_ndjson(&data("planes.csv"));
            let lines: Vec<_> = messages.lines().collect();
            let chunks: Vec<_> = lines.chunks(40).map(|lines| lines.join("\n")).collect();
            let mut posted = 0;
            // Every row at least once; then the same ones again, which change nothing.
            while posted < chunks.len() || !stopped.load(Ordering::Relaxed) {
                let chunk = &chunks[posted % chunks.len()];
                tenant
                    .post_messages(pipeline, &format!("chunk-{posted}"), chunk)
                    .await;
                posted += 1;
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            posted
        });
        Self { stop, posting }
    }

    /// Ends it, and waits until every row is there as it was posted.
    async fn check(self, tenant: &TestTenant, pipeline: &str) {
        self.stop.store(true, Ordering::Relaxed);
        assert!(self.posting.await.unwrap() > 0);
        let expected = planes_cells(&data("planes.csv"));
        let table = pipeline.replace('-', "_");
        eventually("every row is there", SLOW, || async {
            differences(&tenant.rows(&table, &["tailnum"]).await, &expected)
        })
        .await;
    }
}

async fn members(tenant: &TestTenant) -> Vec<Pod> {
    let selector = format!("{}={}", labels::COREDMS, tenant_objects::COREDMS);
    let pods = tenant.cluster.pods(&tenant.name.namespace());
    let params = ListParams::default().labels(&selector);
    pods.list(&params).await.unwrap().items
}

/// A text of each member's container.
async fn each(tenant: &TestTenant, pointer: &str) -> Vec<String> {
    let texts = members(tenant).await.into_iter().map(|pod| {
        let pod = serde_json::to_value(pod).unwrap();
        let container = &pod["spec"]["containers"][0];
        let text = container.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    });
    texts.collect()
}

/// Waits until the database is ready, and nothing is under way in it.
pub async fn settled(tenant: &TestTenant) {
    let api: Api<CoreDms> =
        Api::namespaced(tenant.cluster.client.clone(), &tenant.name.namespace());
    eventually("the database is settled", SLOW, || async {
        let coredms = api.get(tenant_objects::COREDMS).await.unwrap();
        let generation = coredms.metadata.generation;
        let status = coredms.status.unwrap_or_default();
        let is = |kind| condition(&status.conditions, kind).map(|(status, ..)| status == "True");
        match (is("Ready"), is("Reconciling"), status.observed_generation) {
            (Some(true), Some(false), seen) if seen == generation => Ok(()),
            _ => Err(format!("{:?}", status.conditions)),
        }
    })
    .await;
}

async fn declare(tenant: &TestTenant, field: &str, value: Value) {
    let mut spec = small_tenant(tenant.engine, "Delete");
    if !field.is_empty() {
        spec["coredms"][field] = value;
    }
    tenant
        .cluster
        .apply_tenant(&tenant.name, spec)
        .await
        .unwrap();
}

async fn a_change_of_resources_and_an_image_that_cannot_be_had(tenant: TestTenant) {
    let pipeline = "members-change";
    let load = Load::start(&tenant, pipeline).await;

    declare(&tenant, "version", json!(BAD)).await;
    eventually("one member cannot start", SLOW, || async {
        let images = each(&tenant, "/image").await;
        match images.iter().filter(|image| image.ends_with(BAD)).count() {
            1 => Ok(()),
            _ => Err(format!("{images:?}")),
        }
    })
    .await;
    declare(&tenant, "", Value::Null).await;
    eventually("no member has the bad image", SLOW, || async {
        let images = each(&tenant, "/image").await;
        match images.iter().any(|image| image.ends_with(BAD)) {
            true => Err(format!("{images:?}")),
            false => Ok(()),
        }
    })
    .await;
    settled(&tenant).await;

    let before: Vec<_> = members(&tenant).await.iter().map(Pod::uid).collect();
    let limits = json!({"requests": {"cpu": "20m"}, "limits": {"memory": "1000Mi"}});
    declare(&tenant, "resources", limits).await;
    eventually("every member has the new limit", SLOW, || async {
        let limits = each(&tenant, "/resources/limits/memory").await;
        match limits == ["1000Mi"; 3] {
            true => Ok(()),
            false => Err(format!("{limits:?}")),
        }
    })
    .await;
    settled(&tenant).await;
    let after: Vec<_> = members(&tenant).await.iter().map(Pod::uid).collect();
    assert!(after.iter().all(|uid| !before.contains(uid)));
    load.check(&tenant, pipeline).await;
}

async fn a_member_whose_volume_is_lost(tenant: TestTenant) {
    let pipeline = "members-lost";
    let load = Load::start(&tenant, pipeline).await;
    let namespace = tenant.name.namespace();
    settled(&tenant).await;
    // Of MongoDB each row that is acknowledged is in the log that the new member copies.
    let missed = match tenant.engine {
        Engine::Cassandra => Some(Missed::write(&tenant).await),
        Engine::MongoDB => None,
    };
    // The first one, which has begun the cluster.
    let pod = format!("{}-0", tenant_objects::COREDMS);
    let claim = format!("data-{pod}");
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(tenant.cluster.client.clone(), &namespace);
    let lost = claims.get(&claim).await.unwrap().uid();
    claims
        .delete(&claim, &DeleteParams::default())
        .await
        .unwrap();
    eventually("the claim is another one", QUICK, || async {
        let found = claims.get_opt(&claim).await.unwrap();
        match found {
            Some(found) if found.uid() != lost => Ok(()),
            Some(_) => {
                // Kubernetes keeps the claim for as long as any pod is to have it.
                let now = DeleteParams::default().grace_period(0);
                let _ = tenant.cluster.pods(&namespace).delete(&pod, &now).await;
                Err("it is still there".to_owned())
            }
            None => Err("it is gone".to_owned()),
        }
    })
    .await;
    eventually("the member is ready", SLOW, || async {
        let pods = members(&tenant).await;
        let ready = pods.iter().any(|found| {
            let conditions = found.status.as_ref().and_then(|s| s.conditions.as_ref());
            let mut ready = conditions.into_iter().flatten();
            found.name_any() == pod && ready.any(|c| c.type_ == "Ready" && c.status == "True")
        });
        ready.then_some(()).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    let since = Instant::now();
    settled(&tenant).await;
    println!("settled {:?} after the member was ready", since.elapsed());
    if let Some(missed) = missed {
        missed.check(&tenant).await;
    }
    load.check(&tenant, pipeline).await;
}
