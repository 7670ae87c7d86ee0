//! What activation needs to know of a pipeline [pure]: from the IngestPipeline and the Deployment of its ingest app.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use simbdp_api::names::{PipelineName, TenantName};
use simbdp_api::pipeline::ScalingSpec;
use simbdp_api::{IngestPipeline, labels};

use super::decide::Bounds;

/// A pipeline whose ingest apps are scaled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Workload {
    /// Its tenant.
    pub tenant: TenantName,
    /// Its name.
    pub pipeline: PipelineName,
    /// UID of the IngestPipeline: another one of that name has no history.
    pub uid: String,
    /// What it declares.
    pub bounds: Bounds,
    /// Ingest apps that are to run now.
    pub replicas: u16,
    /// Version of the Deployment that says so.
    pub version: Option<String>,
}

impl Workload {
    /// From both; [`None`] where nothing is to be scaled: it is paused, or goes.
    pub fn of(pipeline: &IngestPipeline, ingest: &Deployment) -> Option<Self> {
        if ingest.metadata.deletion_timestamp.is_some() || paused(ingest).is_some() {
            return None;
        }
        Some(Self {
            tenant: TenantName::from_namespace(&pipeline.namespace()?)?,
            pipeline: PipelineName::new(pipeline.name_any()).ok()?,
            uid: pipeline.uid()?,
            bounds: bounds(&pipeline.spec.scaling, pipeline.spec.batch.is_some()),
            replicas: replicas(ingest),
            version: ingest.resource_version(),
        })
    }
}

/// What is declared, with the defaults of files or messages.
pub fn bounds(scaling: &ScalingSpec, files: bool) -> Bounds {
    let usual = match files {
        true => ScalingSpec::TARGET_FILES,
        false => ScalingSpec::TARGET_MESSAGES,
    };
    Bounds {
        min: scaling.min_replicas,
        max: scaling.max(),
        target: scaling.target_backlog.unwrap_or(usual),
        cooldown: Duration::from_secs(scaling.cooldown_seconds.into()),
    }
}

/// Why none of a Deployment's apps are to run.
pub fn paused(ingest: &Deployment) -> Option<&String> {
    ingest.annotations().get(labels::PAUSED)
}

/// How many apps are to run. One, where nobody has said.
pub fn replicas(ingest: &Deployment) -> u16 {
    let declared = ingest.spec.as_ref().and_then(|spec| spec.replicas);
    u16::try_from(declared.unwrap_or(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pipeline(mode: &str, scaling: serde_json::Value) -> IngestPipeline {
        let columns = json!([{"name": "id", "type": "int"}]);
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "tenant-a", "uid": "u"},
            "spec": {mode: {}, "table": {"name": "t", "columns": columns}, "scaling": scaling},
        }))
        .unwrap()
    }

    fn ingest(metadata: serde_json::Value) -> Deployment {
        let template = json!({"metadata": {}, "spec": {"containers": []}});
        serde_json::from_value(json!({
            "metadata": metadata,
            "spec": {"replicas": 2, "selector": {}, "template": template},
        }))
        .unwrap()
    }

    #[test]
    fn defaults_are_those_of_files_or_messages() {
        let running = ingest(json!({}));
        for (mode, scaling, min, max, target, cooldown) in [
            ("batch", json!({}), 0, 5, 5, 300),
            ("stream", json!({"minReplicas": 7}), 7, 7, 1000, 300),
            (
                "stream",
                json!({"maxReplicas": 2, "targetBacklog": 9, "cooldownSeconds": 10}),
                0,
                2,
                9,
                10,
            ),
        ] {
            let workload = Workload::of(&pipeline(mode, scaling), &running).unwrap();
            let cooldown = Duration::from_secs(cooldown);
            let expected = Bounds {
                min,
                max,
                target,
                cooldown,
            };
            assert_eq!(workload.bounds, expected);
            assert_eq!(workload.replicas, 2);
        }
    }

    #[test]
    fn what_is_paused_or_goes_is_not_scaled() {
        let pipeline = pipeline("stream", json!({}));
        let gone = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        for metadata in [json!({"annotations": {labels::PAUSED: "why"}}), gone] {
            assert_eq!(Workload::of(&pipeline, &ingest(metadata)), None);
        }
    }
}
