//! The staging volume of this replica: received files, their manifests, and reject files.
//!
//! | path | what |
//! |---|---|
//! | `incoming/<id>.part` | bytes that come in; cleared at start |
//! | `staged/<id>.data` | a received file |
//! | `staged/<id>.json` | its manifest, a [`FileWork`]: the file exists when this does |
//! | `staged/<id>.queued` | a hint that the queue confirmed it; losing it costs a harmless repetition |
//! | `staged/<id>.undo` | manifest of a file that was taken back and whose claim is still to be released |
//! | `rejects/<id>.ndjson` | quarantined rows |
//! | `clock` | high-water mark of the hybrid clock |

pub mod durable;
pub mod index;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use simbdp_api::wire::work::FileWork;
use tokio::fs::File;
use uuid::Uuid;

use durable::{blocking, remove, sync_parent};
pub use index::{Entry, Index};

const INCOMING: &str = "incoming";
const STAGED: &str = "staged";
const REJECTS: &str = "rejects";
/// How long the answer whether the volume can be written is good.
const PROBE_AGE: Duration = Duration::from_secs(1);

/// The staging volume, and what is known of the files on it.
pub struct Staging {
    root: PathBuf,
    index: Arc<Mutex<Index>>,
    probe: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

/// Room for one file that is being received; given back when dropped.
pub struct Slot {
    index: Arc<Mutex<Index>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.index).receiving -= 1;
    }
}

fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Staging {
    /// Opens the volume: makes its directories, clears what an earlier life left half received, and
    /// reads the manifests.
    pub fn open(root: &Path) -> io::Result<Self> {
        let incoming = root.join(INCOMING);
        match std::fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for directory in [INCOMING, STAGED, REJECTS] {
            std::fs::create_dir_all(root.join(directory))?;
        }
        std::fs::File::open(root)?.sync_all()?;
        let index = load(&root.join(STAGED))?;
        Ok(Self {
            root: root.to_owned(),
            index: Arc::new(Mutex::new(index)),
            probe: tokio::sync::Mutex::default(),
        })
    }

    /// What is known of the files.
    pub fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    /// Sets room for one more file aside; [`None`] when `limit` files are staged or being received.
    pub fn admit(&self, limit: Option<u64>) -> Option<Slot> {
        let mut index = self.index();
        if limit.is_some_and(|limit| index.open() + index.receiving >= limit) {
            return None;
        }
        index.receiving += 1;
        Some(Slot {
            index: Arc::clone(&self.index),
        })
    }

    /// A new file for bytes that come in.
    pub async fn create_part(&self, id: Uuid) -> io::Result<Part> {
        let path = self.root.join(INCOMING).join(format!("{id}.part"));
        let file = File::create_new(&path).await?;
        Ok(Part {
            path,
            file: Some(file),
            keep: false,
        })
    }

    /// Makes a received file and its manifest durable. The file is known, and held by the caller,
    /// from then on.
    pub async fn stage(&self, mut part: Part, work: Arc<FileWork>, slot: Slot) -> io::Result<()> {
        let (data, manifest) = (self.data(work.id), self.manifest(work.id));
        let content = serde_json::to_vec(&*work)?;
        let from = part.path.clone();
        blocking(move || {
            std::fs::rename(from, &data)?;
            durable::replace_now(&manifest, &content).inspect_err(|_| {
                // What is not durable as a whole is not there at all.
                let _ = remove(&manifest).and_then(|()| remove(&data));
            })
        })
        .await?;
        part.keep = true;
        let mut index = self.index();
        index.insert(Entry::held(work));
        drop(index);
        drop(slot);
        Ok(())
    }

    /// Makes it durable that a file which has ended is to be ingested once more. It is held by the caller from then on.
    pub async fn reopen(&self, work: Arc<FileWork>) -> io::Result<()> {
        let (manifest, hint) = (self.manifest(work.id), self.staged(work.id, "queued"));
        let content = serde_json::to_vec(&*work)?;
        blocking(move || {
            remove(&hint)?;
            durable::replace_now(&manifest, &content)
        })
        .await?;
        self.index().reopen(work);
        Ok(())
    }

    /// Notes that the queue confirmed a file.
    pub async fn mark_published(&self, id: Uuid) {
        self.index().update(id, |entry| entry.published = true);
        // Only a hint, so it is not synced and its failure costs a second publication at the next start.
        let hint = self.staged(id, "queued");
        let noted = File::create(&hint).await.map(drop);
        // Ingest may have been quicker, and the file be forgotten: then nobody would remove the hint.
        let gone = self.index().get(id).is_none();
        let noted = noted.and_then(|()| if gone { remove(&hint) } else { Ok(()) });
        if let Err(error) = noted {
            tracing::warn!(%error, file = %id, "cannot note that the file is queued");
        }
    }

    /// Takes a staged file back. Its claim is still to be released: see [`Index::undone`].
    pub async fn take_back(&self, id: Uuid) -> io::Result<()> {
        let (manifest, undo) = (self.manifest(id), self.staged(id, "undo"));
        let data = self.data(id);
        blocking(move || {
            std::fs::rename(&manifest, &undo)?;
            remove(&data)?;
            sync_parent(&undo)
        })
        .await?;
        self.index().take_back(id);
        Ok(())
    }

    /// Forgets a file that was taken back, once its claim is released.
    pub async fn released(&self, id: Uuid) -> io::Result<()> {
        let undo = self.staged(id, "undo");
        blocking(move || remove(&undo)).await?;
        self.index().released(id);
        Ok(())
    }

    /// Drops a staged file and its manifest; it may be gone already.
    pub async fn forget(&self, id: Uuid) -> io::Result<()> {
        let paths = [self.manifest(id), self.data(id), self.staged(id, "queued")];
        self.index().remove(id);
        blocking(move || paths.iter().try_for_each(|path| remove(path))).await
    }

    /// A staged file's bytes; an error of kind `NotFound` when they are gone.
    pub async fn content(&self, id: Uuid) -> io::Result<File> {
        File::open(self.data(id)).await
    }

    /// A file's quarantined rows; an error of kind `NotFound` when there are none here.
    pub async fn rejects(&self, id: Uuid) -> io::Result<File> {
        File::open(self.rejects_path(id)).await
    }

    /// Makes received bytes the file's quarantined rows, durably; replaces earlier ones.
    pub async fn put_rejects(&self, mut part: Part, id: Uuid) -> io::Result<()> {
        let (from, to) = (part.path.clone(), self.rejects_path(id));
        blocking(move || {
            std::fs::rename(from, &to)?;
            sync_parent(&to)
        })
        .await?;
        part.keep = true;
        Ok(())
    }

    /// Removes reject files that are older than `retention`, at most `limit`; returns how many.
    pub async fn prune_rejects(&self, retention: Duration, limit: usize) -> io::Result<usize> {
        let directory = self.root.join(REJECTS);
        blocking(move || {
            let mut removed = 0;
            for entry in std::fs::read_dir(directory)? {
                let entry = entry?;
                let modified = entry.metadata()?.modified()?;
                let age = SystemTime::now()
                    .duration_since(modified)
                    .unwrap_or_default();
                if age > retention && removed < limit {
                    remove(&entry.path())?;
                    removed += 1;
                }
            }
            Ok(removed)
        })
        .await
    }

    /// Sees that so many bytes are free on the volume. Where they are not, the oldest reject files go before
    /// their time, then the bytes of the oldest files that have ended; an error of kind `StorageFull` when that is
    /// not enough.
    pub async fn make_room(&self, bytes: u64) -> io::Result<()> {
        let root = self.root.clone();
        self.make_room_while(move || {
            let volume = rustix::fs::statvfs(&root)?;
            Ok(volume.f_bavail.saturating_mul(volume.f_frsize) < bytes)
        })
        .await
    }

    async fn make_room_while<F>(&self, short: F) -> io::Result<()>
    where
        F: Fn() -> io::Result<bool> + Clone + Send + 'static,
    {
        if !blocking(short.clone()).await? {
            return Ok(());
        }
        let (rejects, still) = (self.root.join(REJECTS), short.clone());
        if !blocking(move || remove_oldest(&rejects, still)).await? {
            return Ok(());
        }
        loop {
            let ended = self.index().oldest_ended();
            let Some(ended) = ended else {
                return Err(io::ErrorKind::StorageFull.into());
            };
            tracing::warn!(file = %ended, "the bytes of a file that could be replayed go early: the volume is full");
            self.forget(ended).await?;
            if !blocking(short.clone()).await? {
                return Ok(());
            }
        }
    }

    /// Whether the volume can be written. Tried once a second at most, whoever asks how often.
    pub async fn writable(&self) -> bool {
        let mut probe = self.probe.lock().await;
        if let Some((at, writable)) = *probe
            && at.elapsed() < PROBE_AGE
        {
            return writable;
        }
        let path = self
            .root
            .join(INCOMING)
            .join(format!("{}.probe", Uuid::now_v7()));
        let tried = blocking(move || {
            std::fs::write(&path, b"probe")?;
            remove(&path)
        });
        let tried = tried.await.inspect_err(|error| {
            tracing::warn!(%error, "the staging volume cannot be written");
        });
        *probe = Some((Instant::now(), tried.is_ok()));
        tried.is_ok()
    }

    fn staged(&self, id: Uuid, extension: &str) -> PathBuf {
        self.root.join(STAGED).join(format!("{id}.{extension}"))
    }

    fn data(&self, id: Uuid) -> PathBuf {
        self.staged(id, "data")
    }

    fn manifest(&self, id: Uuid) -> PathBuf {
        self.staged(id, "json")
    }

    fn rejects_path(&self, id: Uuid) -> PathBuf {
        self.root.join(REJECTS).join(format!("{id}.ndjson"))
    }
}

