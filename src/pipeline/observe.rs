//! Observe [IO]: what gateway replicas and ingest apps do.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams, ObjectMeta};
use simbdp_api::labels;
use simbdp_api::names::{TenantName, tenant_objects as objects};
use simbdp_api::wire::internal::{GatewayState, LoadedPipeline};

use super::dereference::Access;
use super::status;
use super::validate::ValidatedPipeline;
use crate::apply::{Applier, ApplyError, text};
use crate::context::Context;
use crate::gateways::GatewayError;
use crate::objects::selector_text;
use crate::tenant::credentials::TOKEN;
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

/// What each replica of a tenant's gateway says now. Those of a gateway that is gone are none.
pub async fn gateway_states(
    ctx: &Context,
    applier: &Applier,
    tenant: &TenantName,
) -> Result<Vec<Result<GatewayState, GatewayError>>, ApplyError> {
    let namespace = tenant.namespace();
    let namespace = Some(namespace.as_str());
    let gateway = applier
        .get::<StatefulSet>(namespace, objects::GATEWAY)
        .await?;
    let replicas = gateway
        .and_then(|gateway| gateway.spec?.replicas)
        .unwrap_or_default();
    let secret = applier.get::<Secret>(namespace, objects::INTERNAL).await?;
    let token = secret
        .and_then(|secret| text(&secret, TOKEN))
        .unwrap_or_default();
    let mut states = Vec::new();
    for ordinal in 0..u16::try_from(replicas).unwrap_or_default() {
        let url = replica_url(tenant, ordinal);
        states.push(ctx.gateways.state(&url, token.trim_end()).await);
    }
    Ok(states)
}

/// The ingest app of a pipeline whose app is not applied now.
pub async fn ingest(
    applier: &Applier,
    pipeline: &ValidatedPipeline,
) -> Result<Option<Deployment>, ApplyError> {
    let namespace = pipeline.tenant.namespace();
    applier
        .get::<Deployment>(Some(&namespace), &pipeline.name.ingest_workload())
        .await
}

/// How many pods of the ingest app are of another declaration than this one and live. Also those that are being stopped, of
/// which a Deployment's status does not tell, and which finish what they hold. None of a paused pipeline is as declared.
/// Asked until there are none, and then again only after a change.
pub async fn former_apps(
    ctx: &Context,
    pipeline: &ValidatedPipeline,
    ingest: &Deployment,
) -> Result<usize, ApplyError> {
    let spec = ingest.spec.as_ref();
    let template = spec.and_then(|spec| spec.template.metadata.as_ref());
    let declared = template
        .filter(|_| pipeline.paused.is_none())
        .map(declaration);
    let (what, wanted) = (
        format!("apps/{}", pipeline.owner.uid),
        format!("{declared:?}"),
    );
    if ctx.memory.is_ensured(&what, &wanted).await {
        return Ok(0);
    }
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &pipeline.tenant.namespace());
    let labels = spec.and_then(|spec| spec.selector.match_labels.as_ref());
    let living = ListParams::default()
        .labels(&labels.map(selector_text).unwrap_or_default())
        .fields("status.phase!=Succeeded,status.phase!=Failed");
    let pods = api
        .list_metadata(&living)
        .await
        .map_err(|error| ApplyError::Read {
            object: format!("the pods of pipeline {}", pipeline.name),
            source: error.into(),
        })?;
    let others = pods
        .iter()
        .filter(|pod| Some(declaration(&pod.metadata)) != declared)
        .count();
    let status = ingest.status.as_ref();
    let seen = status.and_then(|status| status.observed_generation);
    // Until the Deployment's controller has seen the template it may make more of the former ones.
    if others == 0 && seen >= ingest.metadata.generation {
        ctx.memory.ensured(what, wanted).await;
    }
    Ok(others)
}

/// What a pod reads at its start, and when it was asked to start anew.
fn declaration(metadata: &ObjectMeta) -> [Option<&str>; 2] {
    [labels::CONFIG_DIGEST, labels::RESTARTED_AT].map(|key| {
        let annotations = metadata.annotations.as_ref();
        annotations.and_then(|annotations| annotations.get(key).map(String::as_str))
    })
}
