//! The pulse of databases [IO]: each is asked every few seconds whether it serves and whom it sees. A member that hangs,
//! or that the others cannot reach, changes nothing that Kubernetes would tell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::reflector::ObjectRef;
use simbdp_api::CoreDms;
use simbdp_coredms::StoreAdmin;
use simbdp_coredms::admin::Member;
use tokio::time::MissedTickBehavior;

use crate::triggers::{Target, Triggers};

/// How often each is asked.
const PERIOD: Duration = Duration::from_secs(4);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How many are asked at once.
const AT_ONCE: usize = 64;

/// What a database last said.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Pulse {
    /// It serves, and sees these members.
    Serves(Vec<Member>),
    /// It does not, or does not say so in time.
    Silent,
}

struct Known {
    admin: Arc<dyn StoreAdmin>,
    last: Pulse,
}

/// The databases that are asked: those that were seen to serve.
#[derive(Default)]
pub struct Pulses {
    known: Mutex<HashMap<ObjectRef<CoreDms>, Known>>,
}

impl Pulses {
    /// Asks a database from now on; it was just seen with these members.
    pub fn watch(&self, coredms: &CoreDms, admin: Arc<dyn StoreAdmin>, members: &[Member]) {
        let last = serves(members.to_vec());
        self.known()
            .insert(ObjectRef::from_obj(coredms), Known { admin, last });
    }

    /// Whether it is asked.
    pub fn knows(&self, coredms: &CoreDms) -> bool {
        self.known().contains_key(&ObjectRef::from_obj(coredms))
    }

    /// Asks it no more.
    pub fn forget(&self, coredms: &CoreDms) {
        self.known().remove(&ObjectRef::from_obj(coredms));
    }

    /// Asks all again and again; who says something else than before is reconciled.
    pub async fn follow(&self, triggers: &Triggers) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            for coredms in self.changed().await {
                triggers.send(Target::CoreDms(coredms)).await;
            }
        }
    }

    /// Those that say something else than before.
    async fn changed(&self) -> Vec<ObjectRef<CoreDms>> {
        let asked: Vec<_> = {
            let known = self.known();
            let admins = known.iter();
            admins
                .map(|(coredms, known)| (coredms.clone(), known.admin.clone()))
                .collect()
        };
        let said: Vec<_> = futures::stream::iter(asked)
            .map(|(coredms, admin)| async move { (coredms, pulse(&*admin).await) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut known = self.known();
        let changed = |(coredms, pulse): (ObjectRef<CoreDms>, Pulse)| {
            let known = known.get_mut(&coredms)?;
            let before = std::mem::replace(&mut known.last, pulse);
            (before != known.last).then_some(coredms)
        };
        said.into_iter().filter_map(changed).collect()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ObjectRef<CoreDms>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pulse(admin: &dyn StoreAdmin) -> Pulse {
    let asked = async {
        admin.serves().await?;
        admin.members().await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(members)) => serves(members),
        Ok(Err(_)) | Err(_) => Pulse::Silent,
    }
}

/// In whatever order it names them.
fn serves(mut members: Vec<Member>) -> Pulse {
    members.sort_by(|one, other| one.address.cmp(&other.address));
    Pulse::Serves(members)
}

#[cfg(test)]
mod tests {
    use simbdp_coredms::{AdminConnector, Connection};
    use simbdp_testkit::fake_coredms::FakeStores;

    use super::*;

    async fn admin(stores: &FakeStores, endpoints: &[String]) -> Arc<dyn StoreAdmin> {
        stores.update(endpoints, |state| {
            state.superuser = Some(("operator".into(), "secret".into()));
        });
        let connection = Connection {
            engine: simbdp_api::common::Engine::Cassandra,
            endpoints: endpoints.to_vec(),
            username: "operator".into(),
            password: "secret".into(),
            tls: None,
        };
        stores.connect(&connection).await.unwrap()
    }

    fn coredms(name: &str) -> CoreDms {
        let object = serde_json::json!({
            "apiVersion": "simbdp.dev/v1alpha1", "kind": "CoreDms",
            "metadata": {"name": name, "namespace": "n"}, "spec": {"storage": {"size": "1Gi"}},
        });
        serde_json::from_value(object).unwrap()
    }

    #[tokio::test]
    async fn who_says_something_else_than_before_is_told_once() {
        let (stores, pulses) = (FakeStores::default(), Pulses::default());
        let (one, other) = (coredms("one"), coredms("other"));
        let endpoints = ["one:1".to_owned()];
        for (coredms, endpoints) in [(&one, &endpoints), (&other, &["other:1".to_owned()])] {
            let admin = admin(&stores, endpoints).await;
            let members = admin.members().await.unwrap();
            pulses.watch(coredms, admin, &members);
        }
        assert_eq!(pulses.changed().await, []);
        stores.update(&endpoints, |state| state.members.reverse());
        assert_eq!(pulses.changed().await, [], "the order says nothing");
        stores.update(&endpoints, |state| state.members[1].up = false);
        assert_eq!(pulses.changed().await, [ObjectRef::from_obj(&one)]);
        assert_eq!(pulses.changed().await, []);
        stores.update(&endpoints, |state| state.down = true);
        assert_eq!(pulses.changed().await, [ObjectRef::from_obj(&one)]);
        assert_eq!(pulses.changed().await, []);
        stores.update(&endpoints, |state| state.down = false);
        assert_eq!(pulses.changed().await, [ObjectRef::from_obj(&one)]);
        pulses.forget(&one);
        stores.update(&endpoints, |state| state.down = true);
        assert_eq!(pulses.changed().await, []);
    }
}
