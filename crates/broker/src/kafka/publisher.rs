//! Publishes with confirmation by all replicas that are in step.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::future::join_all;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use simbdp_api::names::is_dead_letter_queue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::client::{self, Said, topic};
use super::cluster::Cluster;
use super::convert;
use super::fill::{self, Fill};
use super::login;
use crate::chunks::{bytes, chunk};
use crate::queue::{Message, PublishError, Publisher};
use crate::{Connection, ConnectionSource};

/// Unit of the budget of bytes in flight.
const BUDGET_UNIT: usize = 1 << 10;

/// Bounds of a publisher.
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// Name of the client in the broker's lists.
    pub name: String,
    /// How long a publish waits for a login that is not known.
    pub connect_wait: Duration,
    /// Longest time from publishing to the confirm.
    pub confirm_timeout: Duration,
    /// Most bytes published and not yet confirmed; later calls wait.
    pub max_bytes_in_flight: usize,
    /// How often the login is looked at: a client keeps the one that it was made with.
    pub look: Duration,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        Self {
            name: "simbdp".into(),
            connect_wait: Duration::from_secs(2),
            confirm_timeout: Duration::from_secs(10),
            max_bytes_in_flight: 16 << 20,
            look: Duration::from_secs(1),
        }
    }
}

/// A client with one login.
struct Client {
    connection: Connection,
    producer: FutureProducer<Said>,
    cluster: Cluster,
    fills: Mutex<HashMap<String, Arc<Fill>>>,
}

type State = Result<Arc<Client>, String>;

/// Publishes to a tenant's topics. Safe for any number of concurrent callers; may be made while the broker is down.
pub struct KafkaPublisher {
    state: watch::Receiver<State>,
    budget: Arc<Semaphore>,
    budget_units: u32,
    options: PublisherOptions,
    _keeper: AbortOnDropHandle<()>,
}

impl KafkaPublisher {
    /// Starts to connect. Must be called in a tokio runtime; its task ends when it is dropped.
    pub fn new(source: ConnectionSource, options: PublisherOptions) -> Self {
        let (sender, state) = watch::channel(Err("the login is not known yet".to_owned()));
        let units = (options.max_bytes_in_flight / BUDGET_UNIT).max(1);
        let budget_units = u32::try_from(units).unwrap_or(u32::MAX);
        Self {
            state,
            budget: Arc::new(Semaphore::new(budget_units as usize)),
            budget_units,
            _keeper: AbortOnDropHandle::new(tokio::spawn(keep(source, options.clone(), sender))),
            options,
        }
    }

    fn now(&self) -> State {
        self.state.borrow().clone()
    }

    async fn client(&self) -> State {
        let mut state = self.state.clone();
        // Whether it came or the time ran out is told by the state itself.
        let _ = timeout(self.options.connect_wait, state.wait_for(Result::is_ok)).await;
        self.now()
    }

    async fn publish_chunk(
        &self,
        client: &Client,
        queue: &str,
        messages: &[Message],
    ) -> Vec<Result<(), PublishError>> {
        let size = bytes(messages);
        let _budget = self.reserve(size).await;
        if !client.admits(queue, size, messages.len()).await {
            return vec![Err(PublishError::Full); messages.len()];
        }
        let topic = topic(&client.connection.vhost, queue);
        let sent = messages.iter().map(|message| send(client, &topic, message));
        // All are handed to the client before any is waited for: they travel together.
        let sent: Vec<_> = sent.collect();
        let results = join_all(sent).await.into_iter();
        results
            .map(|result| result.map_err(|failed| failed.of(queue)))
            .collect()
    }

    /// Waits until as many bytes may be in flight.
    async fn reserve(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(1 + size / BUDGET_UNIT).unwrap_or(u32::MAX);
        let units = units.min(self.budget_units);
        self.budget.clone().acquire_many_owned(units).await.ok()
    }
}

impl Client {
    fn new(connection: Connection, options: &PublisherOptions) -> Result<Self, KafkaError> {
        let mut config = client::config(&connection, &options.name);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set(
                "message.timeout.ms",
                options.confirm_timeout.as_millis().to_string(),
            )
            .set("linger.ms", "1");
        let (addresses, login) = login::tenant(&connection);
        Ok(Self {
            producer: config.create_with_context(Said)?,
            cluster: Cluster::new(addresses, login),
            fills: Mutex::default(),
            connection,
        })
    }

