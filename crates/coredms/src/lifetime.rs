//! How long a row still lives [pure, but for the clock]: counted from its version, whatever the engine.

use std::time::{SystemTime, UNIX_EPOCH};

const MICROS: i64 = 1_000_000;
const MICROS_OF_MILLI: i64 = 1_000;

/// How long a row still lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Life {
    ForEver,
    Seconds(i32),
    Over,
}

/// The life that is left of a row with this version, in microseconds, where rows live `ttl` seconds.
pub(crate) fn life(ttl: Option<i64>, version: i64, now: i64) -> Life {
    let Some(ttl) = ttl else {
        return Life::ForEver;
    };
    // Counted from acceptance and rounded up, so that a late write does not outlive, and no row dies early.
    let left = version
        .saturating_add(ttl * MICROS)
        .saturating_sub(now)
        .saturating_add(MICROS - 1)
        / MICROS;
    match i32::try_from(left.min(ttl)) {
        Ok(seconds) if seconds > 0 => Life::Seconds(seconds),
        _ => Life::Over,
    }
}

/// When a row's life ends, in milliseconds since 1970, rounded up.
pub(crate) fn end_millis(ttl: i64, version: i64, now: i64) -> i64 {
    version
        .min(now)
        .saturating_add(ttl * MICROS)
        .saturating_add(MICROS_OF_MILLI - 1)
        .div_euclid(MICROS_OF_MILLI)
}

/// Microseconds since 1970.
pub(crate) fn now_micros() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Life, MICROS, end_millis, life};

    #[test]
    fn a_row_lives_from_its_acceptance() {
        assert_eq!(life(None, 0, i64::MAX), Life::ForEver);
        assert_eq!(life(Some(60), 0, 0), Life::Seconds(60));
        assert_eq!(life(Some(60), 0, 10 * MICROS), Life::Seconds(50));
        assert_eq!(life(Some(60), 0, 59 * MICROS + 1), Life::Seconds(1));
        assert_eq!(life(Some(60), 0, 60 * MICROS), Life::Over);
        assert_eq!(life(Some(60), 0, i64::MAX), Life::Over);
        // A version ahead of this clock does not live longer than declared.
        assert_eq!(life(Some(60), 30 * MICROS, 0), Life::Seconds(60));
        assert_eq!(end_millis(60, 30 * MICROS, 0), 60_000);
        assert_eq!(end_millis(60, 1, MICROS), 60_001);
    }
}
