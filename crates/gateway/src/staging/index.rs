//! What this replica knows of the files on its staging volume. Pure: no file is touched here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use simbdp_api::wire::rest::FileState;
use simbdp_api::wire::work::FileWork;
use uuid::Uuid;

/// A staged file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is to be ingested.
    pub work: Arc<FileWork>,
    /// Whether the queue confirmed it.
    pub published: bool,
    /// Whether it is counted where a number of files is declared, as far as this life knows.
    pub counted: bool,
    /// Whether the ledger has it.
    pub entered: bool,
    /// Whether the ledger knows that it is queued.
    pub noted: bool,
    /// The state in which it ended, as the ledger last said.
    pub ended: Option<FileState>,
    /// Whether the request that received it is still at work with it: the sweeper leaves it alone.
    pub held: bool,
    /// When the sweeper looks at it next.
    pub due: Instant,
    /// Since when its pipeline is gone.
    pub homeless: Option<Instant>,
}

impl Entry {
    /// A file that a request has just staged.
    pub fn held(work: Arc<FileWork>) -> Self {
        Self {
            work,
            published: false,
            counted: false,
            entered: false,
            noted: false,
            ended: None,
            held: true,
            due: Instant::now(),
            homeless: None,
        }
    }

    /// A file that an earlier life left.
    pub fn found(work: FileWork, published: bool) -> Self {
        Self {
            published,
            held: false,
            ..Self::held(Arc::new(work))
        }
    }
}

/// Every file on the volume. Ids are UUIDs of version 7, so their order is that of acceptance.
#[derive(Default)]
pub struct Index {
    entries: BTreeMap<Uuid, Entry>,
    undone: HashMap<Uuid, Arc<FileWork>>,
    /// Files that are being received.
    pub(super) receiving: u64,
}

impl Index {
    /// Files that have not ended.
    pub fn open(&self) -> u64 {
        self.entries
            .values()
            .filter(|entry| entry.ended.is_none())
            .count() as u64
    }

    /// Files that are being received.
    pub fn receiving(&self) -> u64 {
        self.receiving
    }

    /// Files of a pipeline that the queue has not confirmed yet.
    pub fn unpublished(&self, pipeline: &str) -> u64 {
        self.entries
            .values()
            .filter(|entry| !entry.published && entry.ended.is_none())
            .filter(|entry| entry.work.pipeline == pipeline)
            .count() as u64
    }

    /// One file.
    pub fn get(&self, id: Uuid) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Changes what is known of a file, if it is there.
    pub fn update(&mut self, id: Uuid, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(&id) {
            change(entry);
        }
    }

    /// The oldest file that has ended: it is kept only for a replay.
    pub fn oldest_ended(&self) -> Option<Uuid> {
        self.entries
            .values()
            .find(|entry| entry.ended.is_some())
            .map(|entry| entry.work.id)
    }

    /// A file of the very same pipeline with the same bytes, that has not failed.
    pub fn twin(&self, work: &FileWork) -> Option<Uuid> {
        self.entries
            .values()
            .filter(|entry| entry.ended != Some(FileState::Failed))
            .map(|entry| &entry.work)
            .find(|other| {
                other.id != work.id
                    && other.content_key() == work.content_key()
                    && other.pipeline == work.pipeline
                    && other.pipeline_uid == work.pipeline_uid
            })
            .map(|other| other.id)
    }

    /// Files that the sweeper should look at now, at most `limit`: those that were not looked at
    /// for longest. Each becomes due again after `pause`.
    pub fn due(&mut self, now: Instant, pause: Duration, limit: usize) -> Vec<Entry> {
        let mut due: Vec<_> = self
            .entries
            .values_mut()
            .filter(|entry| !entry.held && entry.due <= now)
            .collect();
        due.sort_by_key(|entry| entry.due);
        due.into_iter()
            .take(limit)
            .map(|entry| {
                entry.due = now + pause;
                entry.clone()
            })
            .collect()
    }

    /// Files that were taken back and whose claims are still to be released, at most `limit`.
    pub fn undone(&self, limit: usize) -> Vec<Arc<FileWork>> {
        self.undone.values().take(limit).cloned().collect()
    }

    /// A file that has ended is to be ingested once more, by this work.
    pub(super) fn reopen(&mut self, work: Arc<FileWork>) {
        self.update(work.id, |entry| {
            *entry = Entry {
                entered: true,
                ..Entry::held(Arc::clone(&work))
            };
        });
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        self.entries.insert(entry.work.id, entry);
    }

    pub(super) fn insert_undone(&mut self, work: Arc<FileWork>) {
        self.undone.insert(work.id, work);
    }

    pub(super) fn remove(&mut self, id: Uuid) {
        self.entries.remove(&id);
    }

    pub(super) fn take_back(&mut self, id: Uuid) {
        if let Some(entry) = self.entries.remove(&id) {
            self.insert_undone(entry.work);
        }
    }

    pub(super) fn released(&mut self, id: Uuid) {
        self.undone.remove(&id);
    }
}
