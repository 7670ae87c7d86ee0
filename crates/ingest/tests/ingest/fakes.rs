//! A queue, a table, a ledger and a staging area in memory, which keep what real ones promise and
//! fail, wait or break where a test says so. All write into one journal, so that tests see the order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use simbdp_api::pipeline::Period;
use simbdp_api::wire::rest::{FilePage, FileRecord, FileState, RejectedRow};
use simbdp_api::wire::work::FileWork;
use simbdp_broker::queue::{ConsumeError, Consumer, PublishError, Tag};
use simbdp_broker::{Delivery, Message, Publisher};
use simbdp_coredms::Ledger;
use simbdp_coredms::ledger::{Claim, FileQuery, Outcome, Taken, Totals};
use simbdp_coredms::store::{RowQuery, Rows, StoreError, Table, WriteReport};
use simbdp_ingest::staging_client::{ByteStream, Staging, StagingError};
use simbdp_record::{Row, Value};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// What happened, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    Wrote(usize),
    Confirmed(String),
    Ended(FileState),
    PutTotals,
    Acked(String),
    HandedBack(String),
    Discarded,
}

#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Event>>>);

impl Journal {
    pub fn note(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
    pub fn position(&self, event: &Event) -> usize {
        let events = self.events();
        let found = events.iter().position(|one| one == event);
        found.unwrap_or_else(|| panic!("{event:?} is not in {events:?}"))
    }
}

/// One queue with its dead-letter queue. Returned messages come again first, as in a quorum queue.
#[derive(Clone, Default)]
pub struct Queue {
    state: Arc<Mutex<QueueState>>,
    changed: Arc<Notify>,
    pub journal: Journal,
}

#[derive(Default)]
struct QueueState {
    ready: VecDeque<(Message, u32)>,
    unacked: BTreeMap<(u64, u64), (Message, u32)>,
    epoch: u64,
    delivered: u64,
    lost: bool,
    prefetches: Vec<u16>,
    dead: Vec<Message>,
    refuse_dead: VecDeque<PublishError>,
}

impl Queue {
    pub fn new(journal: Journal) -> Self {
        Self {
            journal,
            ..Self::default()
        }
    }
    pub fn put(&self, message: Message, returns: u32) {
        self.state
            .lock()
            .unwrap()
            .ready
            .push_back((message, returns));
        self.changed.notify_waiters();
    }
    pub fn depth(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.ready.len() + state.unacked.len()
    }
    pub fn unacked(&self) -> usize {
        self.state.lock().unwrap().unacked.len()
    }
    pub fn most_returns(&self) -> u32 {
        let state = self.state.lock().unwrap();
        state
            .ready
            .iter()
            .map(|(_, returns)| *returns)
            .max()
            .unwrap_or(0)
    }
    pub fn dead(&self) -> Vec<Message> {
        self.state.lock().unwrap().dead.clone()
    }
    pub fn prefetches(&self) -> Vec<u16> {
        self.state.lock().unwrap().prefetches.clone()
    }
    pub fn refuse_dead_letters(&self, errors: impl IntoIterator<Item = PublishError>) {
        self.state.lock().unwrap().refuse_dead.extend(errors);
    }
    pub fn confirm_dead_letters(&self) {
        self.state.lock().unwrap().refuse_dead.clear();
    }
    pub fn consumer(&self, prefetch: u16) -> Box<dyn Consumer> {
        self.state.lock().unwrap().epoch += 1;
        Box::new(FakeConsumer {
            queue: self.clone(),
            prefetch: usize::from(prefetch),
            stopped: false,
        })
    }
    /// The connection breaks: what is unacknowledged comes again, its tags are void.
    pub fn lose_connection(&self) {
        let mut state = self.state.lock().unwrap();
        state.requeue_all();
        state.epoch += 1;
        state.lost = true;
        drop(state);
        self.changed.notify_waiters();
    }
    /// Waits until nothing is left, acknowledged all.
    pub async fn drained(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.depth() == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl QueueState {
    fn requeue(&mut self, key: (u64, u64)) -> Option<String> {
        let (message, returns) = self.unacked.remove(&key)?;
        let id = message.id.clone();
        self.ready.push_front((message, returns + 1));
        Some(id)
    }
    fn requeue_all(&mut self) {
        let keys: Vec<_> = self.unacked.keys().rev().copied().collect();
        for key in keys {
            self.requeue(key);
        }
    }
}

struct FakeConsumer {
    queue: Queue,
    prefetch: usize,
    stopped: bool,
}

impl Drop for FakeConsumer {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock().unwrap();
        state.requeue_all();
        state.epoch += 1;
    }
}

impl FakeConsumer {
    fn try_next(&self) -> Option<Result<Delivery, ConsumeError>> {
        let mut state = self.queue.state.lock().unwrap();
        if std::mem::take(&mut state.lost) || self.stopped {
            return Some(Err(ConsumeError::Unavailable("connection lost".into())));
        }
        if state.unacked.len() >= self.prefetch {
            return None;
        }
        let (message, returns) = state.ready.pop_front()?;
        state.delivered += 1;
        let tag = Tag {
            epoch: state.epoch,
            delivery: state.delivered,
        };
        state
            .unacked
            .insert((tag.epoch, tag.delivery), (message.clone(), returns));
        Some(Ok(Delivery {
            message,
            tag,
            returns,
        }))
    }
}

#[async_trait]
impl Consumer for FakeConsumer {
    async fn next(&mut self) -> Result<Delivery, ConsumeError> {
        let changed = self.queue.changed.clone();
        loop {
            let notified = changed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Some(next) = self.try_next() {
                return next;
            }
            notified.await;
        }
    }
    async fn ack(&mut self, tags: &[Tag]) -> Result<(), ConsumeError> {
        let mut state = self.queue.state.lock().unwrap();
        for tag in tags {
            if let Some((message, _)) = state.unacked.remove(&(tag.epoch, tag.delivery)) {
                self.queue.journal.note(Event::Acked(message.id));
            }
        }
        drop(state);
        self.queue.changed.notify_waiters();
        Ok(())
    }
    async fn hand_back(&mut self, tags: &[Tag]) -> Result<(), ConsumeError> {
        let mut tags = tags.to_vec();
        tags.sort_by_key(|tag| std::cmp::Reverse(tag.delivery));
        let mut state = self.queue.state.lock().unwrap();
        for tag in tags {
            if let Some(id) = state.requeue((tag.epoch, tag.delivery)) {
                self.queue.journal.note(Event::HandedBack(id));
            }
        }
        drop(state);
        self.queue.changed.notify_waiters();
        Ok(())
    }
    async fn set_prefetch(&mut self, prefetch: u16) -> Result<(), ConsumeError> {
        let mut state = self.queue.state.lock().unwrap();
        assert!(
            state.unacked.is_empty(),
            "held deliveries are handed back first"
        );
        state.prefetches.push(prefetch);
        self.prefetch = usize::from(prefetch);
        Ok(())
    }
    async fn stop(&mut self) -> Result<(), ConsumeError> {
        self.stopped = true;
        Ok(())
    }
}

#[async_trait]
impl Publisher for Queue {
    async fn publish(&self, queue: &str, messages: Vec<Message>) -> Vec<Result<(), PublishError>> {
        assert_eq!(queue, "ingest.p.dead");
        let mut state = self.state.lock().unwrap();
        messages
            .into_iter()
            .map(|message| match state.refuse_dead.pop_front() {
                Some(error) => Err(error),
                None => {
                    self.journal.note(Event::Confirmed(message.id.clone()));
                    state.dead.push(message);
                    Ok(())
                }
            })
            .collect()
    }
    async fn ready(&self) -> bool {
        true
    }
}

type Judge = dyn Fn(Vec<Row>) -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync;

/// Keeps the row with the highest version of each key, the first value of the row.
pub struct FakeTable {
    rows: Mutex<HashMap<String, Row>>,
    judge: Box<Judge>,
    writing: AtomicUsize,
    pub most_writing: AtomicUsize,
    pub attempts: AtomicUsize,
    journal: Journal,
}

impl FakeTable {
    pub fn new(journal: Journal) -> Arc<Self> {
        Self::judging(journal, |_| Box::pin(async { Ok(()) }))
    }
    /// A table that asks `judge` before each write.
    pub fn judging(
        journal: Journal,
        judge: impl Fn(Vec<Row>) -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            rows: Mutex::default(),
            judge: Box::new(judge),
            writing: AtomicUsize::new(0),
            most_writing: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
            journal,
        })
    }
    /// A table that fails `failures` times with `error`, then works.
    pub fn failing(journal: Journal, failures: usize, error: StoreError) -> Arc<Self> {
        let left = AtomicUsize::new(failures);
        Self::judging(journal, move |_| {
            let fails = left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                .is_ok();
            let error = error.clone();
            Box::pin(async move { if fails { Err(error) } else { Ok(()) } })
        })
    }
    pub fn len(&self) -> usize {
        self.rows.lock().unwrap().len()
    }
    pub fn row(&self, key: &str) -> Option<Row> {
        self.rows.lock().unwrap().get(key).cloned()
    }
}

