//! Brings a parcel of messages to its end: converted and written, or in the dead-letter queue with the
//! reason, each confirmed before it may be acknowledged.

use std::sync::Arc;

use futures::future::BoxFuture;
use simbdp_broker::Delivery;
use simbdp_broker::queue::Tag;
use simbdp_record::Rows;

use crate::dead_letter::{Condemned, DeadLetters};
use crate::decode::RowDecoder;
use crate::metrics::Metrics;
use crate::shutdown::Stopping;
use crate::sink::Sink;
use crate::source::messages::identity;

/// What brings parcels of messages to their end: the built-in app, or the tenant's own program.
pub trait Deliver: Send + Sync {
    /// Writes the good messages together and condemns the others.
    fn deliver(self: Arc<Self>, parcel: Vec<Delivery>) -> BoxFuture<'static, Delivered>;
    /// Condemns a message without trying it.
    fn condemn(
        self: Arc<Self>,
        delivery: Delivery,
        reason: String,
        attempts: u32,
    ) -> BoxFuture<'static, Delivered>;
}

/// What brings messages into one table.
pub struct Courier {
    /// How messages are read.
    pub rows: RowDecoder,
    /// Where rows are written.
    pub sink: Sink,
    /// Where messages go that are no rows.
    pub dead_letters: DeadLetters,
    /// What is measured.
    pub metrics: Metrics,
}

/// What is to be done with the deliveries of a parcel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivered {
    /// All are durable elsewhere.
    Acknowledge {
        /// The deliveries.
        tags: Vec<Tag>,
        /// Rows written.
        rows: u64,
        /// Messages in the dead-letter queue.
        rejected: u64,
    },
    /// The app stops before all are durable; those that are will be written once more, with the same version.
    HandBack {
        /// The deliveries.
        tags: Vec<Tag>,
    },
}

impl Delivered {
    /// The deliveries that this is about.
    pub fn tags(&self) -> &[Tag] {
        match self {
            Self::Acknowledge { tags, .. } | Self::HandBack { tags } => tags,
        }
    }
}

impl Deliver for Courier {
    fn deliver(self: Arc<Self>, parcel: Vec<Delivery>) -> BoxFuture<'static, Delivered> {
        Box::pin(async move {
            let tags = parcel.iter().map(|delivery| delivery.tag).collect();
            match self.write(&parcel).await {
                Ok((rows, rejected)) => Delivered::Acknowledge {
                    tags,
                    rows,
                    rejected,
                },
                Err(Stopping) => Delivered::HandBack { tags },
            }
        })
    }

    fn condemn(
        self: Arc<Self>,
        delivery: Delivery,
        reason: String,
        attempts: u32,
    ) -> BoxFuture<'static, Delivered> {
        Box::pin(async move {
            let tags = vec![delivery.tag];
            let condemned = vec![Condemned {
                delivery: &delivery,
                reason,
                attempts,
            }];
            match self.dead_letter(condemned).await {
                Ok(rejected) => Delivered::Acknowledge {
                    tags,
                    rows: 0,
                    rejected,
                },
                Err(Stopping) => Delivered::HandBack { tags },
            }
        })
    }
}

impl Courier {
    async fn write(&self, parcel: &[Delivery]) -> Result<(u64, u64), Stopping> {
        let mut rows = Rows::default();
        let mut of_row = Vec::with_capacity(parcel.len());
        let mut condemned = Vec::new();
        for delivery in parcel {
            match self.read(delivery, &mut rows) {
                Ok(()) => of_row.push(delivery),
                Err(reason) => condemned.push(condemn(delivery, reason)),
            }
        }
        let refused = self.sink.write(rows).await?;
        let written = (of_row.len() - refused.len()) as u64;
        for row in refused {
            if let Some(delivery) = of_row.get(row.index) {
                condemned.push(condemn(delivery, row.reason));
            }
        }
        let rejected = self.dead_letter(condemned).await?;
        fail::fail_point!("after-write");
        Ok((written, rejected))
    }

    fn read(&self, delivery: &Delivery, rows: &mut Rows) -> Result<(), String> {
        self.rows
            .message(&delivery.message.body, &identity(delivery)?, rows)
    }

    /// Publishes to the dead-letter queue; returns how many.
    pub async fn dead_letter(&self, condemned: Vec<Condemned<'_>>) -> Result<u64, Stopping> {
        if condemned.is_empty() {
            return Ok(0);
        }
        let count = condemned.len() as u64;
        self.dead_letters.publish(condemned).await?;
        self.metrics.rejected(count);
        Ok(count)
    }
}

/// A delivery that is given up at the first look.
pub fn condemn(delivery: &Delivery, reason: String) -> Condemned<'_> {
    Condemned {
        delivery,
        reason,
        attempts: delivery.returns + 1,
    }
}
