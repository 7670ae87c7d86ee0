//! The stream app: takes messages in parcels, writes each parcel at once, several at a time, and
//! acknowledges what is written or confirmed by the dead-letter queue. Suspects are tried alone.

use std::collections::HashSet;
use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};
use simbdp_broker::Delivery;
use simbdp_broker::queue::{Consumer, Tag};
use tokio::time::{MissedTickBehavior, interval};

use crate::courier::{Deliver, Delivered};
use crate::metrics::Metrics;
use crate::shutdown::{Shutdown, Stopping};
use crate::source;
use crate::source::messages::{Gathering, ParcelLimits};
use crate::suspects::{self, Suspects, Verdict};
use crate::totals::{self, Counted};

/// Healthy messages in a row after which suspects are no longer expected: what is handed back comes
/// again at the head of the queue.
const QUIET: u32 = 16;

/// Bounds of the app.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Bounds of a parcel.
    pub parcel: ParcelLimits,
    /// Parcels that are written at the same time.
    pub parcels: usize,
    /// Deliveries held at most.
    pub prefetch: u16,
}

/// The stream app of one pipeline.
pub struct StreamApp {
    /// Where messages come from.
    pub consumer: Box<dyn Consumer>,
    /// What brings them into the table.
    pub courier: Arc<dyn Deliver>,
    /// Messages that came back often.
    pub suspects: Suspects,
    /// Bounds.
    pub limits: StreamLimits,
    /// What is measured.
    pub metrics: Metrics,
    /// Running totals.
    pub totals: Counted,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// Why a mode of work ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Left {
    Suspects,
    Healthy,
    Stopping,
}

impl StreamApp {
    /// Ingests messages until the app is to stop.
    pub async fn run(mut self) {
        loop {
            if self.together().await == Left::Stopping || self.alone().await == Left::Stopping {
                break;
            }
        }
        source::stop(&mut *self.consumer).await;
        self.totals.flush().await;
    }

    /// Works in parcels until suspects turn up. Then what is healthy is finished first.
    async fn together(&mut self) -> Left {
        let shutdown = self.shutdown.clone();
        let mut held = HashSet::new();
        let mut suspects = Vec::new();
        let mut gathering = Gathering::new(self.limits.parcel);
        let mut on_the_way = FuturesUnordered::new();
        let mut tick = ticks();
        loop {
            let stopping = shutdown.is_stopping();
            let closing = stopping || !suspects.is_empty();
            if !gathering.is_empty()
                && (closing || gathering.is_full())
                && on_the_way.len() < self.limits.parcels
            {
                on_the_way.push(Arc::clone(&self.courier).deliver(gathering.take()));
            }
            if closing && gathering.is_empty() && on_the_way.is_empty() {
                break;
            }
            let room = on_the_way.len() < self.limits.parcels;
            tokio::select! {
                biased;
                () = shutdown.expired() => break,
                Some(delivered) = on_the_way.next() => {
                    for tag in delivered.tags() {
                        held.remove(tag);
                    }
                    self.settle(delivered).await;
                }
                () = gathering.due(), if room => {
                    on_the_way.push(Arc::clone(&self.courier).deliver(gathering.take()));
                }
                () = shutdown.stopping(), if !stopping => source::stop(&mut *self.consumer).await,
                _ = tick.tick() => self.totals.flush().await,
                next = source::next(&mut *self.consumer), if !closing && !gathering.is_full() => {
                    let Some(delivery) = next else { continue };
                    held.insert(delivery.tag);
                    if suspects::is_suspect(&delivery) {
                        suspects.push(delivery.tag);
                    } else {
                        self.metrics.read(delivery.message.body.len());
                        gathering.push(delivery);
                    }
                }
            }
            self.metrics.holding(held.len());
        }
        drop(on_the_way);
        self.hand_back(held).await;
        if shutdown.is_stopping() {
            Left::Stopping
        } else {
            Left::Suspects
        }
    }

    /// Works on one message at a time until no suspects are left.
    async fn alone(&mut self) -> Left {
        tracing::warn!("suspects: taking one message at a time");
        source::set_prefetch(&mut *self.consumer, 1).await;
        let shutdown = self.shutdown.clone();
        let mut quiet = 0;
        let mut tick = ticks();
        while quiet < QUIET {
            let delivery = tokio::select! {
                biased;
                () = shutdown.stopping() => return Left::Stopping,
                _ = tick.tick() => {
                    self.totals.flush().await;
                    continue;
                }
                next = source::next(&mut *self.consumer) => next,
            };
            let Some(delivery) = delivery else { continue };
            quiet = if suspects::is_suspect(&delivery) {
                0
            } else {
                quiet + 1
            };
            self.metrics.holding(1);
            self.metrics.read(delivery.message.body.len());
            self.try_alone(delivery).await;
            self.metrics.holding(0);
        }
        tracing::info!(
            prefetch = self.limits.prefetch,
            "no suspects any more: taking many at a time"
        );
        source::set_prefetch(&mut *self.consumer, self.limits.prefetch).await;
        Left::Healthy
    }

    async fn try_alone(&mut self, delivery: Delivery) {
        let shutdown = self.shutdown.clone();
        let suspect = suspects::is_suspect(&delivery).then(|| delivery.message.id.clone());
        let tags = vec![delivery.tag];
        let delivered = tokio::select! {
            biased;
            delivered = self.attempt(delivery, suspect.as_deref()) => delivered.unwrap_or(Delivered::HandBack { tags }),
            () = shutdown.expired() => Delivered::HandBack { tags: tags.clone() },
        };
        // An orderly end says nothing against the message.
        if let (Delivered::HandBack { .. }, Some(id)) = (&delivered, &suspect) {
            self.suspects.take_back(id).await;
        }
        self.settle(delivered).await;
    }

    async fn attempt(
        &self,
        delivery: Delivery,
        suspect: Option<&str>,
    ) -> Result<Delivered, Stopping> {
        let courier = Arc::clone(&self.courier);
        let Some(id) = suspect else {
            return Ok(courier.deliver(vec![delivery]).await);
        };
        let delivered = match self.suspects.record(id).await? {
            Verdict::Try => courier.deliver(vec![delivery]).await,
            Verdict::Condemned => {
                let reason = self.suspects.condemnation();
                courier
                    .condemn(delivery, reason, self.suspects.max_attempts())
                    .await
            }
        };
        if matches!(delivered, Delivered::Acknowledge { .. }) {
            self.suspects.forget(id).await?;
        }
        Ok(delivered)
    }

    async fn settle(&mut self, delivered: Delivered) {
        match delivered {
            Delivered::Acknowledge {
                tags,
                rows,
                rejected,
            } => {
                source::ack(&mut *self.consumer, &tags).await;
                self.totals.add(rows, rejected);
            }
            Delivered::HandBack { tags } => source::hand_back(&mut *self.consumer, &tags).await,
        }
    }

    async fn hand_back(&mut self, held: HashSet<Tag>) {
        let tags: Vec<Tag> = held.into_iter().collect();
        source::hand_back(&mut *self.consumer, &tags).await;
        self.metrics.holding(0);
    }
}

fn ticks() -> tokio::time::Interval {
    let mut tick = interval(totals::PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}
