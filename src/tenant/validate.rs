//! Validate [pure]: a Tenant and what it refers to → [`ValidatedTenant`], or what is wrong and what
//! would be right.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::StatefulSet;
use simbdp_api::common::{Engine, ObjectRef, Quantity, QuantityError, StorageSpec};
use simbdp_api::coredms::CoreDmsSpec;
use simbdp_api::names::{NameError, TenantName};
use simbdp_api::pipeline::{FileCount, Format};
use simbdp_api::tenant::{DeletionPolicy, Placement, Quota, TenantCoreDms, User};
use simbdp_api::{Broker, Tenant};

pub use self::broker::max_queue_bytes;
use super::build::gateway;
use super::namespace::Current;
use crate::broker::place::BrokerPlace;
use crate::coredms::validate::{self as coredms, MemberNeeds};
use crate::error::Classified;
use crate::objects;

/// A Tenant that can be built.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedTenant {
    /// Name, from which all other names derive.
    pub name: TenantName,
    /// The tenant's database.
    pub coredms: Database,
    /// The broker that holds the tenant's queues.
    pub broker: BrokerPlace,
    /// Most bytes of a queue there.
    pub max_queue_bytes: u64,
    /// Who may use the gateway.
    pub users: Vec<User>,
    /// What the tenant may use at most.
    pub quota: Quota,
    /// The platform's ceilings on files.
    pub ceilings: ValidatedCeilings,
    /// The tenant's front end.
    pub gateway: ValidatedGateway,
    /// Whether all of its pipelines are paused.
    pub paused: bool,
    /// When a person last asked for a restart of the gateway.
    pub restarted_at: Option<String>,
}

/// The tenant's database.
#[derive(Clone, Debug, PartialEq)]
pub enum Database {
    /// One of its own.
    Dedicated(Box<CoreDmsSpec>),
    /// A place in a shared one.
    Shared {
        /// Engine.
        engine: Engine,
        /// CoreDms that is asked for.
        reference: Option<String>,
        /// CoreDms that is on record to hold the tenant's data.
        recorded: Option<String>,
    },
}

impl Database {
    /// What is declared of the tenant's own.
    pub fn own(&self) -> Option<&CoreDmsSpec> {
        match self {
            Self::Dedicated(spec) => Some(spec),
            Self::Shared { .. } => None,
        }
    }
}

/// The platform's ceilings on files, in bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValidatedCeilings {
    /// Largest file, uncompressed.
    pub max_file_size: Option<u64>,
    /// Most files in a period, over all pipelines.
    pub max_files: Option<FileCount>,
    /// Formats that pipelines may choose from.
    pub formats: Option<Vec<Format>>,
}

/// The tenant's front end.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedGateway {
    /// Replicas.
    pub replicas: u16,
    /// Staging volume of each.
    pub staging: StorageSpec,
}

