//! Reads a dead-letter topic as the one member of its group, from the first letter that is still there. A letter is
//! removed by committing that it is gone: see [`Removed`]. Until then it stays where it is, whatever becomes of the reader.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use futures::future::BoxFuture;
use rdkafka::Message as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::client::topic;
use super::cluster::{Cluster, ClusterError, END, START, offset};
use super::consumer::ConsumerOptions;
use super::convert;
use super::login;
use super::member::{Change, Ends, Member, is_over};
use super::partition::Commit;
use super::removed::Removed;
use crate::dead_letters::{DeadLetter, DeadLetterError, DeadLetterReader, DeadLetters, LetterTag};
use crate::{Connection, ConnectionSource};

/// Longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest wait for one's turn: longer than a reader is missed that died (its session).
const TURN: Duration = Duration::from_secs(15);
/// Pause after a commit that came while the group was changing.
const AGAIN: Duration = Duration::from_millis(100);

/// Opens dead-letter queues of one tenant. Who reads one has it alone; others wait for their turn.
pub struct KafkaDeadLetters {
    source: ConnectionSource,
}

impl KafkaDeadLetters {
    /// Connects when a queue is opened.
    pub fn new(source: ConnectionSource) -> Self {
        Self { source }
    }
}

fn unavailable(reason: impl ToString) -> DeadLetterError {
    DeadLetterError::Unavailable(reason.to_string())
}

impl DeadLetters for KafkaDeadLetters {
    fn open<'a>(
        &'a self,
        queue: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn DeadLetterReader>, DeadLetterError>> {
        Box::pin(async move {
            let connection = self.source.read().await.map_err(unavailable)?;
            let (addresses, login) = login::tenant(&connection);
            let cluster = Cluster::new(addresses, login);
            let name = topic(&connection.vhost, queue);
            let topics = answer(cluster.topics(Some(std::slice::from_ref(&name)))).await?;
            let Some(partitions) = topics.get(&name) else {
                return Err(DeadLetterError::NoQueue(queue.to_owned()));
            };
            let mut reader = Reader::join(&connection, queue)?;
            reader
                .take_turn(partitions.keys().copied().collect())
                .await?;
            // Only now: who had the turn before may have removed letters that were not there a moment ago.
            let loaded = reader.load().await?;
            let starts = answer(cluster.offsets(&topics, START)).await?;
            let ends = answer(cluster.offsets(&topics, END)).await?;
            for (partition, removed) in loaded {
                let place = (name.clone(), partition);
                let start = offset(&starts, &place).map_err(unavailable)?;
                let end = offset(&ends, &place).map_err(unavailable)?;
                // What was committed of a topic that was there before this one lies behind its end.
                let removed = removed.filter(|removed| removed.front() <= end);
                let removed = removed.unwrap_or_else(|| Removed::from(start));
                reader.lanes.insert(partition, Lane::new(removed, end));
            }
            Ok(Box::new(reader) as Box<dyn DeadLetterReader>)
        })
    }
}

fn no_answer() -> DeadLetterError {
    unavailable(format!("no answer within {ANSWER:?}"))
}

/// Waits for the broker, not for ever.
async fn answer<T>(
    asked: impl Future<Output = Result<T, ClusterError>>,
) -> Result<T, DeadLetterError> {
    match timeout(ANSWER, asked).await {
        Ok(answer) => answer.map_err(unavailable),
        Err(_) => Err(no_answer()),
    }
}

/// A partition that is read.
struct Lane {
    removed: Removed,
    /// Letters from here on could not all be removed.
    horizon: i64,
    /// The first offset that was not read.
    next: i64,
    /// Where it ended when it was opened.
    end: i64,
    /// Whether there is nothing more to show.
    done: bool,
}

impl Lane {
    fn new(removed: Removed, end: i64) -> Self {
        let (next, horizon) = (removed.front(), removed.horizon());
        Self {
            removed,
            horizon,
            next,
            end,
            done: next >= end,
        }
    }

    fn waiting(&self) -> u64 {
        let front = self.removed.front();
        let behind = u64::try_from(self.end - front).unwrap_or_default();
        behind.saturating_sub(self.removed.count(front, self.end))
    }

    /// Whether a letter is to be shown. Offsets that were passed over hold none.
    fn take(&mut self, offset: i64) -> bool {
        if self.done || offset < self.next {
            return false;
        }
        if offset >= self.horizon {
            self.done = true;
            return false;
        }
        self.removed.remove(self.next, offset);
        self.next = offset + 1;
        self.done = self.next >= self.end;
        !self.removed.contains(offset)
    }

