//! Status [pure]: what was observed, or what failed → conditions that say what to do next.

use kube::ResourceExt;
use simbdp_api::common::{LocalRef, Quantity};
use simbdp_api::names::tenant_objects;
use simbdp_api::{CoreDms, CoreDmsStatus, labels};

use simbdp_coredms::admin::{AdminError, Member};

use super::error::{Error, database_reason};
use super::names;
use super::observe::{DATABASE_READY, Database, Observed, QUORUM_LOST, Silent, was_set_up};
use super::size;
use super::volumes::Volumes;
use crate::conditions::{Fact, Facts, READY, RECONCILING, STALLED, ready, reconciling, stalled};
use crate::controller_runtime::Teardown;
use crate::error::{Class, Classified};
use crate::objects::{memory, namespace_of};
use crate::pods::{explain, serious};

/// Volumes have what is declared.
pub const VOLUMES_READY: &str = "VolumesReady";
/// The teardown goes on.
pub const TEARING_DOWN: &str = "TearingDown";

/// Status of a CoreDms that the operator runs, after a reconcile.
pub fn status(coredms: &CoreDms, observed: &Observed) -> (CoreDmsStatus, Facts) {
    (figures(coredms, observed), facts(coredms, observed))
}

/// Status after a reconcile that failed: what runs stays as it is.
pub fn failed(coredms: &CoreDms, error: &Error) -> (CoreDmsStatus, Facts) {
    let facts = match error.class() {
        Class::Invalid => stalled(error.reason(), &error.to_string()),
        Class::Transient => reconciling(error.reason(), &format!("{error}; it is tried again")),
    };
    let before = coredms.status.clone().unwrap_or_default();
    (before, Facts::keeping(facts))
}

/// The stage of a teardown that waits for tenants.
pub const IN_USE: &str = "InUse";

/// Status of a CoreDms that is being deleted. While tenants have places in it, it goes on as it was.
pub fn teardown_status(
    coredms: &CoreDms,
    outcome: &Result<Teardown, Error>,
) -> (CoreDmsStatus, Facts) {
    let (reason, message) = match outcome {
        Ok(Teardown::Pending { stage, message, .. }) => (*stage, message.clone()),
        Ok(Teardown::Done) => ("Done", String::new()),
        Err(error) => (error.reason(), error.to_string()),
    };
    if reason == IN_USE {
        let status = CoreDmsStatus {
            tenants: coredms.spec.places(),
            ..coredms.status.clone().unwrap_or_default()
        };
        let facts = vec![
            Fact::is(TEARING_DOWN, IN_USE, &message),
            Fact::is(RECONCILING, IN_USE, &message),
            Fact::not(STALLED, "Progressing", ""),
        ];
        return (status, Facts::keeping(facts));
    }
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
        endpoint: Some(names::endpoint(
            coredms.spec.engine,
            &coredms.name_any(),
            &namespace_of(coredms),
        )),
        data: data(coredms, observed.bytes),
        tenants: coredms.spec.places(),
        binding: of_tenant.then(|| LocalRef {
            name: tenant_objects::COREDMS_BINDING.to_owned(),
        }),
        ..Default::default()
    }
}

/// In whole mebibytes, so that the status does not change with every row; what was told last while nothing is.
pub fn data(coredms: &CoreDms, bytes: Option<u64>) -> Option<Quantity> {
    let told = bytes.map(|bytes| Quantity(format!("{}Mi", bytes.div_ceil(1 << 20))));
    told.or_else(|| coredms.status.as_ref()?.data.clone())
}

