//! The task behind a consumer: it takes records, counts each delivery at the broker before it is made, hands
//! deliveries over, and commits what is settled. It serves the membership all the while.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::error::KafkaError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::consumer::ConsumerOptions;
use super::convert;
use super::member::{Change, Ends, Member, is_over};
use super::partition::{Commit, Partition};
use crate::ConnectionSource;
use crate::queue::{ConsumeError, Delivery, Message, Tag};

/// Most records that wait here for room.
const AHEAD: usize = 512;
/// Most bytes of them.
const AHEAD_BYTES: usize = 4 << 20;
/// A caller that has no room for so long is busy: then fetching pauses, and the membership is served.
const BUSY: Duration = Duration::from_secs(1);
/// Pause after a commit or a look that failed, and between attempts to join.
const AGAIN: Duration = Duration::from_millis(250);

type Done = oneshot::Sender<Result<(), ConsumeError>>;

/// What the caller wants.
pub(super) enum Command {
    Ack { tags: Vec<u64>, done: Done },
    HandBack { tags: Vec<u64>, done: Done },
    SetPrefetch { prefetch: u16, done: Done },
    Stop { done: Done },
}

/// A record that is held.
#[derive(Clone)]
struct Taken {
    partition: i32,
    offset: i64,
    message: Message,
}

/// Deliveries with how often each came before.
type Deliveries = VecDeque<Delivery>;

/// A commit that is under way.
struct Committing {
    task: JoinHandle<Result<(), KafkaError>>,
    commits: Vec<(i32, Commit)>,
    /// Who waits for it.
    done: Vec<Done>,
    /// What may be delivered then.
    deliveries: Deliveries,
}

/// What the pump is about to do.
enum Turn {
    Command(Option<Command>),
    HandOver,
    Committed(Result<(), KafkaError>),
    Loaded(Result<HashMap<i32, Partition>, KafkaError>),
    Changed(Change),
    Record(Result<Option<Taken>, KafkaError>),
    Busy,
    Again,
}

/// The state of a membership.
pub(super) struct Pump {
    options: ConsumerOptions,
    epoch: u64,
    deliver: mpsc::Sender<Result<Delivery, ConsumeError>>,
    commands: mpsc::Receiver<Command>,
    partitions: HashMap<i32, Partition>,
    /// Given, and not yet known how others left them.
    unknown: Vec<i32>,
    loading: Option<JoinHandle<Result<HashMap<i32, Partition>, KafkaError>>>,
    /// Not delivered, or handed back.
    ready: VecDeque<Taken>,
    ready_bytes: usize,
    /// Delivered and not settled, by tag; what was counted and is not handed over is among them.
    out: HashMap<u64, Taken>,
    last_tag: u64,
    counted: Deliveries,
    waiting: Vec<Done>,
    committing: Option<Committing>,
    /// When to try again what failed.
    again: Option<Instant>,
    full_since: Option<Instant>,
    paused: bool,
    stopped: bool,
}

impl Pump {
    pub(super) fn new(
        options: ConsumerOptions,
        epoch: u64,
        deliver: mpsc::Sender<Result<Delivery, ConsumeError>>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        Self {
            options,
            epoch,
            deliver,
            commands,
            partitions: HashMap::new(),
            unknown: Vec::new(),
            loading: None,
            ready: VecDeque::new(),
            ready_bytes: 0,
            out: HashMap::new(),
            last_tag: 0,
            counted: VecDeque::new(),
            waiting: Vec::new(),
            committing: None,
            again: None,
            full_since: None,
            paused: false,
            stopped: false,
        }
    }

    /// Joins and works until the caller is gone or the membership is over.
    pub(super) async fn run(mut self, source: ConnectionSource) {
        let Some((member, mut changes)) = self.join(&source).await else {
            return;
        };
        let over = loop {
            self.follow(&member, &mut changes);
            self.proceed(&member);
            match self.turn(&member, &mut changes).await {
                Turn::Command(None) => break None,
                Turn::Command(Some(command)) => self.obey(&member, command),
                Turn::HandOver => self.hand_over(),
                Turn::Committed(result) => self.committed(result),
                Turn::Loaded(result) => self.loaded(result),
                Turn::Changed(change) => self.change(&member, change),
                Turn::Record(Ok(record)) => {
                    self.follow(&member, &mut changes);
                    if let Some(record) = record {
                        self.push(record);
                    }
                }
                Turn::Record(Err(error)) if is_over(&error) => break Some(error),
                Turn::Record(Err(error)) => {
                    tracing::warn!(queue = self.options.queue, %error, "the broker is not well");
                }
                Turn::Busy => self.pause(&member),
                Turn::Again => self.again = None,
            }
        };
        self.end(member, over).await;
    }

