//! The servers behind the gateway, in memory, with the promises of the real ones.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use chrono::Utc;
use futures::future::BoxFuture;
use simbdp_api::pipeline::{Period, TableSpec};
use simbdp_api::wire::rest::{FilePage, FileRecord, FileState};
use simbdp_api::wire::work::FileWork;
use simbdp_broker::Publisher;
use simbdp_broker::queue::{Message, PublishError};
use simbdp_coredms::ledger::{Claim, FileQuery, Ledger, Outcome, Taken, Totals};
use simbdp_coredms::store::{Page, RowQuery, Store, StoreError, Table, WriteReport};
use simbdp_record::Rows;
use uuid::Uuid;

#[derive(Default)]
pub struct FakePublisher {
    pub queues: Mutex<BTreeMap<String, Vec<Message>>>,
    /// What publishing fails with, and after how many messages.
    pub failing: Mutex<Option<(usize, PublishError)>>,
    /// Whether what fails is in the queue nevertheless: the confirm was lost.
    pub lost_confirm: AtomicBool,
}

impl FakePublisher {
    pub fn fail(&self, error: PublishError) {
        *self.failing.lock().unwrap() = Some((0, error));
    }

    pub fn fail_after(&self, messages: usize, error: PublishError) {
        *self.failing.lock().unwrap() = Some((messages, error));
    }

    pub fn heal(&self) {
        *self.failing.lock().unwrap() = None;
    }

    pub fn queue(&self, name: &str) -> Vec<Message> {
        self.queues
            .lock()
            .unwrap()
            .get(name)
            .cloned()
            .unwrap_or_default()
    }

    /// The files in a queue.
    pub fn works(&self, name: &str) -> Vec<FileWork> {
        let works = self.queue(name).into_iter();
        works
            .map(|message| serde_json::from_slice(&message.body).unwrap())
            .collect()
    }
}

impl Publisher for FakePublisher {
    fn publish<'a>(
        &'a self,
        queue: &'a str,
        messages: Vec<Message>,
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let failing = self.failing.lock().unwrap().clone();
            let mut queues = self.queues.lock().unwrap();
            let queue = queues.entry(queue.to_owned()).or_default();
            let publish = |(index, message)| match &failing {
                Some((after, error)) if index >= *after => {
                    if self.lost_confirm.load(Ordering::SeqCst) {
                        queue.push(message);
                    }
                    Err(error.clone())
                }
                _ => {
                    queue.push(message);
                    Ok(())
                }
            };
            messages.into_iter().enumerate().map(publish).collect()
        })
    }

    fn depth<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64, PublishError>> {
        Box::pin(async move { Ok(self.queue(queue).len() as u64) })
    }

    fn ready(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move { self.failing.lock().unwrap().is_none() })
    }
}

#[derive(Default)]
struct Book {
    claims: HashMap<(String, String), Uuid>,
    files: BTreeMap<Uuid, FileRecord>,
    counts: HashMap<(String, i64), u32>,
}

/// A ledger that is exact under concurrency, as compare-and-set makes the real one.
#[derive(Default)]
pub struct FakeLedger {
    book: Mutex<Book>,
    pub down: AtomicBool,
    pub counting_down: AtomicBool,
    /// Messages whose attempts were forgotten.
    pub forgotten: Mutex<Vec<String>>,
    /// What happens between the next claim and whatever follows it.
    pub after_claim: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl FakeLedger {
    async fn open(&self) -> Result<std::sync::MutexGuard<'_, Book>, StoreError> {
        tokio::task::yield_now().await;
        match self.down.load(Ordering::SeqCst) {
            true => Err(StoreError::Transient("no quorum".into())),
            false => Ok(self.book.lock().unwrap()),
        }
    }

    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub fn record(&self, id: Uuid) -> Option<FileRecord> {
        self.book.lock().unwrap().files.get(&id).cloned()
    }

    pub fn end(&self, id: Uuid, state: FileState, at: chrono::DateTime<Utc>) {
        self.end_with(id, state, at, 2);
    }

    /// The same with a number of quarantined rows.
    pub fn end_with(&self, id: Uuid, state: FileState, at: chrono::DateTime<Utc>, rejected: u64) {
        let mut book = self.book.lock().unwrap();
        let record = book.files.get_mut(&id).unwrap();
        record.state = state;
        record.updated_at = at;
        record.rejected = Some(rejected);
        record.rejects = (rejected > 0).then(|| format!("/v1/files/{id}/rejects"));
    }

