//! What the controllers of Tenant and IngestPipeline remember between reconciles, so that these stay
//! cheap. All of it can be lost at any moment.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use sha2::{Digest, Sha256};
use simbdp_api::wire::internal::GatewayState;
use simbdp_broker::admin::{AdminError, Backlogs, BrokerAdmin};
use tokio::sync::Mutex;

use super::hash::Hasher;
use crate::gateways::{GatewayError, GatewayStates};

/// An outside system is looked at again this often, also when nothing changed.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// Figures are asked once in this time, whatever the number of pipelines.
const FIGURES: Duration = Duration::from_secs(5);
/// More objects than one operator has.
const CAPACITY: u64 = 100_000;

/// What is remembered.
#[derive(Clone)]
pub struct Memory {
    /// Hashes of passwords.
    pub hasher: Hasher,
    /// Held while a tenant's place is chosen and taken.
    pub placing: Arc<Mutex<()>>,
    ensured: Cache<String, String>,
    backlogs: Cache<String, Arc<Backlogs>>,
    states: Cache<String, Arc<GatewayState>>,
    since: Cache<String, i64>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            hasher: Hasher::default(),
            placing: Arc::default(),
            ensured: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(LOOK_AGAIN)
                .build(),
            since: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_idle(LOOK_AGAIN)
                .build(),
            backlogs: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(FIGURES)
                .build(),
            states: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(FIGURES)
                .build(),
        }
    }
}

/// Digest of what is wanted of an outside system.
pub fn digest(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    hex::encode(digest.finalize())
}

impl Memory {
    /// Whether an outside system was put into the wanted state not long ago.
    pub async fn is_ensured(&self, what: &str, wanted: &str) -> bool {
        self.ensured.get(what).await.as_deref() == Some(wanted)
    }

    /// It is in the wanted state now.
    pub async fn ensured(&self, what: String, wanted: String) {
        self.ensured.insert(what, wanted).await;
    }

    /// The second since which something holds: `now`, when it is asked for the first time.
    pub async fn since(&self, what: String, now: i64) -> i64 {
        self.since.get_with(what, async { now }).await
    }

    /// It does not hold any more.
    pub async fn no_longer(&self, what: &str) {
        self.since.invalidate(what).await;
    }

    /// How full the queues of a broker are.
    pub async fn backlogs(
        &self,
        broker: &str,
        admin: impl AsyncFnOnce() -> Result<Arc<dyn BrokerAdmin>, AdminError>,
    ) -> Result<Arc<Backlogs>, AdminError> {
        let ask = async { Ok(Arc::new(admin().await?.backlogs().await?)) };
        self.backlogs
            .try_get_with(broker.to_owned(), ask)
            .await
            .map_err(|error: Arc<AdminError>| Arc::unwrap_or_clone(error))
    }

    /// What a broker just said of its queues, or that it says nothing any more.
    pub async fn told(&self, broker: &str, backlogs: Option<Arc<Backlogs>>) {
        match backlogs {
            Some(backlogs) => self.backlogs.insert(broker.to_owned(), backlogs).await,
            None => self.backlogs.invalidate(broker).await,
        }
    }

    /// What a gateway replica says. `revision` is what it is hoped to have loaded: a new one is asked for at once.
    pub async fn state(
        &self,
        gateways: &dyn GatewayStates,
        url: &str,
        token: &str,
        revision: &str,
    ) -> Result<Arc<GatewayState>, GatewayError> {
        let ask = async { gateways.state(url, token).await.map(Arc::new) };
        self.states
            .try_get_with(format!("{url}#{revision}"), ask)
            .await
            .map_err(Arc::unwrap_or_clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_wanted_otherwise_is_not_ensured() {
        let memory = Memory::default();
        assert!(!memory.is_ensured("a", "1").await);
        memory.ensured("a".into(), "1".into()).await;
        assert!(memory.is_ensured("a", "1").await);
        assert!(!memory.is_ensured("a", "2").await);
        assert!(!memory.is_ensured("b", "1").await);
    }

    #[tokio::test]
    async fn what_holds_again_holds_since_then() {
        let memory = Memory::default();
        assert_eq!(memory.since("a".into(), 1).await, 1);
        assert_eq!(memory.since("a".into(), 5).await, 1);
        memory.no_longer("a").await;
        assert_eq!(memory.since("a".into(), 7).await, 7);
    }

    #[test]
    fn digests_keep_parts_apart() {
        assert_ne!(digest(&["ab", ""]), digest(&["a", "b"]));
    }
}
