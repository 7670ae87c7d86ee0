//! RabbitMQ 4.0 to 4.3: administration over the management HTTP API, messages over AMQP 0-9-1.

mod admin;
mod amqp;
mod channels;
mod consumer;
mod convert;
mod http;
mod link;
mod password;
mod plan;
mod publisher;
mod settle;

pub use admin::{RabbitAdmin, RabbitConnector};
pub use amqp::{LinkOptions, try_login};
pub use consumer::{ConsumerOptions, RabbitConsumer};
pub use publisher::{PublisherOptions, RabbitPublisher};
