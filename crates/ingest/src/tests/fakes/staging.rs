//! Staged contents whose transfers go wrong when told to.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use simbdp_api::wire::rest::RejectedRow;
use simbdp_api::wire::work::FileWork;

use super::{Event, Journal};
use crate::staging_client::{ByteStream, Staging, StagingError};

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

impl Staging for FakeStaging {
    fn content<'a>(&'a self, _: &'a FileWork) -> BoxFuture<'a, Result<ByteStream, StagingError>> {
        Box::pin(async move {
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
        })
    }
    fn put_rejects<'a>(
        &'a self,
        _: &'a FileWork,
        mut rows: ByteStream,
    ) -> BoxFuture<'a, Result<(), StagingError>> {
        Box::pin(async move {
            self.reject_puts.fetch_add(1, Ordering::SeqCst);
            let failing =
                self.reject_failures
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
        })
    }
    fn rejects<'a>(
        &'a self,
        _: &'a FileWork,
    ) -> BoxFuture<'a, Result<Option<ByteStream>, StagingError>> {
        Box::pin(async move {
            let rejects = self.rejects.lock().unwrap().clone();
            Ok(rejects.map(|rows| stream::iter([Ok(Bytes::from(rows))]).boxed()))
        })
    }
    fn discard<'a>(&'a self, _: &'a FileWork) -> BoxFuture<'a, Result<(), StagingError>> {
        Box::pin(async move {
            self.journal.note(Event::Discarded);
            Ok(())
        })
    }
}
