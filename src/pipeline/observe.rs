//! Observe [IO]: what gateway replicas and ingest apps do.

use k8s_openapi::api::apps::v1::Deployment;
use simbdp_api::wire::internal::LoadedPipeline;

use super::dereference::Access;
use super::status;
use super::validate::ValidatedPipeline;
use crate::apply::{Applier, ApplyError};
use crate::context::Context;
use crate::tenant::observe::replica_url;

/// What each gateway replica that answers has loaded of the pipeline. One question to a replica serves
/// all pipelines of the tenant, until the pipelines' ConfigMap has another revision.
pub async fn loaded(
    ctx: &Context,
    pipeline: &ValidatedPipeline,
    replicas: u16,
    access: &Access,
    revision: &str,
) -> Vec<Option<LoadedPipeline>> {
    let mut loaded = Vec::new();
    for ordinal in 0..replicas {
        let url = replica_url(&pipeline.tenant, ordinal);
        let asked = ctx
            .memory
            .state(
                ctx.gateways.as_ref(),
                &url,
                &access.internal_token,
                revision,
            )
            .await;
        match asked {
            Ok(state) => loaded.push(status::loaded(&state, pipeline.name.as_str())),
            Err(error) => tracing::debug!(%error, "a gateway replica does not answer"),
        }
    }
    loaded
}

/// Ready ingest apps of a pipeline whose app is not applied now.
pub async fn ready_apps(
    applier: &Applier,
    pipeline: &ValidatedPipeline,
) -> Result<i32, ApplyError> {
    let namespace = pipeline.tenant.namespace();
    let ingest = applier
        .get::<Deployment>(Some(&namespace), &pipeline.name.ingest_workload())
        .await?;
    Ok(ingest.as_ref().map(status::ready_apps).unwrap_or_default())
}
