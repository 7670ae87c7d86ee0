//! The end of the app in two steps: first nothing new is taken, then what does not fit the grace is
//! handed back.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Tells every loop of the app when to stop. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stopping: CancellationToken,
    expired: CancellationToken,
}

/// The app is to stop, and the call had not succeeded by then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the app stops")]
pub struct Stopping;

impl Shutdown {
    /// An app that goes on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes nothing new from now on; calls that wait for another try give up.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// The grace is over: what is not finished is handed back.
    pub fn expire(&self) {
        self.stopping.cancel();
        self.expired.cancel();
    }

    /// Whether nothing new is to be taken.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Waits until nothing new is to be taken.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Waits until the grace is over.
    pub async fn expired(&self) {
        self.expired.cancelled().await;
    }

    /// Listens for SIGTERM and SIGINT from now on. The future stops the app at the first, and ends
    /// the grace after that.
    pub fn on_signal(&self, grace: Duration) -> std::io::Result<impl Future<Output = ()> + use<>> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        Ok(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                () = shutdown.stopping() => return,
            };
            tracing::info!(signal = name, grace_seconds = grace.as_secs(), "stopping");
            shutdown.stop();
            tokio::time::sleep(grace).await;
            shutdown.expire();
        })
    }
}
