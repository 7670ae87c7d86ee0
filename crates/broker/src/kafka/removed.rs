//! [pure] Which dead letters are gone, durably: beside the committed offset. Letters are removed in any order, and a
//! group has one offset for a partition: it is that of the first letter that is still there, and of those behind it the
//! text of the commit says which are gone.
//!
//! The text is a row of chunks of six offsets, from the one that the committed offset lies in: a digit of base 64 whose
//! bits are the letters that are gone, or `(n)` for n chunks of which all are. What is removed later makes it longer only
//! by chunks that it did not reach yet: so a reader knows beforehand up to which letter any can be removed, and shows no
//! others.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Longest text (4,096 bytes by default, `offset.metadata.max.bytes`).
const LONGEST: usize = 4_000;
/// Tells this text from that of other programs.
const PREFIX: &str = "simbdp-dead1 ";
/// Offsets that a digit tells of.
const CHUNK: i64 = 6;
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// As many full chunks are no longer as digits than as a number.
const FEW: i64 = 3;

/// The letters of a partition that are gone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Removed {
    /// The first that may be there. All before it are gone.
    front: i64,
    /// Those behind it, by the first of each run, with the first behind the run. No two touch.
    runs: BTreeMap<i64, i64>,
}

impl Removed {
    /// None but those before an offset.
    pub(super) fn from(front: i64) -> Self {
        Self {
            front,
            runs: BTreeMap::new(),
        }
    }

    /// From a committed offset and the text beside it. Another's text tells of none.
    pub(super) fn read(front: i64, text: &str) -> Self {
        let chunks = text.strip_prefix(PREFIX);
        let read = chunks.and_then(|chunks| Self::read_chunks(front, chunks));
        read.unwrap_or_else(|| Self::from(front))
    }

    fn read_chunks(front: i64, chunks: &str) -> Option<Self> {
        let mut removed = Self::from(front);
        let mut at = first_of(front);
        let mut rest = chunks;
        while let Some(sign) = rest.bytes().next() {
            if sign == b'(' {
                let (number, behind) = rest[1..].split_once(')')?;
                let full: i64 = number.parse().ok()?;
                let end = at.checked_add(full.checked_mul(CHUNK)?)?;
                removed.remove(at, end);
                (at, rest) = (end, behind);
                continue;
            }
            let bits = DIGITS.iter().position(|digit| *digit == sign)?;
            for bit in (0..CHUNK).filter(|bit| bits >> bit & 1 == 1) {
                removed.remove(at + bit, at + bit + 1);
            }
            at = at.checked_add(CHUNK)?;
            rest = &rest[1..];
        }
        Some(removed)
    }

    /// The offset to be committed.
    pub(super) fn front(&self) -> i64 {
        self.front
    }

    /// The text to be written beside it.
    pub(super) fn text(&self) -> String {
        let mut text = PREFIX.to_owned();
        let mut at = first_of(self.front);
        while at < self.end() {
            let full = (self.first_there(at) - at) / CHUNK;
            match full {
                0 => text.push(self.digit(at)),
                full if full <= FEW => text.extend((0..full).map(|_| '_')),
                full => {
                    // Writing to a text does not fail.
                    let _ = write!(text, "({full})");
                }
            }
            at += full.max(1) * CHUNK;
        }
        text
    }

    /// Whether a letter is gone.
    pub(super) fn contains(&self, offset: i64) -> bool {
        self.first_there(offset) > offset
    }

    /// How many from an offset up to another are gone.
    pub(super) fn count(&self, from: i64, end: i64) -> u64 {
        let before = (self.front.min(end) - from).max(0);
        let runs = self.runs.iter();
        let behind: i64 = runs
            .map(|(start, behind)| ((*behind).min(end) - (*start).max(from)).max(0))
            .sum();
        u64::try_from(before + behind).unwrap_or_default()
    }

    /// Letters from an offset up to another are gone from now on.
    pub(super) fn remove(&mut self, start: i64, end: i64) {
        let (mut start, mut end) = (start.max(self.front), end);
        if start >= end {
            return;
        }
        if let Some((first, behind)) = self.runs.range(..start).next_back()
            && *behind >= start
        {
            start = *first;
        }
        while let Some((first, behind)) = self.runs.range(start..=end).next().map(copied) {
            self.runs.remove(&first);
            end = end.max(behind);
        }
        if start == self.front {
            self.front = end;
        } else {
            self.runs.insert(start, end);
        }
    }

    /// The first offset that could not be removed, if all before it were to be, in any order.
    pub(super) fn horizon(&self) -> i64 {
        let room = LONGEST.saturating_sub(self.text().len());
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        let reached = match self.runs.is_empty() {
            true => first_of(self.front),
            false => first_of(self.end() + CHUNK - 1),
        };
        reached.saturating_add(room.saturating_mul(CHUNK))
    }