/// Writes wait at it until it is opened; tests wait until writes have come.
#[derive(Clone)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
    came: Arc<watch::Sender<usize>>,
}

impl Gate {
    pub fn closed() -> Self {
        Self {
            open: Arc::new(watch::Sender::new(false)),
            came: Arc::new(watch::Sender::new(0)),
        }
    }
    pub fn open(&self) {
        self.open.send_replace(true);
    }
    /// Waits until `writes` have come, counted from the beginning.
    pub async fn came(&self, writes: usize) {
        self.came
            .subscribe()
            .wait_for(|came| *came >= writes)
            .await
            .unwrap();
    }
    pub fn table(&self, journal: Journal) -> Arc<FakeTable> {
        let gate = self.clone();
        FakeTable::judging(journal, move |_| {
            let gate = gate.clone();
            Box::pin(async move {
                gate.came.send_modify(|came| *came += 1);
                gate.open.subscribe().wait_for(|open| *open).await.unwrap();
                Ok(())
            })
        })
    }
}

pub fn key(row: &Row) -> String {
    match &row.values[0] {
        Some(Value::Int(id)) => id.to_string(),
        other => format!("{other:?}"),
    }
}

pub fn has_key(rows: &[Row], id: &str) -> bool {
    rows.iter().any(|row| key(row) == id)
}