/// Why a Tenant cannot be built. Nothing is altered then.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// A name does not fit.
    #[error("{0}")]
    Name(#[from] NameError),
    /// Two users of one name.
    #[error("user `{0}` is declared twice: give each user a name of its own")]
    UserTwice(String),
    /// A quantity does not parse.
    #[error("{field}: {source}")]
    Quantity {
        /// Path of the field.
        field: &'static str,
        /// What is wrong with it.
        source: QuantityError,
    },
    /// A field that belongs to the other placement, or is missing in this one.
    #[error("spec.coredms: {0}")]
    Placement(&'static str),
    /// A tenant's data do not move.
    #[error(
        "the tenant's data are in CoreDms `{}/{}` and cannot move: set spec.coredms.placement to {placement:?}",
        .current.namespace, .current.name
    )]
    PlacementChanged {
        /// The CoreDms that holds the data.
        current: ObjectRef,
        /// The placement that this is.
        placement: Placement,
    },
    /// The database cannot be run as declared.
    #[error("the tenant's coredms: {0}")]
    Coredms(#[from] coredms::Invalid),
    /// The database, the gateway or both do not fit the quota.
    #[error(
        "spec.quota.{field} is {declared}, but {sum} need {needed}: set spec.quota.{field} to {needed} or more"
    )]
    QuotaTooSmall {
        /// Field of the quota.
        field: &'static str,
        /// What is declared.
        declared: String,
        /// What is needed.
        needed: String,
        /// What it is needed for.
        sum: String,
    },
    /// Volumes are claimed once.
    #[error(
        "spec.gateway.staging is {asked}, but the gateway's volumes are {claimed} and cannot be changed: set it back"
    )]
    StagingChanged {
        /// What is declared now.
        asked: String,
        /// What was declared when the gateway was made.
        claimed: String,
    },
    /// The Broker is not there.
    #[error("{}", broker_not_found(.wanted, .known))]
    BrokerNotFound {
        /// Name that was asked for; [`None`] for the default one.
        wanted: Option<String>,
        /// Names of all Brokers.
        known: Vec<String>,
    },
    /// More than one Broker is the default one.
    #[error(
        "the Brokers {} are all marked default: name one in spec.broker.ref, or leave the mark on one alone",
        .0.join(", ")
    )]
    BrokerAmbiguous(Vec<String>),
    /// The Broker is another tenant's.
    #[error(
        "Broker `{broker}` is for tenant `{tenant}` alone: name another one in spec.broker.ref, or leave it out for the default one"
    )]
    BrokerReserved {
        /// Broker that was asked for.
        broker: String,
        /// Tenant that it is for.
        tenant: String,
    },
    /// Two Brokers are for this tenant alone.
    #[error("the Brokers {} are all for this tenant alone: name one in spec.broker.ref", .0.join(", "))]
    BrokersOfItsOwn(Vec<String>),
    /// Queues do not move between Brokers.
    #[error(
        "the tenant's queues are on Broker `{current}` and cannot move to `{wanted}`: set spec.broker.ref to `{current}`"
    )]
    BrokerChanged {
        /// Broker that holds the queues.
        current: String,
        /// Broker that was asked for.
        wanted: String,
    },
}

fn broker_not_found(wanted: &Option<String>, known: &[String]) -> String {
    let known = match known {
        [] => "there is no Broker: create one".to_owned(),
        known => format!("known are {}", known.join(", ")),
    };
    match wanted {
        Some(name) => format!(
            "Broker `{name}` is not there; {known}; set spec.broker.ref to an existing one, or create it"
        ),
        None => format!(
            "no Broker is marked default; {known}; name one in spec.broker.ref, or set spec.default of one"
        ),
    }
}

impl Invalid {
    /// Reason of conditions, CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Name(_) | Self::UserTwice(_) => "InvalidName",
            Self::Quantity { .. } => "InvalidQuantity",
            Self::Placement(_) => "InvalidPlacement",
            Self::PlacementChanged { .. } => "PlacementImmutable",
            Self::Coredms(invalid) => invalid.reason(),
            Self::QuotaTooSmall { .. } => "QuotaTooSmall",
            Self::StagingChanged { .. } => "StagingImmutable",
            Self::BrokerNotFound { .. } => "BrokerNotFound",
            Self::BrokerAmbiguous(_) | Self::BrokersOfItsOwn(_) => "BrokerAmbiguous",
            Self::BrokerReserved { .. } => "BrokerReserved",
            Self::BrokerChanged { .. } => "BrokerImmutable",
        }
    }

    /// Whether the fault is in the choice of a Broker.
    pub fn concerns_broker(&self) -> bool {
        matches!(
            self,
            Self::BrokerNotFound { .. }
                | Self::BrokerAmbiguous(_)
                | Self::BrokersOfItsOwn(_)
                | Self::BrokerReserved { .. }
                | Self::BrokerChanged { .. }
        )
    }
}

