//! Names of everything that is derived from a Tenant or an IngestPipeline. They derive from names
//! alone, never from UIDs, so that the same Tenant applied again finds what was retained.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name that does not fit.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{name}` is not a name of a {kind}: 1 to 40 lower-case letters, digits and dashes, starting with a letter and ending with a letter or a digit"
)]
pub struct NameError {
    /// What was to be named.
    pub kind: &'static str,
    /// The name that does not fit.
    pub name: String,
}

/// Longest name of a Tenant or an IngestPipeline: with prefixes and suffixes it stays within the
/// 48 characters of a keyspace, the 52 of a StatefulSet and the 63 of a label.
pub const MAX_NAME: usize = 40;

fn fits(name: &str) -> bool {
    let bytes = name.as_bytes();
    let tail = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=MAX_NAME).contains(&bytes.len())
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(tail)
        && bytes.iter().all(|b| tail(b) || *b == b'-')
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks the name.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                if fits(&name) { Ok(Self(name)) } else { Err(NameError { kind: $kind, name }) }
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Name of a Tenant.
    TenantName, "Tenant"
);
name!(
    /// Name of an IngestPipeline.
    PipelineName, "IngestPipeline"
);

impl TenantName {
    /// The tenant's namespace.
    pub fn namespace(&self) -> String {
        format!("tenant-{self}")
    }
    /// The tenant whose namespace this would be.
    pub fn from_namespace(namespace: &str) -> Option<Self> {
        namespace
            .strip_prefix("tenant-")
            .and_then(|name| Self::new(name).ok())
    }
    /// Keyspace of the tenant's own tables. Dashes become underscores, which no name has otherwise.
    pub fn keyspace(&self) -> String {
        format!("t_{}", self.0.replace('-', "_"))
    }
    /// Keyspace of the platform's tables about the tenant: the ledger.
    pub fn platform_keyspace(&self) -> String {
        format!("p_{}", self.0.replace('-', "_"))
    }
    /// Database role with rights on the tenant's own keyspace alone: the one that workloads bind to.
    pub fn tenant_role(&self) -> String {
        self.keyspace()
    }
    /// Database role of the tenant's gateway and built-in ingest apps: both keyspaces.
    pub fn platform_role(&self) -> String {
        self.platform_keyspace()
    }
    /// The tenant's virtual host in RabbitMQ.
    pub fn vhost(&self) -> String {
        self.namespace()
    }
    /// The broker user of the tenant's gateway and ingest apps, with rights on the tenant's vhost alone.
    pub fn broker_user(&self) -> String {
        self.namespace()
    }
}

impl PipelineName {
    /// The pipeline's work queue.
    pub fn queue(&self) -> String {
        format!("ingest.{self}")
    }
    /// The pipeline's dead-letter queue.
    pub fn dead_letter_queue(&self) -> String {
        format!("ingest.{self}{DEAD}")
    }
    /// Deployment of the pipeline's ingest app.
    pub fn ingest_workload(&self) -> String {
        format!("ingest-{self}")
    }
    /// The pipeline's file in the ConfigMap of pipelines.
    pub fn config_key(&self) -> String {
        format!("{self}.json")
    }
}

/// What a dead-letter queue's name ends in; no pipeline's name has a dot.
const DEAD: &str = ".dead";

/// Whether a queue is for dead letters.
pub fn is_dead_letter_queue(queue: &str) -> bool {
    queue.ends_with(DEAD)
}

/// Names of the objects in a tenant's namespace, the same in each.
pub mod tenant_objects {
    /// The tenant's CoreDms.
    pub const COREDMS: &str = "coredms";
    /// Gateway StatefulSet, Service, ServiceAccount, PodDisruptionBudget.
    pub const GATEWAY: &str = "gateway";
    /// Headless Service that names each gateway replica.
    pub const GATEWAY_REPLICAS: &str = "gateway-replicas";
    /// ServiceAccount of the ingest apps.
    pub const INGEST: &str = "ingest";
    /// Job that checks that other tenants' servers refuse the tenant's credentials.
    pub const ISOLATION: &str = "isolation";
    /// ConfigMap with one file a pipeline, which the gateway and the ingest apps mount.
    pub const PIPELINES: &str = "pipelines";
    /// ConfigMap with the certificate of the operator's authority, which the gateway mounts.
    pub const OPERATOR_TRUST: &str = "operator-trust";
    /// Secret with names, roles and hashes of users, which the gateway mounts.
    pub const GATEWAY_USERS: &str = "gateway-users";
    /// Secret with the token between operator, gateway and ingest apps.
    pub const INTERNAL: &str = "internal-token";
    /// Binding Secret of the tenant's own database role.
    pub const COREDMS_BINDING: &str = "coredms-binding";
    /// Binding Secret of the platform's database role; its workloads alone mount it.
    pub const PLATFORM_BINDING: &str = "coredms-platform";
    /// Binding Secret of the tenant's broker user.
    pub const BROKER_BINDING: &str = "broker-binding";
    /// Prefix of the Secrets of users.
    pub const USER_PREFIX: &str = "user-";
}
