//! Whether a tenant is kept apart from others: a Job in its namespace tries [IO], now and then; what it reports becomes a
//! condition [pure]. It has no say in whether the tenant is ready.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use simbdp_api::Tenant;
use simbdp_api::names::{TenantName, tenant_objects as objects};
use simbdp_api::wire::isolation::{IsolationReport, Neighbour};

use super::build::isolation::job;
use super::build::meta::{Owner, Platform};
use super::error::Error;
use super::observe::replica_url;
use super::validate::ValidatedTenant;
use crate::apply::Applier;
use crate::conditions::{Fact, READY, find, holds};
use crate::context::Context;
use crate::coredms::names::endpoints;
use crate::coredms::place::DatabasePlace;

/// Servers of other tenants refuse this one's credentials.
const ISOLATION_VERIFIED: &str = "IsolationVerified";
/// Reason when there is nobody to be kept apart from.
const NO_NEIGHBOUR: &str = "NoNeighbour";
/// Tenants that are tried: each is by those before it, so that all are.
const NEIGHBOURS: usize = 3;
/// Time until it is checked again whether what was found is mended.
const SOON: SignedDuration = SignedDuration::from_mins(10);
/// Label that Jobs give their pods.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// How far the check is.
enum Progress {
    /// There is none.
    Absent,
    /// It runs.
    Running,
    /// It has ended then.
    Ended(Timestamp),
}

/// Starts the check when it is due, and tells what the last one found; [`None`] where none is asked for. `settled` says
/// whether the tenant works: before, there is nothing to check. What fails here is told, and hinders nothing else.
pub async fn check(
    ctx: &Context,
    applier: &Applier,
    tenant: &Tenant,
    valid: &ValidatedTenant,
    place: &DatabasePlace,
    settled: bool,
) -> Option<Fact> {
    let every = ctx.config.isolation_check.as_ref()?.every();
    let looked = look(ctx, applier, tenant, valid, place, settled, every).await;
    Some(looked.unwrap_or_else(|error| {
        let message = format!("the check could not be made: {error}; it is tried again");
        Fact::not(ISOLATION_VERIFIED, "CheckFailed", &message)
    }))
}

async fn look(
    ctx: &Context,
    applier: &Applier,
    tenant: &Tenant,
    valid: &ValidatedTenant,
    place: &DatabasePlace,
    settled: bool,
    every: SignedDuration,
) -> Result<Fact, Error> {
    let name = &valid.name;
    let namespace = name.namespace();
    let namespace = Some(namespace.as_str());
    let found = applier.get::<Job>(namespace, objects::ISOLATION).await?;
    let before = told(tenant);
    let pending = || Fact::not(ISOLATION_VERIFIED, "Pending", "the check has not ended yet");
    Ok(match progress(found.as_ref()) {
        Progress::Running => before.unwrap_or_else(pending),
        Progress::Ended(at) => {
            let said = match before {
                // Read before.
                Some(fact) if fact.message.ends_with(&ended(at)) => fact,
                _ => judge(report(applier, namespace).await?, name, at),
            };
            if (ctx.clock)() > at + pause(&said, every) {
                applier.delete::<Job>(namespace, objects::ISOLATION).await?;
            }
            said
        }
        Progress::Absent if !settled => before.unwrap_or_else(pending),
        Progress::Absent => {
            let all: Vec<Tenant> = applier.list(None, "").await?;
            let others = neighbours(name, place, &all);
            if others.is_empty() {
                let message = "there is no other tenant that is ready, to be kept apart from";
                return Ok(Fact::not(ISOLATION_VERIFIED, NO_NEIGHBOUR, message));
            }
            let platform = Platform::of(ctx);
            let owner = Owner::tenant(name, &platform);
            let user = valid.users.first().map(|user| user.name.as_str());
            applier
                .apply(&job(&owner, user, &others, &platform))
                .await?;
            before.unwrap_or_else(pending)
        }
    })
}

/// Time until the next check: soon, where something is to be mended.
fn pause(said: &Fact, every: SignedDuration) -> SignedDuration {
    match said.holds {
        true => every,
        false => every.min(SOON),
    }
}

