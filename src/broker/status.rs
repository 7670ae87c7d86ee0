//! Status [pure]: what was observed, or what failed → conditions that say what to do next.

use simbdp_api::{Broker, BrokerStatus};

use super::Seen;
use super::error::{Error, broker_reason};
use super::external;
use super::observe::Observed;
use crate::conditions::{Fact, Facts, READY, RECONCILING, STALLED, ready, reconciling, stalled};
use crate::controller_runtime::Teardown;
use crate::error::{Class, Classified};
use crate::pods::{explain, serious};

/// Tenants that name no Broker get this one.
pub const DEFAULT: &str = "Default";
/// The teardown goes on.
pub const TEARING_DOWN: &str = "TearingDown";
/// The stage of a teardown that waits for tenants.
pub const IN_USE: &str = "InUse";

/// Status of a Broker after a reconcile.
pub fn status(broker: &Broker, outcome: &Result<Seen, Error>) -> (BrokerStatus, Facts) {
    match outcome {
        Ok(Seen::External(observed)) => external::status(broker, observed),
        Ok(Seen::Nodes(observed)) => {
            let before = broker
                .status
                .as_ref()
                .and_then(|status| status.version.clone());
            let said = observed
                .answer
                .as_ref()
                .and_then(|answer| answer.clone().ok());
            let status = BrokerStatus {
                version: said.or(before),
                nodes: Some(format!("{}/{}", observed.ready(), observed.wanted)),
                endpoint: Some(observed.endpoint.clone()),
                ..Default::default()
            };
            let mut facts = node_facts(broker, observed);
            facts.extend(default_fact(broker, &observed.other_defaults));
            (status, Facts::replacing(facts))
        }
        Err(error) => {
            let facts = match error.class() {
                Class::Invalid => stalled(error.reason(), &error.to_string()),
                Class::Transient => {
                    reconciling(error.reason(), &format!("{error}; it is tried again"))
                }
            };
            (
                broker.status.clone().unwrap_or_default(),
                Facts::keeping(facts),
            )
        }
    }
}

/// Status of a Broker that is being deleted. While tenants use it, it goes on as it was.
pub fn teardown_status(
    broker: &Broker,
    outcome: &Result<Teardown, Error>,
) -> (BrokerStatus, Facts) {
    let (reason, message) = match outcome {
        Ok(Teardown::Pending { stage, message, .. }) => (*stage, message.clone()),
        Ok(Teardown::Done) => ("Done", String::new()),
        Err(error) => (error.reason(), error.to_string()),
    };
    let mut facts = vec![
        Fact::is(TEARING_DOWN, reason, &message),
        Fact::is(RECONCILING, reason, &message),
        Fact::not(STALLED, "Progressing", ""),
    ];
    if reason != IN_USE {
        facts.push(Fact::not(READY, TEARING_DOWN, &message));
    }
    (
        broker.status.clone().unwrap_or_default(),
        Facts::keeping(facts),
    )
}

fn node_facts(broker: &Broker, observed: &Observed) -> Vec<Fact> {
    let problems = explain(&observed.nodes);
    match &observed.answer {
        Some(_) if !observed.has_quorum() => reconciling(
            serious(&observed.nodes).unwrap_or("NoQuorum"),
            &format!(
                "{} of {} nodes are ready, and queues are taken while most are: {problems}",
                observed.ready(),
                observed.wanted
            ),
        ),
        Some(Ok(version)) => ready(&format!(
            "{} {version} answers; {}",
            broker.spec.broker_type.as_str(),
            what_survives(observed)
        )),
        Some(Err(error)) => reconciling(broker_reason(error), &error.to_string()),
        None if problems.is_empty() => reconciling("NodeStarting", "the node is being created"),
        None => reconciling(
            serious(&observed.nodes).unwrap_or("NodeStarting"),
            &problems,
        ),
    }
}

fn what_survives(observed: &Observed) -> &'static str {
    match (observed.wanted, observed.ready()) {
        (1, _) => "it has one node, so queues survive its process and not its volume",
        (wanted, ready) if ready < wanted => {
            "not all of its nodes are ready: queues are taken while two of three are"
        }
        _ => "queues survive any one node",
    }
}

/// Whether tenants that name no Broker get this one.
pub fn default_fact(broker: &Broker, others: &[String]) -> Option<Fact> {
    let others = others.join(", ");
    match (broker.spec.default, others.is_empty()) {
        (false, _) => None,
        (true, true) => Some(Fact::is(
            DEFAULT,
            "Default",
            "tenants that name no Broker get this one",
        )),
        (true, false) => Some(Fact::not(
            DEFAULT,
            "SeveralDefaults",
            &format!(
                "{others} is marked default, too: set spec.default to false in all but one, or tenants must name their Broker"
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
