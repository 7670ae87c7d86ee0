//! Observe [IO]: what gateway replicas have staged.

use k8s_openapi::api::apps::v1::StatefulSet;
use simbdp_api::mounts::GATEWAY_INTERNAL_PORT;
use simbdp_api::names::{TenantName, tenant_objects as objects};

use super::credentials::Credentials;
use super::validate::ValidatedTenant;
use crate::apply::{Applier, ApplyError};
use crate::context::Context;

/// Base URL of a gateway replica's internal API.
pub fn replica_url(tenant: &TenantName, ordinal: u16) -> String {
    format!(
        "http://{}-{ordinal}.{}.{}.svc:{GATEWAY_INTERNAL_PORT}",
        objects::GATEWAY,
        objects::GATEWAY_REPLICAS,
        tenant.namespace()
    )
}

/// Replicas that the gateway is to have: those asked for, and while something is staged on a further
/// one, or it cannot be asked, that one as well.
pub async fn gateway_replicas(
    ctx: &Context,
    applier: &Applier,
    tenant: &ValidatedTenant,
    credentials: &Credentials,
) -> Result<u16, ApplyError> {
    let namespace = tenant.name.namespace();
    let live = applier.get::<StatefulSet>(Some(&namespace), objects::GATEWAY).await?;
    let current = live
        .and_then(|live| live.spec?.replicas)
        .and_then(|replicas| u16::try_from(replicas).ok())
        .unwrap_or_default();
    for ordinal in (tenant.gateway.replicas..current).rev() {
        let url = replica_url(&tenant.name, ordinal);
        match ctx.gateways.state(&url, &credentials.internal_token).await {
            Ok(state) if state.staged_files == 0 => {}
            _ => return Ok(ordinal + 1),
        }
    }
    Ok(tenant.gateway.replicas)
}
