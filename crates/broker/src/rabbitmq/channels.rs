//! Channels in confirm mode, each used by one publish at a time. A publish that has a channel to
//! itself can tell which of its messages came back: AMQP returns a message and confirms it in two
//! frames, and on a shared channel nothing but their order binds them together.

use std::sync::{Arc, Mutex, PoisonError};

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Idle channels of the latest connection.
pub(super) struct Channels {
    idle: Mutex<Vec<Channel>>,
    places: Arc<Semaphore>,
}

/// A channel for one publish. Dropped without [`Lease::give_back`], it is closed: confirms that are
/// still under way must not reach the next user.
pub(super) struct Lease<'a> {
    pub(super) channel: Channel,
    channels: &'a Channels,
    _place: OwnedSemaphorePermit,
}

impl Channels {
    pub(super) fn new(most: usize) -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
            places: Arc::new(Semaphore::new(most)),
        }
    }

    /// An idle channel, or a new one. Waits while all are in use.
    pub(super) async fn take(&self, connection: &Connection) -> lapin::Result<Lease<'_>> {
        let place = match self.places.clone().acquire_owned().await {
            Ok(place) => place,
            Err(_) => return Err(lapin::ErrorKind::ChannelsLimitReached.into()),
        };
        let channel = match self.idle_one() {
            Some(channel) => channel,
            None => {
                let channel = connection.create_channel().await?;
                channel
                    .confirm_select(ConfirmSelectOptions::default())
                    .await?;
                channel
            }
        };
        Ok(Lease {
            channel,
            channels: self,
            _place: place,
        })
    }

    /// Channels of a connection that is lost are dropped on the way.
    fn idle_one(&self) -> Option<Channel> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(channel) = idle.pop() {
            if channel.status().connected() {
                return Some(channel);
            }
        }
        None
    }
}

impl Lease<'_> {
    /// Everything published on the channel is confirmed: the next may use it.
    pub(super) fn give_back(self) {
        self.channels
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.channel);
    }
}
