//! Wakes the ingest app of a pipeline that is published to after a pause: publish → note → call the operator, beside the
//! request and never in its way. A call that fails is made again with a later publish; whoever is not woken so is started
//! when the operator next looks at the queues. See `simbdp_api::wire::wake`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use futures::future::join_all;
use reqwest::{Certificate, Client, StatusCode};
use simbdp_api::names::{PipelineName, TenantName};
use simbdp_api::wire::wake::{AUTHORITY, TOKEN, path};
use tokio::sync::Notify;

use crate::gateway::Gateway;

/// A pause after which an ingest app may have been stopped: shorter than the shortest cooldown, so that whoever was stopped
/// is woken, and no traffic that goes on calls anybody.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest time for one call.
const CALL: Duration = Duration::from_secs(2);
/// How often a call is made again at once.
const RETRIES: usize = 2;
/// More pipelines than a tenant has; beyond, those that rest are forgotten.
const KNOWN: usize = 1024;

/// Where the operator is, and what it is called with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operator {
    /// Base URL.
    pub url: String,
    /// Directory of token and authority.
    pub directory: PathBuf,
}

struct Known {
    /// When it was last published to.
    published: Instant,
    /// Whether its ingest app is to be woken.
    owed: bool,
    /// When that was last tried.
    tried: Option<Instant>,
}

/// Pipelines that are published to, and those to be woken.
#[derive(Default)]
pub struct Wake {
    known: Mutex<HashMap<PipelineName, Known>>,
    due: Notify,
}

impl Wake {
    fn known(&self) -> MutexGuard<'_, HashMap<PipelineName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is about to be published.
    pub fn publishing(&self, pipeline: &PipelineName) {
        let now = Instant::now();
        let mut all = self.known();
        if all.len() >= KNOWN {
            all.retain(|_, known| recent(known.published, now));
        }
        let known = all.entry(pipeline.clone()).or_insert(Known {
            published: now,
            owed: true,
            tried: None,
        });
        if !recent(known.published, now) {
            known.owed = true;
        }
        known.published = now;
        if is_due(known, now) {
            self.due.notify_one();
        }
    }

    /// It is published, or was not: either way it may be in the queue only now.
    pub fn published(&self, pipeline: &PipelineName) {
        if let Some(known) = self.known().get_mut(pipeline) {
            known.published = Instant::now();
        }
    }

    /// How long ago it was last published to; [`None`] where it has not been.
    pub fn quiet(&self, pipeline: &PipelineName) -> Option<Duration> {
        self.known()
            .get(pipeline)
            .map(|known| known.published.elapsed())
    }

    /// Those to be woken now.
    fn take(&self) -> Vec<PipelineName> {
        let now = Instant::now();
        let mut all = self.known();
        let due = all.iter_mut().filter(|(_, known)| is_due(known, now));
        due.map(|(pipeline, known)| {
            known.tried = Some(now);
            pipeline.clone()
        })
        .collect()
    }

    fn done(&self, pipeline: &PipelineName) {
        if let Some(known) = self.known().get_mut(pipeline) {
            known.owed = false;
        }
    }
}

fn recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < PAUSE
}

fn is_due(known: &Known, now: Instant) -> bool {
    known.owed && !known.tried.is_some_and(|tried| recent(tried, now))
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("cannot read {file}: {source}")]
    Read {
        file: String,
        source: std::io::Error,
    },
    #[error("the operator cannot be reached: {0}")]
    Http(reqwest::Error),
    #[error("the operator answers {0}")]
    Answer(StatusCode),
}

/// Calls the operator for pipelines that are due, until the gateway ends.
pub async fn run(gateway: Arc<Gateway>) {
    let Some(operator) = gateway.settings.operator.clone() else {
        return;
    };
    let mut caller = Caller {
        operator,
        tenant: gateway.settings.tenant.clone(),
        client: None,
    };
    let calls = async {
        loop {
            gateway.wake.due.notified().await;
            caller.wake_all(&gateway).await;
        }
    };
    gateway.shutdown.run_until_cancelled(calls).await;
}

struct Caller {
    operator: Operator,
    tenant: TenantName,
    /// With the authority that it believes.
    client: Option<(Vec<u8>, Client)>,
}

