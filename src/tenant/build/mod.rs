//! Build [pure, infallible]: [`ValidatedTenant`], hashes of its users and a digest of what its pods read
//! at their start → every object of the tenant's namespace, [`Resources<Prepared>`]. Applying them makes [`Resources<Applied>`], from which alone
//! status derives.

pub mod gateway;
pub mod isolation;
pub mod meta;
pub mod namespace;
pub mod network;
pub mod pod;
pub mod secrets;

use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    ConfigMap, LimitRange, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::ObjectMeta;
use simbdp_api::names::tenant_objects as objects;
use simbdp_api::wire::config::Users;
use simbdp_api::wire::wake;
use simbdp_api::{CoreDms, CoreDmsSpec, labels};

use super::validate::ValidatedTenant;
use crate::coredms::place::DatabasePlace;
use meta::Owner;

pub use meta::Platform;

/// What the objects of a tenant are before they are applied.
#[derive(Clone, Debug)]
pub struct Prepared;

/// What they are afterwards: as the API server returned them, with their status.
#[derive(Clone, Debug)]
pub struct Applied;

/// Every object of a tenant but its namespace and the operator's right to it, which come first.
#[derive(Clone, Debug)]
pub struct Resources<State> {
    /// What the namespace may use at most.
    pub quota: ResourceQuota,
    /// What a container gets that asks for nothing.
    pub limits: LimitRange,
    /// Nothing but the flows that are needed.
    pub network_policies: Vec<NetworkPolicy>,
    /// Without rights; pods of the gateway run as it.
    pub gateway_account: ServiceAccount,
    /// Without rights; pods of ingest apps run as it.
    pub ingest_account: ServiceAccount,
    /// One file a pipeline, each written by its own controller; here only that it exists.
    pub pipelines: ConfigMap,
    /// Whose certificates the gateway believes of the operator, where it is known.
    pub trust: Option<ConfigMap>,
    /// Hashes for the gateway.
    pub gateway_users: Secret,
    /// The tenant's own database, unless it has a place in a shared one.
    pub coredms: Option<CoreDms>,
    /// The tenant's API.
    pub gateway_service: Service,
    /// Names each replica of the gateway.
    pub gateway_replicas: Service,
    /// One replica at a time.
    pub gateway_budget: PodDisruptionBudget,
    /// The gateway.
    pub gateway: StatefulSet,
    /// Prepared or applied.
    pub state: PhantomData<State>,
}

/// Builds every object but the Secrets that are generated. `place` is where the database is; `credentials` is the digest of what pods read
/// at their start. `gateway_replicas` may for a while be more than the spec asks for: a replica
/// goes only when nothing is staged on it.
pub fn build(
    tenant: &ValidatedTenant,
    place: &DatabasePlace,
    credentials: &str,
    users: &Users,
    gateway_replicas: u16,
    platform: &Platform,
) -> Resources<Prepared> {
    let owner = Owner::tenant(&tenant.name, platform);
    Resources {
        quota: namespace::quota(&owner, &tenant.quota),
        limits: namespace::limits(&owner),
        network_policies: network::policies(&owner, tenant, place, platform),
        gateway_account: account(&owner, objects::GATEWAY, "gateway"),
        ingest_account: account(&owner, objects::INGEST, "ingest"),
        pipelines: ConfigMap {
            metadata: owner.meta(objects::PIPELINES, "pipelines"),
            ..Default::default()
        },
        trust: platform
            .authority
            .as_ref()
            .map(|certificate| trust(&owner, certificate)),
        gateway_users: secrets::gateway_users(&owner, users),
        coredms: tenant.coredms.own().map(|spec| coredms(&owner, spec)),
        gateway_service: gateway::service(&owner),
        gateway_replicas: gateway::replicas_service(&owner),
        gateway_budget: gateway::budget(&owner),
        gateway: gateway::stateful_set(&owner, tenant, gateway_replicas, credentials, platform),
        state: PhantomData,
    }
}

fn trust(owner: &Owner, certificate: &str) -> ConfigMap {
    ConfigMap {
        metadata: owner.meta(objects::OPERATOR_TRUST, "trust"),
        data: Some([(wake::AUTHORITY.to_owned(), certificate.to_owned())].into()),
        ..Default::default()
    }
}

fn account(owner: &Owner, name: &str, component: &str) -> ServiceAccount {
    ServiceAccount {
        metadata: owner.meta(name, component),
        automount_service_account_token: Some(false),
        ..Default::default()
    }
}

/// The tenant's database. No owner reference: with Retain its volumes outlive the Tenant.
fn coredms(owner: &Owner, spec: &CoreDmsSpec) -> CoreDms {
    let mut coredms = CoreDms::new(objects::COREDMS, spec.clone());
    coredms.metadata = ObjectMeta {
        labels: Some(
            owner
                .labels("coredms")
                .into_iter()
                .chain([(labels::COREDMS.to_owned(), objects::COREDMS.to_owned())])
                .collect(),
        ),
        ..owner.meta(objects::COREDMS, "coredms")
    };
    coredms
}

#[cfg(test)]
mod tests;
