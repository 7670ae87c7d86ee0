//! Who may reach a broker [pure]: tenants by AMQP, the operator by the management API, and monitoring.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;
use simbdp_api::labels;

use super::super::names::{AMQP_PORT, MANAGEMENT_PORT, METRICS_PORT};
use crate::objects::{Labels, selector};

/// The policy of a broker's nodes. Nothing goes out but names: one node talks to nobody.
pub fn policy(metadata: ObjectMeta, nodes: &Labels) -> NetworkPolicy {
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(nodes)),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(vec![
                from(of_tenants("Exists"), AMQP_PORT),
                from(operator(), MANAGEMENT_PORT),
                from(of_tenants("DoesNotExist"), METRICS_PORT),
            ]),
            egress: Some(vec![NetworkPolicyEgressRule {
                to: Some(vec![NetworkPolicyPeer {
                    namespace_selector: Some(LabelSelector::default()),
                    ..Default::default()
                }]),
                ports: Some(vec![port(53, "UDP"), port(53, "TCP")]),
            }]),
        }),
    }
}

fn from(peer: NetworkPolicyPeer, number: u16) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: Some(vec![peer]),
        ports: Some(vec![port(number, "TCP")]),
    }
}

/// Namespaces that are, or are not, a tenant's.
fn of_tenants(operator: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: None,
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: labels::TENANT.to_owned(),
                operator: operator.to_owned(),
                values: None,
            }]),
        }),
        ..Default::default()
    }
}

/// The operator's own pods, in the same namespace.
fn operator() -> NetworkPolicyPeer {
    let labels = Labels::from([
        (labels::APP_NAME.to_owned(), "simbdp".to_owned()),
        (labels::APP_COMPONENT.to_owned(), "operator".to_owned()),
    ]);
    NetworkPolicyPeer {
        pod_selector: Some(selector(&labels)),
        ..Default::default()
    }
}

fn port(number: u16, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number.into())),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    }
}
