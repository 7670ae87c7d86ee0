//! A ledger that fails, or never answers, when told to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use simbdp_api::pipeline::Period;
use simbdp_api::wire::rest::{FilePage, FileRecord, FileState};
use simbdp_api::wire::work::FileWork;
use simbdp_coredms::Ledger;
use simbdp_coredms::ledger::{Claim, FileQuery, Outcome, Taken, Totals};
use simbdp_coredms::store::StoreError;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Event, Journal};

/// A ledger of files, attempts and totals.
#[derive(Default)]
pub struct FakeLedger {
    pub files: Mutex<HashMap<Uuid, (FileState, Option<Outcome>)>>,
    pub attempts: Mutex<HashMap<String, u32>>,
    pub totals: Mutex<HashMap<String, Totals>>,
    pub failures: AtomicUsize,
    /// `ended` waits here for ever while set: the app is killed between write and ledger.
    pub hang_ended: AtomicBool,
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
    async fn replay(&self, _: &FileWork, _: FileState) -> Result<bool, StoreError> {
        unused()
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
