//! Which shared CoreDms a tenant gets a place in [pure]: the one it has a place in already, the one that is asked for,
//! or the emptiest ready one with room; and what to say when there is none.

use kube::ResourceExt;
use simbdp_api::common::{Engine, Quantity};
use simbdp_api::names::TenantName;
use simbdp_api::{CoreDms, CoreDmsSpec, labels};

use crate::conditions::{READY, find, holds};
use crate::config::SharedTemplate;
use crate::coredms::names;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The tenant.
    pub tenant: &'a TenantName,
    /// Engine of the database.
    pub engine: Engine,
    /// CoreDms that is named in the spec.
    pub reference: Option<&'a str>,
    /// CoreDms that is on record to hold the tenant's data.
    pub recorded: Option<&'a str>,
    /// Namespace of the operator, where CoreDms are shared.
    pub namespace: &'a str,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// The tenant has a place there already.
    Has(Box<CoreDms>),
    /// It takes one there, and why there.
    Take(Box<CoreDms>, String),
    /// It waits, since that is not ready; with what the CoreDms says.
    Wait(String),
    /// Every one is full: a new one of this name is made.
    Create(String),
}

/// Why a tenant cannot get a place. Nothing is altered then.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoPlace {
    /// The CoreDms that is asked for is not there.
    #[error("spec.coredms.ref: CoreDms `{wanted}` is not in namespace {namespace}; {}", known(.shared))]
    NotFound {
        /// Name that was asked for.
        wanted: String,
        /// Namespace of the operator.
        namespace: String,
        /// Names of the shared ones.
        shared: Vec<String>,
    },
    /// It is not shared.
    #[error(
        "spec.coredms.ref: CoreDms `{0}` is not shared: set its spec.maxTenants, or name another one"
    )]
    NotShared(String),
    /// It is of another engine.
    #[error(
        "CoreDms `{name}` is of engine {there:?}, and spec.coredms.engine asks for {asked:?}: name one of that engine in spec.coredms.ref"
    )]
    OtherEngine {
        /// Its name.
        name: String,
        /// Its engine.
        there: Engine,
        /// What was asked for.
        asked: Engine,
    },
    /// It is being deleted.
    #[error("spec.coredms.ref: CoreDms `{0}` is being deleted: name another one")]
    Leaving(String),
    /// Every place in it is taken.
    #[error(
        "spec.coredms.ref: each of the {places} places of CoreDms `{name}` is taken: raise its spec.maxTenants, or name another one"
    )]
    Full {
        /// Its name.
        name: String,
        /// Its places.
        places: usize,
    },
    /// A tenant's data do not move.
    #[error(
        "the tenant's data are in CoreDms `{current}` and cannot move to `{wanted}`: set spec.coredms.ref to `{current}`, or leave it out"
    )]
    Moved {
        /// Where the data are.
        current: String,
        /// What was asked for.
        wanted: String,
    },
    /// None has room, and the operator is not told how to make one.
    #[error(
        "no shared CoreDms of engine {engine:?} in namespace {namespace} has room ({}): create one with spec.maxTenants, raise spec.maxTenants of one, or set sharedCoredms in the operator's configuration",
        full(.there)
    )]
    NoRoom {
        /// Engine that is asked for.
        engine: Engine,
        /// Namespace of the operator.
        namespace: String,
        /// Each that is there, and its places.
        there: Vec<String>,
    },
}

fn known(shared: &[String]) -> String {
    match shared {
        [] => "none there is shared: create one with spec.maxTenants".to_owned(),
        shared => format!("shared are {}", shared.join(", ")),
    }
}

fn full(there: &[String]) -> String {
    match there {
        [] => "there is none".to_owned(),
        there => there.join(", "),
    }
}

impl NoPlace {
    /// Reason of conditions, CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "CoreDmsNotFound",
            Self::NotShared(_) => "CoreDmsNotShared",
            Self::OtherEngine { .. } => "CoreDmsOfOtherEngine",
            Self::Leaving(_) => "CoreDmsLeaving",
            Self::Full { .. } => "CoreDmsFull",
            Self::Moved { .. } => "CoreDmsImmutable",
            Self::NoRoom { .. } => "NoRoom",
        }
    }
}

/// Chooses among `all` CoreDms of the operator's namespace. `can_create` says whether there is a template.
pub fn choose(asked: Asked, all: &[CoreDms], can_create: bool) -> Result<Choice, NoPlace> {
    let tenant = asked.tenant.as_str();
    // Should a crash have left a second one, the one with the data counts.
    let claimed = all.iter().filter(|one| one.spec.claimed_by(tenant));
    let order = |one: &&CoreDms| {
        let name = one.name_any();
        (asked.recorded != Some(name.as_str()), name)
    };
    if let Some(current) = claimed.min_by_key(order) {
        stays(asked, &current.name_any())?;
        of_engine(asked, current)?;
        return Ok(Choice::Has(Box::new(current.clone())));
    }
    if let Some(recorded) = asked.recorded {
        stays(asked, recorded)?;
    }
    match asked.recorded.or(asked.reference) {
        Some(name) => named(asked, name, all),
        None => emptiest(asked, all, can_create),
    }
}

