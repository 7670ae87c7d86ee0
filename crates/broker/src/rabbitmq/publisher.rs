//! Publishes with confirmation over one connection.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::future::join_all;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::amqp::LinkOptions;
use super::channels::Channels;
use super::convert;
use super::link::Link;
use crate::ConnectionSource;
use crate::chunks::{bytes, chunk};
use crate::queue::{Message, PublishError, Publisher};

/// Unit of the budget of bytes in flight.
const BUDGET_UNIT: usize = 1 << 10;
/// AMQP's reply code of a queue that is not there.
const NOT_FOUND: u16 = 404;
/// The default exchange routes by the queue's name.
const DEFAULT_EXCHANGE: &str = "";

/// Bounds of a publisher.
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// The connection.
    pub link: LinkOptions,
    /// How long a publish waits for a connection that is not there.
    pub connect_wait: Duration,
    /// Longest time from publishing to the confirm, waiting for its turn included.
    pub confirm_timeout: Duration,
    /// Most bytes published and not yet confirmed; later calls wait.
    pub max_bytes_in_flight: usize,
    /// Most publishes at a time, each on a channel of its own; later calls wait.
    pub max_channels: usize,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        Self {
            link: LinkOptions::default(),
            connect_wait: Duration::from_secs(2),
            confirm_timeout: Duration::from_secs(10),
            max_bytes_in_flight: 16 << 20,
            max_channels: 64,
        }
    }
}

/// Publishes to queues of one virtual host. Reconnects by itself; may be made while the broker is
/// down. Safe for any number of concurrent callers.
pub struct RabbitPublisher {
    link: Link,
    channels: Channels,
    budget: Arc<Semaphore>,
    budget_units: u32,
    options: PublisherOptions,
}

impl RabbitPublisher {
    /// Starts to connect. Must be called in a tokio runtime; its tasks end when it is dropped.
    pub fn new(source: ConnectionSource, options: PublisherOptions) -> Self {
        let units = (options.max_bytes_in_flight / BUDGET_UNIT).max(1);
        let budget_units = u32::try_from(units).unwrap_or(u32::MAX);
        Self {
            link: Link::new(source, options.link.clone()),
            channels: Channels::new(options.max_channels.max(1)),
            budget: Arc::new(Semaphore::new(budget_units as usize)),
            budget_units,
            options,
        }
    }

    /// Publishes what is in flight together; each result in order.
    async fn publish_chunk(
        &self,
        queue: &str,
        messages: &[Message],
    ) -> Vec<Result<(), PublishError>> {
        let all = |error: PublishError| vec![Err(error); messages.len()];
        let deadline = Instant::now() + self.options.confirm_timeout;
        let connection = match self.link.within(self.options.connect_wait).await {
            Ok(connection) => connection,
            Err(reason) => return all(PublishError::Unavailable(reason)),
        };
        if connection.status().blocked() {
            let reason = "it blocks publishers until it has memory and disk space again";
            return all(PublishError::Unavailable(reason.into()));
        }
        let turn = async {
            let budget = self.reserve(messages).await;
            (self.channels.take(&connection).await, budget)
        };
        let (lease, _budget) = match timeout_at(deadline, turn).await {
            Ok((Ok(lease), budget)) => (lease, budget),
            Ok((Err(error), _)) => return all(PublishError::Unavailable(error.to_string())),
            Err(_) => return all(self.late()),
        };
        let outcomes = join_all(messages.iter().enumerate().map(|(index, message)| {
            let outcome = publish_one(&lease.channel, queue, message, index);
            async move { timeout_at(deadline, outcome).await.unwrap_or(Outcome::Late) }
        }))
        .await;
        let settled = outcomes.iter().all(|outcome| {
            matches!(
                outcome,
                Outcome::Confirmed(_) | Outcome::Refused(_) | Outcome::Invalid
            )
        });
        if settled {
            lease.give_back();
        }
        self.results(queue, outcomes)
    }

