//! How full a queue is. A topic has no bound of its own: what is published lies there until it is deleted. So
//! publishers look how far the group is behind, now and then, count what they add meanwhile, and refuse what would be
//! too much.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::client::topic;
use super::cluster::{Cluster, ClusterError};
use super::login::tenant;
use super::look::{Backlog, Look};
use crate::Connection;

/// How long a look is good for: other publishers add, and consumers take.
const GOOD_FOR: Duration = Duration::from_millis(500);
/// Messages after which earlier ones count half, for the mean size.
const FADE: u64 = 100_000;

/// What is known of one queue.
#[derive(Debug, Default)]
pub(super) struct Fill {
    known: Mutex<Known>,
    looking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Messages that waited at the last look.
    waiting: u64,
    looked: Option<Instant>,
    /// Bytes published since.
    since: u64,
    /// Sizes of messages that were published: those that wait are taken to be as large.
    sizes: u64,
    messages: u64,
}

impl Known {
    fn mean(&self, bytes: u64, messages: u64) -> u64 {
        (self.sizes + bytes) / (self.messages + messages).max(1)
    }

    fn has_room(&self, most: u64, bytes: u64, messages: u64) -> bool {
        let waiting = self.waiting.saturating_mul(self.mean(bytes, messages));
        let there = waiting.saturating_add(self.since);
        // What is larger than the bound goes alone.
        there == 0 || there.saturating_add(bytes) <= most
    }

    fn add(&mut self, bytes: u64, messages: u64) {
        self.since = self.since.saturating_add(bytes);
        self.sizes = self.sizes.saturating_add(bytes);
        self.messages += messages;
        if self.messages > FADE {
            self.messages /= 2;
            self.sizes /= 2;
        }
    }
}

impl Fill {
    /// Whether these messages may be added; if so they count as added.
    pub(super) async fn admit(
        &self,
        cluster: &Cluster,
        vhost: &str,
        queue: &str,
        most: u64,
        (bytes, messages): (u64, u64),
    ) -> bool {
        let _one = self.looking.lock().await;
        let looked = self.now().looked;
        if looked.is_none_or(|looked| looked.elapsed() > GOOD_FOR) {
            match waiting(cluster, vhost, queue).await {
                Ok(found) => self.update(|known| {
                    let waiting = found.map_or(0, |backlog| backlog.ready + backlog.unacknowledged);
                    *known = Known {
                        waiting,
                        looked: Some(Instant::now()),
                        since: 0,
                        ..*known
                    };
                }),
                // Whether messages are taken is told by the broker itself.
                Err(error) => {
                    tracing::warn!(queue, %error, "it is not known how full the queue is")
                }
            }
        }
        self.update(|known| {
            let room = known.has_room(most, bytes, messages);
            if room {
                known.add(bytes, messages);
            }
            room
        })
    }

    fn now(&self) -> Known {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether a login sees topics of this prefix, or may ask for a group of it. A topic that a user has no right to is not
/// shown to it; a group is refused by name.
pub async fn try_enter(connection: &Connection, patience: Duration) -> Result<(), String> {
    let (addresses, login) = tenant(connection);
    let cluster = Cluster::new(addresses, login);
    // Any name with the prefix: whether there is such a group does not matter.
    let group = topic(&connection.vhost, "ingest.any");
    match timeout(patience, cluster.committed(&[group])).await {
        Ok(committed) => committed.map(drop).map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {patience:?}")),
    }
}

/// What waits in a queue; nothing when it is not there.
pub(super) async fn waiting(
    cluster: &Cluster,
    vhost: &str,
    queue: &str,
) -> Result<Option<Backlog>, ClusterError> {
    let name = topic(vhost, queue);
    let topics = cluster.topics(Some(std::slice::from_ref(&name))).await?;
    if !topics.contains_key(&name) {
        return Ok(None);
    }
    let look = Look::at(cluster, topics).await?;
    look.backlog(&name).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_takes_what_fits_and_one_message_always() {
        let mut known = Known::default();
        assert!(known.has_room(1_000, 5_000, 1), "alone");
        for _ in 0..10 {
            assert!(known.has_room(1_000, 100, 1));
            known.add(100, 1);
        }
        assert!(!known.has_room(1_000, 100, 1));
        // A look finds that four wait, of the size of those that were published.
        known.waiting = 4;
        known.since = 0;
        assert!(known.has_room(1_000, 600, 6));
        assert!(!known.has_room(1_000, 700, 7));
    }

    #[test]
    fn sizes_of_old_fade() {
        let mut known = Known::default();
        known.add(FADE * 10, FADE);
        assert_eq!(known.mean(0, 0), 10);
        for _ in 0..20 {
            known.add(FADE * 1_000, FADE);
        }
        assert!(known.mean(0, 0) > 900, "{}", known.mean(0, 0));
    }
}
