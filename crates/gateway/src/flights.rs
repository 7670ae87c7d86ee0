//! Requests that bring a pipeline work, from before they look whether it takes any until what they took
//! is queued, staged or refused: once a closed pipeline is loaded and none is counted, none comes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Counts = HashMap<Arc<str>, u64>;

/// Requests in flight, by the name of their pipeline.
#[derive(Debug, Default)]
pub struct Flights {
    counts: Arc<Mutex<Counts>>,
}

/// One request; it has landed when this is dropped.
#[derive(Debug)]
pub struct Flight {
    counts: Arc<Mutex<Counts>>,
    pipeline: Arc<str>,
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flights {
    /// Counts a request. Begin it before looking whether its pipeline is open.
    pub fn begin(&self, pipeline: &str) -> Flight {
        let pipeline: Arc<str> = pipeline.into();
        *lock(&self.counts).entry(Arc::clone(&pipeline)).or_default() += 1;
        Flight {
            counts: Arc::clone(&self.counts),
            pipeline,
        }
    }

    /// Requests of a pipeline that are in flight.
    pub fn of(&self, pipeline: &str) -> u64 {
        lock(&self.counts)
            .get(pipeline)
            .copied()
            .unwrap_or_default()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.pipeline) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.pipeline);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flights_are_counted_until_they_land() {
        let flights = Flights::default();
        let (first, second) = (flights.begin("a"), flights.begin("a"));
        let other = flights.begin("b");
        assert_eq!((flights.of("a"), flights.of("b")), (2, 1));
        drop((first, other));
        assert_eq!((flights.of("a"), flights.of("b")), (1, 0));
        drop(second);
        assert!(lock(&flights.counts).is_empty());
    }
}
