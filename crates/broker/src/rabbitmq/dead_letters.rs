//! [IO] Reads a dead-letter queue by `basic.get` over a connection of its own, without acknowledging: whatever
//! ends the connection gives every letter back that was not removed.
//!
//! Each `basic.get` of a quorum queue is a consumer of its own, and those of a connection that is lost come back in
//! any order. An orderly end hands the letters back one by one, and the queue keeps them before all others, in that order.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures::future::BoxFuture;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ErrorKind};
use tokio::time::timeout;

use super::amqp::{LinkOptions, open};
use super::convert;
use crate::ConnectionSource;
use crate::dead_letters::{DeadLetter, DeadLetterError, DeadLetterReader, DeadLetters, LetterTag};

/// Longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);
/// Letters that are given back or removed before the queue is waited for: of more than 32 that are under way it would turn the
/// order, and forget the rest when the channel is closed.
const AT_A_TIME: usize = 16;
/// Longest wait for them.
const SETTLED: Duration = Duration::from_secs(1);
/// How often they are looked for.
const LOOK: Duration = Duration::from_millis(5);
/// AMQP's reply code of a queue that is not there.
const NOT_FOUND: u16 = 404;

/// Opens dead-letter queues of one virtual host, each over a connection that lives as long as its reader.
pub struct RabbitDeadLetters {
    source: ConnectionSource,
    options: LinkOptions,
}

impl RabbitDeadLetters {
    /// Connects when a queue is opened.
    pub fn new(source: ConnectionSource) -> Self {
        Self {
            source,
            options: LinkOptions::named("simbdp dead letters"),
        }
    }
}

struct Reader {
    connection: lapin::Connection,
    channel: Channel,
    queue: String,
    waiting: u64,
    /// Tags that were read and not removed; they count up.
    held: BTreeSet<u64>,
    /// Letters that were read before somebody asked for them.
    ahead: VecDeque<DeadLetter>,
}

impl Reader {
    async fn read(&mut self) -> Result<Option<DeadLetter>, DeadLetterError> {
        let options = BasicGetOptions { no_ack: false };
        let asked = self.channel.basic_get(self.queue.as_str().into(), options);
        let Some(found) = answer(&self.queue, asked).await? else {
            return Ok(None);
        };
        let delivery = found.delivery;
        self.held.insert(delivery.delivery_tag);
        Ok(Some(DeadLetter {
            broker_reason: convert::death(&delivery.properties),
            message: convert::message(&delivery.properties, delivery.data),
            tag: LetterTag(delivery.delivery_tag),
        }))
    }

    /// Waits until the queue has done what it was asked to on this channel. Nothing answers an acknowledgement, but a
    /// `basic.get` takes its turn behind it.
    async fn done(&mut self) -> Result<(), DeadLetterError> {
        let next = self.read().await?;
        self.ahead.extend(next);
        Ok(())
    }
}

fn unavailable(reason: impl ToString) -> DeadLetterError {
    DeadLetterError::Unavailable(reason.to_string())
}

/// Waits for the broker, not for ever.
async fn answer<T>(
    queue: &str,
    asked: impl Future<Output = lapin::Result<T>>,
) -> Result<T, DeadLetterError> {
    match timeout(ANSWER, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => match error.kind() {
            ErrorKind::ProtocolError(found) if found.get_id() == NOT_FOUND => {
                Err(DeadLetterError::NoQueue(queue.to_owned()))
            }
            _ => Err(unavailable(error)),
        },
        Err(_) => Err(unavailable(format!("no answer within {ANSWER:?}"))),
    }
}

/// Letters that nobody holds.
async fn waiting(channel: &Channel, queue: &str) -> Result<u64, DeadLetterError> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
    Ok(answer(queue, declared).await?.message_count().into())
}

/// Waits until so many letters are back. Who reads or publishes at the same time can make it less: that is not waited for.
async fn settled(channel: &Channel, queue: &str, expected: u64) -> Result<(), DeadLetterError> {
    let looks = async {
        while waiting(channel, queue).await? < expected {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    timeout(SETTLED, looks).await.unwrap_or(Ok(()))
}

impl DeadLetters for RabbitDeadLetters {
    fn open<'a>(
        &'a self,
        queue: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn DeadLetterReader>, DeadLetterError>> {
        Box::pin(async move {
            let connection = open(&self.source, &self.options)
                .await
                .map_err(unavailable)?;
            let channel = answer(queue, connection.create_channel()).await?;
            let waiting = waiting(&channel, queue).await?;
            Ok(Box::new(Reader {
                connection,
                channel,
                queue: queue.to_owned(),
                waiting,
                held: BTreeSet::new(),
                ahead: VecDeque::new(),
            }) as Box<dyn DeadLetterReader>)
        })
    }
}

impl DeadLetterReader for Reader {
    fn waiting(&self) -> u64 {
        self.waiting
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<DeadLetter>, DeadLetterError>> {
        Box::pin(async move {
            match self.ahead.pop_front() {
                Some(letter) => Ok(Some(letter)),
                None => self.read().await,
            }
        })
    }

    fn remove<'a>(
        &'a mut self,
        letters: &'a [LetterTag],
    ) -> BoxFuture<'a, Result<(), DeadLetterError>> {
        Box::pin(async move {
            for letters in letters.chunks(AT_A_TIME) {
                for LetterTag(tag) in letters {
                    if self.held.remove(tag) {
                        let acked = self.channel.basic_ack(*tag, BasicAckOptions::default());
                        answer(&self.queue, acked).await?;
                    }
                }
                self.done().await?;
            }
            Ok(())
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), DeadLetterError>> {
        Box::pin(async move {
            let Self {
                connection,
                channel,
                queue,
                held,
                ..
            } = *self;
            let requeue = BasicNackOptions {
                multiple: false,
                requeue: true,
            };
            let held: Vec<u64> = held.into_iter().collect();
            for tags in held.chunks(AT_A_TIME) {
                let before = waiting(&channel, &queue).await?;
                for tag in tags {
                    answer(&queue, channel.basic_nack(*tag, requeue)).await?;
                }
                settled(&channel, &queue, before + tags.len() as u64).await?;
            }
            // Answered only after all that went before it on the channel.
            answer(&queue, channel.close(200, "read".into())).await?;
            answer(&queue, connection.close(200, "read".into())).await
        })
    }
}
