//! [pure] How often messages were delivered, durably: beside the committed offset. Kafka counts no deliveries. A
//! commit has room for a text, and everything that matters lies right behind the committed offset: of the messages
//! from there on, those up to some offset were delivered so often, those up to a further one less often. That is
//! written before any of them is delivered, so that a message that kills its consumer is known for it afterwards.

use std::fmt::Write as _;

/// Counts above this are all the same.
const MOST: u32 = 999;
/// Runs that the text has room for (4,096 bytes by default, `offset.metadata.max.bytes`).
const MOST_RUNS: usize = 64;
/// Tells this text from that of other programs.
const PREFIX: &str = "simbdp1";

/// Messages up to an offset, from the end of the run before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Run {
    /// The first offset behind it.
    end: i64,
    /// Deliveries of each.
    count: u32,
}

/// Deliveries of the messages behind a committed offset. None beyond the last run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Attempts {
    runs: Vec<Run>,
}

impl Attempts {
    /// From the text beside a committed offset. Another's text counts nothing.
    pub(super) fn read(text: &str) -> Self {
        let mut words = text.split(' ');
        if words.next() != Some(PREFIX) {
            return Self::default();
        }
        let run = |word: &str| {
            let (end, count) = word.split_once('*')?;
            Some(Run {
                end: end.parse().ok()?,
                count: count.parse().ok()?,
            })
        };
        let runs: Option<Vec<Run>> = words.map(run).collect();
        Self {
            runs: runs.unwrap_or_default(),
        }
    }

    /// The text beside a committed offset.
    pub(super) fn text(&self) -> String {
        let mut text = PREFIX.to_owned();
        for Run { end, count } in &self.runs {
            // Writing to a text does not fail.
            let _ = write!(text, " {end}*{count}");
        }
        text
    }

    /// How often the message at this offset was delivered.
    pub(super) fn of(&self, offset: i64) -> u32 {
        let run = self.runs.iter().find(|run| offset < run.end);
        run.map_or(0, |run| run.count)
    }

    /// The first offset that was never delivered, seen from a committed one.
    pub(super) fn end(&self, committed: i64) -> i64 {
        self.runs
            .last()
            .map_or(committed, |run| run.end.max(committed))
    }

    /// One more delivery of every message from `start` up to `end`, which lies at or behind it.
    pub(super) fn deliver(&mut self, start: i64, end: i64) {
        let mut runs: Vec<Run> = Vec::with_capacity(self.runs.len() + 2);
        let mut from = i64::MIN;
        let beyond = Run {
            end: i64::MAX,
            count: 0,
        };
        for run in self.runs.iter().chain([&beyond]) {
            let parts = [
                (run.end.min(start), run.count),
                (run.end.min(end), (run.count + 1).min(MOST)),
                (run.end, run.count),
            ];
            for (part, count) in parts {
                if part > from {
                    runs.push(Run { end: part, count });
                    from = part;
                }
            }
        }
        self.runs = runs;
        self.tidy();
    }

    /// Forgets what lies before a committed offset.
    pub(super) fn commit(&mut self, committed: i64) {
        self.runs.retain(|run| run.end > committed);
    }

    fn tidy(&mut self) {
        while self.runs.last().is_some_and(|run| run.count == 0) {
            self.runs.pop();
        }
        let mut merged: Vec<Run> = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            match merged.last_mut() {
                Some(last) if last.count == run.count => last.end = run.end,
                _ => merged.push(*run),
            }
        }
        // The furthest are counted as if they were one: they were delivered least often.
        if let (true, Some(last)) = (merged.len() > MOST_RUNS, merged.last().copied()) {
            merged.truncate(MOST_RUNS);
            if let Some(kept) = merged.last_mut() {
                kept.end = last.end;
            }
        }
        self.runs = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(attempts: &Attempts, offsets: std::ops::Range<i64>) -> Vec<u32> {
        offsets.map(|offset| attempts.of(offset)).collect()
    }

    #[test]
    fn each_delivery_is_counted_where_it_was_made() {
        let mut attempts = Attempts::default();
        attempts.deliver(10, 13);
        assert_eq!(counts(&attempts, 10..15), [1, 1, 1, 0, 0]);
        attempts.deliver(10, 12);
        attempts.deliver(13, 14);
        attempts.commit(10);
        assert_eq!(counts(&attempts, 10..15), [2, 2, 1, 1, 0]);
        assert_eq!(attempts.text(), "simbdp1 12*2 14*1");
        assert_eq!(attempts.end(10), 14);
        attempts.deliver(13, 14);
        assert_eq!(counts(&attempts, 10..15), [2, 2, 1, 2, 0]);
    }

    #[test]
    fn a_gap_counts_nothing() {
        let mut attempts = Attempts::default();
        attempts.deliver(5, 6);
        attempts.deliver(8, 9);
        assert_eq!(counts(&attempts, 5..10), [1, 0, 0, 1, 0]);
        assert_eq!(Attempts::read(&attempts.text()), attempts);
    }

    #[test]
    fn what_is_committed_is_forgotten() {
        let mut attempts = Attempts::default();
        attempts.deliver(10, 20);
        attempts.deliver(10, 12);
        attempts.commit(12);
        assert_eq!(attempts.text(), "simbdp1 20*1");
        attempts.commit(25);
        assert_eq!(attempts, Attempts::default());
        assert_eq!(attempts.end(25), 25);
    }

    #[test]
    fn the_text_of_others_counts_nothing() {
        for text in [
            "",
            "simbdp1",
            "simbdp2 3*4",
            "simbdp1 3",
            "simbdp1 x*1",
            "{}",
        ] {
            assert_eq!(Attempts::read(text), Attempts::default(), "{text}");
        }
    }

    #[test]
    fn the_text_has_a_bound_and_never_counts_too_little_near_the_start() {
        let mut attempts = Attempts::default();
        for n in (1..=500).rev() {
            attempts.deliver(0, n);
        }
        let text = attempts.text();
        assert!(text.len() < 4_096, "{} bytes", text.len());
        assert_eq!(attempts.of(0), 500);
        assert_eq!(attempts.end(0), 500);
        for _ in 0..2_000 {
            attempts.deliver(0, 1);
        }
        assert_eq!(attempts.of(0), MOST);
    }
}
