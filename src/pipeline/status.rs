//! Status [pure]: what was applied and observed of a pipeline → conditions that say what to do next.

use k8s_openapi::api::apps::v1::Deployment;
use simbdp_api::IngestPipeline;
use simbdp_api::common::LocalRef;
use simbdp_api::names::{TenantName, tenant_objects as objects};
use simbdp_api::pipeline::IngestPipelineStatus;
use simbdp_api::wire::internal::{GatewayState, LoadedPipeline};
use simbdp_broker::admin::QueueTotals;

use super::error::Error;
use crate::conditions::{Fact, Facts, READY, RECONCILING, STALLED, reconciling, stalled};
use crate::controller_runtime::Teardown;
use crate::error::{Class, Classified, Failure};
use crate::tenant::status::{Stage, teardown_facts, whole};

/// The table is there with every declared column.
pub const TABLE_READY: &str = "TableReady";
/// Both queues are there.
pub const QUEUES_READY: &str = "QueuesReady";
/// Every replica of the gateway serves this generation.
pub const ACCEPTING: &str = "Accepting";
const KEPT: &str = "what comes in is accepted and kept in the queue";
/// At least one ingest app is ready and takes work; unknown while the broker cannot be asked.
pub const ACTIVE: &str = "Active";

/// Messages lie in the dead-letter queue. It has no say in `Ready`.
pub const POISON_MESSAGES: &str = "PoisonMessages";
/// No ingest app is to run; what comes in is kept.
pub const PAUSED: &str = "Paused";

/// How far a pipeline is.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// It waits for its Tenant; why.
    TenantNotReady(String),
    /// Its Tenant stops or is gone: nothing is accepted and nothing runs; why, and what to do.
    TenantStopped(String),
    /// It is built.
    Applied(Box<Parts>),
}

/// How full a pipeline's queues are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backlog {
    /// The work queue.
    pub work: QueueTotals,
    /// The dead-letter queue, once the broker tells of it.
    pub dead: Option<QueueTotals>,
}

/// How far the parts of a pipeline are.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Generation that was built.
    pub generation: i64,
    /// The table.
    pub table: Stage,
    /// The queues.
    pub queues: Stage,
    /// Replicas that the gateway should have.
    pub gateway_replicas: u16,
    /// What each replica that answers says of this pipeline; [`None`] where it has not loaded it.
    pub loaded: Vec<Option<LoadedPipeline>>,
    /// How full the queues are, or why the broker cannot be asked.
    pub backlog: Result<Backlog, String>,
    /// What runs of the ingest app.
    pub apps: Apps,
    /// Why no ingest app is to run, and how that ends.
    pub paused: Option<&'static str>,
    /// What failed on the way, to be tried again with back-off.
    pub failure: Option<Failure>,
}

/// What runs of an ingest app.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Apps {
    /// How many always run.
    pub least: u16,
    /// How many are to run now.
    pub declared: u16,
    /// How many are ready.
    pub ready: i32,
    /// How many are not of this declaration, and take work until they have stopped.
    pub former: usize,
    /// Whether some should have been ready for a while and none is.
    pub overdue: bool,
}

impl Parts {
    /// Whether every replica of the gateway serves this generation.
    pub fn accepting(&self) -> Stage {
        let wanted = usize::from(self.gateway_replicas);
        let answering = self.loaded.len();
        let serving = self
            .loaded
            .iter()
            .flatten()
            .filter(|loaded| loaded.generation == self.generation)
            .count();
        if wanted == 0 || answering < wanted {
            return Stage::waiting(
                "GatewayNotReady",
                format!(
                    "{answering} of {wanted} gateway replicas answer: see condition GatewayReady of the Tenant"
                ),
            );
        }
        match serving < wanted {
            true => Stage::waiting(
                "GatewayLoading",
                format!(
                    "{serving} of {wanted} gateway replicas have loaded generation {}",
                    self.generation
                ),
            ),
            false => Stage::Done,
        }
    }

    /// Whether work is taken, or would be as soon as there is some.
    pub fn consuming(&self) -> Stage {
        let Apps {
            least,
            declared,
            ready,
            former,
            overdue,
        } = self.apps;
        match (self.paused, ready) {
            (Some(why), _) if former > 0 => Stage::waiting("Pausing", pausing(former, why)),
            (Some(why), _) => Stage::waiting(PAUSED, format!("{KEPT}; {why}")),
            (None, 0) if least > 0 || (declared > 0 && overdue) => {
                Stage::waiting("NoIngestApp", NO_APP)
            }
            (None, _) if former > 0 => Stage::waiting("RollingOut", rolling_out(former)),
            _ => Stage::Done,
        }
    }

