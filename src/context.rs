//! What every controller is given: the API server, the outside systems behind traits, the clock.

use std::sync::{Arc, OnceLock};

use k8s_openapi::jiff::Timestamp;
use kube::Client;

use crate::activation::authority::Authority;
use crate::apply::Applier;
use crate::config::Config;
use crate::coredms::pulse::Pulses;
use crate::events::Events;
use crate::exec::Exec;
use crate::gateways::GatewayStates;
use crate::metrics::Metrics;
use crate::requeue::Backoff;
use crate::secrets_watch::SecretsWatch;
use crate::tenant::memory::Memory;

/// The time now; passed in, so that tests can say what it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Who the operator is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// Namespace of the operator and of Brokers' pods.
    pub namespace: String,
    /// ServiceAccount of the operator.
    pub service_account: String,
    /// Pod of the operator.
    pub pod: String,
    /// Service of the operator.
    pub service: String,
}

/// What every controller is given.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The configuration.
    pub config: Config,
    /// Who the operator is.
    pub identity: Identity,
    /// Logs in to databases.
    pub coredms: Arc<dyn simbdp_coredms::AdminConnector>,
    /// Logs in to brokers.
    pub broker: Arc<dyn simbdp_broker::AdminConnector>,
    /// Runs commands in pods.
    pub exec: Arc<dyn Exec>,
    /// Asks gateways.
    pub gateways: Arc<dyn GatewayStates>,
    /// Figures.
    pub metrics: Metrics,
    /// News for people.
    pub events: Events,
    /// The time now.
    pub clock: Clock,
    /// Failures in a row of every object.
    pub backoff: Backoff,
    /// One watch on Secrets per managed namespace.
    pub secrets: SecretsWatch,
    /// Databases that are asked how they are.
    pub pulses: Pulses,
    /// The operator's own authority, once it is known.
    pub authority: OnceLock<Authority>,
    /// What the controllers of Tenant and IngestPipeline remember.
    pub memory: Memory,
}

impl Context {
    /// Applies objects in the name of a controller.
    pub fn applier(&self, manager: &'static str) -> Applier {
        Applier::new(&self.client, manager)
    }

    /// Version of the operator.
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}
