//! Publishing with confirmation, and consuming with acknowledgement.

use bytes::Bytes;
use futures::future::BoxFuture;

/// A message on its way into a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Id: source id and ordinal, unique for a record. At most 255 bytes.
    pub id: String,
    /// Body.
    pub body: Bytes,
    /// Headers of [`simbdp_api::wire::work::headers`]; a delivery has them in order of their names, without
    /// those of the broker itself (`x-…`).
    pub headers: Vec<(String, HeaderValue)>,
}

/// Value of a header.
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderValue {
    /// Text.
    Text(String),
    /// 64-bit integer.
    Long(i64),
}

/// Why a message was not confirmed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PublishError {
    /// The queue holds as much as it may: slow down and try again.
    #[error("the queue is full")]
    Full,
    /// The broker cannot be asked, or did not confirm in time: whether the message is in the queue is not known.
    #[error("the broker does not answer: {0}")]
    Unavailable(String),
    /// There is no such queue.
    #[error("queue `{0}` is not there")]
    NoQueue(String),
}

/// Publishes with confirmation. Reconnects by itself.
pub trait Publisher: Send + Sync {
    /// Publishes to a queue; each result is confirmed by a quorum of the queue's replicas or says why not, in order of the messages.
    fn publish<'a>(
        &'a self,
        queue: &'a str,
        messages: Vec<Message>,
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>>;
    /// Messages that wait in a queue; those that were taken and not yet acknowledged are not among them.
    fn depth<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64, PublishError>>;
    /// Whether the broker answers now.
    fn ready(&self) -> BoxFuture<'_, bool>;
}

/// A message taken from a queue, not yet acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Tag for acknowledgement; good for the consumer's current connection only.
    pub tag: Tag,
    /// How often it was delivered before and came back: `x-acquired-count` (4.3 and later) or `x-delivery-count`.
    pub returns: u32,
}

/// Tag of a delivery, bound to the connection that it came on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Tag {
    /// Connection, counted from 1; tags of an earlier one are void.
    pub epoch: u64,
    /// AMQP delivery tag.
    pub delivery: u64,
}

/// A failure of a consumer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConsumeError {
    /// The connection is lost; what was taken and not acknowledged comes again. Ask for the next delivery to reconnect.
    #[error("the broker does not answer: {0}")]
    Unavailable(String),
}

/// Takes messages from one queue, at most `prefetch` unacknowledged. Reconnects by itself, with back-off.
pub trait Consumer: Send + Sync {
    /// The next delivery; waits until there is one. Cancel-safe.
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery, ConsumeError>>;
    /// Acknowledges deliveries; they are gone from the queue. Void tags are ignored: those messages come again.
    fn ack<'a>(&'a mut self, tags: &'a [Tag]) -> BoxFuture<'a, Result<(), ConsumeError>>;
    /// Hands deliveries back to the queue.
    fn hand_back<'a>(&'a mut self, tags: &'a [Tag]) -> BoxFuture<'a, Result<(), ConsumeError>>;
    /// Changes how many deliveries may be unacknowledged; those held are handed back first by the caller.
    fn set_prefetch(&mut self, prefetch: u16) -> BoxFuture<'_, Result<(), ConsumeError>>;
    /// Stops taking, for good; what was not taken yet goes back, held deliveries can still be acknowledged.
    fn stop(&mut self) -> BoxFuture<'_, Result<(), ConsumeError>>;
}