    /// Whether ingest apps are at work now.
    fn active(&self) -> Fact {
        let Apps {
            declared,
            ready,
            former,
            overdue,
            ..
        } = self.apps;
        match (self.paused, &self.backlog, declared, ready) {
            (Some(why), ..) if former > 0 => Fact::not(ACTIVE, "Pausing", &pausing(former, why)),
            (Some(why), ..) => Fact::not(ACTIVE, PAUSED, &format!("{KEPT}; {why}")),
            (None, Err(error), ..) => Fact::unknown(
                ACTIVE,
                "BrokerNotAsked",
                &format!(
                    "as many ingest apps as run now are kept, {declared}, while nobody knows what waits: {error}"
                ),
            ),
            (None, Ok(backlog), 0, _) => idle(&backlog.work),
            (None, Ok(_), _, 0) if overdue => Fact::not(ACTIVE, "NoIngestApp", NO_APP),
            (None, Ok(_), _, 0) => Fact::not(ACTIVE, "Starting", "an ingest app starts"),
            (None, Ok(_), declared, ready) => Fact::is(
                ACTIVE,
                "Ingesting",
                &format!("{ready} of {declared} ingest apps are ready and take work"),
            ),
        }
    }
}

const NO_APP: &str = "no ingest app is ready; if this stays, see `kubectl describe` of its Deployment and its pods' logs";

fn pausing(left: usize, why: &str) -> String {
    format!("{left} ingest apps finish or hand back what they hold; {why}")
}

fn rolling_out(former: usize) -> String {
    format!(
        "{former} ingest apps of the former declaration take work until new ones are ready and they have stopped; if this stays, see `kubectl describe` of the Deployment and its pods' logs"
    )
}

fn idle(totals: &QueueTotals) -> Fact {
    match totals.ready + totals.unacknowledged {
        0 => Fact::not(
            ACTIVE,
            "Idle",
            "nothing waits: the next file or message starts an ingest app",
        ),
        _ => Fact::not(
            ACTIVE,
            "Waking",
            "files or messages wait: an ingest app is started within a few seconds",
        ),
    }
}

/// What a gateway replica says of one pipeline.
pub fn loaded(state: &GatewayState, pipeline: &str) -> Option<LoadedPipeline> {
    state
        .pipelines
        .iter()
        .find(|loaded| loaded.name == pipeline)
        .cloned()
}

/// Ready ingest apps, from a Deployment and its status.
pub fn ready_apps(ingest: &Deployment) -> i32 {
    ingest
        .status
        .as_ref()
        .and_then(|status| status.ready_replicas)
        .unwrap_or_default()
}

/// Status of a pipeline after a reconcile.
pub fn status(
    pipeline: &IngestPipeline,
    outcome: &Result<Observed, Error>,
) -> (IngestPipelineStatus, Facts) {
    let previous = pipeline.status.clone().unwrap_or_default();
    let described = IngestPipelineStatus {
        mode: Some(mode(pipeline).to_owned()),
        ..previous
    };
    match outcome {
        Ok(Observed::Applied(parts)) => {
            let mut facts = facts(parts);
            let figures = figures(parts, described);
            facts.extend(poison(pipeline, &figures));
            (figures, Facts::replacing(facts))
        }
        Ok(Observed::TenantNotReady(message)) => (
            described,
            Facts::keeping(reconciling("TenantNotReady", message)),
        ),
        Ok(Observed::TenantStopped(message)) => {
            let mut facts = stalled("TenantStopped", message);
            facts.push(Fact::not(ACCEPTING, "TenantStopped", message));
            facts.push(Fact::not(ACTIVE, "TenantStopped", message));
            let stopped = IngestPipelineStatus {
                replicas: Some(0),
                ..described
            };
            (stopped, Facts::keeping(facts))
        }
        Err(error) => (described, failed(error)),
    }
}

fn mode(pipeline: &IngestPipeline) -> &'static str {
    match pipeline.spec.batch {
        Some(_) => "Batch",
        None => "Stream",
    }
}

