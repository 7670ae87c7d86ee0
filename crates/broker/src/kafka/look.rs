//! How full topics are: what lies between what their groups have committed and their ends.

use std::collections::HashMap;

use super::attempts::Attempts;
use super::cluster::{
    Cluster, ClusterError, Committed, END, Offsets, Place, START, Topics, offset,
};
use super::removed::Removed;

/// What there is of some topics.
pub(super) struct Look {
    pub(super) topics: Topics,
    starts: Offsets,
    ends: Offsets,
    committed: HashMap<Place, Committed>,
}

impl Look {
    /// Looks at topics, and at their groups: each is named like the topic that it consumes.
    pub(super) async fn at(cluster: &Cluster, topics: Topics) -> Result<Self, ClusterError> {
        let groups: Vec<String> = topics.keys().cloned().collect();
        Ok(Self {
            committed: cluster.committed(&groups).await?,
            starts: cluster.offsets(&topics, START).await?,
            ends: cluster.offsets(&topics, END).await?,
            topics,
        })
    }

    /// How many messages wait in a topic.
    pub(super) fn backlog(&self, topic: &str) -> Result<Backlog, ClusterError> {
        let mut total = Backlog::default();
        for partition in self.topics.get(topic).into_iter().flatten() {
            let place = (topic.to_owned(), *partition.0);
            let (start, end) = (offset(&self.starts, &place)?, offset(&self.ends, &place)?);
            let of_one = backlog(start, end, self.committed.get(&place));
            total.ready += of_one.ready;
            total.unacknowledged += of_one.unacknowledged;
        }
        Ok(total)
    }

    /// Offsets before which everything is done with, where there is something.
    pub(super) fn done(&self) -> HashMap<Place, i64> {
        let done = self.committed.iter().filter(|(place, committed)| {
            let start = offset(&self.starts, place);
            start.is_ok_and(|start| start < committed.offset)
        });
        done.map(|(place, committed)| (place.clone(), committed.offset))
            .collect()
    }
}

/// How many messages wait.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Backlog {
    /// Never delivered, or not since they came back.
    pub(super) ready: u64,
    /// Delivered, and not known to be done with.
    pub(super) unacknowledged: u64,
}

/// What lies between what is committed and the end of a partition, without dead letters that are gone from its middle.
fn backlog(start: i64, end: i64, committed: Option<&Committed>) -> Backlog {
    let (from, taken, gone) = match committed {
        Some(Committed { offset, text }) => {
            let from = (*offset).max(start);
            let gone = Removed::read(*offset, text).count(from, end);
            (from, Attempts::read(text).end(from), gone)
        }
        None => (start, start, 0),
    };
    let taken = taken.min(end).max(from);
    let ready = u64::try_from(end - taken).unwrap_or_default();
    Backlog {
        ready: ready.saturating_sub(gone),
        unacknowledged: u64::try_from(taken - from).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(offset: i64, text: &str) -> Committed {
        Committed {
            offset,
            text: text.into(),
        }
    }

    #[test]
    fn a_backlog_is_what_is_not_committed() {
        let counts = |backlog: Backlog| (backlog.ready, backlog.unacknowledged);
        assert_eq!(counts(backlog(5, 12, None)), (7, 0));
        assert_eq!(counts(backlog(5, 12, Some(&committed(8, "")))), (4, 0));
        let taken = committed(8, "simbdp1 9*2 11*1");
        assert_eq!(counts(backlog(5, 12, Some(&taken))), (1, 3));
        // Older than what there is, and newer than it.
        assert_eq!(counts(backlog(10, 12, Some(&taken))), (1, 1));
        assert_eq!(counts(backlog(0, 8, Some(&taken))), (0, 0));
        assert_eq!(counts(backlog(0, 3, Some(&taken))), (0, 0));
    }

    #[test]
    fn letters_that_are_gone_do_not_wait() {
        let mut removed = Removed::from(8);
        removed.remove(9, 11);
        removed.remove(20, 21);
        let gone = committed(8, &removed.text());
        assert_eq!(backlog(5, 30, Some(&gone)).ready, 19);
        assert_eq!(backlog(10, 15, Some(&gone)).ready, 4);
    }
}
