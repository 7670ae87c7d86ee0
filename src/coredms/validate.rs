//! Validate [pure]: a CoreDms as declared → [`ValidatedCoreDms`], in bytes and thousandths of a CPU.

use kube::ResourceExt;
use simbdp_api::common::{Engine, Profile, Quantity, ResourceList, Resources};
use simbdp_api::tenant::DeletionPolicy;
use simbdp_api::{CoreDms, CoreDmsSpec};

use crate::error::{Class, Classified};
use crate::objects::namespace_of;
use crate::outside::Unusable;

const MIB: u64 = 1 << 20;
/// The least members of a database: as many as there are replicas of each row.
pub const LEAST_MEMBERS: u16 = 3;
/// Members that a replica set of MongoDB can have, of those that are more than one.
const VOTERS: [u16; 3] = [3, 5, 7];

/// How an engine divides a member's memory.
struct Memory {
    /// Limit by default, in Development.
    small: u64,
    /// Limit by default, in Production.
    large: u64,
    /// What the server needs besides its share and what is of the share's size.
    overhead: u64,
    /// The least share that a member starts with.
    least: u64,
    /// The largest share that is of use.
    most: u64,
}

/// Java's heap gets half of what is left beside Java itself: the other half is for what Cassandra keeps outside
/// it. At 900Mi this is 258 MiB, with which a member was measured to take 325 to 409 MiB. Above 31 GiB
/// references get longer and the heap holds less.
const CASSANDRA: Memory = Memory {
    small: 900 * MIB,
    large: 4096 * MIB,
    overhead: 384 * MIB,
    least: 192 * MIB,
    most: 31 << 30,
};

/// The cache gets half of what is left beside mongod itself, as mongod's own default does; not less than its
/// default's least.
const MONGODB: Memory = Memory {
    small: 768 * MIB,
    large: 4096 * MIB,
    overhead: 256 * MIB,
    least: 256 * MIB,
    most: 10 << 40,
};

fn division(engine: Engine) -> Memory {
    match engine {
        Engine::MongoDB => MONGODB,
        Engine::Cassandra => CASSANDRA,
    }
}

/// A CoreDms that cannot be run as declared.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// A quantity does not parse.
    #[error("spec.{field}: {problem}")]
    Quantity {
        /// The field.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The volume of a member is not declared, nor is the database external.
    #[error(
        "spec.storage is missing: set the size of each member's volume, or spec.external for a database that the operator does not run"
    )]
    NoStorage,
    /// An external database that cannot be reached as declared.
    #[error(transparent)]
    External(#[from] Unusable),
    /// Fewer members than replicas of each row.
    #[error("spec.replicas ({0}) is less than 3, the replicas of each row: set it to 3 or more")]
    TooFewReplicas(u16),
    /// A number of voters that a replica set cannot have, or should not.
    #[error(
        "spec.replicas ({0}) cannot be had with MongoDB: set it to 3, 5 or 7, since an even number elects no better than one less and a replica set has 7 voters at most"
    )]
    UnsuitableReplicas(u16),
    /// More is asked for than may be used.
    #[error(
        "spec.resources.requests.{what} ({request}) is more than spec.resources.limits.{what} ({limit}): lower the request or raise the limit"
    )]
    RequestAboveLimit {
        /// cpu or memory.
        what: &'static str,
        /// The request.
        request: String,
        /// The limit.
        limit: String,
    },
    /// A member would not start.
    #[error(
        "spec.resources.limits.memory ({limit}) is too little for a member: give it {least} or more"
    )]
    TooLittleMemory {
        /// The limit.
        limit: String,
        /// The least that will do.
        least: String,
    },
}

impl Classified for Invalid {
    fn class(&self) -> Class {
        Class::Invalid
    }
    fn reason(&self) -> &'static str {
        match self {
            Self::Quantity { .. } => "InvalidQuantity",
            Self::NoStorage => "NoStorage",
            Self::External(error) => error.reason(),
            Self::TooFewReplicas(_) => "TooFewReplicas",
            Self::UnsuitableReplicas(_) => "UnsuitableReplicas",
            Self::RequestAboveLimit { .. } => "RequestAboveLimit",
            Self::TooLittleMemory { .. } => "TooLittleMemory",
        }
    }
}

/// What one member needs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MemberNeeds {
    /// CPU request, thousandths.
    pub cpu: u64,
    /// CPU limit, thousandths, if there is one.
    pub cpu_limit: Option<u64>,
    /// Memory request, bytes.
    pub memory: u64,
    /// Memory limit, bytes.
    pub memory_limit: u64,
    /// What the server may fill, bytes: Cassandra's heap, MongoDB's cache.
    pub share: u64,
    /// Volume, bytes.
    pub storage: u64,
}

/// A CoreDms that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedCoreDms {
    /// The object: owner of what is built.
    pub object: CoreDms,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Engine.
    pub engine: Engine,
    /// Members.
    pub replicas: u16,
    /// How it is run.
    pub profile: Profile,
    /// Tag of the image.
    pub version: String,
    /// What one member needs.
    pub needs: MemberNeeds,
    /// StorageClass of the volumes.
    pub storage_class: Option<String>,
    /// Whether volumes and Secret outlive the CoreDms.
    pub deletion_policy: DeletionPolicy,
}

