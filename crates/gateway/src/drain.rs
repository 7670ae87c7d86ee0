//! A replica that is to go takes no more uploads. It is told so by the operator again and again: an
//! operator that changes its mind, or is gone, says nothing, and after a while uploads are taken again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::problem::Refusal;

/// How long one word of the operator holds: several of its looks at a replica that still has files.
const HOLDS: Duration = Duration::from_secs(60);
/// When a client should try again: it finds another replica by then.
const ELSEWHERE: Duration = Duration::from_secs(5);

/// Whether the replica is to go.
#[derive(Debug, Default)]
pub struct Drain {
    until: Mutex<Option<Instant>>,
}

impl Drain {
    /// It is to go.
    pub fn renew(&self) {
        let until = Instant::now() + HOLDS;
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Whether it was told so not long ago.
    pub fn is_on(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Refuses an upload while it is to go. Ask after the upload is counted as being received: what is
    /// not counted when the operator asks is refused then.
    pub fn check(&self) -> Result<(), Refusal> {
        match self.is_on() {
            false => Ok(()),
            true => Err(Refusal::unavailable(
                "replica-draining",
                "this replica of the gateway is being taken away and receives no more files; send the file again, another replica takes it",
                ELSEWHERE,
            )),
        }
    }
}