    /// The first offset behind all that are known to be gone.
    fn end(&self) -> i64 {
        self.runs
            .values()
            .next_back()
            .copied()
            .unwrap_or(self.front)
    }

    /// The first letter, from an offset on, that is not known to be gone.
    fn first_there(&self, offset: i64) -> i64 {
        let run = self.runs.range(..=offset).next_back();
        let behind = run.map_or(self.front, |(_, behind)| *behind);
        behind.max(offset)
    }

    fn digit(&self, chunk: i64) -> char {
        let bits = (0..CHUNK).filter(|bit| self.contains(chunk + bit));
        let bits: usize = bits.map(|bit| 1_usize << bit).sum();
        char::from(DIGITS[bits])
    }
}

fn copied((first, behind): (&i64, &i64)) -> (i64, i64) {
    (*first, *behind)
}

/// The first offset of the chunk that an offset lies in: the same wherever the front is.
fn first_of(offset: i64) -> i64 {
    offset.div_euclid(CHUNK) * CHUNK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(removed: &Removed) -> Removed {
        Removed::read(removed.front(), &removed.text())
    }

    #[test]
    fn what_is_gone_is_known_from_the_commit() {
        let mut removed = Removed::from(10);
        for (start, end) in [(12, 13), (15, 40), (100, 101), (13, 14), (39, 45)] {
            removed.remove(start, end);
        }
        assert_eq!(removed.front(), 10);
        assert_eq!(again(&removed), removed);
        let there: Vec<i64> = (8..48)
            .filter(|offset| !removed.contains(*offset))
            .collect();
        assert_eq!(there, [10, 11, 14, 45, 46, 47]);
        assert_eq!(removed.count(10, 1_000), 2 + 30 + 1);
        assert_eq!(removed.count(20, 30), 10);
        assert_eq!(removed.count(5, 13), 5 + 1);
    }

    #[test]
    fn the_front_passes_what_is_gone() {
        let mut removed = Removed::from(0);
        removed.remove(1, 3);
        removed.remove(4, 5);
        removed.remove(0, 1);
        assert_eq!((removed.front(), removed.count(3, 9)), (3, 1));
        removed.remove(3, 4);
        assert_eq!(removed, Removed::from(5));
        assert_eq!(again(&removed), removed);
        // What is gone already changes nothing.
        removed.remove(2, 4);
        assert_eq!(removed, Removed::from(5));
    }

    #[test]
    fn a_long_run_is_short() {
        let mut removed = Removed::from(7);
        removed.remove(9, 5_000_000);
        removed.remove(5_000_003, 5_000_004);
        assert_eq!(removed.text(), "simbdp-dead1 5(833331)j");
        assert_eq!(again(&removed), removed);
    }

    #[test]
    fn the_text_of_others_tells_of_none() {
        for text in [
            "",
            "simbdp1 9*2",
            "simbdp-dead1",
            "simbdp-dead1 (x)",
            "simbdp-dead1 (9",
            "simbdp-dead1 A!",
            "simbdp-dead1 (9223372036854775807)",
            "simbdp-dead1 é",
        ] {
            assert_eq!(Removed::read(3, text), Removed::from(3), "{text}");
        }
    }

    /// Numbers that look like any.
    fn shuffled(count: i64) -> Vec<i64> {
        let mut numbers: Vec<i64> = (0..count).collect();
        let mut seed = 7_u64;
        for n in (1..numbers.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            numbers.swap(n, (seed >> 33) as usize % (n + 1));
        }
        numbers
    }

    #[test]
    fn whatever_is_shown_can_be_removed_in_any_order() {
        let mut removed = Removed::from(3);
        let shown = removed.horizon();
        assert!(shown > 20_000, "{shown}");
        for (n, offset) in shuffled(shown).into_iter().enumerate() {
            removed.remove(offset, offset + 1);
            if n % 4_000 == 0 {
                let text = removed.text();
                assert!(text.len() <= LONGEST, "{} after {n}", text.len());
                assert!(removed.horizon() >= shown);
                assert_eq!(again(&removed), removed);
            }
        }
        assert_eq!(removed, Removed::from(shown));
    }

    #[test]
    fn every_second_letter_that_stays_is_the_worst() {
        let mut removed = Removed::from(0);
        let shown = removed.horizon();
        for offset in (1..shown).step_by(2) {
            removed.remove(offset, offset + 1);
        }
        assert_eq!(removed.text().len(), LONGEST);
        assert_eq!(removed.horizon(), shown);
        // With the first one gone it goes on, by what that gave back.
        removed.remove(0, 60);
        assert!(removed.horizon() > shown);
    }
}
