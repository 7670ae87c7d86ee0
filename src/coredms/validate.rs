//! Validate [pure]: a CoreDms as declared → [`ValidatedCoreDms`], in bytes and thousandths of a CPU.

use kube::ResourceExt;
use simbdp_api::common::{Profile, Quantity, ResourceList, Resources};
use simbdp_api::tenant::DeletionPolicy;
use simbdp_api::{CoreDms, CoreDmsSpec};

use crate::error::{Class, Classified};
use crate::objects::namespace_of;

const MIB: u64 = 1 << 20;
/// What Java needs besides heap and the caches of the heap's size.
const OVERHEAD: u64 = 384 * MIB;
/// The least heap that a member starts with.
const LEAST_HEAP: u64 = 192 * MIB;
/// Above it, references get longer and the heap holds less.
const LARGEST_HEAP: u64 = 31 << 30;

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
            Self::RequestAboveLimit { .. } => "RequestAboveLimit",
            Self::TooLittleMemory { .. } => "TooLittleMemory",
        }
    }
}

/// What one member needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemberNeeds {
    /// CPU request, thousandths.
    pub cpu: u64,
    /// CPU limit, thousandths, if there is one.
    pub cpu_limit: Option<u64>,
    /// Memory request, bytes.
    pub memory: u64,
    /// Memory limit, bytes.
    pub memory_limit: u64,
    /// Heap, bytes.
    pub heap: u64,
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
    Ok(ValidatedCoreDms {
        object: coredms.clone(),
        name: coredms.name_any(),
        namespace: namespace_of(coredms),
        replicas: coredms.spec.replicas,
        profile: coredms.spec.profile,
        version: coredms.spec.version.clone(),
        needs: member_needs(&coredms.spec)?,
        storage_class: coredms.spec.storage.storage_class_name.clone(),
        deletion_policy: coredms.spec.deletion_policy,
    })
}

/// What one member needs, from what is declared and the profile's own values.
pub fn member_needs(spec: &CoreDmsSpec) -> Result<MemberNeeds, Invalid> {
    let Resources { requests, limits } = &spec.resources;
    let development = spec.profile == Profile::Development;
    let default_limit = if development { 900 * MIB } else { 4096 * MIB };
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
    check_memory(memory, memory_limit)?;
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
        heap: heap(memory_limit),
        storage: bytes(&spec.storage.size, "storage.size")?,
    })
}

fn check_memory(request: u64, limit: u64) -> Result<(), Invalid> {
    let text = |bytes| crate::objects::memory(bytes).0;
    if request > limit {
        return Err(Invalid::RequestAboveLimit {
            what: "memory",
            request: text(request),
            limit: text(limit),
        });
    }
    if heap(limit) < LEAST_HEAP {
        return Err(Invalid::TooLittleMemory {
            limit: text(limit),
            least: text(OVERHEAD + 2 * LEAST_HEAP),
        });
    }
    Ok(())
}

/// Half of what is left beside Java itself: the other half is for what Cassandra keeps outside the heap.
/// At 900Mi this is 258 MiB, with which a member was measured to take 325 to 409 MiB.
fn heap(limit: u64) -> u64 {
    let heap = limit.saturating_sub(OVERHEAD) / 2;
    heap.min(LARGEST_HEAP) / MIB * MIB
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
