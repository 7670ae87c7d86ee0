//! Status [pure]: what was observed, or what failed → conditions that say what to do next.

use kube::ResourceExt;
use simbdp_api::common::LocalRef;
use simbdp_api::names::tenant_objects;
use simbdp_api::{CoreDms, CoreDmsStatus, labels};

use super::error::{Error, database_reason};
use super::names;
use super::observe::{DATABASE_READY, Database, Observed, QUORUM_LOST, was_set_up};
use crate::conditions::{Fact, Facts, READY, RECONCILING, STALLED, ready, reconciling, stalled};
use crate::controller_runtime::Teardown;
use crate::error::{Class, Classified};
use crate::objects::namespace_of;
use crate::pods::{explain, serious};

/// The teardown goes on.
pub const TEARING_DOWN: &str = "TearingDown";

/// Status of a CoreDms after a reconcile.
pub fn status(coredms: &CoreDms, outcome: &Result<Observed, Error>) -> (CoreDmsStatus, Facts) {
    let before = coredms.status.clone().unwrap_or_default();
    match outcome {
        Ok(observed) => (figures(coredms, observed), facts(coredms, observed)),
        Err(error) => (before, Facts::keeping(failed(error))),
    }
}

/// Status of a CoreDms that is being deleted.
pub fn teardown_status(
    coredms: &CoreDms,
    outcome: &Result<Teardown, Error>,
) -> (CoreDmsStatus, Facts) {
    let (reason, message) = match outcome {
        Ok(Teardown::Pending { stage, message, .. }) => (*stage, message.clone()),
        Ok(Teardown::Done) => ("Done", String::new()),
        Err(error) => (error.reason(), error.to_string()),
    };
    let facts = vec![
        Fact::is(TEARING_DOWN, reason, &message),
        Fact::not(READY, TEARING_DOWN, &message),
        Fact::is(RECONCILING, TEARING_DOWN, &message),
        Fact::not(STALLED, "Progressing", ""),
        Fact::not(DATABASE_READY, TEARING_DOWN, ""),
    ];
    let status = CoreDmsStatus {
        members: None,
        ..coredms.status.clone().unwrap_or_default()
    };
    (status, Facts::replacing(facts))
}

fn figures(coredms: &CoreDms, observed: &Observed) -> CoreDmsStatus {
    let of_tenant = coredms.labels().contains_key(labels::TENANT);
    CoreDmsStatus {
        members: Some(format!("{}/{}", observed.ready(), observed.wanted)),
        endpoint: Some(names::endpoint(&coredms.name_any(), &namespace_of(coredms))),
        binding: of_tenant.then(|| LocalRef {
            name: tenant_objects::COREDMS_BINDING.to_owned(),
        }),
        ..Default::default()
    }
}

fn failed(error: &Error) -> Vec<Fact> {
    match error.class() {
        Class::Invalid => stalled(error.reason(), &error.to_string()),
        Class::Transient => reconciling(error.reason(), &format!("{error}; it is tried again")),
    }
}

fn facts(coredms: &CoreDms, observed: &Observed) -> Facts {
    let members = members_message(observed);
    let mut facts = match &observed.database {
        Database::SetUp { up } if *up >= observed.quorum() => settled(observed, &members),
        Database::Degraded => degraded(observed, &members),
        Database::SetUp { up } => reconciling(
            "MembersDown",
            &format!(
                "the database sees {up} of {} members up: see `nodetool status` in one of them if this stays",
                observed.wanted
            ),
        ),
        Database::Failed(error) => reconciling(database_reason(error), &error.to_string()),
        Database::NotAsked => reconciling(waiting_reason(coredms, observed), &members),
    };
    facts.push(database_fact(coredms, observed));
    Facts::replacing(facts)
}

fn settled(observed: &Observed, members: &str) -> Vec<Fact> {
    let mut facts = ready(members);
    if !observed.current {
        facts.retain(|fact| fact.kind != RECONCILING);
        let rolling = "members are restarted one by one with what was declared last";
        facts.push(Fact::is(RECONCILING, "RollingUpdate", rolling));
    }
    facts
}

/// Reads and writes go on while a majority is there.
fn degraded(observed: &Observed, members: &str) -> Vec<Fact> {
    let reason = serious(&observed.members).unwrap_or("MembersNotReady");
    vec![
        Fact::is(READY, "Degraded", members),
        Fact::is(RECONCILING, reason, members),
        Fact::not(STALLED, "Progressing", ""),
    ]
}

fn waiting_reason<'a>(coredms: &CoreDms, observed: &'a Observed) -> &'a str {
    match serious(&observed.members) {
        _ if was_set_up(coredms) => QUORUM_LOST,
        Some(reason) => reason,
        None => "MembersStarting",
    }
}

fn members_message(observed: &Observed) -> String {
    let counted = format!(
        "{} of {} members are ready",
        observed.ready(),
        observed.wanted
    );
    let problems = explain(&observed.members);
    match (
        problems.is_empty(),
        observed.ready() < usize::from(observed.wanted),
    ) {
        (false, _) => format!("{counted}; {problems}"),
        (true, true) => format!("{counted}; the next one is being created"),
        (true, false) => counted,
    }
}

fn database_fact(coredms: &CoreDms, observed: &Observed) -> Fact {
    match &observed.database {
        Database::SetUp { up } => Fact::is(
            DATABASE_READY,
            "SetUp",
            &format!("logins and system_auth are in place; {up} members are up"),
        ),
        Database::Degraded => Fact::is(
            DATABASE_READY,
            "Degraded",
            "a majority of the members answers",
        ),
        Database::Failed(error) => {
            Fact::not(DATABASE_READY, database_reason(error), &error.to_string())
        }
        Database::NotAsked if was_set_up(coredms) => Fact::not(
            DATABASE_READY,
            QUORUM_LOST,
            "too few members are left for reads and writes; they go on when a majority is back",
        ),
        Database::NotAsked => Fact::not(
            DATABASE_READY,
            "MembersNotReady",
            "the database is set up when every member is ready",
        ),
    }
}

#[cfg(test)]
mod tests;