impl Caller {
    async fn wake_all(&mut self, gateway: &Gateway) {
        let due = gateway.wake.take();
        let ready = match due.is_empty() {
            true => return,
            false => self.ready().await,
        };
        let (this, ready) = (&*self, &ready);
        let calls = due.iter().map(|pipeline| async move {
            match ready {
                Ok((client, token)) => this.call(client, token, pipeline).await,
                Err(error) => Err(error.to_string()),
            }
        });
        for (pipeline, called) in due.iter().zip(join_all(calls).await) {
            match called {
                Ok(()) => {
                    gateway.wake.done(pipeline);
                    gateway.metrics.woken("done");
                }
                Err(error) => {
                    gateway.metrics.woken("failed");
                    tracing::warn!(error, %pipeline, "the operator is not told of a publish; it looks by itself");
                }
            }
        }
    }

    /// A client and the present token: both the authority and the token change while this runs.
    async fn ready(&mut self) -> Result<(Client, String), CallError> {
        let token = self.read(TOKEN).await?;
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        let authority = match self.operator.url.starts_with("https:") {
            true => self.read(AUTHORITY).await?,
            false => Vec::new(),
        };
        if let Some((believed, client)) = &self.client
            && *believed == authority
        {
            return Ok((client.clone(), token));
        }
        let believed = Certificate::from_pem_bundle(&authority).map_err(CallError::Http)?;
        let client = Client::builder()
            .tls_certs_only(believed)
            .timeout(CALL)
            .build()
            .map_err(CallError::Http)?;
        self.client = Some((authority, client.clone()));
        Ok((client, token))
    }

    async fn read(&self, file: &str) -> Result<Vec<u8>, CallError> {
        let path = self.operator.directory.join(file);
        tokio::fs::read(&path)
            .await
            .map_err(|source| CallError::Read {
                file: path.display().to_string(),
                source,
            })
    }

    async fn call(
        &self,
        client: &Client,
        token: &str,
        pipeline: &PipelineName,
    ) -> Result<(), String> {
        let url = format!("{}{}", self.operator.url, path(&self.tenant, pipeline));
        let once = || async {
            let request = client.post(&url).bearer_auth(token);
            let answer = request
                .send()
                .await
                .map_err(|error| CallError::Http(error.without_url()))?;
            match answer.status() {
                // Nothing is to run, or nothing is there yet: whoever changes that starts it.
                StatusCode::NOT_FOUND | StatusCode::CONFLICT => Ok(()),
                status if status.is_success() => Ok(()),
                status => Err(CallError::Answer(status)),
            }
        };
        let policy = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_times(RETRIES)
            .with_jitter();
        let again = |error: &CallError| match error {
            CallError::Answer(status) => status.is_server_error(),
            _ => true,
        };
        once.retry(policy)
            .when(again)
            .await
            .map_err(|error| chain(&error))
    }
}

/// The whole chain of causes, without the address: the first one alone says little.
fn chain(error: &CallError) -> String {
    let mut text = error.to_string();
    if let CallError::Http(error) = error {
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planes() -> PipelineName {
        PipelineName::new("planes").unwrap()
    }

    /// As if so much time had passed.
    fn pass(wake: &Wake, time: Duration) {
        let mut all = wake.known();
        for known in all.values_mut() {
            known.published = known.published.checked_sub(time).unwrap();
            known.tried = known.tried.and_then(|tried| tried.checked_sub(time));
        }
    }

    fn publish(wake: &Wake) -> usize {
        wake.publishing(&planes());
        wake.published(&planes());
        wake.take().len()
    }

    #[test]
    fn the_first_publish_after_a_pause_wakes_and_traffic_that_goes_on_does_not() {
        let wake = Wake::default();
        assert_eq!(wake.quiet(&planes()), None);
        assert_eq!(publish(&wake), 1);
        wake.done(&planes());
        for _ in 0..3 {
            pass(&wake, PAUSE - Duration::from_secs(1));
            assert_eq!(publish(&wake), 0);
        }
        pass(&wake, PAUSE);
        assert!(wake.quiet(&planes()).unwrap() >= PAUSE);
        assert_eq!(publish(&wake), 1);
    }

    #[test]
    fn a_call_that_failed_is_made_again_with_a_later_publish() {
        let wake = Wake::default();
        assert_eq!(publish(&wake), 1);
        assert_eq!(publish(&wake), 0, "it is under way");
        pass(&wake, PAUSE - Duration::from_secs(1));
        assert_eq!(publish(&wake), 0);
        pass(&wake, Duration::from_secs(1));
        assert_eq!(publish(&wake), 1);
    }
}
