//! NetworkPolicies [pure]: nothing may flow in a tenant's namespace but what is listed here.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use simbdp_api::labels;
use simbdp_api::mounts::{ADMIN_PORT, GATEWAY_INTERNAL_PORT, GATEWAY_PORT, WAKE_PORT};

use super::meta::{Owner, Platform};
use crate::coredms::names::{client_port, member_port};
use crate::coredms::place::DatabasePlace;
use crate::network::{self, allow_from, allow_names, allow_to, any_namespace, pods, pods_in};
use crate::objects::{Labels, selector};
use crate::tenant::validate::ValidatedTenant;

/// Every policy of a tenant's namespace.
pub fn policies(
    owner: &Owner,
    tenant: &ValidatedTenant,
    place: &DatabasePlace,
    platform: &Platform,
) -> Vec<NetworkPolicy> {
    let all = LabelSelector::default;
    let deny = policy(owner, "default-deny", all(), vec![], vec![]);
    let dns = allow_names(pods_in("kube-system", None));
    let mut policies = vec![
        deny,
        policy(owner, "dns", all(), vec![], vec![dns]),
        gateway(owner, tenant, place, platform),
        ingest(owner, tenant, place, platform),
    ];
    policies.extend(
        place
            .is_own(owner.name())
            .then(|| members(owner, place, platform)),
    );
    policies
}

fn gateway(
    owner: &Owner,
    tenant: &ValidatedTenant,
    place: &DatabasePlace,
    platform: &Platform,
) -> NetworkPolicy {
    let operator = pods_in(&platform.namespace, None);
    policy(
        owner,
        "gateway",
        selector(&component("gateway")),
        vec![
            allow_from(vec![any_namespace()], &[GATEWAY_PORT]),
            allow_from(vec![operator], &[GATEWAY_INTERNAL_PORT, ADMIN_PORT]),
            allow_from(vec![pods(&component("ingest"))], &[GATEWAY_INTERNAL_PORT]),
        ],
        vec![
            to_database(owner, place),
            to_broker(tenant, platform),
            to_operator(platform),
        ],
    )
}

fn ingest(
    owner: &Owner,
    tenant: &ValidatedTenant,
    place: &DatabasePlace,
    platform: &Platform,
) -> NetworkPolicy {
    let operator = pods_in(&platform.namespace, None);
    policy(
        owner,
        "ingest",
        selector(&component("ingest")),
        vec![allow_from(vec![operator], &[ADMIN_PORT])],
        vec![
            allow_to(vec![pods(&component("gateway"))], &[GATEWAY_INTERNAL_PORT]),
            to_database(owner, place),
            to_broker(tenant, platform),
        ],
    )
}

/// Members of the tenant's own database.
fn members(owner: &Owner, place: &DatabasePlace, platform: &Platform) -> NetworkPolicy {
    // Also as clients: the first start of a member waits for that of another.
    let among = [client_port(place.engine), member_port(place.engine)];
    let members = labels_of(place);
    let clients = vec![
        pods(&component("gateway")),
        pods(&component("ingest")),
        pods_in(&platform.namespace, None),
    ];
    policy(
        owner,
        "coredms",
        selector(&members),
        vec![
            allow_from(clients, &[client_port(place.engine)]),
            allow_from(vec![pods(&members)], &among),
        ],
        vec![allow_to(vec![pods(&members)], &among)],
    )
}

/// The one database that holds the tenant's data, wherever it is. An external one that goes by a name can only
/// be told by its port.
fn to_database(owner: &Owner, place: &DatabasePlace) -> NetworkPolicyEgressRule {
    let members = labels_of(place);
    let peers = match (&place.external, place.is_own(owner.name())) {
        (Some(_), _) => {
            let numbers = place.numbers().unwrap_or_default();
            numbers.into_iter().map(network::address).collect()
        }
        (None, true) => vec![pods(&members)],
        (None, false) => vec![pods_in(&place.namespace, Some(&members))],
    };
    allow_to(peers, &[place.port()])
}

/// The broker that holds the tenant's queues. An external one that goes by a name can only be told by its port.
fn to_broker(tenant: &ValidatedTenant, platform: &Platform) -> NetworkPolicyEgressRule {
    let broker = &tenant.broker;
    let peers = match &broker.external {
        Some(_) => {
            let numbers = broker.numbers().unwrap_or_default();
            numbers.into_iter().map(network::address).collect()
        }
        None => {
            let nodes = Labels::from([(labels::BROKER.to_owned(), broker.name.clone())]);
            vec![pods_in(&platform.namespace, Some(&nodes))]
        }
    };
    allow_to(peers, &[broker.port()])
}

/// Where the gateway wakes ingest apps.
fn to_operator(platform: &Platform) -> NetworkPolicyEgressRule {
    allow_to(
        vec![pods_in(&platform.namespace, Some(&network::operator()))],
        &[WAKE_PORT],
    )
}

fn policy(
    owner: &Owner,
    name: &str,
    pods: LabelSelector,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicy {
    network::policy(owner.meta(name, "network"), pods, ingress, egress)
}

fn component(component: &str) -> Labels {
    Labels::from([(labels::APP_COMPONENT.to_owned(), component.to_owned())])
}

fn labels_of(place: &DatabasePlace) -> Labels {
    Labels::from([(labels::COREDMS.to_owned(), place.name.clone())])
}
