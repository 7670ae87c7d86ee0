//! What init containers do before a server starts: copy configuration with the modes that the server
//! demands, and wait for another member, or for the name of their own.

use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};

pub mod volume;

/// Preparation that failed.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A directory cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Copies the regular files of a directory, also those behind symbolic links, which is how the kubelet
/// mounts ConfigMaps and Secrets. Directories are left out. Returns the names.
pub fn copy(from: &Path, to: &Path, mode: u32) -> Result<Vec<String>, PrepareError> {
    let read = |path: &Path, source| PrepareError::Read {
        path: path.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(from).map_err(|source| read(from, source))? {
        let entry = entry.map_err(|source| read(from, source))?;
        let (path, name) = (
            entry.path(),
            entry.file_name().to_string_lossy().into_owned(),
        );
        let file = std::fs::metadata(&path).map_err(|source| read(&path, source))?;
        if !file.is_file() {
            continue;
        }
        let content = std::fs::read(&path).map_err(|source| read(&path, source))?;
        let target = to.join(&name);
        write(&target, &content, mode).map_err(|source| PrepareError::Write {
            path: target,
            source,
        })?;
        names.push(name);
    }
    names.sort();
    Ok(names)
}

/// Replaces the file: the mode of one that is there would stay, and one without the right to write to could
/// not be written when the container starts again.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    io::Write::write_all(&mut file, content)?;
    // The umask may have taken bits away.
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// How often is looked again.
const PERIOD: Duration = Duration::from_millis(500);

/// Waits until an address accepts connections. The kubelet restarts an init container that fails, and a pod that
/// is deleted ends it, so there is no limit here.
pub async fn wait_for(address: &str) {
    until("waiting for another member", address, connect).await;
}

/// Waits until a name has an address of this machine: right after its start a pod is not known by its name, or by the
/// address that it had before. In the same way there is no limit.
pub async fn wait_for_name(name: &str) {
    until("waiting for this pod's name", name, own).await;
}

async fn until<F>(what: &str, name: &str, ask: impl Fn(String) -> F)
where
    F: Future<Output = io::Result<()>>,
{
    let mut period = tokio::time::interval(PERIOD);
    let mut told = false;
    loop {
        period.tick().await;
        match ask(name.to_owned()).await {
            Ok(()) => return,
            Err(error) if !told => {
                tracing::info!(name, %error, "{what}");
                told = true;
            }
            Err(_) => {}
        }
    }
}

/// Whether a name has an address that can be bound on here.
async fn own(name: String) -> io::Result<()> {
    let addresses: Vec<_> = tokio::net::lookup_host((name, 0)).await?.collect();
    for address in &addresses {
        if UdpSocket::bind(address).await.is_ok() {
            return Ok(());
        }
    }
    Err(io::Error::other(format!(
        "it is {addresses:?}, none of which is here"
    )))
}

async fn connect(address: String) -> io::Result<()> {
    let addresses: Vec<_> = tokio::net::lookup_host(address).await?.collect();
    let connecting = TcpStream::connect(addresses.as_slice());
    tokio::time::timeout(Duration::from_secs(2), connecting).await??;
    Ok(())
}

/// The address with `{first}` and `{previous}` as the names of pods beside `pod`; [`None`] when that is the first
/// member, which waits for nobody. A pod without a number at its end is none of a StatefulSet and takes the address
/// as it is.
pub fn other_member(address: &str, pod: &str) -> Option<String> {
    let numbered = pod.rsplit_once('-');
    let Some((set, ordinal)) =
        numbered.and_then(|(set, number)| Some((set, number.parse::<u32>().ok()?)))
    else {
        return Some(address.to_owned());
    };
    let previous = ordinal.checked_sub(1)?;
    let named = address.replace("{first}", &format!("{set}-0"));
    Some(named.replace("{previous}", &format!("{set}-{previous}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_behind_a_config_map_s_links_are_copied_with_the_mode() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let data = from.path().join("..2026");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("cookie"), "text").unwrap();
        symlink("..2026", from.path().join("..data")).unwrap();
        symlink("..data/cookie", from.path().join("cookie")).unwrap();
        for _ in 0..2 {
            assert_eq!(copy(from.path(), to.path(), 0o400).unwrap(), ["cookie"]);
        }
        let copied = to.path().join("cookie");
        assert_eq!(std::fs::read_to_string(&copied).unwrap(), "text");
        assert_eq!(
            copied.metadata().unwrap().permissions().mode() & 0o777,
            0o400
        );
        assert!(!std::fs::symlink_metadata(&copied).unwrap().is_symlink());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = copy(Path::new("/nonexistent"), Path::new("/tmp"), 0o400).unwrap_err();
        assert!(error.to_string().contains("/nonexistent"));
    }

    #[tokio::test]
    async fn waiting_ends_when_somebody_listens() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        wait_for(&listener.local_addr().unwrap().to_string()).await;
    }

    #[tokio::test]
    async fn a_name_is_this_machine_s_when_its_address_is() {
        wait_for_name("localhost").await;
        let elsewhere = own("192.0.2.1".to_owned()).await.unwrap_err();
        assert!(elsewhere.to_string().contains("192.0.2.1"), "{elsewhere}");
    }

    #[test]
    fn other_members_are_named_by_this_one_s_number() {
        let named = |pod| other_member("{first}.db:1 {previous}.db:1", pod);
        assert_eq!(named("c-0"), None);
        assert_eq!(named("a-b-12").unwrap(), "a-b-0.db:1 a-b-11.db:1");
        assert_eq!(named("coredms").unwrap(), "{first}.db:1 {previous}.db:1");
    }
}
