//! Brokers in memory, one for each management URL: what the operator did there can be read and changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use simbdp_broker::admin::{
    AdminConnector, AdminError, Backlogs, BrokerAdmin, ManagementConnection, PipelineQueues,
    QueueTotals, Tenancy, TenancyNames,
};

/// What there is in a broker.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BrokerState {
    /// Whether nobody answers.
    pub down: bool,
    /// The administrator and the password; whoever logs in first, when absent.
    pub administrator: Option<(String, String)>,
    /// Virtual hosts by name.
    pub vhosts: BTreeMap<String, Vhost>,
    /// Passwords of users by name.
    pub users: BTreeMap<String, String>,
    /// How many calls changed something.
    pub writes: u64,
}

/// A virtual host.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Vhost {
    /// Most connections.
    pub max_connections: u32,
    /// Most queues.
    pub max_queues: u32,
    /// Users with rights in it.
    pub permissions: BTreeSet<String>,
    /// Queues by name.
    pub queues: BTreeMap<String, Queue>,
}

impl Vhost {
    fn totals(&self) -> Vec<QueueTotals> {
        let queues = self.queues.iter();
        queues
            .map(|(name, queue)| QueueTotals {
                name: name.clone(),
                ready: queue.ready,
                unacknowledged: queue.unacknowledged,
            })
            .collect()
    }
}

/// A queue.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Queue {
    /// Where its dead letters go.
    pub dead_letter_queue: Option<String>,
    /// Most bytes.
    pub max_bytes: u64,
    /// Longest time a consumer may hold a message, milliseconds.
    pub consumer_timeout_ms: u64,
    /// Messages ready for delivery.
    pub ready: u64,
    /// Messages delivered and not yet acknowledged.
    pub unacknowledged: u64,
}

type Brokers = Arc<Mutex<BTreeMap<String, BrokerState>>>;

/// Brokers by the URL of their management API; one that is not known is empty. Clones share them.
#[derive(Clone, Default)]
pub struct FakeBrokers(Brokers);

impl FakeBrokers {
    /// What there is in the broker.
    pub fn state(&self, url: &str) -> BrokerState {
        lock(&self.0).get(url).cloned().unwrap_or_default()
    }

    /// What there is in every broker that was logged in to.
    pub fn states(&self) -> BTreeMap<String, BrokerState> {
        lock(&self.0).clone()
    }

    /// Changes what there is in the broker.
    pub fn update<T>(&self, url: &str, change: impl FnOnce(&mut BrokerState) -> T) -> T {
        change(lock(&self.0).entry(url.to_owned()).or_default())
    }

    /// How many calls changed something, in all brokers.
    pub fn writes(&self) -> u64 {
        lock(&self.0).values().map(|state| state.writes).sum()
    }
}

fn lock(brokers: &Brokers) -> MutexGuard<'_, BTreeMap<String, BrokerState>> {
    brokers.lock().unwrap_or_else(PoisonError::into_inner)
}

struct FakeAdmin {
    brokers: FakeBrokers,
    url: String,
}

impl FakeAdmin {
    fn call<T>(
        &self,
        call: impl FnOnce(&mut BrokerState) -> Result<T, AdminError>,
    ) -> Result<T, AdminError> {
        self.brokers.update(&self.url, |state| {
            answers(state)?;
            let mut after = state.clone();
            let result = call(&mut after)?;
            if after != *state {
                after.writes += 1;
                *state = after;
            }
            Ok(result)
        })
    }
}

fn answers(state: &BrokerState) -> Result<(), AdminError> {
    if state.down {
        return Err(AdminError::Unavailable("connection refused".into()));
    }
    Ok(())
}

fn vhost<'a>(state: &'a mut BrokerState, name: &str) -> Result<&'a mut Vhost, AdminError> {
    state
        .vhosts
        .get_mut(name)
        .ok_or_else(|| AdminError::Refused {
            action: format!("the call to virtual host `{name}`"),
            reason: "what it belongs to is not there".into(),
        })
}

