//! [pure] What a consumer holds of one partition: which offset may be committed, and what was delivered how often.

use std::collections::BTreeSet;

use super::attempts::Attempts;

/// A partition that this consumer was given.
#[derive(Clone, Debug, Default)]
pub(super) struct Partition {
    /// Everything before it is settled. Absent while nothing was ever committed and nothing was taken: then the first
    /// message that comes is the first there is.
    committed: Option<i64>,
    /// Deliveries of what lies behind it.
    attempts: Attempts,
    /// Taken and not settled.
    held: BTreeSet<i64>,
    /// The first offset that was not taken.
    next: i64,
    /// What the broker was told last.
    told: Option<Commit>,
}

/// What the broker is to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Commit {
    pub(super) offset: i64,
    pub(super) text: String,
}

impl Partition {
    /// As another consumer left it.
    pub(super) fn resumed(committed: Option<i64>, text: &str) -> Self {
        let mut attempts = Attempts::read(text);
        attempts.commit(committed.unwrap_or_default());
        let mut partition = Self {
            committed,
            attempts,
            held: BTreeSet::new(),
            next: committed.unwrap_or_default(),
            told: None,
        };
        partition.told = partition.now();
        partition
    }

    /// A message is to be delivered, for the first time or again. Says how often it was before.
    pub(super) fn take(&mut self, offset: i64) -> u32 {
        let before = self.attempts.of(offset);
        let committed = *self.committed.get_or_insert(offset);
        self.held.insert(offset);
        self.next = self.next.max(offset + 1);
        self.attempts.deliver(offset, offset + 1);
        self.attempts.commit(committed);
        before
    }

    /// A message is done with. Others before it may not be.
    pub(super) fn settle(&mut self, offset: i64) {
        self.held.remove(&offset);
        let settled = self.held.first().copied().unwrap_or(self.next);
        if self.committed.is_some_and(|committed| settled > committed) {
            self.committed = Some(settled);
            self.attempts.commit(settled);
        }
    }

    /// What the broker does not know yet.
    pub(super) fn news(&self) -> Option<Commit> {
        self.now().filter(|now| self.told.as_ref() != Some(now))
    }

    /// The broker knows this.
    pub(super) fn told(&mut self, commit: Commit) {
        self.told = Some(commit);
    }

    fn now(&self) -> Option<Commit> {
        Some(Commit {
            offset: self.committed?,
            text: self.attempts.text(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(offset: i64, text: &str) -> Option<Commit> {
        Some(Commit {
            offset,
            text: text.into(),
        })
    }

    #[test]
    fn an_offset_is_committed_once_all_before_it_are_settled() {
        let mut partition = Partition::resumed(None, "");
        assert_eq!(partition.news(), None);
        for offset in 7..11 {
            assert_eq!(partition.take(offset), 0);
        }
        assert_eq!(partition.news(), commit(7, "simbdp1 11*1"));
        partition.told(partition.news().unwrap());
        partition.settle(8);
        partition.settle(9);
        assert_eq!(partition.news(), None);
        partition.settle(7);
        assert_eq!(partition.news(), commit(10, "simbdp1 11*1"));
        partition.settle(10);
        assert_eq!(partition.news(), commit(11, "simbdp1"));
    }

    #[test]
    fn a_successor_knows_what_was_delivered() {
        let mut first = Partition::resumed(None, "");
        for offset in 0..3 {
            first.take(offset);
        }
        first.settle(1);
        let Commit { offset, text } = first.news().unwrap();
        let mut second = Partition::resumed(Some(offset), &text);
        let before: Vec<u32> = (0..5).map(|offset| second.take(offset)).collect();
        assert_eq!(before, [1, 1, 1, 0, 0]);
        assert_eq!(second.take(4), 1);
        assert_eq!(second.news(), commit(0, "simbdp1 3*2 4*1 5*2"));
    }

    /// Offsets that hold no message, such as marks of transactions, are no gaps.
    #[test]
    fn missing_offsets_do_not_hold_up_the_commit() {
        let mut partition = Partition::resumed(Some(4), "");
        partition.take(5);
        partition.take(9);
        partition.settle(5);
        assert_eq!(partition.news(), commit(9, "simbdp1 10*1"));
        partition.settle(9);
        assert_eq!(partition.news(), commit(10, "simbdp1"));
    }
}
