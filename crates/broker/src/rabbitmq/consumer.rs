//! Takes messages from one queue and settles them.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::future::try_join_all;
use lapin::Channel;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::FieldTable;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::amqp::{LinkOptions, OpenError, open};
use super::convert;
use super::settle::{Frame, frames};
use crate::ConnectionSource;
use crate::queue::{ConsumeError, Consumer, Delivery, Tag};

/// What a consumer takes.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// The connection.
    pub link: LinkOptions,
    /// The queue.
    pub queue: String,
    /// Most deliveries that may be unacknowledged.
    pub prefetch: u16,
}

/// Consumes one queue over a connection of its own. The connection's heartbeats are kept by a
/// thread of its own, however long the caller is busy. When it is dropped, what it holds goes back
/// to the queue.
pub struct RabbitConsumer {
    source: ConnectionSource,
    options: ConsumerOptions,
    epoch: u64,
    state: State,
}

enum State {
    /// Not connected; the next call to `next` connects.
    Closed,
    /// A task connects, until it succeeds. Not lost when a call to `next` is cancelled.
    Opening(AbortOnDropHandle<Session>),
    Open(Session),
    /// Takes nothing more; deliveries that are held can be settled.
    Stopped(Option<Session>),
}

/// A connection with its channel and what was taken over it.
struct Session {
    _connection: lapin::Connection,
    channel: Channel,
    deliveries: lapin::Consumer,
    held: BTreeSet<u64>,
}

impl RabbitConsumer {
    /// Connects at the first call to [`Consumer::next`].
    pub fn new(source: ConnectionSource, options: ConsumerOptions) -> Self {
        Self {
            source,
            options,
            epoch: 0,
            state: State::Closed,
        }
    }

    /// The session that tags of the current epoch belong to.
    fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Open(session) | State::Stopped(Some(session)) => Some(session),
            State::Closed | State::Opening(_) | State::Stopped(None) => None,
        }
    }

    /// Forgets a session that failed: its tags are void from here on.
    fn lose(&mut self, reason: String) -> ConsumeError {
        tracing::warn!(
            queue = self.options.queue,
            error = reason,
            "consumer lost its connection"
        );
        self.state = match self.state {
            State::Stopped(_) => State::Stopped(None),
            _ => State::Closed,
        };
        ConsumeError::Unavailable(reason)
    }

    async fn settle(&mut self, tags: &[Tag], settlement: Settlement) -> Result<(), ConsumeError> {
        let epoch = self.epoch;
        let Some(session) = self.session() else {
            return Ok(());
        };
        if !session.channel.status().connected() {
            return Err(self.lose("the connection was lost".into()));
        }
        let current = tags.iter().filter(|tag| tag.epoch == epoch);
        let frames = frames(&mut session.held, current.map(|tag| tag.delivery));
        match session.send(&frames, settlement).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.lose(error.to_string())),
        }
    }
}

#[derive(Clone, Copy)]
enum Settlement {
    Ack,
    HandBack,
}

impl Session {
    async fn open(source: &ConnectionSource, options: &ConsumerOptions) -> Result<Self, OpenError> {
        let connection = open(source, &options.link).await?;
        let channel = connection.create_channel().await?;
        let deliveries = consume(&channel, &options.queue, options.prefetch).await?;
        Ok(Self {
            _connection: connection,
            channel,
            deliveries,
            held: BTreeSet::new(),
        })
    }

    /// Cancel-safe: a delivery is taken and recorded in one step.
    async fn next(&mut self, epoch: u64) -> Result<Delivery, String> {
        let delivery = match self.deliveries.next().await {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("the broker cancelled the consumer".into()),
        };
        // What was buffered before the loss comes again, and cannot be acknowledged any more.
        if !self.channel.status().connected() {
            return Err("the connection was lost".into());
        }
        self.held.insert(delivery.delivery_tag);
        Ok(Delivery {
            tag: Tag {
                epoch,
                delivery: delivery.delivery_tag,
            },
            returns: convert::returns(&delivery.properties),
            message: convert::message(&delivery.properties, delivery.data),
        })
    }