/// Checks a Tenant. `current` is what already holds the tenant's queues and data.
pub fn validate(
    tenant: &Tenant,
    brokers: &[Broker],
    current: &Current,
) -> Result<ValidatedTenant, Invalid> {
    let spec = &tenant.spec;
    let name = TenantName::new(tenant.metadata.name.clone().unwrap_or_default())?;
    let database = database(&name, tenant, current.coredms.as_ref())?;
    let gateway = ValidatedGateway {
        replicas: spec.gateway.replicas,
        staging: spec.gateway.staging.clone(),
    };
    check_users(&spec.users)?;
    check_quota(&spec.quota, members(&database)?, &gateway)?;
    let asked = spec.broker.reference.as_ref().map(|r| r.name.as_str());
    let broker = broker::choose(&name, asked, brokers, current.broker.as_deref())?;
    Ok(ValidatedTenant {
        name,
        coredms: database,
        broker: BrokerPlace::of(broker),
        max_queue_bytes: max_queue_bytes(broker),
        users: spec.users.clone(),
        quota: spec.quota.clone(),
        ceilings: ceilings(tenant)?,
        gateway,
        paused: spec.paused,
        restarted_at: objects::restarted_at(tenant),
    })
}

/// The database that a Tenant asks for. The API server refuses most of what is refused here, too.
fn database(
    name: &TenantName,
    tenant: &Tenant,
    current: Option<&ObjectRef>,
) -> Result<Database, Invalid> {
    let asked = &tenant.spec.coredms;
    let placement = |own| match own {
        true => Placement::Dedicated,
        false => Placement::Shared,
    };
    let there = current.map(|current| placement(current.namespace == name.namespace()));
    if let (Some(current), Some(there)) = (current, there)
        && there != asked.placement
    {
        return Err(Invalid::PlacementChanged {
            current: current.clone(),
            placement: there,
        });
    }
    let reference = asked.reference.as_ref().map(|asked| asked.name.clone());
    match (asked.placement, reference) {
        (Placement::Dedicated, Some(_)) => Err(Invalid::Placement(
            "ref names a shared CoreDms: set placement to Shared, or leave ref out",
        )),
        (Placement::Dedicated, None) => dedicated(asked, tenant.spec.deletion_policy),
        (Placement::Shared, _) if members_are_declared(asked) => Err(Invalid::Placement(
            "storage, replicas, resources, profile and version belong to placement Dedicated: a shared CoreDms has its own, so leave them out",
        )),
        (Placement::Shared, reference) => Ok(Database::Shared {
            engine: asked.engine,
            reference,
            recorded: current.map(|current| current.name.clone()),
        }),
    }
}

fn members_are_declared(coredms: &TenantCoreDms) -> bool {
    coredms.storage.is_some()
        || coredms.replicas.is_some()
        || coredms.resources.is_some()
        || coredms.profile.is_some()
        || coredms.version.is_some()
}

/// The CoreDms of its own that a Tenant asks for. Its volumes share the tenant's fate.
fn dedicated(
    coredms: &TenantCoreDms,
    deletion_policy: DeletionPolicy,
) -> Result<Database, Invalid> {
    let Some(storage) = &coredms.storage else {
        return Err(Invalid::Placement(
            "placement Dedicated needs storage: the volume of each member",
        ));
    };
    let mut spec = CoreDmsSpec::managed(coredms.engine, storage.clone());
    spec.resources = coredms.resources.clone();
    spec.deletion_policy = deletion_policy;
    spec.version = coredms.version.clone().or(spec.version);
    spec.replicas = coredms.replicas.or(spec.replicas);
    spec.profile = coredms.profile.or(spec.profile);
    Ok(Database::Dedicated(Box::new(spec)))
}

/// How many members a database has in the tenant's own namespace, and what one needs.
fn members(database: &Database) -> Result<(u16, MemberNeeds), Invalid> {
    match database {
        Database::Dedicated(spec) => Ok((coredms::replicas(spec)?, coredms::member_needs(spec)?)),
        Database::Shared { .. } => Ok((0, MemberNeeds::default())),
    }
}

/// The platform's ceilings of a Tenant, which its pipelines may only narrow.
pub fn ceilings(tenant: &Tenant) -> Result<ValidatedCeilings, Invalid> {
    let declared = &tenant.spec.constraints;
    Ok(ValidatedCeilings {
        max_file_size: declared
            .max_file_size
            .as_ref()
            .map(Quantity::bytes)
            .transpose()
            .map_err(quantity("spec.constraints.maxFileSize"))?,
        max_files: declared.max_files,
        formats: declared.formats.clone(),
    })
}