    fn remove(&mut self, offsets: &[i64]) {
        for offset in offsets {
            self.removed.remove(*offset, offset + 1);
        }
        self.horizon = self.removed.horizon();
    }

    fn commit(&self) -> Commit {
        Commit {
            offset: self.removed.front(),
            text: self.removed.text(),
        }
    }
}

/// A record that may be a letter.
struct Read {
    partition: i32,
    offset: i64,
    letter: crate::Message,
}

struct Reader {
    /// Absent once it left.
    member: Option<Member>,
    changes: mpsc::UnboundedReceiver<Change>,
    given: BTreeSet<i32>,
    lanes: BTreeMap<i32, Lane>,
    /// Read while something else was waited for.
    ahead: VecDeque<Polled>,
    /// Places of letters that were shown and not removed, by their tags.
    held: BTreeMap<u64, (i32, i64)>,
    last_tag: u64,
}

impl Reader {
    fn join(connection: &Connection, queue: &str) -> Result<Self, DeadLetterError> {
        let options = ConsumerOptions {
            name: "simbdp dead letters".into(),
            queue: queue.to_owned(),
            prefetch: 0,
        };
        let joined = Member::join(connection, &options, Ends::Told);
        let (member, changes) = joined.map_err(unavailable)?;
        Ok(Self {
            member: Some(member),
            changes,
            given: BTreeSet::new(),
            lanes: BTreeMap::new(),
            ahead: VecDeque::new(),
            held: BTreeMap::new(),
            last_tag: 0,
        })
    }

    fn member(&self) -> Result<&Member, DeadLetterError> {
        self.member.as_ref().ok_or_else(lost)
    }

    /// Waits until every partition is this reader's.
    async fn take_turn(&mut self, partitions: BTreeSet<i32>) -> Result<(), DeadLetterError> {
        let until = Instant::now() + TURN;
        while !partitions.is_subset(&self.given) {
            let member = self.member.as_ref().ok_or_else(lost)?;
            tokio::select! {
                change = self.changes.recv() => self.changed(change.ok_or_else(lost)?),
                polled = poll(member, until) => match polled? {
                    Some(polled) => self.ahead.push_back(polled),
                    None => {
                        let reason = format!("others have read these letters for {TURN:?}");
                        return Err(unavailable(reason));
                    }
                },
            }
        }
        Ok(())
    }

    /// What is gone already of each partition, where anything was ever removed.
    async fn load(&self) -> Result<HashMap<i32, Option<Removed>>, DeadLetterError> {
        let partitions = self.given.iter().copied().collect();
        let task = self.member()?.load(partitions, |committed, text| {
            committed.map(|front| Removed::read(front, text))
        });
        task.await.map_err(unavailable)?.map_err(unavailable)
    }

    /// What came and what went.
    fn follow(&mut self) {
        while let Ok(change) = self.changes.try_recv() {
            self.changed(change);
        }
    }

    fn changed(&mut self, change: Change) {
        match change {
            Change::Given(partitions) => self.given.extend(partitions),
            Change::Gone(partitions) => self.given.retain(|number| !partitions.contains(number)),
        }
    }

    /// Whether all that was this reader's still is.
    fn check(&mut self) -> Result<(), DeadLetterError> {
        self.follow();
        let kept = self.lanes.keys().all(|number| self.given.contains(number));
        if kept { Ok(()) } else { Err(lost()) }
    }

    /// What was read before, or what comes next.
    async fn read(&mut self) -> Result<Polled, DeadLetterError> {
        if let Some(polled) = self.ahead.pop_front() {
            return Ok(polled);
        }
        let polled = poll(self.member()?, Instant::now() + ANSWER).await?;
        polled.ok_or_else(no_answer)
    }

    /// Commits what is gone. While the group is changing, because another reader waits for its turn, it is served
    /// until it has settled.
    async fn commit(&mut self, partitions: &BTreeSet<i32>) -> Result<(), DeadLetterError> {
        let lanes = self.lanes.iter();
        let lanes = lanes.filter(|(number, _)| partitions.contains(*number));
        let commits: Vec<(i32, Commit)> = lanes
            .map(|(number, lane)| (*number, lane.commit()))
            .collect();
        let until = Instant::now() + ANSWER;
        loop {
            self.check()?;
            let task = self.member()?.commit(commits.clone());
            match task.await.map_err(unavailable)? {
                Ok(()) => return Ok(()),
                Err(error) if is_changing(&error) && Instant::now() < until => {
                    let polled = poll(self.member()?, Instant::now() + AGAIN).await?;
                    self.ahead.extend(polled);
                }
                Err(error) => return Err(unavailable(error)),
            }
        }
    }
}

