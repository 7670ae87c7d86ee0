//! Messages through the tenant's own program: together as long as all goes well. What the program has when it fails is
//! tried again one by one, so that only the message that makes it fail has attempts counted.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::future::join_all;
use simbdp_api::app::AppOutput;
use simbdp_broker::Delivery;
use simbdp_record::Rows;
use tokio::sync::RwLock;

use super::protocol::{Answer, line};
use super::session::{Reply, Session};
use super::{pause, pauses};
use crate::courier::{Courier, Deliver, Delivered, condemn};
use crate::dead_letter::Condemned;
use crate::shutdown::{Shutdown, Stopping};
use crate::source::messages::{Identity, identity};

/// Brings messages to their end by the tenant's own program.
pub struct OwnCourier {
    /// What writes the rows that it prints, and condemns.
    pub courier: Arc<Courier>,
    /// The program.
    pub session: Session,
    /// Who writes.
    pub output: AppOutput,
    /// Attempts that a message has.
    pub max_attempts: u32,
    /// When to stop.
    pub shutdown: Shutdown,
    /// Many read, which is to work together; one writes, which is to work alone.
    pub turns: RwLock<()>,
}

/// What is to be done with messages that the program has answered.
#[derive(Default)]
struct Settled<'a> {
    rows: Rows,
    /// For each row its message.
    of_row: Vec<&'a Delivery>,
    condemned: Vec<Condemned<'a>>,
    /// Messages that the program has written by itself.
    by_itself: u64,
}

/// How often a message was tried with nothing else, and how it failed.
struct Failed {
    reason: String,
    attempts: u32,
}

impl Deliver for OwnCourier {
    fn deliver(self: Arc<Self>, parcel: Vec<Delivery>) -> BoxFuture<'static, Delivered> {
        Box::pin(async move {
            let tags = parcel.iter().map(|delivery| delivery.tag).collect();
            match self.through(&parcel).await {
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
            let courier = Arc::clone(&self.courier);
            courier.condemn(delivery, reason, attempts).await
        })
    }
}

impl OwnCourier {
    async fn through(&self, parcel: &[Delivery]) -> Result<(u64, u64), Stopping> {
        let replies = {
            let _together = self.turns.read().await;
            join_all(parcel.iter().map(|delivery| self.ask(delivery))).await
        };
        let mut settled = Settled::default();
        let mut again = Vec::new();
        for (delivery, reply) in parcel.iter().zip(replies) {
            match reply {
                Reply::Answered(answer) => self.settle(delivery, answer, &mut settled),
                Reply::Busy => again.push((delivery, None)),
                Reply::Failed { reason, alone } => {
                    self.courier.metrics.program_failed();
                    let attempts = u32::from(alone);
                    again.push((delivery, Some(Failed { reason, attempts })));
                }
                Reply::Stopped => return Err(Stopping),
            }
        }
        let (mut rows, mut rejected) = self.write(settled).await?;
        for (delivery, failed) in again {
            let mut settled = Settled::default();
            match self.alone(delivery, failed).await? {
                Ok(answer) => self.settle(delivery, answer, &mut settled),
                Err(failed) => settled.condemned.push(Condemned {
                    delivery,
                    reason: failed.reason,
                    attempts: failed.attempts,
                }),
            }
            let (more, more_rejected) = self.write(settled).await?;
            rows += more;
            rejected += more_rejected;
        }
        fail::fail_point!("after-write");
        Ok((rows, rejected))
    }

    /// Tries a message with nothing else until it is answered or has had its attempts.
    async fn alone(
        &self,
        delivery: &Delivery,
        mut failed: Option<Failed>,
    ) -> Result<Result<Answer, Failed>, Stopping> {
        let mut pauses = pauses();
        loop {
            if let Some(failed) = failed.take_if(|failed| failed.attempts >= self.max_attempts) {
                return Ok(Err(failed));
            }
            let before = failed.map_or(0, |failed| failed.attempts);
            let reply = {
                let _alone = self.turns.write().await;
                self.ask(delivery).await
            };
            match reply {
                Reply::Answered(answer) => return Ok(Ok(answer)),
                Reply::Stopped => return Err(Stopping),
                // Cannot be: nothing else is with the program.
                Reply::Busy => failed = None,
                Reply::Failed { reason, .. } => {
                    let attempts = before + 1;
                    let id = &delivery.message.id;
                    tracing::warn!(message = id, error = reason, attempts, "the app failed");
                    self.courier.metrics.program_failed();
                    failed = Some(Failed { reason, attempts });
                }
            }
            pause(&mut pauses, &self.shutdown).await?;
        }
    }

    async fn ask(&self, delivery: &Delivery) -> Reply {
        let refused = |reason| Reply::Answered(Answer::Refused(reason));
        let identity = match identity(delivery) {
            Ok(identity) => identity,
            Err(reason) => return refused(reason),
        };
        let id = format!("{}:{}", identity.source, identity.ordinal);
        match line(&id, identity.version, &delivery.message.body) {
            Ok(line) => self.session.ask(id, line).await,
            Err(reason) => refused(format!("the message {reason}")),
        }
    }

    fn settle<'a>(&self, delivery: &'a Delivery, answer: Answer, settled: &mut Settled<'a>) {
        let reason = match (answer, self.output) {
            (Answer::Refused(reason), _) => reason,
            (Answer::Done(rows), AppOutput::None) if !rows.is_empty() => {
                "the app prints rows, but app.output is None".to_owned()
            }
            (Answer::Done(_), AppOutput::None) => {
                settled.by_itself += 1;
                return;
            }
            (Answer::Done(printed), AppOutput::Rows) => {
                let before = settled.rows.len();
                match self.convert(delivery, &printed, &mut settled.rows) {
                    Ok(()) => {
                        settled.of_row.extend(printed.iter().map(|_| delivery));
                        return;
                    }
                    // All rows of a message, or none.
                    Err(reason) => {
                        settled.rows.truncate(before);
                        format!("of what the app printed: {reason}")
                    }
                }
            }
        };
        settled.condemned.push(condemn(delivery, reason));
    }

    /// The first row has the identity of the message, each further one one of its own below it.
    fn convert(
        &self,
        delivery: &Delivery,
        printed: &[bytes::Bytes],
        rows: &mut Rows,
    ) -> Result<(), String> {
        let identity = identity(delivery)?;
        let below = format!("{}#{}", identity.source, identity.ordinal);
        for (place, row) in printed.iter().enumerate() {
            let identity = match place {
                0 => identity.clone(),
                _ => Identity {
                    source: &below,
                    ordinal: place as u64,
                    version: identity.version,
                },
            };
            self.courier.rows.message(row, &identity, rows)?;
        }
        Ok(())
    }

    /// Writes the rows and publishes what is condemned; returns how many of each.
    async fn write(&self, settled: Settled<'_>) -> Result<(u64, u64), Stopping> {
        let Settled {
            rows,
            of_row,
            mut condemned,
            by_itself,
        } = settled;
        let refused = self.courier.sink.write(rows).await?;
        let written = (of_row.len() - refused.len()) as u64;
        let mut last = None;
        for row in refused {
            // Once for each message, whose rows lie together.
            if let Some(delivery) = of_row.get(row.index).filter(|one| last != Some(one.tag)) {
                last = Some(delivery.tag);
                condemned.push(condemn(delivery, row.reason));
            }
        }
        let rejected = self.courier.dead_letter(condemned).await?;
        Ok((written + by_itself, rejected))
    }
}
