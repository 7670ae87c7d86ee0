//! Observe [IO]: what gateway replicas have staged, those of them that are to go.

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

/// The gateway as it is.
pub async fn gateway(
    applier: &Applier,
    tenant: &TenantName,
) -> Result<Option<StatefulSet>, ApplyError> {
    applier
        .get::<StatefulSet>(Some(&tenant.namespace()), objects::GATEWAY)
        .await
}

/// Replicas that the gateway is to have: those asked for, and while something is staged on a further
/// one, or being received there, or it cannot be asked, that one as well. Each that is to go is told at
/// every look, so that it stays empty once it is.
pub async fn gateway_replicas(
    ctx: &Context,
    tenant: &ValidatedTenant,
    gateway: Option<&StatefulSet>,
    credentials: &Credentials,
) -> u16 {
    let current = gateway
        .and_then(|gateway| gateway.spec.as_ref()?.replicas)
        .and_then(|replicas| u16::try_from(replicas).ok())
        .unwrap_or_default();
    let mut replicas = tenant.gateway.replicas;
    for ordinal in tenant.gateway.replicas..current {
        let url = replica_url(&tenant.name, ordinal);
        let left = ctx.gateways.drain(&url, &credentials.internal_token).await;
        if !left.is_ok_and(|left| left.is_empty()) {
            replicas = ordinal + 1;
        }
    }
    replicas
}