/// What a topic says.
enum Polled {
    Read(Read),
    /// This partition has nothing more for now.
    End(i32),
}

/// What comes next of the topic, until a time.
async fn poll(member: &Member, until: Instant) -> Result<Option<Polled>, DeadLetterError> {
    loop {
        let Ok(record) = timeout_at(until, member.next()).await else {
            return Ok(None);
        };
        match record {
            Ok(record) => {
                return Ok(Some(Polled::Read(Read {
                    partition: record.partition(),
                    offset: record.offset(),
                    letter: convert::message(&record),
                })));
            }
            Err(KafkaError::PartitionEOF(partition)) => return Ok(Some(Polled::End(partition))),
            Err(error) if is_over(&error) => return Err(unavailable(error)),
            Err(error) => tracing::warn!(%error, "the broker is not well"),
        }
    }
}

fn lost() -> DeadLetterError {
    unavailable("the reader lost its turn")
}

/// Whether a commit was refused because of a rebalance that ends by itself.
fn is_changing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::RebalanceInProgress | RDKafkaErrorCode::IllegalGeneration)
    )
}

impl DeadLetterReader for Reader {
    fn waiting(&self) -> u64 {
        self.lanes.values().map(Lane::waiting).sum()
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<DeadLetter>, DeadLetterError>> {
        Box::pin(async move {
            loop {
                self.check()?;
                if self.lanes.values().all(|lane| lane.done) {
                    return Ok(None);
                }
                let read = match self.read().await? {
                    Polled::Read(read) => read,
                    Polled::End(partition) => {
                        if let Some(lane) = self.lanes.get_mut(&partition) {
                            lane.done = true;
                        }
                        continue;
                    }
                };
                let lane = self.lanes.get_mut(&read.partition);
                if !lane.is_some_and(|lane| lane.take(read.offset)) {
                    continue;
                }
                self.last_tag += 1;
                self.held
                    .insert(self.last_tag, (read.partition, read.offset));
                return Ok(Some(DeadLetter {
                    message: read.letter,
                    broker_reason: None,
                    tag: LetterTag(self.last_tag),
                }));
            }
        })
    }

    fn remove<'a>(
        &'a mut self,
        letters: &'a [LetterTag],
    ) -> BoxFuture<'a, Result<(), DeadLetterError>> {
        Box::pin(async move {
            let mut removed: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
            for LetterTag(tag) in letters {
                if let Some((partition, offset)) = self.held.remove(tag) {
                    removed.entry(partition).or_default().push(offset);
                }
            }
            for (partition, offsets) in &removed {
                if let Some(lane) = self.lanes.get_mut(partition) {
                    lane.remove(offsets);
                }
            }
            match removed.is_empty() {
                true => Ok(()),
                false => self.commit(&removed.into_keys().collect()).await,
            }
        })
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, Result<(), DeadLetterError>> {
        Box::pin(async move {
            if let Some(member) = self.member.take() {
                member.leave().await;
            }
            Ok(())
        })
    }
}

impl Drop for Reader {
    /// Leaving the group takes a moment, in which nothing else on this thread is to wait.
    fn drop(&mut self) {
        if let (Some(member), Ok(runtime)) = (self.member.take(), Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(member)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_shows_what_is_there_and_can_be_removed() {
        let mut removed = Removed::from(3);
        removed.remove(5, 6);
        let mut lane = Lane::new(removed, 12);
        assert_eq!(lane.waiting(), 8);
        assert!(lane.take(3));
        assert!(!lane.take(3), "read again after a pause of fetching");
        assert!(lane.take(4));
        assert!(!lane.take(5), "it is gone");
        // 6 to 8 hold no letters: they do not hold up the front.
        assert!(lane.take(9));
        assert!(!lane.done);
        lane.remove(&[4, 3]);
        assert_eq!(lane.commit().offset, 9);
        assert!(lane.take(11));
        assert!(lane.done);
        let mut full = Lane::new(Removed::from(0), i64::MAX);
        assert!(full.take(full.horizon - 1));
        assert!(!full.take(full.horizon));
        assert!(full.done);
    }

    #[test]
    fn an_empty_lane_is_done() {
        let lane = Lane::new(Removed::from(7), 7);
        assert!(lane.done);
        assert_eq!(lane.waiting(), 0);
    }
}