impl AdminConnector for FakeBrokers {
    fn connect<'a>(
        &'a self,
        connection: &'a ManagementConnection,
    ) -> BoxFuture<'a, Result<Arc<dyn BrokerAdmin>, AdminError>> {
        Box::pin(async move {
            let login = (connection.username.clone(), connection.password.clone());
            self.update(&connection.url, |state| {
                answers(state)?;
                if *state.administrator.get_or_insert_with(|| login.clone()) != login {
                    return Err(AdminError::LoginRefused {
                        username: connection.username.clone(),
                    });
                }
                Ok(())
            })?;
            Ok(Arc::new(FakeAdmin {
                brokers: self.clone(),
                url: connection.url.clone(),
            }) as Arc<dyn BrokerAdmin>)
        })
    }
}

impl BrokerAdmin for FakeAdmin {
    fn version(&self) -> BoxFuture<'_, Result<String, AdminError>> {
        Box::pin(async move { self.call(|_| Ok("4.0.5".into())) })
    }

    fn ensure_tenancy<'a>(&'a self, tenancy: &'a Tenancy) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.call(|state| {
                let username = tenancy.username.clone();
                state
                    .users
                    .insert(username.clone(), tenancy.password.clone());
                for (name, vhost) in &mut state.vhosts {
                    if *name != tenancy.vhost {
                        vhost.permissions.remove(&username);
                    }
                }
                let vhost = state.vhosts.entry(tenancy.vhost.clone()).or_default();
                vhost.max_connections = tenancy.max_connections;
                vhost.max_queues = tenancy.max_queues;
                vhost.permissions.insert(username);
                Ok(())
            })
        })
    }

    fn suspend_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.call(|state| {
                for vhost in state.vhosts.values_mut() {
                    vhost.permissions.remove(&names.username);
                }
                Ok(())
            })
        })
    }

    fn drop_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.call(|state| {
                state.users.remove(&names.username);
                state.vhosts.remove(&names.vhost);
                Ok(())
            })
        })
    }

    fn ensure_queues<'a>(
        &'a self,
        queues: &'a PipelineQueues,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.call(|state| {
                let vhost = vhost(state, &queues.vhost)?;
                let work = (&queues.queue, Some(queues.dead_letter_queue.clone()));
                for (name, dead_letter_queue) in [(&queues.dead_letter_queue, None), work] {
                    let there = vhost.queues.contains_key(name);
                    if !there && vhost.queues.len() >= vhost.max_queues as usize {
                        return Err(AdminError::Refused {
                            action: format!("the declaration of queue `{name}`"),
                            reason: "the limit of queues is reached".into(),
                        });
                    }
                    let queue = vhost.queues.entry(name.clone()).or_default();
                    queue.dead_letter_queue = dead_letter_queue;
                    queue.max_bytes = queues.max_bytes;
                    queue.consumer_timeout_ms = queues.consumer_timeout_ms;
                }
                Ok(())
            })
        })
    }

    fn delete_queues<'a>(
        &'a self,
        vhost: &'a str,
        queue: &'a str,
        dead_letter_queue: &'a str,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.call(|state| {
                if let Some(vhost) = state.vhosts.get_mut(vhost) {
                    vhost.queues.remove(queue);
                    vhost.queues.remove(dead_letter_queue);
                }
                Ok(())
            })
        })
    }

    fn queue_totals<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<QueueTotals>, AdminError>> {
        Box::pin(async move { self.call(|state| Ok(vhost(state, name)?.totals())) })
    }

    fn backlogs(&self) -> BoxFuture<'_, Result<Backlogs, AdminError>> {
        Box::pin(async move {
            self.call(|state| {
                let of = |(name, vhost): (&String, &Vhost)| {
                    let totals = vhost.totals().into_iter();
                    let named = totals.map(|totals| (name.clone(), totals));
                    named.collect::<Vec<_>>()
                };
                Ok(state.vhosts.iter().flat_map(of).collect())
            })
        })
    }
}
