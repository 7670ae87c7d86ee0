//! Observe [IO]: nodes as Kubernetes sees them, and whether the broker answers its administrator.

use k8s_openapi::api::core::v1::Pod;
use simbdp_broker::admin::{AdminError, ManagementConnection};

use super::build::{Applied, Resources, node_labels};
use super::credentials::Credentials;
use super::error::Error;
use super::names;
use super::validate::ValidatedBroker;
use crate::apply::Applier;
use crate::context::Context;
use crate::objects::selector_text;
use crate::pods::{PodState, pod_state};

/// What was seen of a broker.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Nodes that are asked for.
    pub wanted: usize,
    /// Nodes, in order.
    pub nodes: Vec<PodState>,
    /// What the broker said; [`None`] while no node is ready.
    pub answer: Option<Result<String, AdminError>>,
    /// Address for clients.
    pub endpoint: String,
    /// Other Brokers that are marked default.
    pub other_defaults: Vec<String>,
}

impl Observed {
    /// Nodes that are ready.
    pub fn ready(&self) -> usize {
        self.nodes.iter().filter(|node| node.ready).count()
    }

    /// Whether these are the most of all nodes, without which nothing is taken.
    pub fn has_quorum(&self) -> bool {
        self.ready() > self.wanted / 2
    }
}

/// Looks at nodes and, when one is ready, asks the broker for its version.
pub async fn observe(
    ctx: &Context,
    applier: &Applier,
    broker: &ValidatedBroker,
    applied: &Resources<Applied>,
    credentials: Credentials,
    other_defaults: Vec<String>,
) -> Result<Observed, Error> {
    let namespace = &ctx.identity.namespace;
    let labels = selector_text(&node_labels(broker.broker_type, &broker.name));
    let pods: Vec<Pod> = applier.list(Some(namespace), &labels).await?;
    let mut nodes: Vec<_> = pods.iter().map(pod_state).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let wanted = applied
        .nodes
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or_default();
    let mut observed = Observed {
        wanted: usize::try_from(wanted).unwrap_or_default(),
        nodes,
        answer: None,
        endpoint: names::endpoint(broker.broker_type, &broker.name, namespace),
        other_defaults,
    };
    if observed.ready() > 0 {
        let connection = ManagementConnection {
            url: names::management_url(broker.broker_type, &broker.name, namespace),
            username: names::ADMIN.to_owned(),
            password: credentials.password,
            tls: None,
        };
        let asked = async { ctx.broker.connect(&connection).await?.version().await };
        observed.answer = Some(asked.await);
    }
    Ok(observed)
}