    async fn send(&self, frames: &[Frame], settlement: Settlement) -> lapin::Result<()> {
        try_join_all(frames.iter().map(|frame| async move {
            let Frame { tag, multiple } = *frame;
            match settlement {
                Settlement::Ack => {
                    self.channel
                        .basic_ack(tag, BasicAckOptions { multiple })
                        .await
                }
                Settlement::HandBack => {
                    let options = BasicNackOptions {
                        multiple,
                        requeue: true,
                    };
                    self.channel.basic_nack(tag, options).await
                }
            }
        }))
        .await
        .map(drop)
    }

    /// Takes nothing more; what was delivered and not yet taken by the caller is handed back.
    async fn cancel(&mut self) -> lapin::Result<()> {
        let tag = self.deliveries.tag();
        self.channel
            .basic_cancel(tag, BasicCancelOptions::default())
            .await?;
        let mut untaken = Vec::new();
        while let Some(delivery) = self.deliveries.next().await {
            untaken.push(Frame {
                tag: delivery?.delivery_tag,
                multiple: false,
            });
        }
        self.send(&untaken, Settlement::HandBack).await
    }

    async fn resume(&mut self, queue: &str, prefetch: u16) -> lapin::Result<()> {
        self.cancel().await?;
        self.deliveries = consume(&self.channel, queue, prefetch).await?;
        Ok(())
    }
}

/// A quorum queue counts the prefetch for each consumer, from when it starts.
async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> lapin::Result<lapin::Consumer> {
    channel
        .basic_qos(prefetch, BasicQosOptions { global: false })
        .await?;
    channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
}

/// Connects until it succeeds.
async fn open_session(source: ConnectionSource, options: ConsumerOptions) -> Session {
    let mut delays = options.link.delays();
    loop {
        match Session::open(&source, &options).await {
            Ok(session) => {
                tracing::info!(queue = options.queue, "consuming");
                return session;
            }
            Err(error) => {
                tracing::warn!(queue = options.queue, %error, "cannot consume yet");
                sleep(delays.next().unwrap_or(options.link.max_delay)).await;
            }
        }
    }
}

impl Consumer for RabbitConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery, ConsumeError>> {
        Box::pin(async move {
            loop {
                match &mut self.state {
                    State::Closed => {
                        let task = open_session(self.source.clone(), self.options.clone());
                        self.state = State::Opening(AbortOnDropHandle::new(tokio::spawn(task)));
                    }
                    State::Opening(task) => match task.await {
                        Ok(session) => {
                            self.epoch += 1;
                            self.state = State::Open(session);
                        }
                        Err(error) => return Err(self.lose(error.to_string())),
                    },
                    State::Open(session) => match session.next(self.epoch).await {
                        Ok(delivery) => return Ok(delivery),
                        Err(reason) => return Err(self.lose(reason)),
                    },
                    State::Stopped(_) => {
                        return Err(ConsumeError::Unavailable("the consumer was stopped".into()));
                    }
                }
            }
        })
    }

    fn ack<'a>(&'a mut self, tags: &'a [Tag]) -> BoxFuture<'a, Result<(), ConsumeError>> {
        Box::pin(async move { self.settle(tags, Settlement::Ack).await })
    }

    fn hand_back<'a>(&'a mut self, tags: &'a [Tag]) -> BoxFuture<'a, Result<(), ConsumeError>> {
        Box::pin(async move { self.settle(tags, Settlement::HandBack).await })
    }

    fn set_prefetch(&mut self, prefetch: u16) -> BoxFuture<'_, Result<(), ConsumeError>> {
        Box::pin(async move {
            self.options.prefetch = prefetch;
            match &mut self.state {
                // The connection that is being made would have the former prefetch.
                State::Opening(_) => self.state = State::Closed,
                State::Open(session) => {
                    if let Err(error) = session.resume(&self.options.queue, prefetch).await {
                        return Err(self.lose(error.to_string()));
                    }
                }
                State::Closed | State::Stopped(_) => {}
            }
            Ok(())
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, Result<(), ConsumeError>> {
        Box::pin(async move {
            let former = std::mem::replace(&mut self.state, State::Stopped(None));
            let session = match former {
                State::Open(session) => session,
                State::Stopped(held) => {
                    self.state = State::Stopped(held);
                    return Ok(());
                }
                State::Closed | State::Opening(_) => return Ok(()),
            };
            self.state = State::Stopped(Some(session));
            let Some(session) = self.session() else {
                return Ok(());
            };
            match session.cancel().await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.lose(error.to_string())),
            }
        })
    }
}
