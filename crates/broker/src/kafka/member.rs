//! The membership in a group, by librdkafka: what was given and taken away, what is committed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::client::{self, Said};
use super::consumer::ConsumerOptions;
use super::partition::Commit;
use crate::Connection;

/// How long the broker may take to say what is committed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Partitions that came or went.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Given(Vec<i32>),
    Gone(Vec<i32>),
}

/// Passes on what comes and goes.
pub(super) struct Changes(mpsc::UnboundedSender<Change>);

impl ClientContext for Changes {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Said::log_line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Said::error_line(&error, reason);
    }
}

impl ConsumerContext for Changes {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // Before the next message: its number may mean another place in the topic then.
        if let Rebalance::Revoke(partitions) = rebalance {
            let _ = self.0.send(Change::Gone(numbers(partitions)));
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            let _ = self.0.send(Change::Given(numbers(partitions)));
        }
    }
}

fn numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    let partitions = partitions.elements();
    partitions
        .iter()
        .map(|element| element.partition())
        .collect()
}

/// Whether a member is told where a partition ends for now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ends {
    Told,
    Silent,
}

/// A member of the group of one topic.
pub(super) struct Member {
    consumer: Arc<StreamConsumer<Changes>>,
    topic: String,
}

impl Member {
    /// Joins. What comes and goes is told by the channel, at the latest before the next message. Ends of partitions are
    /// told, as errors, to who wants to know them.
    pub(super) fn join(
        connection: &Connection,
        options: &ConsumerOptions,
        ends: Ends,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Change>), KafkaError> {
        let topic = client::topic(&connection.vhost, &options.queue);
        // The channel is as bounded as the number of partitions and of rebalances.
        let (changed, changes) = mpsc::unbounded_channel();
        let mut config = client::config(connection, &options.name);
        config
            .set("group.id", &topic)
            .set("enable.partition.eof", (ends == Ends::Told).to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // What nobody has read is never passed over.
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "2000")
            // The memory of what is fetched ahead.
            .set("queued.max.messages.kbytes", "4096")
            .set("fetch.message.max.bytes", "1048576");
        let consumer: StreamConsumer<Changes> = config.create_with_context(Changes(changed))?;
        consumer.subscribe(&[&topic])?;
        let consumer = Arc::new(consumer);
        Ok((Self { consumer, topic }, changes))
    }

    /// The next record. Cancel-safe. Serves the membership while it waits.
    pub(super) async fn next(&self) -> Result<BorrowedMessage<'_>, KafkaError> {
        self.consumer.recv().await
    }

    /// Stops fetching, or goes on: the membership stays.
    pub(super) fn pause(&self, paused: bool) {
        let Ok(partitions) = self.consumer.assignment() else {
            return;
        };
        let done = match paused {
            true => self.consumer.pause(&partitions),
            false => self.consumer.resume(&partitions),
        };
        if let Err(error) = done {
            tracing::warn!(topic = self.topic, %error, paused, "fetching goes on as before");
        }
    }

    /// Partitions as other members left them, by what these committed and wrote beside it.
    pub(super) fn load<T: Send + 'static>(
        &self,
        partitions: Vec<i32>,
        resumed: fn(Option<i64>, &str) -> T,
    ) -> JoinHandle<Result<HashMap<i32, T>, KafkaError>> {
        let (consumer, topic) = (Arc::clone(&self.consumer), self.topic.clone());
        spawn_blocking(move || {
            let mut asked = TopicPartitionList::with_capacity(partitions.len());
            for partition in partitions {
                asked.add_partition(&topic, partition);
            }
            let committed = consumer.committed_offsets(asked, PATIENCE)?;
            let mut loaded = HashMap::new();
            for element in committed.elements() {
                element.error()?;
                let committed = match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                };
                let partition = resumed(committed, element.metadata());
                loaded.insert(element.partition(), partition);
            }
            Ok(loaded)
        })
    }

    /// Tells the broker how far partitions are.
    pub(super) fn commit(&self, commits: Vec<(i32, Commit)>) -> JoinHandle<Result<(), KafkaError>> {
        let (consumer, topic) = (Arc::clone(&self.consumer), self.topic.clone());
        spawn_blocking(move || {
            let mut offsets = TopicPartitionList::with_capacity(commits.len());
            for (partition, commit) in commits {
                let mut element = offsets.add_partition(&topic, partition);
                element.set_offset(Offset::Offset(commit.offset))?;
                element.set_metadata(commit.text);
            }
            consumer.commit(&offsets, CommitMode::Sync)
        })
    }

    /// Leaves the group, so that the others need not wait until it is missed.
    pub(super) async fn leave(self) {
        let left = spawn_blocking(move || drop(self)).await;
        if let Err(error) = left {
            tracing::warn!(%error, "the group was not left");
        }
    }
}

/// Whether the membership is over: only a new one, with the login as it is then, can help.
pub(super) fn is_over(error: &KafkaError) -> bool {
    let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
    let code = error.rdkafka_error_code();
    fatal
        || matches!(
            code,
            Some(
                RDKafkaErrorCode::Authentication
                    | RDKafkaErrorCode::SaslAuthenticationFailed
                    | RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::GroupAuthorizationFailed
                    | RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::Fatal
                    | RDKafkaErrorCode::PollExceeded
            )
        )
}