fn quantity(field: &'static str) -> impl Fn(QuantityError) -> Invalid {
    move |source| Invalid::Quantity { field, source }
}

fn check_users(users: &[User]) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for user in users {
        // The rule is that of all names; only the kind in the message differs.
        TenantName::new(user.name.as_str()).map_err(|error| NameError {
            kind: "user",
            name: error.name,
        })?;
        if !seen.insert(&user.name) {
            return Err(Invalid::UserTwice(user.name.clone()));
        }
    }
    Ok(())
}

/// Checks that the staging volumes of a gateway that is there are asked for as they were claimed.
pub fn check_staging(asked: &StorageSpec, gateway: &StatefulSet) -> Result<(), Invalid> {
    let claims = gateway
        .spec
        .iter()
        .flat_map(|spec| spec.volume_claim_templates.iter().flatten());
    for claim in claims.filter_map(|claim| claim.spec.as_ref()) {
        let requests = claim
            .resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref());
        let size = requests
            .and_then(|requests| requests.get("storage"))
            .map(|size| size.0.clone());
        let class = claim.storage_class_name.clone();
        if size.as_ref() != Some(&asked.size.canonical().0) || class != asked.storage_class_name {
            return Err(Invalid::StagingChanged {
                asked: show_storage(&asked.size.0, asked.storage_class_name.as_deref()),
                claimed: show_storage(&size.unwrap_or_default(), class.as_deref()),
            });
        }
    }
    Ok(())
}

fn show_storage(size: &str, class: Option<&str>) -> String {
    match class {
        Some(class) => format!("{size} of class {class}"),
        None => size.to_owned(),
    }
}

/// Whether the database and the gateway fit the quota. Pipelines come later and are refused by the
/// quota itself, which their status then says.
fn check_quota(
    quota: &Quota,
    (members, member): (u16, MemberNeeds),
    gateway: &ValidatedGateway,
) -> Result<(), Invalid> {
    let staging = gateway
        .staging
        .size
        .bytes()
        .map_err(quantity("spec.gateway.staging.size"))?;
    let total = |of_member: u64, of_gateway: u64| {
        u64::from(members) * of_member + u64::from(gateway.replicas) * of_gateway
    };
    let check = |field, declared: Option<u64>, needed: u64, show: fn(u64) -> String| match declared
    {
        Some(declared) if declared < needed => Err(Invalid::QuotaTooSmall {
            field,
            declared: show(declared),
            needed: show(needed),
            sum: needed_for(members, gateway.replicas),
        }),
        _ => Ok(()),
    };
    let parse =
        |field, declared: &Option<Quantity>, read: fn(&Quantity) -> Result<u64, QuantityError>| {
            declared
                .as_ref()
                .map(read)
                .transpose()
                .map_err(quantity(field))
        };
    let storage = parse("spec.quota.storage", &quota.storage, Quantity::bytes)?;
    let cpu = parse("spec.quota.cpu", &quota.cpu, Quantity::millis)?;
    let memory = parse("spec.quota.memory", &quota.memory, Quantity::bytes)?;
    check("pods", quota.pods.map(u64::from), total(1, 1), |pods| {
        pods.to_string()
    })?;
    check(
        "storage",
        storage,
        total(member.storage, staging),
        show_bytes,
    )?;
    check(
        "cpu",
        cpu,
        total(member.cpu, gateway::CPU_REQUEST_MILLIS),
        show_millis,
    )?;
    check(
        "memory",
        memory,
        total(member.memory_limit, gateway::MEMORY_LIMIT),
        show_bytes,
    )
}

fn needed_for(members: u16, replicas: u16) -> String {
    let gateway = match replicas {
        1 => "1 gateway replica".to_owned(),
        many => format!("{many} gateway replicas"),
    };
    match members {
        0 => gateway,
        members => format!("{members} database members and {gateway}"),
    }
}

fn show_bytes(bytes: u64) -> String {
    objects::memory(bytes).0
}

fn show_millis(millis: u64) -> String {
    objects::cpu(millis).0
}

mod broker;
#[cfg(test)]
mod tests;