fn facts(coredms: &CoreDms, observed: &Observed) -> Facts {
    let members = members_message(observed);
    let mut facts = match &observed.database {
        Database::SetUp { .. } if observed.database.up() >= Some(observed.quorum()) => {
            settled(observed, &members)
        }
        Database::Degraded => degraded(observed, &members),
        Database::SetUp { members } => reconciling(
            "MembersDown",
            &format!(
                "the database sees too few members up: {}; see the logs of those that it does not see if this stays",
                told(members)
            ),
        ),
        Database::Lost { error, silent } => reconciling(QUORUM_LOST, &lost(error, silent)),
        Database::Failed(error) => reconciling(database_reason(error), &error.to_string()),
        Database::NotAsked => reconciling(waiting_reason(coredms, observed), &members),
    };
    if let Some((reason, message)) = size::told(observed) {
        facts.retain(|fact| fact.kind != RECONCILING);
        facts.push(Fact::is(RECONCILING, reason, &message));
    }
    facts.push(database_fact(coredms, observed));
    let volumes = volumes_fact(&observed.volumes);
    if let Volumes::Refused { .. } = observed.volumes {
        facts.retain(|fact| fact.kind != STALLED);
        facts.push(Fact::is(STALLED, &volumes.reason, &volumes.message));
    }
    facts.push(volumes);
    Facts::replacing(facts)
}

fn volumes_fact(volumes: &Volumes) -> Fact {
    match volumes {
        Volumes::AsDeclared => Fact::is(VOLUMES_READY, "AsDeclared", ""),
        Volumes::Growing { claims } => Fact::not(
            VOLUMES_READY,
            "Growing",
            &format!(
                "the storage is growing {}; where it grows at a pod's start alone, restart the database",
                claims.join(", ")
            ),
        ),
        Volumes::Refused { class, size } => Fact::not(
            VOLUMES_READY,
            "StorageClassCannotExpand",
            &format!(
                "StorageClass `{class}` does not let volumes grow: set its allowVolumeExpansion if the storage can, else set storage.size back to {}",
                memory(*size).0
            ),
        ),
    }
}

fn settled(observed: &Observed, members: &str) -> Vec<Fact> {
    let mut facts = ready(members);
    if !observed.current() {
        facts.retain(|fact| fact.kind != RECONCILING);
        facts.push(Fact::is(RECONCILING, "RollingUpdate", &rolling(observed)));
    }
    facts
}

fn rolling(observed: &Observed) -> String {
    let current = observed.members.iter().filter(|member| member.current);
    format!(
        "members are restarted one by one with what was declared last: {} of {} run it",
        current.count(),
        observed.wanted
    )
}

/// Reads and writes do not go on, although Kubernetes sees nothing wrong.
fn lost(error: &AdminError, silent: &[Silent]) -> String {
    let silent: Vec<_> = silent
        .iter()
        .map(|Silent { pod, why }| format!("{pod} does not answer ({why})"))
        .collect();
    let silent = match silent.as_slice() {
        [] => "each member answers by itself, so look whether they reach each other".to_owned(),
        silent => format!(
            "{}; delete pods that hang, their volumes stay",
            silent.join(", ")
        ),
    };
    format!("reads and writes wait: {error}; {silent}")
}

/// Members as the database itself names and sees them.
fn told(members: &[Member]) -> String {
    let told = members
        .iter()
        .map(|member| format!("{} is {}", member.address, member.state));
    told.collect::<Vec<_>>().join(", ")
}

/// Reads and writes go on while a majority is there.
fn degraded(observed: &Observed, members: &str) -> Vec<Fact> {
    let reason = serious(observed.pods()).unwrap_or("MembersNotReady");
    vec![
        Fact::is(READY, "Degraded", members),
        Fact::is(RECONCILING, reason, members),
        Fact::not(STALLED, "Progressing", ""),
    ]
}

fn waiting_reason<'a>(coredms: &CoreDms, observed: &'a Observed) -> &'a str {
    match serious(observed.pods()) {
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
    let problems = explain(observed.pods());
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
        Database::SetUp { members } => Fact::is(
            DATABASE_READY,
            "SetUp",
            &format!("logins are in place; {}", told(members)),
        ),
        Database::Degraded => Fact::is(
            DATABASE_READY,
            "Degraded",
            "a majority of the members answers",
        ),
        Database::Lost { error, silent } => {
            Fact::not(DATABASE_READY, QUORUM_LOST, &lost(error, silent))
        }
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