impl ValidatedCoreDms {
    /// Whether it is for tests and demonstrations.
    pub fn development(&self) -> bool {
        self.profile == Profile::Development
    }
}

/// Validates what is declared.
pub fn validate(coredms: &CoreDms) -> Result<ValidatedCoreDms, Invalid> {
    let storage = coredms.spec.storage.as_ref().ok_or(Invalid::NoStorage)?;
    Ok(ValidatedCoreDms {
        object: coredms.clone(),
        name: coredms.name_any(),
        namespace: namespace_of(coredms),
        engine: coredms.spec.engine,
        replicas: replicas(&coredms.spec)?,
        profile: coredms.spec.profile(),
        version: coredms.spec.version().to_owned(),
        needs: member_needs(&coredms.spec)?,
        storage_class: storage.storage_class_name.clone(),
        deletion_policy: coredms.spec.deletion_policy,
    })
}

/// Members, as many as the engine can have: never fewer than the replicas of each row.
pub fn replicas(spec: &CoreDmsSpec) -> Result<u16, Invalid> {
    match (spec.engine, spec.replicas()) {
        (_, replicas @ ..LEAST_MEMBERS) => Err(Invalid::TooFewReplicas(replicas)),
        (Engine::MongoDB, replicas) if !VOTERS.contains(&replicas) => {
            Err(Invalid::UnsuitableReplicas(replicas))
        }
        (_, replicas) => Ok(replicas),
    }
}

/// What one member needs, from what is declared and the profile's own values.
pub fn member_needs(spec: &CoreDmsSpec) -> Result<MemberNeeds, Invalid> {
    let storage = spec.storage.as_ref().ok_or(Invalid::NoStorage)?;
    let Resources { requests, limits } = &spec.resources.clone().unwrap_or_default();
    let development = spec.profile() == Profile::Development;
    let division = division(spec.engine);
    let default_limit = if development {
        division.small
    } else {
        division.large
    };
    let asked = memory(requests, "resources.requests.memory")?;
    let memory_limit = memory(limits, "resources.limits.memory")?
        .unwrap_or_else(|| asked.unwrap_or(default_limit).max(default_limit));
    let memory = asked.unwrap_or(if development {
        memory_limit / 4 * 3
    } else {
        memory_limit
    });
    let cpu_limit = cpu(limits, "resources.limits.cpu")?;
    let default_cpu = if development { 100 } else { 1000 };
    let cpu = cpu(requests, "resources.requests.cpu")?
        .unwrap_or_else(|| cpu_limit.unwrap_or(default_cpu).min(default_cpu));
    check_memory(&division, memory, memory_limit)?;
    if let Some(limit) = cpu_limit.filter(|limit| *limit < cpu) {
        return Err(Invalid::RequestAboveLimit {
            what: "cpu",
            request: crate::objects::cpu(cpu).0,
            limit: crate::objects::cpu(limit).0,
        });
    }
    Ok(MemberNeeds {
        cpu,
        cpu_limit,
        memory,
        memory_limit,
        share: division.share(memory_limit),
        storage: bytes(&storage.size, "storage.size")?,
    })
}

fn check_memory(division: &Memory, request: u64, limit: u64) -> Result<(), Invalid> {
    let text = |bytes| crate::objects::memory(bytes).0;
    if request > limit {
        return Err(Invalid::RequestAboveLimit {
            what: "memory",
            request: text(request),
            limit: text(limit),
        });
    }
    if division.share(limit) < division.least {
        return Err(Invalid::TooLittleMemory {
            limit: text(limit),
            least: text(division.overhead + 2 * division.least),
        });
    }
    Ok(())
}

impl Memory {
    fn share(&self, limit: u64) -> u64 {
        let share = limit.saturating_sub(self.overhead) / 2;
        share.min(self.most) / MIB * MIB
    }
}

fn memory(list: &ResourceList, field: &'static str) -> Result<Option<u64>, Invalid> {
    list.memory
        .as_ref()
        .map(|quantity| bytes(quantity, field))
        .transpose()
}

/// Bytes of a quantity, or an error that names the field.
pub fn bytes(quantity: &Quantity, field: &'static str) -> Result<u64, Invalid> {
    quantity.bytes().map_err(|error| Invalid::Quantity {
        field,
        problem: error.to_string(),
    })
}

/// Thousandths of a CPU, or an error that names the field.
pub fn cpu(list: &ResourceList, field: &'static str) -> Result<Option<u64>, Invalid> {
    let Some(quantity) = &list.cpu else {
        return Ok(None);
    };
    let text = quantity.0.as_str();
    let millis = match text.strip_suffix('m') {
        Some(millis) => millis.parse::<f64>(),
        None => text.parse::<f64>().map(|cores| cores * 1000.0),
    };
    match millis {
        Ok(millis) if (1.0..1e9).contains(&millis) => Ok(Some(millis.ceil() as u64)),
        _ => Err(Invalid::Quantity {
            field,
            problem: format!("`{text}` is not a number of CPUs; write for example 500m or 2"),
        }),
    }
}

#[cfg(test)]
mod tests;
