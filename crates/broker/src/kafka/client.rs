//! What every client of librdkafka is made with.

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use super::login::{Login, tenant};
use crate::Connection;

/// Largest record that a topic takes: what a message POST takes, and its headers.
pub(super) const LARGEST_RECORD: usize = 17 << 20;

/// Addresses, login, and how often a node that is away is tried.
pub(super) fn config(connection: &Connection, name: &str) -> ClientConfig {
    let (addresses, login) = tenant(connection);
    let Login {
        username,
        password,
        mechanism,
        tls,
    } = login;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", addresses.join(","))
        .set("client.id", name)
        .set(
            "security.protocol",
            match tls {
                None => "SASL_PLAINTEXT",
                Some(_) => "SASL_SSL",
            },
        )
        .set("sasl.mechanism", mechanism.name())
        .set("sasl.username", username)
        .set("sasl.password", password)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("socket.nagle.disable", "true")
        .set("message.max.bytes", LARGEST_RECORD.to_string())
        // A topic that is made anew, or has more partitions, is seen so soon.
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("topic.metadata.propagation.max.ms", "1000")
        .set("allow.auto.create.topics", "false")
        .set_log_level(RDKafkaLogLevel::Warning);
    if let Some(trust) = tls {
        config.set("ssl.ca.pem", &*trust.pem());
    }
    config
}

/// The topic of a queue; also the name of the group that consumes it. No tenant's name has a dot, so that no tenant's
/// prefix begins another's.
pub(super) fn topic(vhost: &str, queue: &str) -> String {
    format!("{vhost}.{queue}")
}

/// What librdkafka says, in this program's log.
#[derive(Clone, Copy)]
pub(super) struct Said;

impl Said {
    pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(facility, error = text, "Kafka"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(facility, text, "Kafka")
            }
        }
    }

    pub(super) fn error_line(error: &KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
    }
}

impl ClientContext for Said {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Self::log_line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Self::error_line(&error, reason);
    }
}
