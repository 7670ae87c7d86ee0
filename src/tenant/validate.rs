//! Validate [pure]: a Tenant and what it refers to → [`ValidatedTenant`], or what is wrong and what
//! would be right.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::StatefulSet;
use simbdp_api::common::{Quantity, QuantityError, StorageSpec};
use simbdp_api::coredms::CoreDmsSpec;
use simbdp_api::names::{NameError, TenantName};
use simbdp_api::pipeline::{FileCount, Format};
use simbdp_api::tenant::{DeletionPolicy, Quota, TenantCoreDms, User};
use simbdp_api::{Broker, Tenant};

use super::build::gateway;
use crate::coredms::validate::{self as coredms, MemberNeeds};
use crate::error::Classified;
use crate::objects;

/// A Tenant that can be built.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedTenant {
    /// Name, from which all other names derive.
    pub name: TenantName,
    /// The tenant's database.
    pub coredms: CoreDmsSpec,
    /// Name of the Broker that holds the tenant's queues.
    pub broker: String,
    /// Who may use the gateway.
    pub users: Vec<User>,
    /// What the tenant may use at most.
    pub quota: Quota,
    /// The platform's ceilings on files.
    pub ceilings: ValidatedCeilings,
    /// The tenant's front end.
    pub gateway: ValidatedGateway,
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
            Self::Coredms(invalid) => invalid.reason(),
            Self::QuotaTooSmall { .. } => "QuotaTooSmall",
            Self::StagingChanged { .. } => "StagingImmutable",
            Self::BrokerNotFound { .. } => "BrokerNotFound",
            Self::BrokerAmbiguous(_) => "BrokerAmbiguous",
            Self::BrokerChanged { .. } => "BrokerImmutable",
        }
    }

    /// Whether the fault is in the choice of a Broker.
    pub fn concerns_broker(&self) -> bool {
        matches!(
            self,
            Self::BrokerNotFound { .. } | Self::BrokerAmbiguous(_) | Self::BrokerChanged { .. }
        )
    }
}

/// Checks a Tenant. `current_broker` is the Broker that already holds the tenant's queues.
pub fn validate(
    tenant: &Tenant,
    brokers: &[Broker],
    current_broker: Option<&str>,
) -> Result<ValidatedTenant, Invalid> {
    let spec = &tenant.spec;
    let name = TenantName::new(tenant.metadata.name.clone().unwrap_or_default())?;
    let database = coredms_spec(&spec.coredms, spec.deletion_policy);
    let member = coredms::member_needs(&database)?;
    let gateway = ValidatedGateway {
        replicas: spec.gateway.replicas,
        staging: spec.gateway.staging.clone(),
    };
    check_users(&spec.users)?;
    check_quota(&spec.quota, &database, &gateway, member)?;
    Ok(ValidatedTenant {
        name,
        coredms: database,
        broker: choose_broker(
            spec.broker.reference.as_ref().map(|r| r.name.as_str()),
            brokers,
            current_broker,
        )?,
        users: spec.users.clone(),
        quota: spec.quota.clone(),
        ceilings: ceilings(tenant)?,
        gateway,
    })
}

/// The CoreDms that a Tenant asks for. Its volumes share the tenant's fate.
fn coredms_spec(coredms: &TenantCoreDms, deletion_policy: DeletionPolicy) -> CoreDmsSpec {
    CoreDmsSpec {
        engine: coredms.engine,
        version: coredms.version.clone(),
        replicas: coredms.replicas,
        storage: coredms.storage.clone(),
        resources: coredms.resources.clone(),
        profile: coredms.profile,
        deletion_policy,
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

/// Broker by name, else the one that already holds the queues, else the one marked default.
fn choose_broker(
    wanted: Option<&str>,
    brokers: &[Broker],
    current: Option<&str>,
) -> Result<String, Invalid> {
    let names = || {
        let mut names: Vec<String> = brokers
            .iter()
            .filter_map(|b| b.metadata.name.clone())
            .collect();
        names.sort();
        names
    };
    if let (Some(wanted), Some(current)) = (wanted, current)
        && wanted != current
        && names().contains(&current.to_owned())
    {
        return Err(Invalid::BrokerChanged {
            current: current.to_owned(),
            wanted: wanted.to_owned(),
        });
    }
    if let Some(name) = wanted.or(current) {
        return match names().contains(&name.to_owned()) {
            true => Ok(name.to_owned()),
            false => Err(Invalid::BrokerNotFound {
                wanted: Some(name.to_owned()),
                known: names(),
            }),
        };
    }
    let mut defaults: Vec<String> = brokers
        .iter()
        .filter(|broker| broker.spec.default)
        .filter_map(|broker| broker.metadata.name.clone())
        .collect();
    defaults.sort();
    match defaults.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Invalid::BrokerNotFound {
            wanted: None,
            known: names(),
        }),
        _ => Err(Invalid::BrokerAmbiguous(defaults)),
    }
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
    coredms: &CoreDmsSpec,
    gateway: &ValidatedGateway,
    member: MemberNeeds,
) -> Result<(), Invalid> {
    let staging = gateway
        .staging
        .size
        .bytes()
        .map_err(quantity("spec.gateway.staging.size"))?;
    let total = |of_member: u64, of_gateway: u64| {
        u64::from(coredms.replicas) * of_member + u64::from(gateway.replicas) * of_gateway
    };
    let check = |field, declared: Option<u64>, needed: u64, show: fn(u64) -> String| match declared
    {
        Some(declared) if declared < needed => Err(Invalid::QuotaTooSmall {
            field,
            declared: show(declared),
            needed: show(needed),
            sum: format!(
                "{} database members and {} gateway {}",
                coredms.replicas,
                gateway.replicas,
                if gateway.replicas == 1 {
                    "replica"
                } else {
                    "replicas"
                }
            ),
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

fn show_bytes(bytes: u64) -> String {
    objects::memory(bytes).0
}

fn show_millis(millis: u64) -> String {
    objects::cpu(millis).0
}

#[cfg(test)]
mod tests;