    async fn admits(&self, queue: &str, size: usize, messages: usize) -> bool {
        let bound = self.connection.max_queue_bytes;
        // What is given up has to find room, or the work behind it would wait for ever.
        let Some(most) = bound.filter(|_| !is_dead_letter_queue(queue)) else {
            return true;
        };
        let fill = {
            let mut fills = self.fills.lock().unwrap_or_else(PoisonError::into_inner);
            fills.entry(queue.to_owned()).or_default().clone()
        };
        let vhost = &self.connection.vhost;
        fill.admit(
            &self.cluster,
            vhost,
            queue,
            most,
            (size as u64, messages as u64),
        )
        .await
    }

    /// An idempotent client that lost count is of no use any more.
    fn is_broken(&self) -> bool {
        self.producer.client().fatal_error().is_some()
    }
}

/// Why a message was not confirmed.
enum Failed {
    Invalid,
    Kafka(KafkaError),
}

impl Failed {
    fn of(self, queue: &str) -> PublishError {
        let error = match self {
            Self::Invalid => {
                return PublishError::Unavailable(
                    "the message's id or a header's name is longer than 255 bytes".into(),
                );
            }
            Self::Kafka(error) => error,
        };
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition,
            ) => PublishError::NoQueue(queue.to_owned()),
            _ => PublishError::Unavailable(error.to_string()),
        }
    }
}

/// Hands a message to the client at once; the future is its confirmation.
fn send(
    client: &Client,
    topic: &str,
    message: &Message,
) -> impl Future<Output = Result<(), Failed>> + Send + use<> {
    let handed = match convert::record_headers(message) {
        None => Err(Failed::Invalid),
        Some(headers) => {
            let record: FutureRecord<'_, (), [u8]> = FutureRecord::to(topic)
                .payload(&message.body[..])
                .headers(headers);
            let handed = client.producer.send_result(record);
            handed.map_err(|(error, _)| Failed::Kafka(error))
        }
    };
    async move {
        match handed?.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(Failed::Kafka(error)),
            Err(_) => Err(Failed::Kafka(KafkaError::Canceled)),
        }
    }
}

/// Makes a client, and another one when the login changes or it is broken.
async fn keep(source: ConnectionSource, options: PublisherOptions, state: watch::Sender<State>) {
    loop {
        let now = state.borrow().clone();
        match source.read().await {
            Ok(connection) => {
                let good = now.is_ok_and(|now| now.connection == connection && !now.is_broken());
                if !good {
                    let client = Client::new(connection, &options);
                    let client = client.map_err(|error| error.to_string());
                    tracing::info!(client = options.name, "a client with a new login");
                    let _former = state.send_replace(client.map(Arc::new));
                }
            }
            // The login that there is may go on.
            Err(error) if now.is_err() => {
                let _former = state.send_replace(Err(error.to_string()));
            }
            Err(error) => {
                tracing::warn!(client = options.name, %error, "the login stays as it was")
            }
        }
        sleep(options.look).await;
    }
}

impl Publisher for KafkaPublisher {
    fn publish<'a>(
        &'a self,
        queue: &'a str,
        messages: Vec<Message>,
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>> {
        Box::pin(async move {
            let client = match self.client().await {
                Ok(client) => client,
                Err(reason) => return vec![Err(PublishError::Unavailable(reason)); messages.len()],
            };
            let mut results = Vec::with_capacity(messages.len());
            let mut rest = messages.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(chunk(rest));
                let outcome = self.publish_chunk(&client, queue, now).await;
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
            let client = self.now().map_err(PublishError::Unavailable)?;
            let waiting = fill::waiting(&client.cluster, &client.connection.vhost, queue).await;
            match waiting {
                Ok(Some(backlog)) => Ok(backlog.ready),
                Ok(None) => Err(PublishError::NoQueue(queue.to_owned())),
                Err(error) => Err(PublishError::Unavailable(error.to_string())),
            }
        })
    }

    fn ready(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match self.now() {
                Ok(client) => client.cluster.nodes().await.is_ok(),
                Err(_) => false,
            }
        })
    }
}