    /// Tries until it succeeds; nothing when the caller is gone before.
    async fn join(
        &mut self,
        source: &ConnectionSource,
    ) -> Option<(Member, mpsc::UnboundedReceiver<Change>)> {
        loop {
            let reason = match source.read().await {
                Ok(connection) => match Member::join(&connection, &self.options, Ends::Silent) {
                    Ok(joined) => {
                        tracing::info!(queue = self.options.queue, "consuming");
                        return Some(joined);
                    }
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            tracing::warn!(
                queue = self.options.queue,
                error = reason,
                "cannot consume yet"
            );
            tokio::select! {
                () = sleep(AGAIN) => {}
                command = self.commands.recv() => match command? {
                    Command::SetPrefetch { prefetch, done } => {
                        self.options.prefetch = prefetch;
                        let _ = done.send(Ok(()));
                    }
                    Command::Ack { done, .. } | Command::HandBack { done, .. } => {
                        let _ = done.send(Ok(()));
                    }
                    Command::Stop { done } => {
                        let _ = done.send(Ok(()));
                        return None;
                    }
                }
            }
        }
    }

    async fn turn(
        &mut self,
        member: &Member,
        changes: &mut mpsc::UnboundedReceiver<Change>,
    ) -> Turn {
        let takes = self.paused || self.stopped || !self.is_full();
        let busy = self.full_since.filter(|_| !takes).map(|since| since + BUSY);
        tokio::select! {
            biased;
            command = self.commands.recv() => Turn::Command(command),
            result = ended(self.committing.as_mut().map(|committing| &mut committing.task)) => Turn::Committed(result),
            result = ended(self.loading.as_mut()) => Turn::Loaded(result),
            permit = self.deliver.reserve(), if !self.counted.is_empty() => {
                drop(permit);
                Turn::HandOver
            }
            Some(change) = changes.recv() => Turn::Changed(change),
            record = member.next(), if takes => Turn::Record(record.map(|record| Some(Taken {
                partition: record.partition(),
                offset: record.offset(),
                message: convert::message(&record),
            }))),
            () = until(busy) => Turn::Busy,
            () = until(self.again) => Turn::Again,
        }
    }

    /// What came and what went until now.
    fn follow(&mut self, member: &Member, changes: &mut mpsc::UnboundedReceiver<Change>) {
        while let Ok(change) = changes.try_recv() {
            self.change(member, change);
        }
    }

    /// What is out of a partition that is gone comes to another member: its tags are void. One that comes back is paused
    /// if it was so when it went, whatever was resumed meanwhile.
    fn change(&mut self, member: &Member, change: Change) {
        let queue = &self.options.queue;
        match change {
            Change::Given(partitions) => {
                tracing::info!(queue, ?partitions, "partitions came");
                self.unknown.extend(partitions);
                member.pause(self.paused || self.stopped);
            }
            Change::Gone(gone) => {
                tracing::info!(queue, partitions = ?gone, "partitions went");
                self.forget(&gone);
            }
        }
    }

    fn forget(&mut self, gone: &[i32]) {
        self.partitions.retain(|number, _| !gone.contains(number));
        self.unknown.retain(|number| !gone.contains(number));
        // What is being looked at may be of them: it is looked at again.
        self.loading = None;
        self.ready.retain(|taken| !gone.contains(&taken.partition));
        self.ready_bytes = self
            .ready
            .iter()
            .map(|taken| taken.message.body.len())
            .sum();
        self.out.retain(|_, taken| !gone.contains(&taken.partition));
        let out = &self.out;
        let known = |delivery: &Delivery| out.contains_key(&delivery.tag.delivery);
        self.counted.retain(known);
        if let Some(committing) = &mut self.committing {
            committing.deliveries.retain(known);
        }
    }

    /// Starts what can be started.
    fn proceed(&mut self, member: &Member) {
        if self.again.is_some() {
            return;
        }
        if self.loading.is_none() && !self.unknown.is_empty() {
            self.loading = Some(member.load(self.unknown.clone(), Partition::resumed));
        }
        if self.committing.is_none() {
            let deliveries = self.count();
            let news = |(number, partition): (&i32, &Partition)| Some((*number, partition.news()?));
            let commits: Vec<(i32, Commit)> = self.partitions.iter().filter_map(news).collect();
            let done = std::mem::take(&mut self.waiting);
            if commits.is_empty() {
                self.counted.extend(deliveries);
                answer(done, &Ok(()));
            } else {
                self.committing = Some(Committing {
                    task: member.commit(commits.clone()),
                    commits,
                    done,
                    deliveries,
                });
            }
        }
        if self.paused
            && !self.stopped
            && self.ready.len() < AHEAD / 2
            && self.ready_bytes < AHEAD_BYTES / 2
        {
            self.paused = false;
            member.pause(false);
        }
        let full = self.is_full();
        self.full_since = full.then(|| self.full_since.unwrap_or_else(Instant::now));
    }

    /// Counts as many deliveries as there is room for. Those of partitions that are not known yet wait.
    fn count(&mut self) -> Deliveries {
        let room = usize::from(self.options.prefetch).saturating_sub(self.out.len());
        let mut deliveries = Deliveries::new();
        let mut waiting = VecDeque::new();
        while deliveries.len() < room && !self.stopped {
            let Some(taken) = self.ready.pop_front() else {
                break;
            };
            let Some(partition) = self.partitions.get_mut(&taken.partition) else {
                waiting.push_back(taken);
                continue;
            };
            self.ready_bytes -= taken.message.body.len();
            self.last_tag += 1;
            deliveries.push_back(Delivery {
                message: taken.message.clone(),
                tag: Tag {
                    epoch: self.epoch,
                    delivery: self.last_tag,
                },
                returns: partition.take(taken.offset),
            });
            self.out.insert(self.last_tag, taken);
        }
        waiting.append(&mut self.ready);
        self.ready = waiting;
        deliveries
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= AHEAD || self.ready_bytes >= AHEAD_BYTES
    }

    fn push(&mut self, taken: Taken) {
        self.ready_bytes += taken.message.body.len();
        self.ready.push_back(taken);
    }

    fn hand_over(&mut self) {
        let Some(delivery) = self.counted.pop_front() else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(Ok(delivery))) =
            self.deliver.try_send(Ok(delivery))
        {
            self.counted.push_front(delivery);
        }
    }

    fn obey(&mut self, member: &Member, command: Command) {
        match command {
            Command::Ack { tags, done } => {
                for tag in tags {
                    let Some(taken) = self.out.remove(&tag) else {
                        continue;
                    };
                    if let Some(partition) = self.partitions.get_mut(&taken.partition) {
                        partition.settle(taken.offset);
                    }
                }
                self.waiting.push(done);
            }
            Command::HandBack { tags, done } => {
                let mut back: Vec<Taken> =
                    tags.iter().filter_map(|tag| self.out.remove(tag)).collect();
                back.sort_by_key(|taken| (taken.partition, taken.offset));
                for taken in back.into_iter().rev() {
                    self.ready_bytes += taken.message.body.len();
                    self.ready.push_front(taken);
                }
                let _ = done.send(Ok(()));
            }
            Command::SetPrefetch { prefetch, done } => {
                self.options.prefetch = prefetch;
                let _ = done.send(Ok(()));
            }
            Command::Stop { done } => {
                self.stopped = true;
                self.counted.clear();
                member.pause(true);
                let _ = done.send(Ok(()));
            }
        }
    }

    fn committed(&mut self, result: Result<(), KafkaError>) {
        let Some(committing) = self.committing.take() else {
            return;
        };
        match result {
            Ok(()) => {
                for (number, commit) in committing.commits {
                    if let Some(partition) = self.partitions.get_mut(&number) {
                        partition.told(commit);
                    }
                }
                if !self.stopped {
                    self.counted.extend(committing.deliveries);
                }
                answer(committing.done, &Ok(()));
            }
            Err(error) => {
                tracing::warn!(queue = self.options.queue, %error, "not committed");
                // They are counted in what is committed next; until then they wait.
                for delivery in committing.deliveries.into_iter().rev() {
                    if let Some(taken) = self.out.remove(&delivery.tag.delivery) {
                        self.ready_bytes += taken.message.body.len();
                        self.ready.push_front(taken);
                    }
                }
                answer(
                    committing.done,
                    &Err(ConsumeError::Unavailable(error.to_string())),
                );
                self.again = Some(Instant::now() + AGAIN);
            }
        }
    }

    fn loaded(&mut self, result: Result<HashMap<i32, Partition>, KafkaError>) {
        self.loading = None;
        match result {
            Ok(loaded) => {
                self.unknown.retain(|number| !loaded.contains_key(number));
                self.partitions.extend(loaded);
            }
            Err(error) => {
                tracing::warn!(queue = self.options.queue, %error, "it is not known what is committed");
                self.again = Some(Instant::now() + AGAIN);
            }
        }
    }

    fn pause(&mut self, member: &Member) {
        self.paused = true;
        member.pause(true);
    }

    async fn end(mut self, member: Member, over: Option<KafkaError>) {
        if let Some(committing) = self.committing.take() {
            let result = flat(committing.task.await);
            let result = result.map_err(|error| ConsumeError::Unavailable(error.to_string()));
            answer(committing.done, &result);
        }
        member.leave().await;
        // From here on commands find nobody, and those that wait are told so.
        drop(self.commands);
        drop(self.waiting);
        if let Some(error) = over {
            tracing::warn!(queue = self.options.queue, %error, "the membership is over");
            let lost = ConsumeError::Unavailable(error.to_string());
            // The caller may be gone.
            let _ = self.deliver.send(Err(lost)).await;
        }
    }
}

fn answer(waiting: Vec<Done>, result: &Result<(), ConsumeError>) {
    for done in waiting {
        // Who no longer waits need not know.
        let _ = done.send(result.clone());
    }
}

fn flat<T>(joined: Result<Result<T, KafkaError>, tokio::task::JoinError>) -> Result<T, KafkaError> {
    joined.unwrap_or(Err(KafkaError::Canceled))
}

/// The result of a task; never, when there is none.
async fn ended<T>(task: Option<&mut JoinHandle<Result<T, KafkaError>>>) -> Result<T, KafkaError> {
    match task {
        Some(task) => flat(task.await),
        None => std::future::pending().await,
    }
}

/// Waits for the time; for ever when there is none.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