#[async_trait]
impl Table for FakeTable {
    async fn write(&self, rows: Vec<Row>) -> Result<WriteReport, StoreError> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        let now = self.writing.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_writing.fetch_max(now, Ordering::SeqCst);
        let verdict = (self.judge)(rows.clone()).await;
        self.writing.fetch_sub(1, Ordering::SeqCst);
        verdict?;
        let count = rows.len();
        let mut kept = self.rows.lock().unwrap();
        for row in rows {
            let newer = kept
                .get(&key(&row))
                .is_none_or(|old| old.version <= row.version);
            if newer {
                kept.insert(key(&row), row);
            }
        }
        self.journal.note(Event::Wrote(count));
        Ok(WriteReport {
            rows: count as u64,
            batches: 1,
        })
    }
    async fn read(&self, _: &RowQuery) -> Result<Rows, StoreError> {
        Err(StoreError::BadQuery("the fake is not read".into()))
    }
}

/// A ledger of files, attempts and totals.
#[derive(Default)]
pub struct FakeLedger {
    pub files: Mutex<HashMap<Uuid, (FileState, Option<Outcome>)>>,
    pub attempts: Mutex<HashMap<String, u32>>,
    pub totals: Mutex<HashMap<String, Totals>>,
    pub failures: AtomicUsize,
    /// `ended` waits here for ever while set: the app is killed between write and ledger.
    pub hang_ended: std::sync::atomic::AtomicBool,
    pub reached_ended: Notify,
    pub journal: Journal,
}

impl FakeLedger {
    pub fn new(journal: Journal) -> Arc<Self> {
        Arc::new(Self {
            journal,
            ..Self::default()
        })
    }
    pub fn outcome(&self, id: Uuid) -> Outcome {
        let files = self.files.lock().unwrap();
        files
            .get(&id)
            .and_then(|(_, outcome)| outcome.clone())
            .expect("the file has ended")
    }
    pub fn state(&self, id: Uuid) -> Option<FileState> {
        self.files.lock().unwrap().get(&id).map(|(state, _)| *state)
    }
    pub fn sum(&self) -> Totals {
        let totals = self.totals.lock().unwrap();
        totals.values().fold(Totals::default(), |sum, one| Totals {
            rows: sum.rows + one.rows,
            rejected: sum.rejected + one.rejected,
        })
    }
    fn fails(&self) -> Result<(), StoreError> {
        let failing = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if failing.is_ok() {
            Err(StoreError::Transient("no quorum".into()))
        } else {
            Ok(())
        }
    }
}

fn unused<T>() -> Result<T, StoreError> {
    Err(StoreError::BadQuery("ingest does not ask this".into()))
}

