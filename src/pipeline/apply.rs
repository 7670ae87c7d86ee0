//! Apply [IO]: [`Resources<Prepared>`] → [`Resources<Applied>`]: the pipeline's file first, then the app
//! that reads it.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::Status;
use kube::{Client, ResourceExt};
use serde_json::json;
use simbdp_api::labels;
use simbdp_api::names::{PipelineName, TenantName, tenant_objects as objects};
use simbdp_api::wire::config::PipelineConfig;

use super::build::{self, Resources};
use super::validate::ValidatedPipeline;
use crate::activation::scale::{is_kept_by_others, scale};
use crate::activation::workload;
use crate::apply::{Applier, ApplyError};
use crate::tenant::build::{Applied, Prepared};

/// Field manager of the IngestPipeline controller, but for the ConfigMap that all pipelines share.
pub const MANAGER: &str = "simbdp-pipeline";

/// Field manager of one pipeline's key in the ConfigMap that all pipelines share.
fn key_manager(pipeline: &PipelineName) -> String {
    format!("{MANAGER}-{pipeline}")
}

/// Applies every object. Destructured without `..`, so that a forgotten object does not compile.
pub async fn apply(
    client: &Client,
    applier: &Applier,
    pipeline: &ValidatedPipeline,
    prepared: Resources<Prepared>,
) -> Result<Resources<Applied>, ApplyError> {
    let Resources {
        config,
        ingest,
        state: _,
    } = prepared;
    Ok(Resources {
        config: apply_key(client, applier, &pipeline.name, &config).await?,
        ingest: apply_ingest(client, applier, pipeline, &ingest).await?,
        state: PhantomData,
    })
}

/// Applies the ingest app without its number of replicas, which is activation's; here only what is declared of it is kept
/// at once: none while the pipeline is paused, and never fewer than the least.
async fn apply_ingest(
    client: &Client,
    applier: &Applier,
    pipeline: &ValidatedPipeline,
    wanted: &Deployment,
) -> Result<Deployment, ApplyError> {
    let (namespace, name) = (wanted.namespace().unwrap_or_default(), wanted.name_any());
    let least = match pipeline.paused {
        Some(_) => 0,
        None => pipeline.bounds.min,
    };
    let live = applier.get::<Deployment>(Some(&namespace), &name).await?;
    let kept = |live: &Deployment| is_kept_by_others(&live.metadata, MANAGER);
    if !live.as_ref().is_some_and(kept) {
        let replicas = live.as_ref().map_or(least, workload::replicas);
        let mut first = wanted.clone();
        if let Some(spec) = &mut first.spec {
            spec.replicas = Some(i32::from(replicas));
        }
        applier.apply(&first).await?;
        scale(client, &namespace, &name, replicas, None).await?;
    }
    let mut applied = applier.apply(wanted).await?;
    let replicas = workload::replicas(&applied);
    let declared = match pipeline.paused {
        Some(_) => 0,
        None => replicas.max(least),
    };
    if replicas != declared {
        scale(client, &namespace, &name, declared, None).await?;
        if let Some(spec) = &mut applied.spec {
            spec.replicas = Some(i32::from(declared));
        }
    }
    Ok(applied)
}

/// The ConfigMap that all pipelines of a tenant share; made by the Tenant's controller.
async fn shared(applier: &Applier, namespace: &str) -> Result<Option<ConfigMap>, ApplyError> {
    applier
        .get::<ConfigMap>(Some(namespace), objects::PIPELINES)
        .await
}

/// Writes the pipeline's own key, where it is not as wanted. Every pipeline owns its key alone, by a
/// field manager of its own, so that no two of them ever undo each other.
async fn apply_key(
    client: &Client,
    applier: &Applier,
    pipeline: &PipelineName,
    wanted: &ConfigMap,
) -> Result<ConfigMap, ApplyError> {
    let (namespace, key) = (
        wanted.namespace().unwrap_or_default(),
        pipeline.config_key(),
    );
    let there = |map: &ConfigMap| map.data.as_ref().and_then(|data| data.get(&key)).cloned();
    let Some(live) = shared(applier, &namespace).await? else {
        return Err(missing());
    };
    if there(&live) == there(wanted) {
        return Ok(live);
    }
    // With the UID, an apply changes this very ConfigMap and never makes one that has no labels.
    let mut wanted = wanted.clone();
    wanted.metadata.uid = live.uid();
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let params = PatchParams::apply(&key_manager(pipeline)).force();
    api.patch(objects::PIPELINES, &params, &Patch::Apply(&wanted))
        .await
        .map_err(|error| ApplyError::Write {
            object: format!("key {key} of ConfigMap {}", objects::PIPELINES),
            source: error.into(),
        })
}

