//! Takes messages from one topic and settles them.

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::pump::{Command, Pump};
use crate::ConnectionSource;
use crate::queue::{ConsumeError, Consumer, Delivery, Tag};

/// Deliveries on their way from the pump to the caller.
const ON_THE_WAY: usize = 64;
/// Commands that wait for the pump.
const COMMANDS: usize = 16;

/// What a consumer takes.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// Name of the client in the broker's lists.
    pub name: String,
    /// The queue.
    pub queue: String,
    /// Most deliveries that may be unacknowledged.
    pub prefetch: u16,
}

/// Consumes one queue as a member of its group. A task of its own keeps the membership, however long the caller is
/// busy. When it is dropped, what it holds goes to the other members.
pub struct KafkaConsumer {
    source: ConnectionSource,
    options: ConsumerOptions,
    epoch: u64,
    pump: Option<Running>,
    stopped: bool,
}

/// A pump that runs.
struct Running {
    deliveries: mpsc::Receiver<Result<Delivery, ConsumeError>>,
    commands: mpsc::Sender<Command>,
}

impl KafkaConsumer {
    /// Connects at the first call to [`Consumer::next`].
    pub fn new(source: ConnectionSource, options: ConsumerOptions) -> Self {
        Self {
            source,
            options,
            epoch: 0,
            pump: None,
            stopped: false,
        }
    }

    fn running(&mut self) -> &mut Running {
        self.pump.get_or_insert_with(|| {
            self.epoch += 1;
            let (deliver, deliveries) = mpsc::channel(ON_THE_WAY);
            let (commands, asked) = mpsc::channel(COMMANDS);
            let pump = Pump::new(self.options.clone(), self.epoch, deliver, asked);
            // It ends by itself when the channel of commands does.
            tokio::spawn(pump.run(self.source.clone()));
            Running {
                deliveries,
                commands,
            }
        })
    }

    /// Tells the pump something and waits until it is done. Without a pump nothing is held.
    async fn tell(
        &mut self,
        command: impl FnOnce(oneshot::Sender<Result<(), ConsumeError>>) -> Command,
    ) -> Result<(), ConsumeError> {
        let Some(running) = &self.pump else {
            return Ok(());
        };
        let (done, told) = oneshot::channel();
        let lost = || ConsumeError::Unavailable("the consumer lost its membership".into());
        let sent = running.commands.send(command(done)).await;
        let answer = match sent {
            Ok(()) => told.await.unwrap_or_else(|_| Err(lost())),
            Err(_) => Err(lost()),
        };
        if running.commands.is_closed() {
            self.pump = None;
        }
        answer
    }

    fn current(&self, tags: &[Tag]) -> Vec<u64> {
        let tags = tags.iter().filter(|tag| tag.epoch == self.epoch);
        tags.map(|tag| tag.delivery).collect()
    }
}

impl Consumer for KafkaConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery, ConsumeError>> {
        Box::pin(async move {
            if self.stopped {
                return Err(ConsumeError::Unavailable("the consumer was stopped".into()));
            }
            match self.running().deliveries.recv().await {
                Some(Ok(delivery)) => Ok(delivery),
                Some(Err(error)) => {
                    self.pump = None;
                    Err(error)
                }
                None => {
                    self.pump = None;
                    let lost = "the consumer lost its membership";
                    Err(ConsumeError::Unavailable(lost.into()))
                }
            }
        })
    }

    fn ack<'a>(&'a mut self, tags: &'a [Tag]) -> BoxFuture<'a, Result<(), ConsumeError>> {
        Box::pin(async move {
            let tags = self.current(tags);
            self.tell(|done| Command::Ack { tags, done }).await
        })
    }

    fn hand_back<'a>(&'a mut self, tags: &'a [Tag]) -> BoxFuture<'a, Result<(), ConsumeError>> {
        Box::pin(async move {
            let tags = self.current(tags);
            self.tell(|done| Command::HandBack { tags, done }).await
        })
    }

    fn set_prefetch(&mut self, prefetch: u16) -> BoxFuture<'_, Result<(), ConsumeError>> {
        Box::pin(async move {
            self.options.prefetch = prefetch;
            self.tell(|done| Command::SetPrefetch { prefetch, done })
                .await
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, Result<(), ConsumeError>> {
        Box::pin(async move {
            self.stopped = true;
            let stopped = self.tell(|done| Command::Stop { done }).await;
            // What the caller did not take is not taken by it any more.
            if let Some(running) = &mut self.pump {
                running.deliveries.close();
            }
            stopped
        })
    }
}
