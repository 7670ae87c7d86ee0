//! Observe [IO]: members as Kubernetes sees them, and the database as it sees itself.

use k8s_openapi::api::core::v1::Pod;
use simbdp_api::CoreDms;
use simbdp_coredms::admin::{AdminError, ClusterSetup};

use super::build::{Applied, Resources, member_labels};
use super::error::Error;
use super::names;
use super::validate::ValidatedCoreDms;
use crate::apply::{Applier, text};
use crate::conditions::find;
use crate::context::Context;
use crate::objects::selector_text;
use crate::pods::{PodState, pod_state};

/// The database has been set up and answers.
pub const DATABASE_READY: &str = "DatabaseReady";

/// Reason of a database that was set up and has too few members left.
pub const QUORUM_LOST: &str = "QuorumLost";

/// What was seen of a cluster.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Members that are asked for.
    pub wanted: u16,
    /// Members, in order.
    pub members: Vec<PodState>,
    /// Whether every member runs what was applied last.
    pub current: bool,
    /// The database.
    pub database: Database,
}

/// What was seen of the database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Database {
    /// Too few members to ask.
    NotAsked,
    /// It was set up before; now members are missing, but a majority is there.
    Degraded,
    /// It is set up, and sees so many members up.
    SetUp {
        /// Members that the database sees up.
        up: usize,
    },
    /// It could not be set up.
    Failed(AdminError),
}

impl Observed {
    /// Members that are ready.
    pub fn ready(&self) -> usize {
        self.members.iter().filter(|member| member.ready).count()
    }

    /// Members that must be ready for reads and writes.
    pub fn quorum(&self) -> usize {
        usize::from(self.wanted) / 2 + 1
    }
}

/// Whether the database was set up before: it is, or was until its quorum was lost.
pub fn was_set_up(coredms: &CoreDms) -> bool {
    let status = coredms.status.as_ref();
    let before = status.and_then(|status| find(&status.conditions.conditions, DATABASE_READY));
    before.is_some_and(|fact| fact.status == "True" || fact.reason == QUORUM_LOST)
}

/// Looks at members and, when all are there, sets the database up: that is idempotent, and repairs what
/// somebody changed.
pub async fn observe(
    ctx: &Context,
    applier: &Applier,
    coredms: &ValidatedCoreDms,
    applied: &Resources<Applied>,
) -> Result<Observed, Error> {
    let labels = selector_text(&member_labels(&coredms.name));
    let pods: Vec<Pod> = applier.list(Some(&coredms.namespace), &labels).await?;
    let mut members: Vec<_> = pods.iter().map(pod_state).collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let mut observed = Observed {
        wanted: coredms.replicas,
        members,
        current: current(applied),
        database: Database::NotAsked,
    };
    observed.database = database(ctx, coredms, applied, &observed).await?;
    Ok(observed)
}

fn current(applied: &Resources<Applied>) -> bool {
    let members = &applied.members;
    members.status.as_ref().is_some_and(|status| {
        status.observed_generation >= members.metadata.generation
            && status.update_revision == status.current_revision
    })
}

async fn database(
    ctx: &Context,
    coredms: &ValidatedCoreDms,
    applied: &Resources<Applied>,
    observed: &Observed,
) -> Result<Database, Error> {
    if observed.ready() < usize::from(observed.wanted) {
        let before = was_set_up(&coredms.object);
        return Ok(match before && observed.ready() >= observed.quorum() {
            true => Database::Degraded,
            false => Database::NotAsked,
        });
    }
    let secret = names::superuser_secret(&coredms.name);
    let password = text(&applied.superuser, names::PASSWORD).ok_or(Error::NoPassword(secret))?;
    let setup = ClusterSetup {
        superuser: names::SUPERUSER.to_owned(),
        password,
        datacenter: names::DATACENTER.to_owned(),
        // Tenants' keyspaces have three replicas in a cluster of any size.
        replication_factor: 3,
    };
    let endpoints = [names::endpoint(&coredms.name, &coredms.namespace)];
    let seen = async {
        let admin = ctx.coredms.bootstrap(&endpoints, &setup).await?;
        admin.members().await
    };
    Ok(match seen.await {
        Ok(members) => Database::SetUp {
            up: members.iter().filter(|member| member.up).count(),
        },
        Err(error) => Database::Failed(error),
    })
}
