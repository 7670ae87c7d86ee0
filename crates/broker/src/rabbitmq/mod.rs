//! RabbitMQ 4.0 to 4.3: administration over the management HTTP API, messages over AMQP 0-9-1.

mod admin;
mod amqp;
mod channels;
mod consumer;
mod convert;
mod dead_letters;
mod http;
mod link;
mod password;
mod plan;
mod publisher;
mod settle;

pub use admin::{RabbitAdmin, RabbitConnector};
pub use amqp::{LinkOptions, try_login};
pub use consumer::{ConsumerOptions, RabbitConsumer};
pub use dead_letters::RabbitDeadLetters;
pub use publisher::{PublisherOptions, RabbitPublisher};
