//! Parts [pure] of NetworkPolicies: who may talk to whom, on which ports.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;
use simbdp_api::labels;

use crate::objects::{Labels, selector};

const DNS: u16 = 53;
/// Label that each namespace has of its own name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// A policy that names both directions: what it does not list is denied.
pub fn policy(
    metadata: ObjectMeta,
    pods: LabelSelector,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ingress: Some(ingress).filter(|rules| !rules.is_empty()),
            egress: Some(egress).filter(|rules| !rules.is_empty()),
        }),
    }
}

/// Who may come in, by TCP.
pub fn allow_from(from: Vec<NetworkPolicyPeer>, numbers: &[u16]) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: Some(from),
        ports: ports("TCP", numbers),
    }
}

/// Where pods may go, by TCP. Without any peer: anywhere.
pub fn allow_to(to: Vec<NetworkPolicyPeer>, numbers: &[u16]) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(to).filter(|peers| !peers.is_empty()),
        ports: ports("TCP", numbers),
    }
}

/// The cluster's DNS, whatever its pods are called.
pub fn allow_names(to: NetworkPolicyPeer) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(vec![to]),
        ports: ports("UDP", &[DNS])
            .zip(ports("TCP", &[DNS]))
            .map(|(udp, tcp)| [udp, tcp].concat()),
    }
}

fn ports(protocol: &str, numbers: &[u16]) -> Option<Vec<NetworkPolicyPort>> {
    let port = |number: &u16| NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(*number))),
        end_port: None,
    };
    Some(numbers.iter().map(port).collect())
}

/// Pods of the same namespace with all of these labels.
pub fn pods(labels: &Labels) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(selector(labels)),
        ..Default::default()
    }
}

/// Pods of a namespace: those with all of these labels, or all.
pub fn pods_in(namespace: &str, labels: Option<&Labels>) -> NetworkPolicyPeer {
    let own_name = Labels::from([(NAMESPACE_NAME.to_owned(), namespace.to_owned())]);
    NetworkPolicyPeer {
        namespace_selector: Some(selector(&own_name)),
        pod_selector: labels.map(selector),
        ip_block: None,
    }
}

/// Pods of these components in any of these namespaces.
pub fn components_in(namespaces: Vec<String>, components: &[&str]) -> NetworkPolicyPeer {
    let components = components.iter().map(ToString::to_string).collect();
    NetworkPolicyPeer {
        namespace_selector: Some(any_of(NAMESPACE_NAME, "In", Some(namespaces))),
        pod_selector: Some(any_of(labels::APP_COMPONENT, "In", Some(components))),
        ip_block: None,
    }
}

/// Every namespace.
pub fn any_namespace() -> NetworkPolicyPeer {
    namespaces(LabelSelector::default())
}

/// Namespaces that are a tenant's, or that are not.
pub fn of_tenants(are: bool) -> NetworkPolicyPeer {
    let operator = if are { "Exists" } else { "DoesNotExist" };
    namespaces(any_of(labels::TENANT, operator, None))
}

/// Labels of the operator's own pods.
pub fn operator() -> Labels {
    Labels::from([
        (labels::APP_NAME.to_owned(), "simbdp".to_owned()),
        (labels::APP_COMPONENT.to_owned(), "operator".to_owned()),
    ])
}

/// One address alone.
pub fn address(address: IpAddr) -> NetworkPolicyPeer {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: format!("{address}/{bits}"),
            except: None,
        }),
        ..Default::default()
    }
}

fn namespaces(selector: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(selector),
        ..Default::default()
    }
}

fn any_of(key: &str, operator: &str, values: Option<Vec<String>>) -> LabelSelector {
    LabelSelector {
        match_labels: None,
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: key.to_owned(),
            operator: operator.to_owned(),
            values,
        }]),
    }
}
