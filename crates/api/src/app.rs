//! `spec.app` and `spec.delivery` of an IngestPipeline: the tenant's own program, and how often is tried
//! what fails.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::Resources;

/// Attempts where a pipeline does not say.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 5;
/// Seconds that a program has for one file, where a pipeline does not say.
pub const DEFAULT_FILE_TIMEOUT_SECONDS: u32 = 3_600;
/// Seconds that a program has for one message, where a pipeline does not say.
pub const DEFAULT_MESSAGE_TIMEOUT_SECONDS: u32 = 60;
/// Most seconds of all attempts together: brokers take work back after a day.
pub const MAX_ATTEMPT_SECONDS: u64 = 82_800;
/// Beginning of the variables that the platform itself sets.
pub const OWN_VARIABLES: &str = "SIMBDP_";

/// The tenant's own program, in the tenant's own image.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppSpec {
    /// Image of the program. It runs as user and group 65532, whatever user the image names, without any right that
    /// the restricted level of pod security forbids, on a read-only file system with a writable /tmp of 64Mi.
    #[schemars(length(min = 1, max = 512), pattern(r"^[^\s]+$"))]
    pub image: String,
    /// The program and its first arguments. The image's own entrypoint is not known to the platform, so it is said here.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 1024)))]
    pub command: Vec<String>,
    /// Further arguments. For a file, its path follows as the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Variables of the program, by value: none comes out of a Secret that the pipeline's author could not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<AppVariable>,
    /// Who writes to the table.
    #[serde(default)]
    pub output: AppOutput,
    /// Resources of the program's container. When absent, it gets 100m CPU and 64Mi, and 256Mi at most.
    #[serde(default)]
    pub resources: Resources,
    /// Seconds that the program has for one file, or for the oldest message that it was given; after that it is ended. When
    /// absent, 3600 for a file and 60 for a message. Time in which the database keeps its rows waiting is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 21_600))]
    pub timeout_seconds: Option<u32>,
}

/// A variable of the program.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.name.startsWith('SIMBDP_') && self.name != 'SERVICE_BINDING_ROOT'").message("variables that start with SIMBDP_, and SERVICE_BINDING_ROOT, are the platform's own"))]
pub struct AppVariable {
    /// Its name.
    #[schemars(length(min = 1, max = 128), pattern(r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// Its value.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// Who writes to the table.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum AppOutput {
    /// The program prints rows as JSON; they are checked like those of any file or message and written for it. It gets no
    /// login for the database.
    #[default]
    Rows,
    /// The program writes to the tenant's database itself, with the tenant's own login.
    None,
}

/// How often is tried what fails.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliverySpec {
    /// Attempts at a file or message that fails for a reason of its own, before the file is Failed or the message goes to the
    /// dead-letter queue: with the tenant's own program after each of its failures, with the built-in app after its deaths.
    /// What fails because a server is away is tried without end.
    #[serde(default = "default_max_attempts")]
    #[schemars(range(min = 1, max = 20))]
    pub max_attempts: u32,
}

impl Default for DeliverySpec {
    fn default() -> Self {
        Self {
            max_attempts: DEFAULT_MAX_ATTEMPTS,
        }
    }
}

/// [`DEFAULT_MAX_ATTEMPTS`], as serde asks for it.
pub fn default_max_attempts() -> u32 {
    DEFAULT_MAX_ATTEMPTS
}

/// Whether a name of a variable is the platform's own.
pub fn is_own_variable(name: &str) -> bool {
    name.starts_with(OWN_VARIABLES) || name == "SERVICE_BINDING_ROOT"
}
