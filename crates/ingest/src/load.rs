//! `load`: a local file straight into a table, through the same steps as a staged one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow};
use chrono::Utc;
use serde::Serialize;
use sha2::{Digest, Sha256};
use simbdp_api::pipeline::TableSpec;
use simbdp_api::wire::rest::FileState;
use simbdp_api::wire::work::FileWork;
use simbdp_coredms::ledger::{Outcome, Taken};
use simbdp_coredms::{Ledger, binding};
use simbdp_record::FileName;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use crate::args::LoadArgs;
use crate::batch::FileApp;
use crate::decode::RowDecoder;
use crate::file::{FileIngest, FileReport};
use crate::local_staging::LocalStaging;
use crate::metrics::Metrics;
use crate::retry::Retry;
use crate::settings;
use crate::shutdown::Shutdown;
use crate::sink::Sink;

/// Name of the pipeline that loaded files have in the ledger.
const PIPELINE: &str = "load";

/// What a load took; printed as JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadReport {
    /// Rows written.
    pub rows: u64,
    /// Rows rejected.
    pub rejected: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Seconds from the first byte read to the last row written and the ledger row, if any.
    pub seconds: f64,
    /// Rows written a second.
    pub rows_per_second: f64,
    /// Largest resident memory of this process, in bytes.
    pub peak_resident_bytes: Option<u64>,
    /// Where the rejected rows are, when there are any.
    pub rejects: Option<PathBuf>,
    /// Why it stopped before the file's end.
    pub error: Option<String>,
}

/// Loads the file.
pub async fn load(args: &LoadArgs) -> anyhow::Result<LoadReport> {
    let table: TableSpec = settings::yaml(&args.table)?;
    let connection = binding::login(&args.binding, args.endpoints.clone())?;
    let database = simbdp_coredms::open(connection, binding::options(&args.binding)?);
    let ledger = args.ledger_keyspace.as_deref();
    let ledger = ledger.map(|keyspace| database.ledger(keyspace));
    let metrics = Metrics::new("", PIPELINE);
    let retry = Retry::new(Shutdown::new(), metrics.clone());
    let rejects = args.rejects.clone().unwrap_or_else(|| beside(&args.file));
    let prepared = database
        .store()
        .table(&args.keyspace, &table)
        .await
        .context("cannot prepare the table")?;
    let ingest = FileIngest {
        rows: RowDecoder::new(&table)?,
        table,
        sink: Sink::new(prepared, retry.clone(), metrics.clone()),
        staging: Arc::new(LocalStaging {
            file: args.file.clone(),
            rejects: rejects.clone(),
        }),
        retry,
        metrics,
        limits: args.files.limits(),
    };
    let work = describe(args).await?;
    let start = Instant::now();
    let report = through_ledger(&ingest, ledger.as_deref(), &work, start).await?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(LoadReport {
        rows: report.accepted,
        rejected: report.rejected,
        bytes: work.size,
        seconds,
        rows_per_second: report.accepted as f64 / seconds,
        peak_resident_bytes: peak_resident_bytes(),
        rejects: (report.rejected > 0).then_some(rejects),
        error: report.error,
    })
}

async fn through_ledger(
    ingest: &FileIngest,
    ledger: Option<&dyn Ledger>,
    work: &FileWork,
    start: Instant,
) -> anyhow::Result<FileReport> {
    let Some(ledger) = ledger else {
        return Ok(ingest.ingest(work).await?);
    };
    match ledger.take(work, PIPELINE).await? {
        Taken::Ingest => {}
        Taken::Ended(state) => return Err(anyhow!("the ledger has the file as {state:?}")),
    }
    let report = ingest.ingest(work).await?;
    let outcome = Outcome {
        state: if report.error.is_some() {
            FileState::Failed
        } else {
            FileState::Done
        },
        accepted: report.accepted,
        rejected: report.rejected,
        seconds: start.elapsed().as_secs_f64(),
        rejects: None,
        error: report.error.clone(),
        duplicate_of: None,
    };
    ledger.ended(work.id, &outcome).await?;
    Ok(report)
}

/// What a gateway would say of the file.
async fn describe(args: &LoadArgs) -> anyhow::Result<FileWork> {
    let name = args
        .file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let told = FileName::parse(&name);
    let (format, compression) = match (args.format, args.compression, told) {
        (Some(format), Some(compression), _) => (format, compression),
        (format, compression, Ok(told)) => (
            format.unwrap_or(told.format()),
            compression.unwrap_or(told.compression()),
        ),
        (_, _, Err(error)) => {
            return Err(anyhow!("{error}; or pass --format and --compression"));
        }
    };
    let (sha256, size) = digest(&args.file).await?;
    let now = Utc::now();
    Ok(FileWork {
        id: Uuid::now_v7(),
        pipeline: PIPELINE.to_owned(),
        pipeline_uid: None,
        name,
        format,
        compression,
        size,
        lines: size,
        sha256,
        version: now.timestamp_micros(),
        user: PIPELINE.to_owned(),
        replica: String::new(),
        force: true,
        accepted_at: now.timestamp_millis(),
        mends: None,
        mended_rows: false,
        replay: None,
    })
}

async fn digest(path: &Path) -> anyhow::Result<(String, u64)> {
    let context = || format!("cannot read {}", path.display());
    let mut file = File::open(path).await.with_context(context)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut sha256 = Sha256::new();
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer).await.with_context(context)?;
        if read == 0 {
            return Ok((hex::encode(sha256.finalize()), size));
        }
        sha256.update(&buffer[..read]);
        size += read as u64;
    }
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".rejects.ndjson");
    name.into()
}

/// `VmHWM` of `/proc/self/status`, <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>.
fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