    pub fn claims(&self) -> Vec<Uuid> {
        self.book.lock().unwrap().claims.values().copied().collect()
    }

    /// What another replica would have done.
    pub fn claim_for(&self, pipeline: &str, sha256: &str, id: Uuid) {
        let key = (pipeline.to_owned(), sha256.to_owned());
        self.book.lock().unwrap().claims.insert(key, id);
    }

    pub fn count(&self, scope: &str) -> u32 {
        let book = self.book.lock().unwrap();
        book.counts
            .iter()
            .filter(|((s, _), _)| s == scope)
            .map(|(_, count)| count)
            .sum()
    }
}

fn ended(state: FileState) -> bool {
    matches!(
        state,
        FileState::Done | FileState::Failed | FileState::Duplicate
    )
}

fn period(per: Period, at_millis: i64) -> i64 {
    at_millis
        / match per {
            Period::Hour => 3_600_000,
            Period::Day => 86_400_000,
        }
}

impl Ledger for FakeLedger {
    fn claim<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<Claim, StoreError>> {
        Box::pin(async move {
            let mut book = self.open().await?;
            let key = (work.pipeline.clone(), work.content_key());
            let holder = book.claims.get(&key).copied();
            let failed = |id: &Uuid| {
                book.files
                    .get(id)
                    .is_some_and(|file| file.state == FileState::Failed)
            };
            match holder {
                Some(id) if id != work.id && !work.force && !failed(&id) => Ok(Claim::TakenBy(id)),
                _ => {
                    book.claims.insert(key, work.id);
                    if let Some(then) = self.after_claim.lock().unwrap().take() {
                        then();
                    }
                    Ok(Claim::Granted)
                }
            }
        })
    }

