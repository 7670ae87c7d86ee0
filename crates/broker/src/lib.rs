//! Queues between acceptance and ingest. [`BrokerAdmin`] is for the operator, [`Publisher`] and [`DeadLetters`] for the
//! gateway, [`Consumer`] for ingest apps.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
mod chunks;
pub mod connect;
pub mod dead_letters;
mod direct;
pub mod kafka;
pub mod queue;
pub mod rabbitmq;
pub mod source;

pub use admin::{AdminConnector, BrokerAdmin};
pub use connect::{Connectors, consumer, dead_letter_queues, publisher, try_enter};
pub use dead_letters::{DeadLetterReader, DeadLetters};
pub use queue::{Consumer, Delivery, Message, Publisher};
pub use simbdp_tls::{Trust, TrustError};
pub use source::ConnectionSource;

use simbdp_api::broker::BrokerType;

/// Where a broker is and who logs in.
#[derive(Clone, Eq, PartialEq)]
pub struct Connection {
    /// Which kind of broker it is.
    pub broker: BrokerType,
    /// Hosts of one or more nodes, or of a Service of them.
    pub hosts: Vec<String>,
    /// Their AMQP port, or that of Kafka's clients.
    pub port: u16,
    /// Virtual host; of a Kafka, what the names of topics and groups begin with.
    pub vhost: String,
    /// User.
    pub username: String,
    /// Password. Never logged: `Debug` is not derived.
    pub password: String,
    /// Most bytes of a queue, where publishers have to see to that: Kafka alone.
    pub max_queue_bytes: Option<u64>,
    /// Whose certificates are believed; [`None`] without TLS.
    pub tls: Option<Trust>,
}

impl Connection {
    /// Addresses of nodes that know the others.
    pub fn addresses(&self) -> Vec<String> {
        let hosts = self.hosts.iter();
        hosts.map(|host| format!("{host}:{}", self.port)).collect()
    }
}
