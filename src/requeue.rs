//! When an object is reconciled again: by class of the failure, with exponential back-off and jitter
//! per object.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::{Resource, ResourceExt};

use crate::error::Class;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(120);
/// A wrong declaration is looked at again rarely: what it conflicts with may have gone without an event.
const INVALID: Duration = Duration::from_secs(600);

/// Names an object of a kind.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    /// Kind.
    pub kind: String,
    /// Namespace, if it is in one.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl Key {
    /// Names an object.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            kind: K::kind(&()).into_owned(),
            namespace: object.namespace(),
            name: object.name_any(),
        }
    }
}

/// Failures in a row of every object.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: Mutex<HashMap<Key, u32>>,
}

impl Backoff {
    /// Notes a failure and says how long to wait; `jitter` lies in 0..1.
    pub fn failed(&self, key: &Key, class: Class, jitter: f64) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.clone()).or_default();
        let wait = match class {
            Class::Invalid => INVALID,
            Class::Transient => delay(*count, jitter),
        };
        *count = count.saturating_add(1);
        wait
    }

    /// Notes a success, or that the object is gone.
    pub fn reset(&self, key: &Key) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

/// Doubles from one second to two minutes, less up to a quarter of it.
fn delay(failures: u32, jitter: f64) -> Duration {
    let full = FIRST
        .saturating_mul(
            1_u32
                .checked_shl(failures)
                .filter(|_| failures < 20)
                .unwrap_or(u32::MAX),
        )
        .min(LONGEST);
    full.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            kind: "Tenant".into(),
            namespace: None,
            name: name.into(),
        }
    }

    #[test]
    fn waits_double_up_to_two_minutes_and_start_again_after_a_success() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (0..9)
            .map(|_| backoff.failed(&key("a"), Class::Transient, 0.0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        backoff.reset(&key("a"));
        assert_eq!(
            backoff.failed(&key("a"), Class::Transient, 0.0).as_secs(),
            1
        );
    }

    #[test]
    fn objects_do_not_slow_each_other() {
        let backoff = Backoff::default();
        for _ in 0..5 {
            backoff.failed(&key("a"), Class::Transient, 0.0);
        }
        assert_eq!(
            backoff.failed(&key("b"), Class::Transient, 0.0).as_secs(),
            1
        );
    }

    #[test]
    fn jitter_takes_at_most_a_quarter() {
        assert_eq!(delay(2, 1.0), Duration::from_secs(3));
        assert_eq!(delay(200, 0.0), LONGEST);
    }

    #[test]
    fn a_wrong_declaration_waits_for_a_change() {
        assert_eq!(
            Backoff::default().failed(&key("a"), Class::Invalid, 0.5),
            INVALID
        );
    }
}
