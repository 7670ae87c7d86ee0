//! Queues between acceptance and ingest. [`BrokerAdmin`] is for the operator, [`Publisher`] and [`DeadLetters`] for the
//! gateway, [`Consumer`] for ingest apps.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod dead_letters;
pub mod queue;
pub mod rabbitmq;
pub mod source;

pub use admin::{AdminConnector, BrokerAdmin};
pub use dead_letters::{DeadLetterReader, DeadLetters};
pub use queue::{Consumer, Delivery, Message, Publisher};
pub use source::ConnectionSource;

/// Where a broker is and who logs in.
#[derive(Clone)]
pub struct Connection {
    /// Host name.
    pub host: String,
    /// AMQP port.
    pub port: u16,
    /// Virtual host.
    pub vhost: String,
    /// User.
    pub username: String,
    /// Password. Never logged: `Debug` is not derived.
    pub password: String,
}
