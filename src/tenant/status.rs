//! Status [pure]: what was found, applied and observed → conditions that say what to do next.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt;
use simbdp_api::common::ObjectRef;
use simbdp_api::mounts::GATEWAY_PORT;
use simbdp_api::names::{TenantName, tenant_objects as objects};
use simbdp_api::tenant::TenantStatus;
use simbdp_api::{Broker, CoreDms, Tenant};

use super::build::{Applied, Resources};
use super::error::Error;
use crate::conditions::{Fact, Facts, READY, find, holds, ready, reconciling, stalled};
use crate::controller_runtime::Teardown;
use crate::error::{Class, Classified, Failure};

/// The database answers and has the tenant's keyspaces and roles.
pub const DATABASE_READY: &str = "DatabaseReady";
/// The broker answers and has the tenant's virtual host and user.
pub const BROKER_READY: &str = "BrokerReady";
/// Every Secret is there and can be used.
pub const CREDENTIALS_READY: &str = "CredentialsReady";
/// Every replica of the gateway is ready.
pub const GATEWAY_READY: &str = "GatewayReady";
/// The teardown goes on; its message says where it is.
pub const TEARING_DOWN: &str = "TearingDown";
/// What a Delete throws away of what was still queued or staged.
pub const BACKLOG_DISCARDED: &str = "BacklogDiscarded";
/// What a pipeline had accepted is ingested or discarded: its teardown does not turn back to wait for it.
pub const BACKLOG_SETTLED: &str = "BacklogSettled";
/// Stage of a pipeline's teardown in which its ingest apps go.
pub const STOPPING_INGEST: &str = "StoppingIngest";
/// Stage of a teardown that tells what is thrown away, before it is.
pub const DISCARDING: &str = "DiscardingBacklog";

/// How far one part is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stage {
    /// It is as it should be.
    Done,
    /// It is not yet, and why.
    Waiting {
        /// CamelCase.
        reason: String,
        /// What is missing and what to do.
        message: String,
    },
}

impl Stage {
    /// Not yet.
    pub fn waiting(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Waiting {
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// Not yet, because something failed that is tried again.
    pub fn failed(failure: &Failure) -> Self {
        Self::waiting(failure.reason, format!("{failure}; it is tried again"))
    }

    /// As a condition; `done` is its message when it holds.
    pub fn fact(&self, kind: &'static str, done: &str) -> Fact {
        match self {
            Self::Done => Fact::is(kind, "Ready", done),
            Self::Waiting { reason, message } => Fact::not(kind, reason, message),
        }
    }
}

/// The first of several stages that is not done, as the facts about the whole.
pub fn whole<'a>(stages: impl IntoIterator<Item = &'a Stage>, done: &str) -> Vec<Fact> {
    let waiting = stages.into_iter().find_map(|stage| match stage {
        Stage::Done => None,
        Stage::Waiting { reason, message } => Some(reconciling(reason, message)),
    });
    waiting.unwrap_or_else(|| ready(done))
}

/// How far a tenant is.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// There is no database for it yet; nothing of it is made before.
    Unplaced(Stage),
    /// Its namespace is on its way out, or was; the record of it goes first.
    NamespaceGone,
    /// Its objects are applied.
    Applied(Box<Parts>),
}

/// How far the parts of a tenant are, from what was applied and what the servers said.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// UID of the tenant's namespace.
    pub namespace_uid: String,
    /// Broker that holds the queues.
    pub broker_name: String,
    /// The CoreDms that holds the data.
    pub coredms: ObjectRef,
    /// Why a shared one was chosen, when that was just now.
    pub placement: Option<String>,
    /// Members of the database, e.g. `3/3`.
    pub members: Option<String>,
    /// The database, with keyspaces and roles.
    pub database: Stage,
    /// The broker, with virtual host and user.
    pub broker: Stage,
    /// The gateway.
    pub gateway: Stage,
    /// Whether the tenant is kept apart from others, where that is checked.
    pub isolation: Option<Fact>,
    /// What failed on the way, to be tried again with back-off.
    pub failure: Option<Failure>,
}

/// How far the gateway is, from the applied object and its status.
pub fn gateway_stage(resources: &Resources<Applied>, asked: u16) -> Stage {
    let StatefulSet {
        spec,
        status,
        metadata,
    } = &resources.gateway;
    let wanted = spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or_default();
    // Until the workload's controller has seen the newest template, its figures are about another one.
    let current = status.as_ref().filter(|status| {
        status.observed_generation >= metadata.generation
            && status.update_revision == status.current_revision
    });
    let ready = current
        .and_then(|status| status.ready_replicas)
        .unwrap_or_default();
    // One that is to go is not ready, and takes nothing.
    if ready < wanted.min(i32::from(asked)) {
        return Stage::waiting(
            "GatewayNotReady",
            format!(
                "{ready} of {wanted} gateway replicas are ready; if this stays, see `kubectl -n {} describe pods -l app.kubernetes.io/component=gateway`",
                resources.gateway.namespace().unwrap_or_default()
            ),
        );
    }
    match wanted > i32::from(asked) {
        true => Stage::waiting(
            "FilesStaged",
            format!(
                "gateway replica {} has staged files, receives some, or cannot be asked: it takes no more and goes when they are ingested",
                wanted - 1
            ),
        ),
        false => Stage::Done,
    }
}

