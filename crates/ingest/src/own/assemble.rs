//! Puts together what a pipeline with the tenant's own program has instead of the built-in app's parts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use simbdp_api::wire::config::{AppConfig, BatchConstraints, StreamConstraints};
use tokio::sync::RwLock;

use super::files::OwnFiles;
use super::launchers::Launchers;
use super::messages::OwnCourier;
use super::session::{Driver, Limits, session};
use crate::args::OwnArgs;
use crate::courier::Courier;
use crate::file::FileIngest;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::shutdown::Shutdown;

/// Bytes of an answer besides rows, which may be twice as large as the largest message: what is held for all messages
/// that are out stays within the memory of the runner.
const ANSWER: u64 = 16 << 10;

/// The tenant's own program, as far as all its work shares it.
pub struct Own {
    /// What starts it.
    pub launchers: Arc<Launchers>,
    app: AppConfig,
    max_attempts: u32,
    pipeline: String,
    directory: PathBuf,
}

impl Own {
    /// Listens for the launcher, and removes what a runner before this one may have left.
    pub fn new(args: OwnArgs, settings: &Settings, metrics: &Metrics) -> anyhow::Result<Self> {
        let config = &settings.config;
        let app = config.app.ok_or_else(|| {
            anyhow!("the pipeline has no app of its own: start `simbdp-ingest run`")
        })?;
        empty(&args.files)
            .with_context(|| format!("cannot empty the directory {}", args.files.display()))?;
        let launchers = Launchers::listen(&args.socket, args.grace(), metrics.clone())
            .with_context(|| format!("cannot listen at {}", args.socket.display()))?;
        Ok(Self {
            launchers: Arc::new(launchers),
            app,
            max_attempts: config.max_attempts,
            pipeline: config.pipeline.to_string(),
            directory: args.files,
        })
    }

    /// What ingests files.
    pub fn files(
        &self,
        files: FileIngest,
        constraints: &BatchConstraints,
        shutdown: Shutdown,
    ) -> OwnFiles {
        OwnFiles {
            files,
            launchers: self.launchers.clone(),
            app: self.app,
            max_attempts: self.max_attempts,
            directory: self.directory.clone(),
            max_file_size: constraints.max_file_size,
            shutdown,
        }
    }

    /// What ingests messages, and what must be run beside it.
    pub fn messages(
        &self,
        courier: Arc<Courier>,
        constraints: &StreamConstraints,
        shutdown: Shutdown,
    ) -> (OwnCourier, Driver) {
        let answer = constraints.max_message_size * 2 + ANSWER;
        let limits = Limits {
            timeout: Duration::from_secs(u64::from(self.app.timeout_seconds)),
            answer: usize::try_from(answer).unwrap_or(usize::MAX),
        };
        let (session, driver) = session(
            self.launchers.clone(),
            limits,
            format!("pipeline {}", self.pipeline),
            shutdown.clone(),
        );
        let courier = OwnCourier {
            courier,
            session,
            output: self.app.output,
            max_attempts: self.max_attempts,
            shutdown,
            turns: RwLock::new(()),
        };
        (courier, driver)
    }
}

/// Removes the files of a directory; a pipeline of messages has none.
fn empty(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