fn stays(asked: Asked, current: &str) -> Result<(), NoPlace> {
    match asked.reference {
        Some(wanted) if wanted != current => Err(NoPlace::Moved {
            current: current.to_owned(),
            wanted: wanted.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn of_engine(asked: Asked, coredms: &CoreDms) -> Result<(), NoPlace> {
    match coredms.spec.engine == asked.engine {
        true => Ok(()),
        false => Err(NoPlace::OtherEngine {
            name: coredms.name_any(),
            there: coredms.spec.engine,
            asked: asked.engine,
        }),
    }
}

/// The one that is asked for, or the reason why not.
fn named(asked: Asked, name: &str, all: &[CoreDms]) -> Result<Choice, NoPlace> {
    let Some(one) = all.iter().find(|one| one.name_any() == name) else {
        let shared = all.iter().filter(|one| one.spec.max_tenants.is_some());
        let mut shared: Vec<_> = shared.map(ResourceExt::name_any).collect();
        shared.sort();
        return Err(NoPlace::NotFound {
            wanted: name.to_owned(),
            namespace: asked.namespace.to_owned(),
            shared,
        });
    };
    let Some(places) = one.spec.max_tenants else {
        return Err(NoPlace::NotShared(name.to_owned()));
    };
    of_engine(asked, one)?;
    if leaving(one) {
        return Err(NoPlace::Leaving(name.to_owned()));
    }
    if one.spec.room() == 0 {
        return Err(NoPlace::Full {
            name: name.to_owned(),
            places: places.into(),
        });
    }
    if !ready(one) {
        return Ok(Choice::Wait(not_ready(one)));
    }
    let why = match asked.reference {
        Some(_) => "named in spec.coredms.ref",
        None => "on record to hold the tenant's data",
    };
    Ok(Choice::Take(
        Box::new(one.clone()),
        format!("{}; {why}", taken(one)),
    ))
}

/// The ready one with the fewest tenants, then with the least data, then the first by name. While one with room starts, none is made.
fn emptiest(asked: Asked, all: &[CoreDms], can_create: bool) -> Result<Choice, NoPlace> {
    let mut shared: Vec<_> = all
        .iter()
        .filter(|one| one.spec.max_tenants.is_some() && one.spec.engine == asked.engine)
        .filter(|one| !leaving(one))
        .collect();
    shared.sort_by_key(|one| (one.spec.claims.len(), bytes(one), one.name_any()));
    let with_room: Vec<_> = shared
        .iter()
        .copied()
        .filter(|one| one.spec.room() > 0)
        .collect();
    let mut open = with_room.iter().copied().filter(|one| ready(one));
    if let Some(best) = open.next() {
        let why = match open.count() {
            0 => "the only one with room".to_owned(),
            others => format!("emptiest of {}", others + 1),
        };
        return Ok(Choice::Take(
            Box::new(best.clone()),
            format!("{}; {why}", taken(best)),
        ));
    }
    if let Some(starting) = with_room.first() {
        return Ok(Choice::Wait(not_ready(starting)));
    }
    match can_create {
        true => Ok(Choice::Create(next_name(asked.engine, all))),
        false => Err(NoPlace::NoRoom {
            engine: asked.engine,
            namespace: asked.namespace.to_owned(),
            there: shared.into_iter().map(taken).collect(),
        }),
    }
}

fn ready(coredms: &CoreDms) -> bool {
    let status = coredms.status.as_ref();
    status.is_some_and(|status| holds(&status.conditions.conditions, READY))
}

fn leaving(coredms: &CoreDms) -> bool {
    coredms.metadata.deletion_timestamp.is_some()
}

fn data(coredms: &CoreDms) -> Option<&Quantity> {
    coredms.status.as_ref()?.data.as_ref()
}

/// A new one may not have told yet.
fn bytes(coredms: &CoreDms) -> u64 {
    let told = data(coredms).map(Quantity::bytes);
    told.and_then(Result::ok).unwrap_or_default()
}

fn taken(coredms: &CoreDms) -> String {
    let CoreDmsSpec {
        claims,
        max_tenants,
        ..
    } = &coredms.spec;
    let data = data(coredms).map(|data| format!(", {} of data", data.0));
    format!(
        "{}: {} of {} places taken{}",
        coredms.name_any(),
        claims.len(),
        max_tenants.unwrap_or_default(),
        data.unwrap_or_default()
    )
}

fn not_ready(coredms: &CoreDms) -> String {
    let conditions = coredms.status.as_ref().map(|status| &status.conditions);
    let said = conditions
        .and_then(|all| find(&all.conditions, READY))
        .map(|ready| ready.message.as_str())
        .filter(|message| !message.is_empty());
    format!(
        "CoreDms `{}` has room and is not ready yet: {}",
        coredms.name_any(),
        said.unwrap_or("it is being created")
    )
}

/// The first name of its engine that nothing has, so that all who find no room make the same one.
fn next_name(engine: Engine, all: &[CoreDms]) -> String {
    let there = |name: &String| all.iter().any(|one| one.name_any() == *name);
    // There is one more than there are objects, so one of them is free.
    let mut names = (1..=all.len() + 1).map(|ordinal| names::shared(engine, ordinal));
    names.find(|name| !there(name)).unwrap_or_default()
}

/// A shared CoreDms as the platform's template has it.
pub fn from_template(
    engine: Engine,
    name: &str,
    namespace: &str,
    template: &SharedTemplate,
) -> CoreDms {
    let mut coredms = CoreDms::new(name, template.spec(engine));
    coredms.metadata.namespace = Some(namespace.to_owned());
    coredms.metadata.labels = Some(
        [
            (labels::APP_NAME.to_owned(), "simbdp".to_owned()),
            (labels::APP_INSTANCE.to_owned(), name.to_owned()),
            (labels::APP_COMPONENT.to_owned(), "coredms".to_owned()),
            (labels::APP_PART_OF.to_owned(), "simbdp".to_owned()),
            (
                labels::APP_MANAGED_BY.to_owned(),
                crate::apply::MANAGED_BY.to_owned(),
            ),
        ]
        .into(),
    );
    coredms
}

#[cfg(test)]
mod tests;
