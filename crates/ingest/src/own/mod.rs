//! The tenant's own program: queueing, acknowledgements, attempts, time-outs, ledger and metrics are the same
//! as with the built-in app; between source and sink, work goes through the program.
//!
//! | step | batch | stream |
//! |---|---|---|
//! | content | [`fetch`] | |
//! | through the program | [`files`], [`attempt`] | [`messages`], [`session`], [`protocol`] |
//! | rows that it prints | [`rows`] | [`messages`] |
//!
//! Around them: [`launchers`] starts it, [`output`] reads what it prints, in bounded memory and at a bounded pace,
//! [`logs`] keeps the last lines for the ledger.

pub mod assemble;
pub mod attempt;
pub mod fetch;
pub mod files;
pub mod launchers;
pub mod logs;
pub mod messages;
pub mod output;
pub mod protocol;
pub mod rows;
pub mod run;
pub mod session;

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::shutdown::{Shutdown, Stopping};

/// First and longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Pauses between attempts at the same work.
fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(PAUSES.0)
        .with_max_delay(PAUSES.1)
        .without_max_times()
        .build()
}

/// Waits before the next attempt, unless the app is to stop.
async fn pause(
    pauses: &mut impl Iterator<Item = Duration>,
    shutdown: &Shutdown,
) -> Result<(), Stopping> {
    let pause = pauses.next().unwrap_or(PAUSES.1);
    tokio::select! {
        biased;
        () = shutdown.stopping() => Err(Stopping),
        () = tokio::time::sleep(pause) => Ok(()),
    }
}
