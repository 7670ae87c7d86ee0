//! Build [pure, infallible]: [`ValidatedPipeline`] → its file for gateway and ingest apps, its queues
//! and its ingest app.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;
use sha2::{Digest, Sha256};
use simbdp_api::labels;
use simbdp_api::names::{PipelineName, TenantName, tenant_objects as objects};
use simbdp_api::wire::config::PipelineConfig;
use simbdp_broker::admin::PipelineQueues;

use super::validate::ValidatedPipeline;
use crate::objects::{env, template_annotations};
use crate::tenant::build::Prepared;
use crate::tenant::build::gateway::apart;
use crate::tenant::build::meta::{Owner, Platform, pods};
use crate::tenant::build::pod::{Mount, Program};

mod app;

const COMPONENT: &str = "ingest";
/// Longest time that an ingest app may hold one file: above the largest file at the slowest rate.
const CONSUMER_TIMEOUT_MS: u64 = 24 * 3_600 * 1_000;

/// Every object of a pipeline in the tenant's namespace.
#[derive(Clone, Debug)]
pub struct Resources<State> {
    /// The pipeline's file; every other key of that ConfigMap belongs to another pipeline.
    pub config: ConfigMap,
    /// The ingest app.
    pub ingest: Deployment,
    /// Prepared or applied.
    pub state: PhantomData<State>,
}

/// Builds every object. `credentials` is the digest of what the pods read at their start.
pub fn build(
    pipeline: &ValidatedPipeline,
    credentials: &str,
    platform: &Platform,
) -> Resources<Prepared> {
    let owner = Owner::pipeline(&pipeline.tenant, &pipeline.name, platform);
    let config = config(pipeline);
    let digest = digest(&config, credentials);
    Resources {
        config: config_map(&pipeline.tenant, &pipeline.name, Some(&config)),
        ingest: deployment(&owner, pipeline, &digest, platform),
        state: PhantomData,
    }
}

/// The queues of a pipeline with at most so many ingest apps; `max_bytes` is the Broker's.
pub fn queues(
    tenant: &TenantName,
    pipeline: &PipelineName,
    max_bytes: u64,
    consumers: u16,
) -> PipelineQueues {
    PipelineQueues {
        vhost: tenant.vhost(),
        queue: pipeline.queue(),
        dead_letter_queue: pipeline.dead_letter_queue(),
        max_bytes,
        consumer_timeout_ms: CONSUMER_TIMEOUT_MS,
        consumers,
    }
}

/// What gateway and ingest apps read of a pipeline.
pub fn config(pipeline: &ValidatedPipeline) -> PipelineConfig {
    PipelineConfig {
        tenant: pipeline.tenant.clone(),
        pipeline: pipeline.name.clone(),
        uid: Some(pipeline.owner.uid.clone()).filter(|uid| !uid.is_empty()),
        generation: pipeline.generation,
        closed: None,
        mode: pipeline.mode.clone(),
        keyspace: pipeline.tenant.keyspace(),
        table: pipeline.table.clone(),
        app: pipeline.app.as_ref().map(|app| app.config),
        max_attempts: pipeline.max_attempts,
    }
}

/// The part of the ConfigMap of pipelines that is this pipeline's: its key, or nothing, which takes
/// the key away from its field manager and thereby from the map.
pub fn config_map(
    tenant: &TenantName,
    pipeline: &PipelineName,
    config: Option<&PipelineConfig>,
) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(objects::PIPELINES.to_owned()),
            namespace: Some(tenant.namespace()),
            ..Default::default()
        },
        // A `PipelineConfig` has strings and numbers alone, which always serialise.
        data: config.map(|config| {
            let file = serde_json::to_string_pretty(config).unwrap_or_default();
            BTreeMap::from([(pipeline.config_key(), file)])
        }),
        ..Default::default()
    }
}

/// Digest of what an ingest pod reads at its start: neither UID nor generation nor whether the gateway
/// accepts new work concerns it.
fn digest(config: &PipelineConfig, credentials: &str) -> String {
    let concerns = PipelineConfig {
        uid: None,
        generation: 0,
        closed: None,
        ..config.clone()
    };
    let mut digest = Sha256::new();
    digest.update(serde_json::to_vec(&concerns).unwrap_or_default());
    digest.update(credentials);
    hex::encode(digest.finalize())
}

fn deployment(
    owner: &Owner,
    pipeline: &ValidatedPipeline,
    digest: &str,
    platform: &Platform,
) -> Deployment {
    Deployment {
        metadata: ObjectMeta {
            owner_references: Some(vec![pipeline.owner.clone()]),
            annotations: pipeline
                .paused
                .map(|why| BTreeMap::from([(labels::PAUSED.to_owned(), why.to_owned())])),
            ..owner.meta(&pipeline.name.ingest_workload(), COMPONENT)
        },
        spec: Some(DeploymentSpec {
            // Activation says how many.
            replicas: None,
            selector: pods(owner.selector(COMPONENT)),
            revision_history_limit: Some(2),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: template(owner, pipeline, digest, platform),
            ..Default::default()
        }),
        status: None,
    }
}

fn template(
    owner: &Owner,
    pipeline: &ValidatedPipeline,
    digest: &str,
    platform: &Platform,
) -> PodTemplateSpec {
    let program = Program {
        name: COMPONENT,
        command: match pipeline.app {
            None => &["simbdp-ingest", "run"],
            Some(_) => &["simbdp-ingest", "exec"],
        },
        account: objects::INGEST,
        ports: &[],
        serves: true,
        env: vec![env("SIMBDP_PIPELINE", &pipeline.name)],
        mounts: vec![
            Mount::coredms(),
            Mount::broker(),
            Mount::internal(),
            Mount::pipelines(),
        ],
        claims: match pipeline.app {
            None => vec![],
            Some(_) => app::runner_mounts(&pipeline.mode),
        },
        resources: (
            Quantity("50m".to_owned()),
            Quantity("64Mi".to_owned()),
            Quantity("192Mi".to_owned()),
        ),
    };
    let mut pod = program.pod(pipeline.tenant.as_str(), platform);
    pod.affinity = Some(apart(owner.selector(COMPONENT)));
    if let Some(own) = &pipeline.app {
        app::add(&mut pod, pipeline, own, platform);
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(owner.labels(COMPONENT)),
            annotations: Some(template_annotations(
                digest.to_owned(),
                pipeline.restarted_at.clone(),
            )),
            ..Default::default()
        }),
        spec: Some(pod),
    }
}

#[cfg(test)]
mod tests;
