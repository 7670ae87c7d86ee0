//! Apply [IO]: [`Resources<Prepared>`] → [`Resources<Applied>`], in the order in which objects need
//! each other.

use std::marker::PhantomData;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use simbdp_api::labels;

use super::build::meta::{Owner, Platform};
use super::build::namespace::Hosts;
use super::build::secrets::{Generated, USER_COMPONENT};
use super::build::{Applied, Prepared, Resources, namespace};
use super::namespace::Claim;
use crate::apply::{Applier, ApplyError, MANAGED_BY};

/// Field manager of the Tenant controller.
pub const MANAGER: &str = "simbdp-tenant";

/// Makes the tenant's namespace and the operator's right to it; returns the namespace's UID. A
/// namespace is created, never taken over by an apply, so that one that somebody else creates at the
/// same moment is not touched.
pub async fn namespace(
    client: &Client,
    applier: &Applier,
    owner: &Owner,
    found: &Claim,
    hosts: &Hosts,
    platform: &Platform,
) -> Result<String, ApplyError> {
    let uid = match found {
        Claim::Ours { uid } => uid.clone(),
        Claim::Absent | Claim::Forget | Claim::Terminating => create(client, owner, hosts).await?,
    };
    applier
        .apply(&namespace::namespace(owner, &uid, hosts))
        .await?;
    applier
        .apply(&namespace::role_binding(owner, platform))
        .await?;
    Ok(uid)
}

async fn create(client: &Client, owner: &Owner, hosts: &Hosts) -> Result<String, ApplyError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..Default::default()
    };
    let created = api
        .create(&params, &namespace::new_namespace(owner, hosts))
        .await
        .map_err(|error| ApplyError::Write {
            object: format!("Namespace {}", owner.name().namespace()),
            source: error.into(),
        })?;
    Ok(created.uid().unwrap_or_default())
}

/// Makes what is missing of the generated Secrets, keeps what is there, and deletes those of users
/// that are no longer declared. Returns the Secrets with the texts that hold.
pub async fn secrets(
    applier: &Applier,
    owner: &Owner,
    generated: Vec<Generated>,
) -> Result<Vec<Secret>, ApplyError> {
    let mut secrets = Vec::with_capacity(generated.len());
    for Generated { once, always } in generated {
        secrets.push(applier.ensure_secret(&once).await?);
        if let Some(always) = always {
            applier.apply(&always).await?;
        }
    }
    let names: Vec<String> = secrets.iter().map(ResourceExt::name_any).collect();
    let users = format!(
        "{}={MANAGED_BY},{}={USER_COMPONENT}",
        labels::APP_MANAGED_BY,
        labels::APP_COMPONENT
    );
    applier
        .prune::<Secret>(Some(&owner.name().namespace()), &users, &names)
        .await?;
    Ok(secrets)
}

/// Applies every object. Destructured without `..`, so that a forgotten object does not compile.
pub async fn apply(
    applier: &Applier,
    prepared: Resources<Prepared>,
) -> Result<Resources<Applied>, ApplyError> {
    let Resources {
        quota,
        limits,
        network_policies,
        gateway_account,
        ingest_account,
        pipelines,
        trust,
        gateway_users,
        coredms,
        gateway_service,
        gateway_replicas,
        gateway_budget,
        gateway,
        state: _,
    } = prepared;
    let mut policies = Vec::with_capacity(network_policies.len());
    for policy in &network_policies {
        policies.push(applier.apply(policy).await?);
    }
    // Fields are applied in the order in which they are written here.
    Ok(Resources {
        network_policies: policies,
        quota: applier.apply(&quota).await?,
        limits: applier.apply(&limits).await?,
        gateway_account: applier.apply(&gateway_account).await?,
        ingest_account: applier.apply(&ingest_account).await?,
        pipelines: applier.apply(&pipelines).await?,
        trust: applier.apply_some(trust.as_ref()).await?,
        gateway_users: applier.apply(&gateway_users).await?,
        coredms: applier.apply_some(coredms.as_ref()).await?,
        gateway_service: applier.apply(&gateway_service).await?,
        gateway_replicas: applier.apply(&gateway_replicas).await?,
        gateway_budget: applier.apply(&gateway_budget).await?,
        gateway: applier.apply(&gateway).await?,
        state: PhantomData,
    })
}
