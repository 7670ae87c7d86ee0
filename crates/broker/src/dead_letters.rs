//! Reading a dead-letter queue without emptying it. Letters are looked at from the front; each stays where it
//! is unless it is removed.

use futures::future::BoxFuture;

use crate::queue::Message;

/// A message that was given up, as it lies in a dead-letter queue.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The message, with the headers that its ingest app added.
    pub message: Message,
    /// Why the broker itself gave it up, where it did: its own delivery limit, for example.
    pub broker_reason: Option<String>,
    /// For its removal; good for the reader that it came from only.
    pub tag: LetterTag,
}

/// Tag of a letter, in its reader.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct LetterTag(pub u64);

/// Why dead letters cannot be read or removed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DeadLetterError {
    /// The broker cannot be asked. What was to be removed may still be there.
    #[error("the broker does not answer: {0}")]
    Unavailable(String),
    /// There is no such queue.
    #[error("queue `{0}` is not there")]
    NoQueue(String),
}

/// Opens dead-letter queues.
pub trait DeadLetters: Send + Sync {
    /// Opens a queue at its front.
    fn open<'a>(
        &'a self,
        queue: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn DeadLetterReader>, DeadLetterError>>;
}

/// Reads one dead-letter queue from its front. Nothing is lost whatever dies: a letter is gone only when it was
/// removed, and those that were read are there again at the latest when the broker misses the reader.
///
/// Whether other readers see, meanwhile, what this one has read is the broker's own: RabbitMQ hides it.
pub trait DeadLetterReader: Send {
    /// Letters that nobody had read when it was opened.
    fn waiting(&self) -> u64;
    /// The next letter; [`None`] when there is none after it.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<DeadLetter>, DeadLetterError>>;
    /// Removes letters for good. They are known to be gone once [`close`](Self::close) has returned.
    fn remove<'a>(
        &'a mut self,
        letters: &'a [LetterTag],
    ) -> BoxFuture<'a, Result<(), DeadLetterError>>;
    /// Gives back what was read and not removed, in the order that it had.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), DeadLetterError>>;
}
