//! Leader election [IO]: of all replicas one works. Who loses the lease stops at once, and who ends
//! gives it back.

use kube::Client;
use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use tokio_util::sync::CancellationToken;

use crate::context::Identity;

const LEASE: &str = "simbdp-operator";
/// How long the others wait after the leader was last heard of, seconds.
const DURATION: u64 = 15;
/// How long before that the leader renews, seconds.
const GRACE: u64 = 5;

/// Why a process does not lead.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// The Lease cannot be had.
    #[error("cannot elect a leader by the Lease {LEASE}")]
    Lease(#[source] LeaseManagerError),
    /// Another one leads now.
    #[error("another operator leads now")]
    Lost,
    /// The election has ended.
    #[error("the election of a leader has ended")]
    Ended,
}

/// Waits to lead, then does `work`. Ends when the work does, or with an error as soon as the lease is lost.
pub async fn lead<W: Future<Output = ()>>(
    client: Client,
    identity: &Identity,
    shutdown: &CancellationToken,
    work: W,
) -> Result<(), LeaderError> {
    let manager = LeaseManagerBuilder::new(client, LEASE)
        .with_namespace(&identity.namespace)
        .with_identity(&identity.pod)
        .with_duration(DURATION)
        .with_grace(GRACE)
        .build()
        .await
        .map_err(LeaderError::Lease)?;
    let (mut leads, election) = manager.watch().await;
    tracing::info!(pod = identity.pod, "waiting to lead");
    let outcome = led(&mut leads, shutdown, work).await;
    drop(leads);
    match election.await {
        Ok(Ok(_)) => tracing::info!("the lease is given back"),
        Ok(Err(error)) => tracing::warn!(%error, "cannot give the lease back"),
        Err(error) => tracing::warn!(%error, "the election did not end well"),
    }
    outcome
}

/// A shutdown ends the waiting here; the work ends itself, so that what runs is finished while the lease is held.
async fn led<W: Future<Output = ()>>(
    leads: &mut tokio::sync::watch::Receiver<bool>,
    shutdown: &CancellationToken,
    work: W,
) -> Result<(), LeaderError> {
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        leads = leads.wait_for(|leads| *leads) => drop(leads.map_err(|_| LeaderError::Ended)?),
    }
    tracing::info!("this operator leads");
    tokio::select! {
        () = work => Ok(()),
        lost = leads.wait_for(|leads| !*leads) => match lost {
            Ok(_) => Err(LeaderError::Lost),
            Err(_) => Err(LeaderError::Ended),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::sync::watch;

    #[tokio::test]
    async fn work_begins_with_the_lease_and_ends_with_it() {
        let (lease, mut leads) = watch::channel(false);
        let (began, begun) = tokio::sync::oneshot::channel();
        let work = async {
            began.send(()).unwrap();
            pending::<()>().await;
        };
        let lose = async {
            lease.send(true).unwrap();
            begun.await.unwrap();
            lease.send(false).unwrap();
        };
        let shutdown = CancellationToken::new();
        let (outcome, ()) = tokio::join!(led(&mut leads, &shutdown, work), lose);
        assert!(matches!(outcome, Err(LeaderError::Lost)));
    }

    #[tokio::test]
    async fn work_that_is_done_is_no_loss() {
        let (_lease, mut leads) = watch::channel(true);
        assert!(
            led(&mut leads, &CancellationToken::new(), async {})
                .await
                .is_ok()
        );
    }
}