    /// Waits until as many bytes may be in flight.
    async fn reserve(&self, messages: &[Message]) -> Option<OwnedSemaphorePermit> {
        let units = 1 + bytes(messages) / BUDGET_UNIT;
        let units = u32::try_from(units)
            .unwrap_or(u32::MAX)
            .min(self.budget_units);
        self.budget.clone().acquire_many_owned(units).await.ok()
    }

    fn late(&self) -> PublishError {
        PublishError::Unavailable(format!(
            "no confirm within {:?}",
            self.options.confirm_timeout
        ))
    }

    /// What came back is attached to whichever confirm came next, so it is gathered first.
    fn results(&self, queue: &str, outcomes: Vec<Outcome>) -> Vec<Result<(), PublishError>> {
        let returned: HashSet<usize> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Confirmed(returned) | Outcome::Refused(returned) => *returned,
                _ => None,
            })
            .collect();
        let result = |(index, outcome)| match outcome {
            _ if returned.contains(&index) => Err(PublishError::NoQueue(queue.to_owned())),
            Outcome::Confirmed(_) => Ok(()),
            Outcome::Refused(_) => Err(PublishError::Full),
            Outcome::Failed(reason) => Err(PublishError::Unavailable(reason)),
            Outcome::Invalid => Err(PublishError::Unavailable(
                "the message's id or a header's name is longer than 255 bytes".into(),
            )),
            Outcome::Late => Err(self.late()),
        };
        outcomes.into_iter().enumerate().map(result).collect()
    }
}

/// What became of one message. A confirm may carry the index of a message that came back.
enum Outcome {
    Confirmed(Option<usize>),
    Refused(Option<usize>),
    Failed(String),
    Invalid,
    Late,
}

async fn publish_one(channel: &Channel, queue: &str, message: &Message, index: usize) -> Outcome {
    let Some(properties) = convert::properties(message, index) else {
        return Outcome::Invalid;
    };
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let published = channel
        .basic_publish(
            DEFAULT_EXCHANGE.into(),
            queue.into(),
            options,
            &message.body,
            properties,
        )
        .await;
    let confirmation = match published {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    match confirmation {
        Ok(Confirmation::Ack(back)) => {
            Outcome::Confirmed(back.and_then(|back| convert::index(&back.delivery.properties)))
        }
        Ok(Confirmation::Nack(back)) => {
            Outcome::Refused(back.and_then(|back| convert::index(&back.delivery.properties)))
        }
        Ok(Confirmation::NotRequested) => Outcome::Failed("the channel has no confirms".into()),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == NOT_FOUND)
}

impl Publisher for RabbitPublisher {
    fn publish<'a>(
        &'a self,
        queue: &'a str,
        messages: Vec<Message>,
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>> {
        Box::pin(async move {
            let mut results = Vec::with_capacity(messages.len());
            let mut rest = messages.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(chunk(rest));
                let outcome = self.publish_chunk(queue, now).await;
                let failed = outcome.iter().find_map(|result| result.clone().err());
                results.extend(outcome);
                rest = later;
                // What hinders one chunk hinders the next: the rest is not tried.
                if let Some(error) = failed {
                    results.resize(messages.len(), Err(error));
                    break;
                }
            }
            results
        })
    }

    fn depth<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64, PublishError>> {
        Box::pin(async move {
            let unavailable = |reason: String| PublishError::Unavailable(reason);
            let connection = self.link.now().map_err(unavailable)?;
            let lease = self.channels.take(&connection).await;
            let lease = lease.map_err(|error| unavailable(error.to_string()))?;
            let options = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let declared =
                lease
                    .channel
                    .queue_declare(queue.into(), options, FieldTable::default());
            match declared.await {
                Ok(found) => {
                    lease.give_back();
                    Ok(found.message_count().into())
                }
                Err(error) if is_not_found(&error) => Err(PublishError::NoQueue(queue.to_owned())),
                Err(error) => Err(unavailable(error.to_string())),
            }
        })
    }

    fn ready(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            self.link
                .now()
                .is_ok_and(|connection| !connection.status().blocked())
        })
    }
}