fn missing() -> ApplyError {
    let what = "it is not there: the Tenant's controller makes it";
    ApplyError::Read {
        object: format!("ConfigMap {}", objects::PIPELINES),
        source: kube::Error::Api(Status::failure(what, "NotFound").with_code(404).boxed()).into(),
    }
}

/// The pipeline's file as it is; [`None`] where it is not there or cannot be read.
async fn current(
    applier: &Applier,
    tenant: &TenantName,
    pipeline: &PipelineName,
) -> Result<Option<PipelineConfig>, ApplyError> {
    let map = shared(applier, &tenant.namespace()).await?;
    Ok(map
        .filter(|map| map.metadata.deletion_timestamp.is_none())
        .and_then(|map| map.data?.remove(&pipeline.config_key()))
        .and_then(|file| serde_json::from_str(&file).ok()))
}

/// Closes the pipeline at the gateway, for a reason that clients are told. Needs no valid spec: the
/// file that is there is closed. False where there is none, so that nothing is open either.
pub async fn close(
    client: &Client,
    applier: &Applier,
    tenant: &TenantName,
    pipeline: &PipelineName,
    generation: i64,
    reason: &str,
) -> Result<bool, ApplyError> {
    let Some(config) = current(applier, tenant, pipeline).await? else {
        return Ok(false);
    };
    let closed = PipelineConfig {
        generation,
        closed: Some(reason.to_owned()),
        ..config
    };
    let map = build::config_map(tenant, pipeline, Some(&closed));
    let applied = apply_key(client, applier, pipeline, &map).await?;
    announce(client, tenant, &applied).await?;
    Ok(true)
}

/// Takes the pipeline's file away. What is gone already is fine.
pub async fn remove_key(
    client: &Client,
    applier: &Applier,
    tenant: &TenantName,
    pipeline: &PipelineName,
) -> Result<(), ApplyError> {
    let live = shared(applier, &tenant.namespace()).await?;
    let has_key = live
        .and_then(|map| map.data)
        .is_some_and(|data| data.contains_key(&pipeline.config_key()));
    if has_key {
        let map = build::config_map(tenant, pipeline, None);
        let applied = apply_key(client, applier, pipeline, &map).await?;
        announce(client, tenant, &applied).await?;
    }
    Ok(())
}

/// Tells the gateway's pods which revision of the pipelines to load: a changed annotation makes the
/// kubelet refresh the mounted ConfigMap at once instead of within a minute.
pub async fn announce(
    client: &Client,
    tenant: &TenantName,
    pipelines: &ConfigMap,
) -> Result<(), ApplyError> {
    let revision = pipelines.resource_version().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(client.clone(), &tenant.namespace());
    let gateways = format!(
        "{}={tenant},{}=gateway",
        labels::TENANT,
        labels::APP_COMPONENT
    );
    let pods = api
        .list_metadata(&ListParams::default().labels(&gateways))
        .await
        .map_err(|error| ApplyError::Read {
            object: "the gateway's pods".to_owned(),
            source: error.into(),
        })?;
    for pod in pods {
        if pod.annotations().get(labels::PIPELINES_REVISION) == Some(&revision) {
            continue;
        }
        let annotations = BTreeMap::from([(labels::PIPELINES_REVISION, revision.as_str())]);
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        match api
            .patch_metadata(&pod.name_any(), &PatchParams::default(), &patch)
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => other.map(drop).map_err(|error| ApplyError::Write {
                object: format!("annotation of Pod {}", pod.name_any()),
                source: error.into(),
            })?,
        }
    }
    Ok(())
}
