//! NetworkPolicies [pure]: nothing may flow in a tenant's namespace but what is listed here.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use simbdp_api::mounts::{ADMIN_PORT, GATEWAY_INTERNAL_PORT, GATEWAY_PORT};
use simbdp_api::names::tenant_objects as objects;
use simbdp_api::{labels, mounts};

use super::meta::{Owner, Platform, pods};
use crate::broker::names::AMQP_PORT;
use crate::coredms::names::{CQL_PORT, STORAGE_PORT};

const DNS: u16 = 53;

/// Label that each namespace has of its own name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Every policy of a tenant's namespace.
pub fn policies(owner: &Owner, broker: &str, platform: &Platform) -> Vec<NetworkPolicy> {
    let operator = || from_namespace(&platform.namespace, None);
    let gateway = || component("gateway");
    let ingest = || component("ingest");
    let cassandra = || peer(pods(cassandra_pods()));
    let broker = || {
        from_namespace(
            &platform.namespace,
            Some(BTreeMap::from([(
                labels::BROKER.to_owned(),
                broker.to_owned(),
            )])),
        )
    };
    vec![
        policy(
            owner,
            "default-deny",
            LabelSelector::default(),
            vec![],
            vec![],
        ),
        policy(
            owner,
            "dns",
            LabelSelector::default(),
            vec![],
            vec![to_dns()],
        ),
        policy(
            owner,
            "gateway",
            pods(component_pods("gateway")),
            vec![
                allow_from(vec![any_namespace()], &[GATEWAY_PORT]),
                allow_from(vec![operator()], &[GATEWAY_INTERNAL_PORT, ADMIN_PORT]),
                allow_from(vec![ingest()], &[GATEWAY_INTERNAL_PORT]),
            ],
            vec![
                allow_to(vec![cassandra()], &[CQL_PORT]),
                allow_to(vec![broker()], &[AMQP_PORT]),
            ],
        ),
        policy(
            owner,
            "ingest",
            pods(component_pods("ingest")),
            vec![allow_from(vec![operator()], &[ADMIN_PORT])],
            vec![
                allow_to(vec![gateway()], &[mounts::GATEWAY_INTERNAL_PORT]),
                allow_to(vec![cassandra()], &[CQL_PORT]),
                allow_to(vec![broker()], &[AMQP_PORT]),
            ],
        ),
        policy(
            owner,
            "cassandra",
            pods(cassandra_pods()),
            vec![
                allow_from(vec![gateway(), ingest(), operator()], &[CQL_PORT]),
                allow_from(vec![cassandra()], &[STORAGE_PORT]),
            ],
            vec![allow_to(vec![cassandra()], &[STORAGE_PORT])],
        ),
    ]
}

fn policy(
    owner: &Owner,
    name: &str,
    pod_selector: LabelSelector,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicy {
    // Every policy names both directions: what it does not list, default-deny denies.
    NetworkPolicy {
        metadata: owner.meta(name, "network"),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pod_selector),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ingress: Some(ingress).filter(|rules| !rules.is_empty()),
            egress: Some(egress).filter(|rules| !rules.is_empty()),
        }),
    }
}

fn component_pods(component: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(labels::APP_COMPONENT.to_owned(), component.to_owned())])
}

fn cassandra_pods() -> BTreeMap<String, String> {
    BTreeMap::from([(labels::COREDMS.to_owned(), objects::COREDMS.to_owned())])
}

fn component(component: &str) -> NetworkPolicyPeer {
    peer(pods(component_pods(component)))
}

/// Pods of the same namespace.
fn peer(selector: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(selector),
        ..Default::default()
    }
}

fn any_namespace() -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..Default::default()
    }
}

fn from_namespace(name: &str, labels: Option<BTreeMap<String, String>>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(pods(BTreeMap::from([(
            NAMESPACE_NAME.to_owned(),
            name.to_owned(),
        )]))),
        pod_selector: labels.map(pods),
        ip_block: None,
    }
}

fn ports(protocol: &str, numbers: &[u16]) -> Option<Vec<NetworkPolicyPort>> {
    Some(
        numbers
            .iter()
            .map(|number| NetworkPolicyPort {
                protocol: Some(protocol.to_owned()),
                port: Some(IntOrString::Int(i32::from(*number))),
                end_port: None,
            })
            .collect(),
    )
}

fn allow_from(from: Vec<NetworkPolicyPeer>, numbers: &[u16]) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: Some(from),
        ports: ports("TCP", numbers),
    }
}

fn allow_to(to: Vec<NetworkPolicyPeer>, numbers: &[u16]) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(to),
        ports: ports("TCP", numbers),
    }
}

/// The cluster's DNS, whatever its pods are called.
fn to_dns() -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(vec![from_namespace("kube-system", None)]),
        ports: ports("UDP", &[DNS])
            .zip(ports("TCP", &[DNS]))
            .map(|(udp, tcp)| [udp, tcp].concat()),
    }
}