    fn release<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.open().await?.claims.retain(|_, id| *id != work.id);
            Ok(())
        })
    }

    fn staged<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut book = self.open().await?;
            book.files.entry(work.id).or_insert_with(|| FileRecord {
                id: work.id,
                pipeline: work.pipeline.clone(),
                name: work.name.clone(),
                state: FileState::Staged,
                format: work.format,
                compression: work.compression,
                bytes: work.size,
                sha256: work.sha256.clone(),
                user: work.user.clone(),
                accepted_at: Utc::now(),
                updated_at: Utc::now(),
                accepted: None,
                rejected: None,
                seconds: None,
                rejects: None,
                error: None,
                duplicate_of: None,
                replays: None,
                mends: work.mends,
                held_until: None,
            });
            Ok(())
        })
    }

    fn queued(&self, id: Uuid) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut book = self.open().await?;
            if let Some(file) = book.files.get_mut(&id)
                && file.state == FileState::Staged
            {
                file.state = FileState::Queued;
            }
            Ok(())
        })
    }

    fn take<'a>(
        &'a self,
        work: &'a FileWork,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Taken, StoreError>> {
        Box::pin(async move {
            self.staged(work).await?;
            let taken_by = match self.claim(work).await? {
                Claim::TakenBy(first) => Some(first),
                Claim::Granted => None,
            };
            let mut book = self.open().await?;
            let file = book.files.entry(work.id);
            let Entry::Occupied(mut file) = file else {
                return Err(StoreError::Transient("no such file".into()));
            };
            let file = file.get_mut();
            if ended(file.state) {
                return Ok(Taken::Ended(file.state));
            }
            file.duplicate_of = taken_by;
            file.state = match taken_by {
                Some(_) => FileState::Duplicate,
                None => FileState::Ingesting,
            };
            Ok(match taken_by {
                Some(_) => Taken::Ended(file.state),
                None => Taken::Ingest,
            })
        })
    }

    fn ended<'a>(
        &'a self,
        id: Uuid,
        outcome: &'a Outcome,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut book = self.open().await?;
            let Some(file) = book.files.get_mut(&id).filter(|file| !ended(file.state)) else {
                return Ok(false);
            };
            file.state = outcome.state;
            file.error.clone_from(&outcome.error);
            file.accepted = Some(outcome.accepted);
            file.rejected = Some(outcome.rejected);
            file.updated_at = Utc::now();
            Ok(true)
        })
    }

    fn replay<'a>(
        &'a self,
        work: &'a FileWork,
        from: FileState,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut book = self.open().await?;
            let file = book.files.get_mut(&work.id);
            let Some(file) = file.filter(|file| file.state == from) else {
                return Ok(false);
            };
            file.state = FileState::Staged;
            file.replays = work.replay.map(|replay| replay.number);
            file.error = None;
            Ok(true)
        })
    }

    fn file(&self, id: Uuid) -> BoxFuture<'_, Result<Option<FileRecord>, StoreError>> {
        Box::pin(async move { Ok(self.open().await?.files.get(&id).cloned()) })
    }

    fn files<'a>(&'a self, query: &'a FileQuery) -> BoxFuture<'a, Result<FilePage, StoreError>> {
        Box::pin(async move {
            let book = self.open().await?;
            let skip: usize = match query.page.as_deref() {
                Some(page) => page
                    .parse()
                    .map_err(|_| StoreError::BadQuery("no such page".into()))?,
                None => 0,
            };
            let matching: Vec<_> = book
                .files
                .values()
                .rev()
                .filter(|file| {
                    query
                        .pipeline
                        .as_ref()
                        .is_none_or(|pipeline| *pipeline == file.pipeline)
                })
                .filter(|file| query.state.is_none_or(|state| state == file.state))
                .cloned()
                .collect();
            let end = skip + query.limit as usize;
            Ok(FilePage {
                next_page: (end < matching.len()).then(|| end.to_string()),
                files: matching
                    .into_iter()
                    .skip(skip)
                    .take(query.limit as usize)
                    .collect(),
            })
        })
    }

    fn count_file<'a>(
        &'a self,
        scope: &'a str,
        per: Period,
        at_millis: i64,
        limit: u32,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut book = self.open().await?;
            if self.counting_down.load(Ordering::SeqCst) {
                return Err(StoreError::Transient("no quorum".into()));
            }
            let count = book
                .counts
                .entry((scope.to_owned(), period(per, at_millis)))
                .or_default();
            if *count >= limit {
                return Ok(false);
            }
            *count += 1;
            Ok(true)
        })
    }

    fn uncount_file<'a>(
        &'a self,
        scope: &'a str,
        per: Period,
        at_millis: i64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut book = self.open().await?;
            if let Some(count) = book
                .counts
                .get_mut(&(scope.to_owned(), period(per, at_millis)))
            {
                *count = count.saturating_sub(1);
            }
            Ok(())
        })
    }

    fn put_totals<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Totals,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { Ok(()) })
    }

    fn totals<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Totals, StoreError>> {
        Box::pin(async move {
            drop(self.open().await?);
            Ok(Totals {
                rows: 7,
                rejected: 2,
            })
        })
    }

    fn attempt<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<u32, StoreError>> {
        Box::pin(async move { Ok(1) })
    }

    fn forget_attempts<'a>(
        &'a self,
        _: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            drop(self.open().await?);
            self.forgotten.lock().unwrap().push(id.to_owned());
            Ok(())
        })
    }
}

/// A store that answers every read with the same rows and notes what it was asked.
#[derive(Default)]
pub struct FakeStore {
    pub rows: Mutex<Page>,
    pub asked: Arc<Mutex<Vec<RowQuery>>>,
    pub prepared: Mutex<Vec<String>>,
    pub down: AtomicBool,
}

struct FakeTable {
    rows: Page,
    asked: Arc<Mutex<Vec<RowQuery>>>,
}

impl Store for FakeStore {
    fn table<'a>(
        &'a self,
        keyspace: &'a str,
        table: &'a TableSpec,
    ) -> BoxFuture<'a, Result<Arc<dyn Table>, StoreError>> {
        Box::pin(async move {
            if self.down.load(Ordering::SeqCst) {
                return Err(StoreError::Transient("no quorum".into()));
            }
            self.prepared
                .lock()
                .unwrap()
                .push(format!("{keyspace}.{}", table.name));
            Ok(Arc::new(FakeTable {
                rows: self.rows.lock().unwrap().clone(),
                asked: Arc::clone(&self.asked),
            }) as Arc<dyn Table>)
        })
    }

    fn ready(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move { !self.down.load(Ordering::SeqCst) })
    }
}

impl Table for FakeTable {
    fn write<'a>(&'a self, _: &'a Rows) -> BoxFuture<'a, Result<WriteReport, StoreError>> {
        Box::pin(async move { Err(StoreError::Permanent("the gateway does not write".into())) })
    }

    fn read<'a>(&'a self, query: &'a RowQuery) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(query.clone());
            Ok(self.rows.clone())
        })
    }
}