/// What a CoreDms says of itself.
pub fn database_stage(coredms: &CoreDms) -> Stage {
    let status = coredms.status.clone().unwrap_or_default();
    said(
        "DatabaseNotReady",
        &status.conditions.conditions,
        // Whoever takes a place in a shared one makes a new generation of it, which concerns nobody else.
        coredms.spec.max_tenants.is_some()
            || status.observed_generation >= coredms.metadata.generation,
        "the database is being created",
    )
}

/// What a Broker says of itself.
pub fn broker_stage(broker: &Broker) -> Stage {
    let status = broker.status.clone().unwrap_or_default();
    said(
        "BrokerNotReady",
        &status.conditions.conditions,
        true,
        &format!("Broker `{}` is being created", broker.name_any()),
    )
}

fn said(
    reason: &str,
    conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
    current: bool,
    nothing: &str,
) -> Stage {
    if current && holds(conditions, READY) {
        return Stage::Done;
    }
    let message = find(conditions, READY)
        .filter(|condition| condition.status != "True" && !condition.message.is_empty())
        .map_or(nothing, |condition| &condition.message);
    Stage::waiting(reason, message)
}

/// Status of a Tenant after a reconcile.
pub fn status(tenant: &Tenant, outcome: &Result<Observed, Error>) -> (TenantStatus, Facts) {
    let previous = tenant.status.clone().unwrap_or_default();
    match outcome {
        Ok(Observed::Applied(parts)) => applied(tenant, parts, previous),
        Ok(Observed::Unplaced(stage)) => {
            let mut facts = whole([stage], "");
            facts.push(stage.fact(DATABASE_READY, ""));
            (previous, Facts::keeping(facts))
        }
        Ok(Observed::NamespaceGone) => {
            let status = TenantStatus {
                namespace_uid: None,
                ..previous
            };
            let facts = reconciling(
                "NamespaceGone",
                "the tenant's namespace is gone, or going; it is made anew",
            );
            (status, Facts::keeping(facts))
        }
        Err(error) => (previous, failed(error)),
    }
}

fn applied(tenant: &Tenant, parts: &Parts, previous: TenantStatus) -> (TenantStatus, Facts) {
    let namespace = TenantName::new(tenant.name_any())
        .map(|name| name.namespace())
        .ok();
    let mut facts = whole(
        [&parts.database, &parts.broker, &parts.gateway],
        "the tenant can be used",
    );
    facts.extend([
        parts
            .database
            .fact(DATABASE_READY, "keyspaces and roles are in place"),
        parts
            .broker
            .fact(BROKER_READY, "virtual host and user are in place"),
        parts.gateway.fact(GATEWAY_READY, "every replica is ready"),
        Fact::is(CREDENTIALS_READY, "Ready", "every Secret is in place"),
    ]);
    facts.extend(parts.isolation.clone());
    let members = parts.members.as_deref().unwrap_or_default();
    let status = TenantStatus {
        endpoint: namespace
            .as_ref()
            .map(|namespace| format!("http://{}.{namespace}.svc:{GATEWAY_PORT}", objects::GATEWAY)),
        namespace,
        namespace_uid: Some(parts.namespace_uid.clone()),
        database: Some(
            format!("{} {members}", parts.coredms.name)
                .trim_end()
                .to_owned(),
        ),
        coredms: Some(parts.coredms.clone()),
        placement: parts.placement.clone().or(previous.placement),
        broker: Some(parts.broker_name.clone()),
        ..Default::default()
    };
    (status, Facts::replacing(facts))
}

/// Facts of a failure: what is there stays as it is.
fn failed(error: &Error) -> Facts {
    let message = error.to_string();
    let mut facts = match error.class() {
        Class::Invalid => stalled(error.reason(), &message),
        Class::Transient => reconciling(error.reason(), &format!("{message}; it is tried again")),
    };
    match error {
        Error::Invalid(invalid) if invalid.concerns_broker() => {
            let reason = invalid.reason();
            let reason = reason.strip_prefix("Broker").unwrap_or(reason);
            facts.push(Fact::not(BROKER_READY, reason, &message));
        }
        Error::NoPlace(no_place) => {
            facts.push(Fact::not(DATABASE_READY, no_place.reason(), &message));
        }
        Error::Credentials(_) | Error::Hash(_) => {
            facts.push(Fact::not(CREDENTIALS_READY, error.reason(), &message));
        }
        _ => {}
    }
    Facts::keeping(facts)
}

/// Status of a Tenant that is being deleted.
pub fn teardown_status(
    tenant: &Tenant,
    outcome: &Result<Teardown, Error>,
) -> (TenantStatus, Facts) {
    (
        tenant.status.clone().unwrap_or_default(),
        teardown_facts(outcome),
    )
}

/// Facts of a teardown, of any kind that has one of several steps.
pub fn teardown_facts<E: Classified>(outcome: &Result<Teardown, E>) -> Facts {
    let (stage, message) = match outcome {
        Ok(Teardown::Done) => ("Done", "nothing is left".to_owned()),
        Ok(Teardown::Pending { stage, message, .. }) => (*stage, message.clone()),
        Err(error) => (error.reason(), format!("{error}; it is tried again")),
    };
    let mut facts = reconciling("TearingDown", &message);
    facts.push(Fact::is(TEARING_DOWN, stage, &message));
    if stage == DISCARDING {
        facts.push(Fact::is(BACKLOG_DISCARDED, "Delete", &message));
    }
    if stage == STOPPING_INGEST {
        facts.push(Fact::is(BACKLOG_SETTLED, stage, &message));
    }
    Facts::keeping(facts)
}

#[cfg(test)]
mod tests;
