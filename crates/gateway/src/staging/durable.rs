//! Files that are durable once a call returns: synced, renamed into place, directory synced.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Runs blocking file work off the runtime's threads.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// Replaces a file's content: either the old or the new one is there, whatever crashes.
pub async fn replace(path: &Path, content: Vec<u8>) -> io::Result<()> {
    let path = path.to_owned();
    blocking(move || replace_now(&path, &content)).await
}

/// As [`replace`], on a thread that may block.
pub fn replace_now(path: &Path, content: &[u8]) -> io::Result<()> {
    let part = part_of(path);
    let mut file = std::fs::File::create(&part)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    sync_parent(path)
}

/// Makes the renames and removals in a file's directory durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => std::fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes a file that may be gone already.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}
