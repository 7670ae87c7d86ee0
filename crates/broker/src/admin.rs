//! What the operator does in a broker: virtual hosts, users, queues. Every call is idempotent.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::Url;
use simbdp_tls::Trust;

use crate::kafka;

/// A failure of an administrative call.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AdminError {
    /// Nobody answers; try again later.
    #[error("the broker does not answer: {0}")]
    Unavailable(String),
    /// TLS with it fails.
    #[error("TLS with the broker fails: {0}")]
    Tls(String),
    /// The broker refuses the login.
    #[error("the broker refuses the login of `{username}`")]
    LoginRefused {
        /// User who tried.
        username: String,
    },
    /// The broker refuses the call for another reason.
    #[error("the broker refuses {action}: {reason}")]
    Refused {
        /// What was to be done.
        action: String,
        /// What the broker said.
        reason: String,
    },
}

/// Where the broker's management is and who logs in.
#[derive(Clone)]
pub struct ManagementConnection {
    /// Base URL of RabbitMQ's management API, e.g. `http://broker.simbdp-system.svc:15672`; or addresses of a Kafka,
    /// e.g. `kafka://broker.simbdp-system.svc:9092`. With TLS the former is `https://`, the latter the same.
    pub url: String,
    /// Administrator.
    pub username: String,
    /// Password.
    pub password: String,
    /// Whose certificates are believed; [`None`] without TLS.
    pub tls: Option<Trust>,
}

impl ManagementConnection {
    /// `host:port` of each address in the URL; none where it is no URL.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        if let Ok((addresses, _)) = kafka::administrator(self) {
            return addresses;
        }
        let url = Url::parse(&self.url).ok();
        let endpoint = url.and_then(|url| {
            Some(format!(
                "{}:{}",
                url.host_str()?,
                url.port_or_known_default()?
            ))
        });
        endpoint.into_iter().collect()
    }
}

/// A tenant's virtual host, its user and its limits.
#[derive(Clone)]
pub struct Tenancy {
    /// Virtual host.
    pub vhost: String,
    /// User with rights on the virtual host alone.
    pub username: String,
    /// Password of the user.
    pub password: String,
    /// Most connections to the virtual host.
    pub max_connections: u32,
    /// Most queues in the virtual host.
    pub max_queues: u32,
}

/// Names of what a tenancy has, for its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TenancyNames {
    /// Virtual host.
    pub vhost: String,
    /// User.
    pub username: String,
}

/// A pipeline's work queue with its dead-letter queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PipelineQueues {
    /// Virtual host.
    pub vhost: String,
    /// Work queue: quorum, `overflow: reject-publish`, dead-lettering at least once, a high delivery limit as a backstop.
    pub queue: String,
    /// Dead-letter queue: quorum.
    pub dead_letter_queue: String,
    /// Most bytes in the work queue.
    pub max_bytes: u64,
    /// Longest time a consumer may hold a message, milliseconds. Kafka has no such limit.
    pub consumer_timeout_ms: u64,
    /// Consumers that may work at the same time: the least number of a Kafka topic's partitions.
    pub consumers: u16,
}

/// How full a queue is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueueTotals {
    /// Name of the queue.
    pub name: String,
    /// Messages ready for delivery.
    pub ready: u64,
    /// Messages delivered and not yet acknowledged.
    pub unacknowledged: u64,
}

/// How full every queue of a broker is, by its virtual host and its name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Backlogs(BTreeMap<String, BTreeMap<String, QueueTotals>>);

impl Backlogs {
    /// How full one queue is; [`None`] where the broker does not name it.
    pub fn get(&self, vhost: &str, queue: &str) -> Option<&QueueTotals> {
        self.0.get(vhost)?.get(queue)
    }
}

impl FromIterator<(String, QueueTotals)> for Backlogs {
    /// From virtual hosts and their queues.
    fn from_iter<I: IntoIterator<Item = (String, QueueTotals)>>(queues: I) -> Self {
        let mut backlogs = Self::default();
        for (vhost, totals) in queues {
            let vhost = backlogs.0.entry(vhost).or_default();
            vhost.insert(totals.name.clone(), totals);
        }
        backlogs
    }
}

/// Logs in, as the operator, to any Broker. The seam for tests and for other brokers.
pub trait AdminConnector: Send + Sync {
    /// Logs in.
    fn connect<'a>(
        &'a self,
        connection: &'a ManagementConnection,
    ) -> BoxFuture<'a, Result<Arc<dyn BrokerAdmin>, AdminError>>;
}

/// An administrator's session in a broker.
pub trait BrokerAdmin: Send + Sync {
    /// Version of the broker that answers.
    fn version(&self) -> BoxFuture<'_, Result<String, AdminError>>;
    /// Virtual host, user with its password, permissions and limits.
    fn ensure_tenancy<'a>(&'a self, tenancy: &'a Tenancy) -> BoxFuture<'a, Result<(), AdminError>>;
    /// Takes the user's permissions and connections away; queues stay.
    fn suspend_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>>;
    /// Deletes user and virtual host with all queues. What is already gone is fine.
    fn drop_tenancy<'a>(&'a self, names: &'a TenancyNames)
    -> BoxFuture<'a, Result<(), AdminError>>;
    /// Declares both queues; changes of limits are applied by policy, so that no queue has to be made anew.
    /// Refused, naming the argument, where a queue of that name has other arguments. A node that is
    /// killed within about a second of the declaration can lose it, though it was answered.
    fn ensure_queues<'a>(
        &'a self,
        queues: &'a PipelineQueues,
    ) -> BoxFuture<'a, Result<(), AdminError>>;
    /// Deletes both queues; what is still in them is lost. What is already gone is fine.
    fn delete_queues<'a>(
        &'a self,
        vhost: &'a str,
        queue: &'a str,
        dead_letter_queue: &'a str,
    ) -> BoxFuture<'a, Result<(), AdminError>>;
    /// Every queue of a virtual host, in one call. RabbitMQ counts at intervals (5 s by default, setting
    /// `rabbit.quorum_tick_interval`): what was published or settled since then is not in it.
    fn queue_totals<'a>(
        &'a self,
        vhost: &'a str,
    ) -> BoxFuture<'a, Result<Vec<QueueTotals>, AdminError>>;
    /// Every queue of every tenant, in one call; as late as [`Self::queue_totals`]. A queue that cannot be seen now is left
    /// out.
    fn backlogs(&self) -> BoxFuture<'_, Result<Backlogs, AdminError>>;
    /// Deletes what every consumer is done with, where the broker does not do so by itself: Kafka.
    fn trim(&self) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move { Ok(()) })
    }
}
