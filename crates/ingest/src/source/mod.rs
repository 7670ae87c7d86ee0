//! Sources: files and messages as they come out of the pipeline's queue.

pub mod files;
pub mod messages;

use std::time::Duration;

use simbdp_broker::Delivery;
use simbdp_broker::queue::{ConsumeError, Consumer, Tag};

/// The consumer reconnects with a back-off of its own; this only keeps a failing one from spinning.
const AFTER_LOSS: Duration = Duration::from_millis(100);
/// How long a broker may take to answer an app that stops.
const PATIENCE: Duration = Duration::from_secs(5);

/// The next delivery; [`None`] when the connection was lost, and what was held comes again. Cancel-safe
/// while there is a connection.
pub async fn next(consumer: &mut dyn Consumer) -> Option<Delivery> {
    match consumer.next().await {
        Ok(delivery) => Some(delivery),
        Err(ConsumeError::Unavailable(error)) => {
            tracing::warn!(error, "the broker is lost, connecting again");
            tokio::time::sleep(AFTER_LOSS).await;
            None
        }
    }
}

/// Acknowledges. When the connection is lost the messages come again, which is harmless.
pub async fn ack(consumer: &mut dyn Consumer, tags: &[Tag]) {
    if tags.is_empty() {
        return;
    }
    if let Err(error) = consumer.ack(tags).await {
        tracing::warn!(%error, messages = tags.len(), "not acknowledged: these come again");
    }
}

/// Hands back. When the connection is lost the broker does so itself.
pub async fn hand_back(consumer: &mut dyn Consumer, tags: &[Tag]) {
    if tags.is_empty() {
        return;
    }
    tracing::info!(messages = tags.len(), "handing back");
    if let Err(error) = consumer.hand_back(tags).await {
        tracing::warn!(%error, messages = tags.len(), "the broker takes these back itself");
    }
}

/// Changes the prefetch. When the connection is lost the next one has it.
pub async fn set_prefetch(consumer: &mut dyn Consumer, prefetch: u16) {
    if let Err(error) = consumer.set_prefetch(prefetch).await {
        tracing::warn!(%error, prefetch, "the broker is lost while changing the prefetch");
    }
}

/// Takes nothing more; what the broker has sent already goes to other consumers at once. What is held can still be
/// acknowledged.
pub async fn stop(consumer: &mut dyn Consumer) {
    match tokio::time::timeout(PATIENCE, consumer.stop()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the broker was lost before the end"),
        Err(_) => tracing::warn!(
            error = "no answer in time",
            "the broker was lost before the end"
        ),
    }
}
