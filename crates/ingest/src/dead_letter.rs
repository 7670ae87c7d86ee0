//! The dead-letter queue: what can never be ingested goes there with its reason, and the broker
//! confirms it before the work is acknowledged.

use std::sync::Arc;

use simbdp_api::wire::work::headers;
use simbdp_broker::queue::{HeaderValue, PublishError};
use simbdp_broker::{Delivery, Message, Publisher};

use crate::metrics::Metrics;
use crate::retry::Retry;
use crate::shutdown::Stopping;

/// Headers share a frame of the broker's protocol, so a reason has its bound, in characters.
const LONGEST_REASON: usize = 1_000;

/// Publishes to one dead-letter queue.
#[derive(Clone)]
pub struct DeadLetters {
    publisher: Arc<dyn Publisher>,
    queue: String,
    retry: Retry,
    metrics: Metrics,
}

/// A delivery that is given up.
pub struct Condemned<'a> {
    /// The delivery.
    pub delivery: &'a Delivery,
    /// Why.
    pub reason: String,
    /// Attempts made.
    pub attempts: u32,
}

impl DeadLetters {
    /// Publishes to `queue`.
    pub fn new(
        publisher: Arc<dyn Publisher>,
        queue: String,
        retry: Retry,
        metrics: Metrics,
    ) -> Self {
        Self {
            publisher,
            queue,
            retry,
            metrics,
        }
    }

    /// Returns when all are confirmed. After a crash between confirmation and acknowledgement a
    /// message may lie there twice, with the same id.
    pub async fn publish(&self, condemned: Vec<Condemned<'_>>) -> Result<(), Stopping> {
        let now = chrono::Utc::now().timestamp_millis();
        for one in &condemned {
            tracing::warn!(
                message = one.delivery.message.id,
                error = one.reason,
                attempts = one.attempts,
                "a message goes to the dead-letter queue"
            );
        }
        let mut left: Vec<Message> = condemned.into_iter().map(|one| letter(one, now)).collect();
        while !left.is_empty() {
            let publish = || self.publish_once(&left);
            let unconfirmed = self.retry.whatever_fails("dead-letter", publish).await?;
            self.metrics.dead_lettered(left.len() - unconfirmed.len());
            left = unconfirmed;
        }
        Ok(())
    }

    /// The messages that were not confirmed; an error when none was.
    async fn publish_once(&self, messages: &[Message]) -> Result<Vec<Message>, PublishError> {
        let results = self.publisher.publish(&self.queue, messages.to_vec()).await;
        let silent = || Err(PublishError::Unavailable("no confirmation".to_owned()));
        let results = results.into_iter().chain(std::iter::repeat_with(silent));
        let mut unconfirmed = Vec::new();
        let mut first_error = None;
        for (message, result) in messages.iter().zip(results) {
            if let Err(error) = result {
                unconfirmed.push(message.clone());
                first_error.get_or_insert(error);
            }
        }
        match first_error {
            Some(error) if unconfirmed.len() == messages.len() => Err(error),
            _ => Ok(unconfirmed),
        }
    }
}

fn letter(condemned: Condemned<'_>, now: i64) -> Message {
    let own = [headers::REASON, headers::ATTEMPTS, headers::CONDEMNED_AT];
    let first = |(name, _): &(String, HeaderValue)| name == headers::FIRST_CONDEMNED_AT;
    let reason: String = condemned.reason.chars().take(LONGEST_REASON).collect();
    let mut message = condemned.delivery.message.clone();
    message
        .headers
        .retain(|(name, _)| !own.contains(&name.as_str()));
    message.headers.extend([
        (headers::REASON.to_owned(), HeaderValue::Text(reason)),
        (
            headers::ATTEMPTS.to_owned(),
            HeaderValue::Long(i64::from(condemned.attempts)),
        ),
        (headers::CONDEMNED_AT.to_owned(), HeaderValue::Long(now)),
    ]);
    // One that was redriven keeps it.
    if !message.headers.iter().any(first) {
        let name = headers::FIRST_CONDEMNED_AT.to_owned();
        message.headers.push((name, HeaderValue::Long(now)));
    }
    message
}
