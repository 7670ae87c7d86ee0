//! What engines differ in [pure]; everything else of a member is the same for each.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvVar, Volume, VolumeMount};
use simbdp_api::common::Engine;

use super::super::validate::ValidatedCoreDms;
use super::{cassandra, mongodb};

/// Where members find their configuration.
pub const CONFIG: &str = "/etc/simbdp";

/// A member's server.
pub struct Server {
    /// Where it keeps its data.
    pub data: &'static str,
    /// Process 1, without the image's entrypoint.
    pub command: Vec<String>,
    /// Its environment.
    pub environment: Vec<EnvVar>,
    /// Arguments of its init container besides the copy of the configuration.
    pub prepare: Vec<String>,
    /// What the init container needs for them.
    pub prepare_mounts: Vec<VolumeMount>,
    /// Volumes besides data, configuration and `/tmp`.
    pub volumes: Vec<Volume>,
    /// Where the server has them.
    pub mounts: Vec<VolumeMount>,
    /// Longest time from SIGTERM to its end.
    pub grace_seconds: i64,
}

/// A member's server.
pub fn server(coredms: &ValidatedCoreDms) -> Server {
    match coredms.engine {
        Engine::Cassandra => cassandra::server(coredms),
        Engine::MongoDB => mongodb::server(coredms),
    }
}

/// The configuration files of so many members.
pub fn config(coredms: &ValidatedCoreDms, members: u16) -> BTreeMap<String, String> {
    match coredms.engine {
        Engine::Cassandra => cassandra::files(coredms, members),
        Engine::MongoDB => mongodb::files(coredms),
    }
}
