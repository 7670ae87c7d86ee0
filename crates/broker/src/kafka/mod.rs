//! Kafka 4: messages over librdkafka; administration, and what tells how full queues are, over Kafka's own protocol.

mod admin;
mod attempts;
mod client;
mod cluster;
mod consumer;
mod convert;
mod dead_letters;
mod fill;
mod login;
mod look;
mod member;
mod partition;
mod plan;
mod publisher;
mod pump;
mod records;
mod removed;
mod topics;
mod users;
mod wire;

pub use admin::{KafkaAdmin, KafkaConnector};
pub use consumer::{ConsumerOptions, KafkaConsumer};
pub use dead_letters::KafkaDeadLetters;
pub use fill::try_enter;
pub(crate) use login::administrator;
pub use login::{SCHEME, external_url, managed_url};
pub use publisher::{KafkaPublisher, PublisherOptions};
