//! A ledger that fails, or never answers, when told to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
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

impl Ledger for FakeLedger {
    fn claim<'a>(&'a self, _: &'a FileWork) -> BoxFuture<'a, Result<Claim, StoreError>> {
        Box::pin(async move { unused() })
    }
    fn release<'a>(&'a self, _: &'a FileWork) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { unused() })
    }
    fn staged<'a>(&'a self, _: &'a FileWork) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { unused() })
    }
    fn queued(&self, _: Uuid) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { unused() })
    }
    fn take<'a>(
        &'a self,
        work: &'a FileWork,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Taken, StoreError>> {
        Box::pin(async move {
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
        })
    }
    fn ended<'a>(
        &'a self,
        id: Uuid,
        outcome: &'a Outcome,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
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
        })
    }
    fn replay<'a>(
        &'a self,
        _: &'a FileWork,
        _: FileState,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { unused() })
    }
    fn file(&self, _: Uuid) -> BoxFuture<'_, Result<Option<FileRecord>, StoreError>> {
        Box::pin(async move { unused() })
    }
    fn files<'a>(&'a self, _: &'a FileQuery) -> BoxFuture<'a, Result<FilePage, StoreError>> {
        Box::pin(async move { unused() })
    }
    fn count_file<'a>(
        &'a self,
        _: &'a str,
        _: Period,
        _: i64,
        _: u32,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { unused() })
    }
    fn uncount_file<'a>(
        &'a self,
        _: &'a str,
        _: Period,
        _: i64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { unused() })
    }
    fn put_totals<'a>(
        &'a self,
        _: &'a str,
        instance: &'a str,
        totals: Totals,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.totals
                .lock()
                .unwrap()
                .insert(instance.to_owned(), totals);
            self.journal.note(Event::PutTotals);
            Ok(())
        })
    }
    fn totals<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Totals, StoreError>> {
        Box::pin(async move { Ok(self.sum()) })
    }
    fn attempt<'a>(&'a self, _: &'a str, id: &'a str) -> BoxFuture<'a, Result<u32, StoreError>> {
        Box::pin(async move {
            self.fails()?;
            let mut attempts = self.attempts.lock().unwrap();
            let attempt = attempts.entry(id.to_owned()).or_default();
            *attempt += 1;
            Ok(*attempt)
        })
    }
    fn forget_attempts<'a>(
        &'a self,
        _: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.attempts.lock().unwrap().remove(id);
            Ok(())
        })
    }
}
