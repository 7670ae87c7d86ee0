//! Who may reach a broker [pure]: tenants by AMQP, the operator by the management API, and monitoring.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::ObjectMeta;

use super::super::names::{AMQP_PORT, MANAGEMENT_PORT, METRICS_PORT};
use crate::network::{self, allow_from, allow_names, of_tenants};
use crate::objects::{Labels, selector};

/// The policy of a broker's nodes. Nothing goes out but names: one node talks to nobody.
pub fn policy(metadata: ObjectMeta, nodes: &Labels) -> NetworkPolicy {
    network::policy(
        metadata,
        selector(nodes),
        vec![
            allow_from(vec![of_tenants(true)], &[AMQP_PORT]),
            allow_from(
                vec![network::pods(&network::operator())],
                &[MANAGEMENT_PORT],
            ),
            allow_from(vec![of_tenants(false)], &[METRICS_PORT]),
        ],
        vec![allow_names(network::any_namespace())],
    )
}
