//! Who may reach the members of a database that is not in a tenant's namespace [pure]: each other, the operator, and
//! gateways and ingest apps of the tenants that have places. A tenant's namespace has policies of its own.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use simbdp_api::labels;
use simbdp_api::names::TenantName;

use super::super::names::{client_port, member_port};
use super::super::validate::ValidatedCoreDms;
use super::{Platform, member_labels, owned};
use crate::network::{
    allow_from, allow_names, allow_to, any_namespace, components_in, operator, pods, pods_in,
    policy,
};
use crate::objects::selector;

/// The policy of the members; [`None`] in a tenant's namespace.
pub fn build(coredms: &ValidatedCoreDms, platform: &Platform) -> Option<NetworkPolicy> {
    let object = &coredms.object;
    if object.labels().contains_key(labels::TENANT) {
        return None;
    }
    let engine = object.spec.engine;
    let members = member_labels(engine, &coredms.name);
    // Also as clients: the first start of a member waits for that of another.
    let among = [client_port(engine), member_port(engine)];
    let tenants: Vec<_> = object
        .spec
        .claims
        .iter()
        .filter_map(|claim| TenantName::new(claim.tenant.as_str()).ok())
        .map(|tenant| tenant.namespace())
        .collect();
    let mut clients = vec![pods_in(&platform.namespace, Some(&operator()))];
    if !tenants.is_empty() {
        clients.push(components_in(tenants, &["gateway", "ingest"]));
    }
    Some(policy(
        owned(coredms, platform, &coredms.name),
        selector(&members),
        vec![
            allow_from(clients, &[client_port(engine)]),
            allow_from(vec![pods(&members)], &among),
        ],
        vec![
            allow_names(any_namespace()),
            allow_to(vec![pods(&members)], &among),
        ],
    ))
}
