//! Chooses the broker: by the administrator's URL, or by the `type` of a binding.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use simbdp_api::broker::BrokerType;
use simbdp_tls::{Address, fault};

use crate::admin::{AdminConnector, AdminError, BrokerAdmin, ManagementConnection};
use crate::dead_letters::DeadLetters;
use crate::kafka::{self, KafkaConnector, KafkaConsumer, KafkaDeadLetters, KafkaPublisher};
use crate::rabbitmq::{
    self, LinkOptions, RabbitConnector, RabbitConsumer, RabbitDeadLetters, RabbitPublisher,
};
use crate::source::{SourceError, broker_type};
use crate::{Connection, ConnectionSource, Consumer, Publisher};

/// Logs in to brokers of any kind.
#[derive(Default)]
pub struct Connectors {
    rabbitmq: RabbitConnector,
    kafka: KafkaConnector,
}

impl AdminConnector for Connectors {
    fn connect<'a>(
        &'a self,
        connection: &'a ManagementConnection,
    ) -> BoxFuture<'a, Result<Arc<dyn BrokerAdmin>, AdminError>> {
        Box::pin(async move {
            let connected = match connection.url.starts_with(kafka::SCHEME) {
                true => self.kafka.connect(connection).await,
                false => self.rabbitmq.connect(connection).await,
            };
            let failed = match connected {
                Err(error @ (AdminError::Unavailable(_) | AdminError::Refused { .. })) => error,
                other => return other,
            };
            let endpoints = connection.endpoints();
            let fault = fault(connection.tls.as_ref(), &endpoints, Address::Host).await;
            Err(fault.map_or(failed, AdminError::Tls))
        })
    }
}

/// Whether a login is taken where these queues are: at the virtual host, or by a topic of that prefix.
pub async fn try_enter(connection: Connection, patience: Duration) -> Result<(), String> {
    match connection.broker {
        BrokerType::RabbitMQ => rabbitmq::try_login(connection, patience).await,
        BrokerType::Kafka => kafka::try_enter(&connection, patience).await,
    }
}

/// A publisher for the broker of this binding. Called in a tokio runtime.
pub fn publisher(binding: impl Into<PathBuf>) -> Result<Arc<dyn Publisher>, SourceError> {
    let binding = binding.into();
    let broker = broker_type(&binding)?;
    let source = ConnectionSource::binding(binding);
    Ok(match broker {
        BrokerType::RabbitMQ => {
            let options = rabbitmq::PublisherOptions::default();
            Arc::new(RabbitPublisher::new(source, options))
        }
        BrokerType::Kafka => {
            let options = kafka::PublisherOptions::default();
            Arc::new(KafkaPublisher::new(source, options))
        }
    })
}

/// Dead-letter queues of the broker of this binding.
pub fn dead_letter_queues(
    binding: impl Into<PathBuf>,
) -> Result<Arc<dyn DeadLetters>, SourceError> {
    let binding = binding.into();
    let broker = broker_type(&binding)?;
    let source = ConnectionSource::binding(binding);
    Ok(match broker {
        BrokerType::RabbitMQ => Arc::new(RabbitDeadLetters::new(source)),
        BrokerType::Kafka => Arc::new(KafkaDeadLetters::new(source)),
    })
}

/// A consumer of a queue of the broker of this binding, with at most so many unacknowledged deliveries.
pub fn consumer(
    binding: impl Into<PathBuf>,
    queue: String,
    prefetch: u16,
) -> Result<Box<dyn Consumer>, SourceError> {
    let binding = binding.into();
    let broker = broker_type(&binding)?;
    let source = ConnectionSource::binding(binding);
    Ok(match broker {
        BrokerType::RabbitMQ => {
            let options = rabbitmq::ConsumerOptions {
                link: LinkOptions::default(),
                queue,
                prefetch,
            };
            Box::new(RabbitConsumer::new(source, options))
        }
        BrokerType::Kafka => {
            let options = kafka::ConsumerOptions {
                name: "simbdp".into(),
                queue,
                prefetch,
            };
            Box::new(KafkaConsumer::new(source, options))
        }
    })
}
