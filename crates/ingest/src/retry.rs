//! Transient failures: the same call again, with exponential back-off and jitter, for as long as the
//! app runs. The work waits where it is, so a sink that is down stops the source.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use crate::metrics::Metrics;
use crate::shutdown::{Shutdown, Stopping};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why a call was not tried once more.
#[derive(Debug, thiserror::Error)]
pub enum GaveUp<E> {
    /// The app stops. Whether the call would succeed later is not known.
    #[error(transparent)]
    Stopping(#[from] Stopping),
    /// The same call will never succeed.
    #[error("{0}")]
    Permanent(E),
}

/// What a call that is retried needs around it.
#[derive(Clone)]
pub struct Retry {
    shutdown: Shutdown,
    metrics: Metrics,
}

impl Retry {
    /// Retries until `shutdown` says to stop.
    pub fn new(shutdown: Shutdown, metrics: Metrics) -> Self {
        Self { shutdown, metrics }
    }

    /// Calls until it succeeds or fails with an error that is not `transient`. When the app is to
    /// stop, a call in progress is finished, a pause is cut short for one last try.
    pub async fn until_stopped<T, E, Fut>(
        &self,
        what: &'static str,
        transient: impl Fn(&E) -> bool,
        call: impl FnMut() -> Fut,
    ) -> Result<T, GaveUp<E>>
    where
        E: Display,
        Fut: Future<Output = Result<T, E>>,
    {
        let pause = self.shutdown.clone();
        let result = call
            .retry(
                ExponentialBuilder::default()
                    .with_min_delay(FIRST_PAUSE)
                    .with_max_delay(LONGEST_PAUSE)
                    .with_jitter()
                    .without_max_times(),
            )
            .sleep(move |time| {
                let shutdown = pause.clone();
                async move {
                    tokio::select! {
                        () = tokio::time::sleep(time) => {}
                        () = shutdown.stopping() => {}
                    }
                }
            })
            .when(|error| transient(error) && !self.shutdown.is_stopping())
            .notify(|error, pause| {
                self.metrics.retried(what);
                tracing::warn!(%error, call = what, pause_seconds = pause.as_secs_f64(), "will try again");
            })
            .await;
        result.map_err(|error| {
            if transient(&error) {
                tracing::warn!(%error, call = what, "not tried again: the app stops");
                GaveUp::Stopping(Stopping)
            } else {
                GaveUp::Permanent(error)
            }
        })
    }

    /// Calls until it succeeds, whatever the error: for calls whose failure says nothing of the work.
    pub async fn whatever_fails<T, E, Fut>(
        &self,
        what: &'static str,
        call: impl FnMut() -> Fut,
    ) -> Result<T, Stopping>
    where
        E: Display,
        Fut: Future<Output = Result<T, E>>,
    {
        self.until_stopped(what, |_| true, call)
            .await
            .map_err(|_| Stopping)
    }
}
