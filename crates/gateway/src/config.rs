//! What the operator mounts: pipelines, users and the internal token. Read at start and again whenever
//! a directory changes; what cannot be read leaves the last good state in force.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use simbdp_api::names::TenantName;
use simbdp_api::wire::config::{PipelineConfig, Users};
use tokio_util::sync::CancellationToken;

use crate::auth::UserIndex;
use crate::pipeline::Pipeline;
use crate::tables::TableView;

/// How often the directories are looked at. A ConfigMap's volume changes by a symbolic link, and a look
/// costs a few system calls, so that asking is simpler and surer than notification.
const LOOK: Duration = Duration::from_secs(1);

/// Where the operator mounts things.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Directory of `<pipeline>.json`.
    pub pipelines: PathBuf,
    /// Directory of `users.json`.
    pub users: PathBuf,
    /// Directory of `token`.
    pub internal: PathBuf,
}

/// Everything mounted, as last read.
#[derive(Default)]
pub struct Config {
    /// Pipelines by name.
    pub pipelines: BTreeMap<String, Arc<Pipeline>>,
    /// Whether these are all there are: each file could be read.
    pub complete: bool,
    /// Tables by name, each as its pipelines declare it together.
    pub tables: BTreeMap<String, Arc<TableView>>,
    /// Users; [`None`] while their file is missing or broken.
    pub users: Option<Arc<UserIndex>>,
    /// Token of the internal API; [`None`] while its file is missing or empty.
    pub internal_token: Option<Arc<str>>,
}

/// The current configuration.
pub struct ConfigStore {
    tenant: TenantName,
    paths: Paths,
    current: RwLock<Arc<Config>>,
    /// As the directories were before they were read, so that no change in between is missed.
    seen: Mutex<Vec<Trace>>,
}

impl ConfigStore {
    /// Reads everything once.
    pub fn open(tenant: TenantName, paths: Paths) -> Self {
        let store = Self {
            tenant,
            seen: Mutex::new(look(&paths)),
            paths,
            current: RwLock::new(Arc::new(Config::default())),
        };
        store.reload();
        store
    }

    /// What is in force.
    pub fn current(&self) -> Arc<Config> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads everything.
    pub fn reload(&self) {
        let before = self.current();
        let (pipelines, complete) =
            read_pipelines(&self.paths.pipelines, &self.tenant, &before.pipelines);
        let config = Config {
            tables: TableView::of_all(pipelines.values()),
            pipelines,
            complete,
            users: read_users(&self.paths.users).or_else(|| before.users.clone()),
            internal_token: read_token(&self.paths.internal)
                .or_else(|| before.internal_token.clone()),
        };
        tracing::info!(
            pipelines = config.pipelines.len(),
            users = config.users.as_ref().map_or(0, |users| users.len()),
            "configuration read"
        );
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Reads everything again whenever a directory changes, until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.reload_if_changed();
        }
    }

    fn reload_if_changed(&self) {
        let now = look(&self.paths);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen != now {
            *seen = now;
            self.reload();
        }
    }
}

fn look(paths: &Paths) -> Vec<Trace> {
    [&paths.pipelines, &paths.users, &paths.internal]
        .into_iter()
        .flat_map(|directory| trace(directory))
        .collect()
}

/// What tells that a file was replaced.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Trace {
    path: PathBuf,
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

fn trace(directory: &Path) -> Vec<Trace> {
    use std::os::unix::fs::MetadataExt;
    let mut traces: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            // Follows links: the content of a ConfigMap lies behind `..data`.
            let metadata = std::fs::metadata(&path).ok()?;
            Some(Trace {
                modified: metadata.modified().ok(),
                length: metadata.len(),
                inode: metadata.ino(),
                path,
            })
        })
        .collect();
    traces.sort();
    traces
}

/// Reads every `<pipeline>.json`, and whether each could be used. One that cannot keeps its last good state.
fn read_pipelines(
    directory: &Path,
    tenant: &TenantName,
    before: &BTreeMap<String, Arc<Pipeline>>,
) -> (BTreeMap<String, Arc<Pipeline>>, bool) {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!(%error, path = %directory.display(), "cannot read the pipelines");
            return (before.clone(), false);
        }
    };
    let (mut pipelines, mut complete) = (BTreeMap::new(), true);
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let (Some(name), Some("json")) = (name, path.extension().and_then(|e| e.to_str())) else {
            continue;
        };
        match read_pipeline(&path, name, tenant) {
            Ok(pipeline) => {
                // The same configuration keeps what was prepared for it.
                let kept = before.get(name).filter(|old| old.config == pipeline.config);
                let pipeline = kept.cloned().unwrap_or_else(|| Arc::new(pipeline));
                pipelines.insert(name.to_owned(), pipeline);
            }
            Err(error) => {
                tracing::error!(%error, pipeline = name, "a pipeline cannot be used");
                complete = false;
                if let Some(old) = before.get(name) {
                    pipelines.insert(name.to_owned(), Arc::clone(old));
                }
            }
        }
    }
    (pipelines, complete)
}

#[derive(Debug, thiserror::Error)]
enum PipelineError {
    #[error("cannot read its file: {0}")]
    Read(#[from] io::Error),
    #[error("its file is not valid: {0}")]
    Parse(#[from] serde_json::Error),
    #[error("its file speaks of pipeline `{0}`")]
    Name(String),
    #[error("it is of tenant `{0}`")]
    Tenant(String),
    #[error("{0}")]
    Prepare(String),
}

fn read_pipeline(path: &Path, name: &str, tenant: &TenantName) -> Result<Pipeline, PipelineError> {
    let config: PipelineConfig = serde_json::from_slice(&std::fs::read(path)?)?;
    if config.pipeline.as_str() != name {
        return Err(PipelineError::Name(config.pipeline.to_string()));
    }
    if config.tenant != *tenant {
        return Err(PipelineError::Tenant(config.tenant.to_string()));
    }
    Pipeline::prepare(config).map_err(PipelineError::Prepare)
}

fn read_users(directory: &Path) -> Option<Arc<UserIndex>> {
    let path = directory.join("users.json");
    let users = std::fs::read(&path)
        .map_err(|error| error.to_string())
        .and_then(|content| {
            serde_json::from_slice::<Users>(&content)
                // The text of a parse error may quote the file.
                .map_err(|error| format!("not valid at line {}", error.line()))
        })
        .and_then(UserIndex::new);
    match users {
        Ok(users) => Some(Arc::new(users)),
        Err(error) => {
            tracing::error!(error, path = %path.display(), "cannot read the users");
            None
        }
    }
}

fn read_token(directory: &Path) -> Option<Arc<str>> {
    let path = directory.join("token");
    match std::fs::read_to_string(&path) {
        Ok(token) if !token.trim().is_empty() => Some(token.trim().into()),
        Ok(_) => {
            tracing::error!(path = %path.display(), "the internal token is empty");
            None
        }
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "cannot read the internal token");
            None
        }
    }
}

#[cfg(test)]
mod tests;