/// Removes the files of a directory, the oldest first, as long as there is too little room; whether
/// there still is.
fn remove_oldest(directory: &Path, short: impl Fn() -> io::Result<bool>) -> io::Result<bool> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    for (_, path) in files {
        tracing::warn!(path = %path.display(), "a reject file goes early: the volume is full");
        remove(&path)?;
        if !short()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A file that is being received; removed when dropped, unless it became something.
pub struct Part {
    path: PathBuf,
    file: Option<File>,
    keep: bool,
}

impl Part {
    /// The open file, once.
    pub fn take_file(&mut self) -> io::Result<File> {
        self.file
            .take()
            .ok_or_else(|| io::Error::other("the part is being written already"))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = remove(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove a part");
        }
    }
}

/// Reads what an earlier life left. Data without a manifest was never acknowledged, and a manifest
/// without data belongs to a file that was being dropped: both go.
fn load(directory: &Path) -> io::Result<Index> {
    let mut index = Index::default();
    let mut orphans = Vec::new();
    for found in std::fs::read_dir(directory)? {
        let path = found?.path();
        let sibling = |extension: &str| path.with_extension(extension).exists();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") if sibling("data") => match read_manifest(&path)? {
                Some(work) => index.insert(Entry::found(work, sibling("queued"))),
                // Kept for a person to look at: it is nobody's acknowledged work that can be read.
                None => tracing::error!(path = %path.display(), "a manifest cannot be read"),
            },
            Some("undo") => match read_manifest(&path)? {
                Some(work) => index.insert_undone(Arc::new(work)),
                None => orphans.push(path),
            },
            Some("data" | "queued") if sibling("json") => {}
            _ => orphans.push(path),
        }
    }
    orphans.iter().try_for_each(|path| remove(path))?;
    Ok(index)
}

fn read_manifest(path: &Path) -> io::Result<Option<FileWork>> {
    Ok(serde_json::from_slice(&std::fs::read(path)?).ok())
}

#[cfg(test)]
mod tests;
