//! A table that judges each write.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use simbdp_coredms::store::{Page, RowQuery, StoreError, Table, WriteReport};
use simbdp_record::{Row, Rows, Value};
use tokio::sync::watch;

use super::{Event, Journal};

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

impl Table for FakeTable {
    fn write<'a>(&'a self, rows: &'a Rows) -> BoxFuture<'a, Result<WriteReport, StoreError>> {
        Box::pin(async move {
            let rows: Vec<Row> = rows.iter().map(Row::from).collect();
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
        })
    }
    fn read<'a>(&'a self, _: &'a RowQuery) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move { Err(StoreError::BadQuery("the fake is not read".into())) })
    }
}
