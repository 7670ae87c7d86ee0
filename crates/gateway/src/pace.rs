//! How fast a body must come in: some byte within the stall limit, and over each window of waiting a
//! minimum rate, so that a trickle cannot hold what many share. Only waiting for bytes counts: a slow
//! disk of ours is not held against the client.

use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::Instant;

/// Waiting time over which the rate is measured.
const WINDOW: Duration = Duration::from_secs(30);

/// What a body must keep to while it comes in.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest time without a byte.
    pub stall: Duration,
    /// Fewest bytes per second over each 30 s of waiting; 0 for any.
    pub min_rate: u64,
}

/// A body that comes in too slowly.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TooSlow {
    /// No byte came in for too long.
    #[error("no byte came in for {} s", .0.as_secs())]
    Stalled(Duration),
    /// Too few bytes came in over a window.
    #[error("fewer than {min_rate} bytes a second came in over {} s", WINDOW.as_secs())]
    Trickled {
        /// The minimum.
        min_rate: u64,
    },
}

/// Takes chunks out of a body as long as it is fast enough.
#[derive(Debug)]
pub struct Paced<S> {
    body: S,
    patience: Patience,
    waited: Duration,
    bytes: u64,
}

impl<S, B, E> Paced<S>
where
    S: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
{
    /// A body, and the patience with it.
    pub fn new(body: S, patience: Patience) -> Self {
        Self {
            body,
            patience,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// The next chunk; [`None`] at the end.
    pub async fn next(&mut self) -> Result<Option<Result<B, E>>, TooSlow> {
        let asked = Instant::now();
        let stall = self.patience.stall;
        let chunk = tokio::time::timeout(stall, self.body.next())
            .await
            .map_err(|_| TooSlow::Stalled(stall))?;
        if let Some(Ok(chunk)) = &chunk {
            self.waited += asked.elapsed();
            self.bytes += chunk.as_ref().len() as u64;
            self.check()?;
        }
        Ok(chunk)
    }

    fn check(&mut self) -> Result<(), TooSlow> {
        if self.waited < WINDOW {
            return Ok(());
        }
        let min_rate = self.patience.min_rate;
        if self.bytes < min_rate.saturating_mul(WINDOW.as_secs()) {
            return Err(TooSlow::Trickled { min_rate });
        }
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;

    use super::*;

    const PATIENCE: Patience = Patience {
        stall: Duration::from_secs(30),
        min_rate: 1024,
    };

    /// `chunks` chunks of `size` bytes, each after a pause.
    fn body(
        chunks: usize,
        size: usize,
        pause: Duration,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin {
        let chunk = Bytes::from(vec![b'x'; size]);
        futures::stream::iter(0..chunks)
            .then(move |_| {
                let chunk = chunk.clone();
                async move {
                    tokio::time::sleep(pause).await;
                    Ok(chunk)
                }
            })
            .boxed()
    }

    async fn read(
        body: impl Stream<Item = Result<Bytes, Infallible>> + Unpin,
        patience: Patience,
    ) -> Result<u64, TooSlow> {
        let mut paced = Paced::new(body, patience);
        let mut bytes = 0;
        while let Some(chunk) = paced.next().await? {
            bytes += chunk.unwrap_or_default().len() as u64;
        }
        Ok(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_cut_after_its_first_window() {
        let started = Instant::now();
        let cut = read(body(1_000, 1, Duration::from_secs(29)), PATIENCE).await;
        assert_eq!(cut, Err(TooSlow::Trickled { min_rate: 1024 }));
        assert!(started.elapsed() <= 2 * WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_start_does_not_pay_for_a_trickle() {
        let start = futures::stream::iter([Ok(Bytes::from(vec![b'x'; 1 << 20]))]);
        let both = start.chain(body(1_000, 1, Duration::from_secs(29)));
        let started = Instant::now();
        assert_eq!(
            read(both.boxed(), PATIENCE).await,
            Err(TooSlow::Trickled { min_rate: 1024 })
        );
        assert!(started.elapsed() <= 4 * WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_of_the_minimum_rate_is_taken() {
        let pause = Duration::from_secs(10);
        assert_eq!(
            read(body(60, 10 * 1024, pause), PATIENCE).await,
            Ok(614_400)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_a_minimum_may_trickle_but_not_stall() {
        let any = Patience {
            stall: Duration::from_secs(3600),
            min_rate: 0,
        };
        let pause = Duration::from_secs(1800);
        assert_eq!(read(body(5, 1, pause), any).await, Ok(5));
        let pause = Duration::from_secs(3601);
        assert_eq!(
            read(body(5, 1, pause), any).await,
            Err(TooSlow::Stalled(any.stall))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_we_take_is_not_held_against_the_client() {
        let mut paced = Paced::new(body(10, 1, Duration::from_millis(1)), PATIENCE);
        while let Ok(Some(_)) = paced.next().await {
            tokio::time::sleep(Duration::from_secs(100)).await;
        }
        assert!(paced.next().await.is_ok());
    }
}
