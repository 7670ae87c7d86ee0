//! Observe [IO]: members as Kubernetes sees them, and the database as it sees itself.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use simbdp_api::CoreDms;
use simbdp_api::common::Engine;
use simbdp_coredms::admin::{AdminError, ClusterSetup, EngineSetup, Member, ReplicaSet};
use simbdp_coredms::{Connection, StoreAdmin};

use super::build::{Applied, Resources, member_labels};
use super::claims::{Claim, Size};
use super::error::Error;
use super::validate::ValidatedCoreDms;
use super::volumes::Volumes;
use super::{names, size};
use crate::apply::{Applier, text};
use crate::conditions::{find, holds};
use crate::context::Context;
use crate::objects::selector_text;
use crate::pods::{PodState, pod_state};

/// The database has been set up and answers.
pub const DATABASE_READY: &str = "DatabaseReady";

/// Reason of a database that was set up and has too few members left.
pub const QUORUM_LOST: &str = "QuorumLost";

/// How long a database that serves may take to answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long it may take to be set up, or to be logged in to.
const LOGIN_PATIENCE: Duration = Duration::from_secs(120);

/// What was seen of a cluster.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Name of the CoreDms.
    pub name: String,
    /// Engine.
    pub engine: Engine,
    /// Members that are asked for.
    pub asked: u16,
    /// Members that are to run now: while some are added or removed, not as many as are asked for.
    pub wanted: u16,
    /// Whether the database was set up before.
    pub before: bool,
    /// Claims of members' volumes, in order.
    pub claims: Vec<Claim>,
    /// Members, in order.
    pub members: Vec<MemberPod>,
    /// Whether Kubernetes has seen what was applied last: else nobody knows which members run it.
    pub revision_known: bool,
    /// The members' volumes.
    pub volumes: Volumes,
    /// The database.
    pub database: Database,
    /// Bytes of data on the member with the most, when they are told.
    pub bytes: Option<u64>,
    /// Why the last step towards another number of members failed.
    pub problem: Option<String>,
}

/// A member's pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberPod {
    /// Ready, or why not.
    pub state: PodState,
    /// Number of the member, from 0.
    pub ordinal: u16,
    /// UID of the pod: the next one of that name is another.
    pub uid: String,
    /// Whether it was made from what was applied last.
    pub current: bool,
    /// Whether it is being stopped.
    pub leaving: bool,
    /// Its address.
    pub address: Option<String>,
    /// Id of its volume, as its init container told it.
    pub volume: Option<String>,
}

/// What was seen of the database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Database {
    /// Too few members to ask.
    NotAsked,
    /// It was set up before; now members are missing, but a majority is there.
    Degraded,
    /// It is set up.
    SetUp {
        /// Members as the database sees them.
        members: Vec<Member>,
    },
    /// It was set up before, and does not serve although its members look well to Kubernetes.
    Lost {
        /// What it said.
        error: AdminError,
        /// Members that do not answer by themselves.
        silent: Vec<Silent>,
    },
    /// It could not be set up.
    Failed(AdminError),
}

/// A member that does not answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Silent {
    /// Its pod.
    pub pod: String,
    /// What happened.
    pub why: String,
}

impl Database {
    /// Members as the database sees them, when it could be asked.
    pub fn members(&self) -> Option<&[Member]> {
        match self {
            Self::SetUp { members } => Some(members),
            Self::NotAsked | Self::Degraded | Self::Lost { .. } | Self::Failed(_) => None,
        }
    }

    /// Members that it sees up, when it could be asked.
    pub fn up(&self) -> Option<usize> {
        let up = |members: &[Member]| members.iter().filter(|member| member.up).count();
        self.members().map(up)
    }
}

impl Observed {
    /// Whether the first so many members are ready.
    fn first_are_ready(&self, members: u16) -> bool {
        let ready = |member: &&MemberPod| member.state.ready && member.ordinal < members;
        self.members.iter().filter(ready).count() >= usize::from(members)
    }

    /// Members that are ready.
    pub fn ready(&self) -> usize {
        let ready = |member: &&MemberPod| member.state.ready;
        self.members.iter().filter(ready).count()
    }

    /// Whether every member runs what was applied last.
    pub fn current(&self) -> bool {
        self.revision_known && self.members.iter().all(|member| member.current)
    }