/// What the condition says of the last check; [`None`] before the first one.
fn told(tenant: &Tenant) -> Option<Fact> {
    let status = tenant.status.as_ref()?;
    let condition = find(&status.conditions.conditions, ISOLATION_VERIFIED)?;
    Some(Fact {
        kind: ISOLATION_VERIFIED,
        holds: condition.status == "True",
        known: true,
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    })
}

fn progress(job: Option<&Job>) -> Progress {
    let Some(job) = job.filter(|job| job.metadata.deletion_timestamp.is_none()) else {
        return match job {
            Some(_) => Progress::Running,
            None => Progress::Absent,
        };
    };
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ended = conditions.into_iter().flatten().find(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    });
    match ended {
        Some(condition) => Progress::Ended(
            condition
                .last_transition_time
                .as_ref()
                .map_or(Timestamp::UNIX_EPOCH, |Time(at)| *at),
        ),
        None => Progress::Running,
    }
}

/// What its pod left; [`None`] where none got so far.
async fn report(
    applier: &Applier,
    namespace: Option<&str>,
) -> Result<Option<IsolationReport>, Error> {
    let selector = format!("{JOB_NAME}={}", objects::ISOLATION);
    let pods: Vec<Pod> = applier.list(namespace, &selector).await?;
    let last_words = pods.iter().filter_map(|pod| {
        let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
        let ended = containers.first()?.state.as_ref()?.terminated.as_ref()?;
        ended.message.as_ref().filter(|_| ended.exit_code == 0)
    });
    Ok(last_words
        .filter_map(|words| serde_json::from_str(words).ok())
        .next())
}

/// What a report means.
fn judge(report: Option<IsolationReport>, tenant: &TenantName, at: Timestamp) -> Fact {
    let when = ended(at);
    let Some(report) = report else {
        let message = format!(
            "the check could not be made: see `kubectl -n {} logs job/{}`; {when}",
            tenant.namespace(),
            objects::ISOLATION
        );
        return Fact::not(ISOLATION_VERIFIED, "CheckFailed", &message);
    };
    let neighbours = report.neighbours.join(", ");
    match (report.breaches.as_slice(), report.reached.as_slice()) {
        ([], []) => Fact::is(
            ISOLATION_VERIFIED,
            "CredentialsAndNetwork",
            &format!(
                "{neighbours} refused the tenant's credentials and could not be reached; {when}"
            ),
        ),
        ([], reached) => Fact::is(
            ISOLATION_VERIFIED,
            "CredentialsOnly",
            &format!(
                "{neighbours} refused the tenant's credentials; network policies do not hold, since it reaches {}: install a network plugin that enforces them; {when}",
                reached.join(", ")
            ),
        ),
        (breaches, _) => Fact::not(
            ISOLATION_VERIFIED,
            "Breached",
            &format!(
                "{} took this tenant's credentials: rotate them, and see who changed what the operator had set; {when}",
                breaches.join(" and ")
            ),
        ),
    }
}

fn ended(at: Timestamp) -> String {
    format!("checked at {at}")
}

/// Whether a tenant can be used.
pub fn is_ready(tenant: &Tenant) -> bool {
    let status = tenant.status.as_ref();
    status.is_some_and(|status| holds(&status.conditions.conditions, READY))
}

/// Whether a tenant has nobody yet to be kept apart from.
pub fn is_alone(tenant: &Tenant) -> bool {
    told(tenant).is_some_and(|fact| fact.reason == NO_NEIGHBOUR)
}

/// Other tenants that are ready: those whose names follow the tenant's, and from the first again.
fn neighbours(tenant: &TenantName, place: &DatabasePlace, all: &[Tenant]) -> Vec<Neighbour> {
    let mut ready: Vec<_> = all
        .iter()
        .filter(|other| other.name_any() != tenant.as_str())
        .filter(|other| other.metadata.deletion_timestamp.is_none())
        .filter(|other| is_ready(other))
        .collect();
    ready.sort_by_key(|other| other.name_any());
    let next = ready.partition_point(|other| other.name_any().as_str() < tenant.as_str());
    ready.rotate_left(next);
    let neighbours = ready
        .into_iter()
        .filter_map(|other| neighbour(place, other));
    neighbours.take(NEIGHBOURS).collect()
}

