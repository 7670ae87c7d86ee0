//! Decides [pure] how many ingest apps a pipeline is to have, from what waits and from what was seen before.
//!
//! More are started at once. Fewer are kept only after a whole cooldown in which fewer were enough at every look, and as
//! many are kept as the busiest of these looks asked for; so the last one goes only when nothing was ready or
//! unacknowledged for a whole cooldown. Nothing is remembered beyond the process: who begins to look, or could not look for
//! a while, begins a cooldown anew, and is late rather than early.

use std::time::{Duration, Instant};

/// What a pipeline declares of its ingest apps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Always run.
    pub min: u16,
    /// Most.
    pub max: u16,
    /// Files or messages for each.
    pub target: u32,
    /// How long fewer must have been enough.
    pub cooldown: Duration,
}

/// What is seen at one look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Files or messages that are ready or unacknowledged.
    pub backlog: u64,
    /// Ingest apps that are to run now.
    pub replicas: u16,
}

/// What was seen before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct History {
    /// Since when fewer were enough.
    since: Instant,
    /// How many the busiest look since then asked for.
    peak: u16,
}

impl History {
    /// There was work at a time that no look saw.
    pub fn busy_at(self, at: Instant) -> Self {
        Self {
            since: self.since.max(at),
            ..self
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Nothing.
    Keep,
    /// This many are to run.
    To(u16),
}

impl Bounds {
    /// How many ingest apps a backlog asks for.
    pub fn wanted(&self, backlog: u64) -> u16 {
        let each = u64::from(self.target.max(1));
        let wanted = u16::try_from(backlog.div_ceil(each)).unwrap_or(u16::MAX);
        wanted.max(self.min).min(self.max)
    }
}

/// Decides, and returns what is to be remembered once it is done.
pub fn decide(
    bounds: &Bounds,
    history: Option<History>,
    seen: Seen,
    now: Instant,
) -> (Decision, History) {
    let wanted = bounds.wanted(seen.backlog);
    let fresh = History {
        since: now,
        peak: 0,
    };
    if wanted > seen.replicas {
        return (Decision::To(wanted), fresh);
    }
    // Nobody declared as many: what these have taken they hand back.
    if seen.replicas > bounds.max {
        return (Decision::To(bounds.max), fresh);
    }
    if wanted == seen.replicas {
        return (Decision::Keep, fresh);
    }
    let Some(before) = history else {
        let first = History {
            peak: wanted,
            ..fresh
        };
        return (Decision::Keep, first);
    };
    let history = History {
        peak: before.peak.max(wanted),
        ..before
    };
    let cooled = now.saturating_duration_since(history.since) >= bounds.cooldown;
    match cooled && history.peak < seen.replicas {
        true => (Decision::To(history.peak), fresh),
        // What asked for as many was seen when fewer ran: from now on it is seen anew.
        false if cooled => (Decision::Keep, fresh),
        false => (Decision::Keep, history),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        min: 0,
        max: 4,
        target: 10,
        cooldown: Duration::from_secs(60),
    };

    fn seen(backlog: u64, replicas: u16) -> Seen {
        Seen { backlog, replicas }
    }

    #[test]
    fn a_backlog_asks_for_apps_between_the_least_and_the_most() {
        for (min, backlog, wanted) in [
            (0, 0, 0),
            (0, 1, 1),
            (0, 10, 1),
            (0, 11, 2),
            (0, 40, 4),
            (0, u64::MAX, 4),
            (2, 0, 2),
            (2, 35, 4),
        ] {
            let bounds = Bounds { min, ..BOUNDS };
            assert_eq!(bounds.wanted(backlog), wanted, "{min} {backlog}");
        }
    }

    /// Looks at seconds, and what they come to; decisions are carried out.
    fn run(bounds: &Bounds, replicas: u16, looks: &[(u64, u64)]) -> Vec<(u64, u16)> {
        let start = Instant::now();
        let (mut history, mut replicas, mut changes) = (None, replicas, Vec::new());
        for (second, backlog) in looks {
            let now = start + Duration::from_secs(*second);
            let (decision, next) = decide(bounds, history, seen(*backlog, replicas), now);
            history = Some(next);
            if let Decision::To(number) = decision {
                replicas = number;
                changes.push((*second, number));
            }
        }
        changes
    }

    #[test]
    fn looks_come_to_changes() {
        let least = Bounds { min: 1, ..BOUNDS };
        for (what, bounds, replicas, looks, changes) in [
            (
                "more at once, and at most the most",
                BOUNDS,
                0,
                &[(0, 1), (3, 25), (6, 900)][..],
                &[(0, 1), (3, 3), (6, 4)][..],
            ),
            (
                "none after nothing for the whole cooldown",
                BOUNDS,
                1,
                &[(0, 0), (30, 0), (59, 0), (60, 0)],
                &[(60, 0)],
            ),
            (
                "one unacknowledged message begins the cooldown anew",
                BOUNDS,
                1,
                &[(0, 0), (57, 1), (60, 0), (116, 0), (117, 0)],
                &[(117, 0)],
            ),
            (
                "as many stay as the busiest look asked for",
                BOUNDS,
                4,
                &[(0, 1), (20, 25), (40, 0), (60, 0)],
                &[(60, 3)],
            ),
            (
                "of several all go when nothing was there",
                BOUNDS,
                4,
                &[(0, 0), (60, 0)],
                &[(60, 0)],
            ),
            (
                "never fewer than the least",
                least,
                2,
                &[(0, 0), (60, 0), (120, 0), (180, 0)],
                &[(60, 1)],
            ),
            (
                "what was woken with nothing to see stays for a cooldown",
                BOUNDS,
                0,
                &[(0, 0), (3, 0)],
                &[],
            ),
            ("the least is kept up", least, 0, &[(0, 0)], &[(0, 1)]),
            (
                "more than the most go at once",
                BOUNDS,
                9,
                &[(0, 0)],
                &[(0, 4)],
            ),
        ] {
            assert_eq!(run(&bounds, replicas, looks), changes, "{what}");
        }
    }

    #[test]
    fn an_app_that_was_woken_between_two_looks_is_kept_for_a_cooldown() {
        let start = Instant::now();
        let (decision, history) = decide(&BOUNDS, None, seen(0, 0), start);
        assert_eq!(decision, Decision::Keep);
        // Somebody else started one right after; its message is done before the next look.
        let later = start + Duration::from_secs(59);
        let (decision, history) = decide(&BOUNDS, Some(history), seen(0, 1), later);
        assert_eq!(decision, Decision::Keep);
        let end = start + Duration::from_secs(60);
        let (decision, _) = decide(&BOUNDS, Some(history), seen(0, 1), end);
        assert_eq!(decision, Decision::To(0));
    }

    #[test]
    fn who_has_not_looked_before_waits_for_a_whole_cooldown() {
        let now = Instant::now();
        let (decision, history) = decide(&BOUNDS, None, seen(0, 3), now);
        assert_eq!(decision, Decision::Keep);
        let early = now + BOUNDS.cooldown - Duration::from_millis(1);
        assert_eq!(
            decide(&BOUNDS, Some(history), seen(0, 3), early).0,
            Decision::Keep
        );
    }

    #[test]
    fn work_that_no_look_saw_begins_the_cooldown_anew() {
        let start = Instant::now();
        let (_, history) = decide(&BOUNDS, None, seen(0, 1), start);
        let published = start + Duration::from_secs(50);
        let history = history.busy_at(published).busy_at(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let decided = |now| decide(&BOUNDS, Some(history), seen(0, 1), now).0;
        assert_eq!(decided(at(60)), Decision::Keep);
        assert_eq!(decided(at(110)), Decision::To(0));
    }
}