    /// The members' pods: ready, or why not.
    pub fn pods(&self) -> impl Iterator<Item = &PodState> {
        self.members.iter().map(|member| &member.state)
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
/// somebody changed. While members go, those that stay are enough. Returns the login to it as well.
pub async fn observe(
    ctx: &Context,
    applier: &Applier,
    coredms: &ValidatedCoreDms,
    applied: &Resources<Applied>,
    size: Size,
) -> Result<(Observed, Option<Arc<dyn StoreAdmin>>), Error> {
    let labels = selector_text(&member_labels(coredms.engine, &coredms.name));
    let pods: Vec<Pod> = applier.list(Some(&coredms.namespace), &labels).await?;
    let revision = revision(&applied.members);
    let mut members: Vec<_> = pods
        .iter()
        .filter_map(|pod| member(pod, revision))
        .collect();
    members.sort_by_key(|member| member.ordinal);
    let mut observed = Observed {
        name: coredms.name.clone(),
        engine: coredms.engine,
        asked: coredms.replicas,
        wanted: size.running,
        before: was_set_up(&coredms.object),
        claims: size.claims,
        members,
        revision_known: revision.is_some(),
        volumes: Volumes::AsDeclared,
        database: Database::NotAsked,
        bytes: None,
        problem: None,
    };
    let (database, admin) = database(ctx, coredms, applied, &observed).await?;
    observed.database = database;
    if let Some(admin) = &admin {
        observed.bytes = bytes(&**admin).await;
    }
    Ok((observed, admin))
}

/// How much the data take; a figure that is not told in time is left out.
pub async fn bytes(admin: &dyn StoreAdmin) -> Option<u64> {
    match tokio::time::timeout(PATIENCE, admin.bytes()).await {
        Ok(Ok(bytes)) => Some(bytes),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the database does not tell how much its data take");
            None
        }
        Err(_) => None,
    }
}

/// The revision that pods are made from now; [`None`] until Kubernetes has seen what was applied last.
fn revision(members: &StatefulSet) -> Option<&str> {
    let status = members.status.as_ref()?;
    let seen = status.observed_generation >= members.metadata.generation;
    status.update_revision.as_deref().filter(|_| seen)
}

/// [`None`] for a pod that is none of the StatefulSet's.
fn member(pod: &Pod, revision: Option<&str>) -> Option<MemberPod> {
    let made_from = pod.labels().get("controller-revision-hash");
    Some(MemberPod {
        state: pod_state(pod),
        ordinal: pod.name_any().rsplit_once('-')?.1.parse().ok()?,
        uid: pod.uid().unwrap_or_default(),
        current: revision.is_some() && made_from.map(String::as_str) == revision,
        leaving: pod.metadata.deletion_timestamp.is_some(),
        address: pod.status.as_ref().and_then(|status| status.pod_ip.clone()),
        volume: last_words(pod),
    })
}

fn last_words(pod: &Pod) -> Option<String> {
    let inits = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    let ended = inits.first()?.state.as_ref()?.terminated.as_ref()?;
    ended.message.clone().filter(|_| ended.exit_code == 0)
}

async fn database(
    ctx: &Context,
    coredms: &ValidatedCoreDms,
    applied: &Resources<Applied>,
    observed: &Observed,
) -> Result<(Database, Option<Arc<dyn StoreAdmin>>), Error> {
    let stay = size::target(observed).min(observed.wanted);
    let enough = observed.before && observed.first_are_ready(stay);
    if observed.ready() < usize::from(observed.wanted) && !(stay < observed.wanted && enough) {
        let degraded = observed.before && observed.ready() >= observed.quorum();
        let database = match degraded {
            true => Database::Degraded,
            false => Database::NotAsked,
        };
        return Ok((database, None));
    }
    let setup = ClusterSetup {
        superuser: names::SUPERUSER.to_owned(),
        password: key(coredms, applied, crate::login::PASSWORD)?,
        engine: match coredms.engine {
            Engine::Cassandra => {
                EngineSetup::Cassandra(names::replication(names::DATACENTER.to_owned()))
            }
            Engine::MongoDB => {
                EngineSetup::MongoDB(replica_set(coredms, applied, observed.wanted)?)
            }
        },
    };
    let endpoints = names::endpoints(coredms.engine, &coredms.name, &coredms.namespace);
    let before = observed.before;
    let seen = async {
        let admin = ctx.coredms.bootstrap(&endpoints, &setup).await?;
        if before {
            admin.serves().await?;
        }
        let members = admin.members().await?;
        ctx.pulses.watch(&coredms.object, admin.clone(), &members);
        Ok((members, admin))
    };
    let patience = patience(ctx, &coredms.object);
    let seen = match tokio::time::timeout(patience, seen).await {
        Ok(seen) => seen,
        Err(_) => Err(AdminError::Unavailable(format!(
            "no answer within {patience:?}"
        ))),
    };
    Ok(match seen {
        Ok((members, admin)) => (Database::SetUp { members }, Some(admin)),
        Err(error @ AdminError::Unavailable(_)) if before => {
            let silent = silent(ctx, observed, &setup, &coredms.namespace).await;
            (Database::Lost { error, silent }, None)
        }
        Err(error) => (Database::Failed(error), None),
    })
}

/// One that this operator has seen serve answers soon, or something is wrong that is to be told. Another one is logged
/// in to anew, which takes what it takes.
fn patience(ctx: &Context, coredms: &CoreDms) -> Duration {
    let status = coredms.status.as_ref();
    let told = status.is_some_and(|s| holds(&s.conditions.conditions, DATABASE_READY));
    match told && ctx.pulses.knows(coredms) {
        true => PATIENCE,
        false => LOGIN_PATIENCE,
    }
}

/// Asks each member by itself.
async fn silent(
    ctx: &Context,
    observed: &Observed,
    setup: &ClusterSetup,
    namespace: &str,
) -> Vec<Silent> {
    let members = observed.members.iter().map(|member| async move {
        let host = names::member_host(&observed.name, namespace, member.ordinal);
        let port = names::client_port(observed.engine);
        let connection = Connection {
            engine: observed.engine,
            endpoints: vec![format!("{host}:{port}")],
            username: setup.superuser.clone(),
            password: setup.password.clone(),
            tls: None,
        };
        let why = ctx.coredms.answers(&connection).await.err()?;
        let pod = member.state.name.clone();
        Some(Silent { pod, why })
    });
    join_all(members).await.into_iter().flatten().collect()
}

fn key(
    coredms: &ValidatedCoreDms,
    applied: &Resources<Applied>,
    key: &'static str,
) -> Result<String, Error> {
    text(&applied.superuser, key).ok_or_else(|| Error::MissingKey {
        secret: names::superuser_secret(&coredms.name),
        key,
    })
}

/// On a small machine a member that is busy is not taken for dead at once; a demonstration does not wait for the
/// engine's own ten seconds.
fn replica_set(
    coredms: &ValidatedCoreDms,
    applied: &Resources<Applied>,
    running: u16,
) -> Result<ReplicaSet, Error> {
    let (name, namespace) = (&coredms.name, &coredms.namespace);
    let (election_timeout, heartbeat_interval) = match coredms.development() {
        true => (Duration::from_secs(3), Duration::from_millis(500)),
        false => (Duration::from_secs(10), Duration::from_secs(2)),
    };
    Ok(ReplicaSet {
        name: names::replica_set(name),
        members: names::member_endpoints(coredms.engine, name, namespace, running),
        keyfile: key(coredms, applied, names::KEYFILE)?,
        election_timeout,
        heartbeat_interval,
    })
}

#[cfg(test)]
impl Observed {
    /// Three members that serve, as were asked for.
    pub fn of_three(name: &str, database: Database) -> Self {
        Self {
            name: name.to_owned(),
            engine: Engine::Cassandra,
            asked: 3,
            wanted: 3,
            before: true,
            claims: (0..3).map(|ordinal| Claim::of(name, ordinal)).collect(),
            members: (0..3).map(|ordinal| MemberPod::of(name, ordinal)).collect(),
            revision_known: true,
            volumes: Volumes::AsDeclared,
            database,
            bytes: None,
            problem: None,
        }
    }
}

#[cfg(test)]
impl MemberPod {
    /// One that serves.
    pub fn of(name: &str, ordinal: u16) -> Self {
        Self {
            state: PodState {
                name: names::member(name, ordinal),
                ready: true,
                problem: None,
            },
            ordinal,
            uid: format!("u-{ordinal}"),
            current: true,
            leaving: false,
            address: Some(format!("10.0.0.{ordinal}")),
            volume: Some(format!("v-{ordinal}")),
        }
    }
}