fn facts(parts: &Parts) -> Vec<Fact> {
    let (accepting, consuming) = (parts.accepting(), parts.consuming());
    let before = [&parts.table, &parts.queues, &accepting];
    let rests = parts.apps.former == 0 && before.iter().all(|stage| **stage == Stage::Done);
    let mut facts = match parts.paused.filter(|_| rests) {
        Some(why) => resting(why),
        None => whole(
            before.into_iter().chain([&consuming]),
            "work is accepted and taken as it comes",
        ),
    };
    facts.push(match parts.paused {
        Some(why) if parts.apps.former > 0 => {
            Fact::is(PAUSED, "Pausing", &pausing(parts.apps.former, why))
        }
        Some(why) => Fact::is(PAUSED, PAUSED, why),
        None => Fact::not(PAUSED, "Running", ""),
    });
    facts.extend([
        parts
            .table
            .fact(TABLE_READY, "the table has every declared column"),
        parts.queues.fact(QUEUES_READY, "the queues are in place"),
        accepting.fact(ACCEPTING, "every gateway replica accepts work"),
        parts.active(),
    ]);
    facts
}

/// Whether messages were given up, and what to do about them; nothing, as long as nobody has counted.
fn poison(pipeline: &IngestPipeline, figures: &IngestPipelineStatus) -> Option<Fact> {
    let name = pipeline.metadata.name.as_deref().unwrap_or_default();
    let namespace = pipeline.metadata.namespace.as_deref().unwrap_or_default();
    let tenant = TenantName::from_namespace(namespace).map(|name| name.to_string());
    let verb = format!("simbdp --tenant {} dlq", tenant.unwrap_or_default());
    Some(match figures.dead_letters? {
        ..=0 => Fact::not(POISON_MESSAGES, "None", "the dead-letter queue is empty"),
        count => Fact::is(
            POISON_MESSAGES,
            "DeadLetters",
            &format!(
                "{count} in the dead-letter queue: see why with `{verb} list {name}`; once the cause is mended `{verb} redrive {name} --all` ingests them, and `{verb} purge {name} --all` discards them"
            ),
        ),
    })
}

/// Facts of a pipeline that is as declared, and takes nothing.
fn resting(why: &str) -> Vec<Fact> {
    vec![
        Fact::not(READY, PAUSED, &format!("{KEPT}; {why}")),
        Fact::not(RECONCILING, PAUSED, ""),
        Fact::not(STALLED, PAUSED, ""),
    ]
}

/// Figures that cannot be asked now stay as they were.
fn figures(parts: &Parts, previous: IngestPipelineStatus) -> IngestPipelineStatus {
    // Any replica knows the sums of all apps; the largest is the newest.
    let newest = |figure: fn(&LoadedPipeline) -> Option<u64>| {
        let figures = parts.loaded.iter().flatten().filter_map(figure);
        figures.max().and_then(|figure| i64::try_from(figure).ok())
    };
    let held = |totals: &QueueTotals| i64::try_from(totals.ready + totals.unacknowledged).ok();
    let backlog = parts.backlog.as_ref().ok();
    let waiting = backlog.and_then(|backlog| held(&backlog.work));
    let dead = backlog.and_then(|backlog| held(backlog.dead.as_ref()?));
    IngestPipelineStatus {
        backlog: waiting.or(previous.backlog),
        dead_letters: dead.or(previous.dead_letters),
        replicas: Some(parts.apps.ready),
        rows: newest(|loaded| loaded.rows).or(previous.rows),
        rejected: newest(|loaded| loaded.rejected).or(previous.rejected),
        binding: Some(LocalRef {
            name: objects::COREDMS_BINDING.to_owned(),
        }),
        ..previous
    }
}

/// Facts of a failure: what runs stays as it is.
fn failed(error: &Error) -> Facts {
    let message = error.to_string();
    let mut facts = match error.class() {
        Class::Invalid => stalled(error.reason(), &message),
        Class::Transient => reconciling(error.reason(), &format!("{message}; it is tried again")),
    };
    if let Error::TableConflict { .. } = error {
        facts.push(Fact::not(TABLE_READY, error.reason(), &message));
    }
    Facts::keeping(facts)
}

/// Status of a pipeline that is being deleted.
pub fn teardown_status(
    pipeline: &IngestPipeline,
    outcome: &Result<Teardown, Error>,
) -> (IngestPipelineStatus, Facts) {
    (
        pipeline.status.clone().unwrap_or_default(),
        teardown_facts(outcome),
    )
}

#[cfg(test)]
mod tests;