fn neighbour(place: &DatabasePlace, other: &Tenant) -> Option<Neighbour> {
    let name = TenantName::new(other.name_any()).ok()?;
    let status = other.status.as_ref()?;
    let database = status.coredms.as_ref()?;
    let engine = other.spec.coredms.engine;
    Some(Neighbour {
        tenant: name.to_string(),
        gateway: status.endpoint.clone()?,
        internal: replica_url(&name, 0),
        vhost: name.vhost(),
        engine,
        database: endpoints(engine, &database.name, &database.namespace),
        keyspace: name.platform_keyspace(),
        shared: (&database.name, &database.namespace) == (&place.name, &place.namespace),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use simbdp_api::common::Engine;

    fn tenant(name: &str, ready: &str) -> Tenant {
        let text = format!(
            "{{metadata: {{name: {name}}}, spec: {{coredms: {{}}}}, status: {{endpoint: 'http://gateway', coredms: {{namespace: tenant-{name}, name: coredms}}, \
             conditions: [{{type: Ready, status: '{ready}', reason: X, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}]}}}}"
        );
        serde_yaml::from_str(&text).unwrap()
    }

    fn report(breaches: &[&str], reached: &[&str]) -> Option<IsolationReport> {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Some(IsolationReport {
            neighbours: vec!["beta".into(), "gamma".into()],
            breaches: texts(breaches),
            reached: texts(reached),
        })
    }

    #[test]
    fn the_next_three_that_are_ready_are_tried() {
        let name = TenantName::new("m").unwrap();
        let place = DatabasePlace::dedicated(&name, Engine::Cassandra);
        let tried = |all: &[Tenant]| -> Vec<String> {
            let found = neighbours(&name, &place, all);
            found.into_iter().map(|other| other.tenant).collect()
        };
        let all: Vec<_> = ["a", "b", "m", "x", "y"]
            .map(|name| tenant(name, if name == "y" { "False" } else { "True" }))
            .into();
        assert_eq!(tried(&all), ["x", "a", "b"]);
        assert_eq!(tried(&all[2..3]), Vec::<String>::new());
        let found = neighbours(&name, &place, &all[..1]);
        assert_eq!(
            found[0].internal,
            "http://gateway-0.gateway-replicas.tenant-a.svc:8081"
        );
        assert_eq!(found[0].database, ["coredms.tenant-a.svc:9042"]);
        assert!(!found[0].shared);
    }

    #[test]
    fn what_is_to_be_mended_is_checked_again_soon() {
        let hours = SignedDuration::from_hours(6);
        let found = |holds| Fact {
            holds,
            ..Fact::is(ISOLATION_VERIFIED, "X", "")
        };
        assert_eq!(pause(&found(true), hours), hours);
        assert_eq!(pause(&found(false), hours), SOON);
    }

    #[test]
    fn a_report_claims_no_more_than_was_seen() {
        let name = TenantName::new("acme").unwrap();
        let judged = |report| judge(report, &name, Timestamp::UNIX_EPOCH);
        for (report, holds, reason, words) in [
            (
                report(&[], &[]),
                true,
                "CredentialsAndNetwork",
                "beta, gamma refused",
            ),
            (
                report(&[], &["x:1"]),
                true,
                "CredentialsOnly",
                "it reaches x:1",
            ),
            (
                report(&["the ledger of beta"], &[]),
                false,
                "Breached",
                "the ledger of beta",
            ),
            (None, false, "CheckFailed", "logs job/isolation"),
        ] {
            let fact = judged(report);
            assert_eq!((fact.holds, fact.reason.as_str()), (holds, reason));
            assert!(fact.message.contains(words), "{}", fact.message);
            assert!(
                fact.message.ends_with("checked at 1970-01-01T00:00:00Z"),
                "{}",
                fact.message
            );
        }
    }
}