#[async_trait]
impl Ledger for FakeLedger {
    async fn claim(&self, _: &FileWork) -> Result<Claim, StoreError> {
        unused()
    }
    async fn release(&self, _: &FileWork) -> Result<(), StoreError> {
        unused()
    }
    async fn staged(&self, _: &FileWork) -> Result<(), StoreError> {
        unused()
    }
    async fn queued(&self, _: Uuid) -> Result<(), StoreError> {
        unused()
    }
    async fn take(&self, work: &FileWork, _: &str) -> Result<Taken, StoreError> {
        self.fails()?;
        let mut files = self.files.lock().unwrap();
        let entry = files.entry(work.id).or_insert((FileState::Queued, None));
        match entry.0 {
            FileState::Staged | FileState::Queued | FileState::Ingesting => {
                entry.0 = FileState::Ingesting;
                Ok(Taken::Ingest)
            }
            ended => Ok(Taken::Ended(ended)),
        }
    }
    async fn ended(&self, id: Uuid, outcome: &Outcome) -> Result<bool, StoreError> {
        self.reached_ended.notify_one();
        if self.hang_ended.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.fails()?;
        let mut files = self.files.lock().unwrap();
        let entry = files.entry(id).or_insert((FileState::Ingesting, None));
        if entry.1.is_some() {
            return Ok(false);
        }
        *entry = (outcome.state, Some(outcome.clone()));
        self.journal.note(Event::Ended(outcome.state));
        Ok(true)
    }
    async fn file(&self, _: Uuid) -> Result<Option<FileRecord>, StoreError> {
        unused()
    }
    async fn files(&self, _: &FileQuery) -> Result<FilePage, StoreError> {
        unused()
    }
    async fn count_file(&self, _: &str, _: Period, _: i64, _: u32) -> Result<bool, StoreError> {
        unused()
    }
    async fn uncount_file(&self, _: &str, _: Period, _: i64) -> Result<(), StoreError> {
        unused()
    }
    async fn put_totals(&self, _: &str, instance: &str, totals: Totals) -> Result<(), StoreError> {
        self.totals
            .lock()
            .unwrap()
            .insert(instance.to_owned(), totals);
        self.journal.note(Event::PutTotals);
        Ok(())
    }
    async fn totals(&self, _: &str) -> Result<Totals, StoreError> {
        Ok(self.sum())
    }
    async fn attempt(&self, _: &str, id: &str) -> Result<u32, StoreError> {
        self.fails()?;
        let mut attempts = self.attempts.lock().unwrap();
        let attempt = attempts.entry(id.to_owned()).or_default();
        *attempt += 1;
        Ok(*attempt)
    }
    async fn forget_attempts(&self, _: &str, id: &str) -> Result<(), StoreError> {
        self.attempts.lock().unwrap().remove(id);
        Ok(())
    }
}

/// How the next transfer of a content goes wrong.
#[derive(Clone, Debug)]
pub enum Mishap {
    Refused(StagingError),
    BreaksAt(usize),
    Flipped,
}

/// Staged contents in memory.
#[derive(Default)]
pub struct FakeStaging {
    content: Bytes,
    pub mishaps: Mutex<VecDeque<Mishap>>,
    pub sent: Arc<AtomicU64>,
    pub rejects: Mutex<Option<Vec<u8>>>,
    pub reject_puts: AtomicUsize,
    pub reject_failures: AtomicUsize,
    journal: Journal,
}

const CHUNK: usize = 4 * 1024;

impl FakeStaging {
    pub fn new(journal: Journal, content: impl Into<Bytes>) -> Arc<Self> {
        Arc::new(Self {
            content: content.into(),
            journal,
            ..Self::default()
        })
    }
    pub fn mishaps(self: &Arc<Self>, mishaps: impl IntoIterator<Item = Mishap>) -> Arc<Self> {
        self.mishaps.lock().unwrap().extend(mishaps);
        Arc::clone(self)
    }
    pub fn rejected(&self) -> Vec<RejectedRow> {
        let rejects = self.rejects.lock().unwrap();
        let text = String::from_utf8(rejects.clone().unwrap_or_default()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[async_trait]
impl Staging for FakeStaging {
    async fn content(&self, _: &FileWork) -> Result<ByteStream, StagingError> {
        let mishap = self.mishaps.lock().unwrap().pop_front();
        let mut content = self.content.to_vec();
        let mut breaks = None;
        match mishap {
            Some(Mishap::Refused(error)) => return Err(error),
            Some(Mishap::BreaksAt(at)) => {
                content.truncate(at);
                breaks = Some(Err(io::Error::other("connection reset")));
            }
            Some(Mishap::Flipped) => content[0] ^= 1,
            None => {}
        }
        let sent = self.sent.clone();
        let chunks: Vec<io::Result<Bytes>> = content
            .chunks(CHUNK)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .chain(breaks)
            .collect();
        let counted = stream::iter(chunks).inspect_ok(move |chunk| {
            sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        });
        Ok(counted.boxed())
    }
    async fn put_rejects(&self, _: &FileWork, mut rows: ByteStream) -> Result<(), StagingError> {
        self.reject_puts.fetch_add(1, Ordering::SeqCst);
        let failing = self
            .reject_failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if failing.is_ok() {
            return Err(StagingError::Transient("503".into()));
        }
        let mut all = Vec::new();
        while let Some(chunk) = rows.next().await {
            let chunk = chunk.map_err(|error| StagingError::Transient(error.to_string()))?;
            all.extend_from_slice(&chunk);
        }
        *self.rejects.lock().unwrap() = Some(all);
        Ok(())
    }
    async fn discard(&self, _: &FileWork) -> Result<(), StagingError> {
        self.journal.note(Event::Discarded);
        Ok(())
    }
}
