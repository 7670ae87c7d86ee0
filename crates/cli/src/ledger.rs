//! `ledger`: what became of files.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::TryStreamExt;
use simbdp_api::tenant::Role;
use simbdp_api::wire::rest::{FilePage, FileRecord};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::args::{ConnectionArgs, Ledger, Output, State};
use crate::client::Gateway;
use crate::connect;
use crate::error::CliError;
use crate::output::{Grid, cell, print};

/// Runs the verb.
pub async fn run(
    connection: &ConnectionArgs,
    output: Output,
    verb: Ledger,
) -> Result<ExitCode, CliError> {
    let gateway = connect::gateway(connection, Role::Reader).await?;
    match verb.file {
        Some(id) if verb.rejects => rejects(&gateway, id).await?,
        Some(id) => {
            let record: FileRecord = gateway.get(&format!("/v1/files/{id}"), &[]).await?;
            print(output, &record, &grid(std::slice::from_ref(&record)))?;
        }
        None => {
            let files = list(&gateway, &verb).await?;
            print(output, &files, &grid(&files))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(gateway: &Gateway, verb: &Ledger) -> Result<Vec<FileRecord>, CliError> {
    let mut files = Vec::new();
    let mut page = None;
    let wanted = verb.limit as usize;
    loop {
        let mut query = vec![(
            "limit".to_owned(),
            (wanted - files.len()).min(500).to_string(),
        )];
        query.extend(
            verb.pipeline
                .iter()
                .map(|name| ("pipeline".to_owned(), name.clone())),
        );
        query.extend(
            verb.state
                .map(|state| ("state".to_owned(), state_name(state).to_owned())),
        );
        query.extend(page.map(|page| ("page".to_owned(), page)));
        let answer: FilePage = gateway.get("/v1/files", &query).await?;
        files.extend(answer.files);
        page = answer.next_page;
        if page.is_none() || files.len() >= wanted {
            files.truncate(wanted);
            return Ok(files);
        }
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Staged => "Staged",
        State::Queued => "Queued",
        State::Ingesting => "Ingesting",
        State::Done => "Done",
        State::Failed => "Failed",
        State::Duplicate => "Duplicate",
    }
}

/// The quarantined rows as they are: NDJSON, whatever the output format.
async fn rejects(gateway: &Gateway, id: Uuid) -> Result<(), CliError> {
    let path = format!("/v1/files/{id}/rejects");
    let mut chunks = gateway.stream(&path).await?.bytes_stream();
    let mut out = tokio::io::stdout();
    let cut = |e: reqwest::Error| CliError::Unreachable {
        url: path.clone(),
        reason: e.to_string(),
    };
    while let Some(chunk) = chunks.try_next().await.map_err(cut)? {
        out.write_all(&chunk).await?;
    }
    out.flush().await?;
    Ok(())
}

/// Until when a file waits.
pub fn held(until: DateTime<Utc>) -> String {
    let at = until.to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("waits for the pipeline's window, which begins at {at}")
}

/// What else is to be known of a file.
fn note(file: &FileRecord) -> String {
    let notes = [
        file.held_until.map(held),
        file.mends.map(|id| format!("mends {id}")),
        file.replays.map(|times| format!("replayed {times} times")),
    ];
    notes.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Ledger entries for people.
pub fn grid(files: &[FileRecord]) -> Grid {
    let mut grid = Grid::new([
        "id", "pipeline", "name", "state", "bytes", "accepted", "rejected", "seconds", "uploaded",
        "error", "note",
    ]);
    grid.rows = files
        .iter()
        .map(|file| {
            vec![
                file.id.to_string(),
                file.pipeline.clone(),
                file.name.clone(),
                format!("{:?}", file.state),
                file.bytes.to_string(),
                cell(file.accepted),
                cell(file.rejected),
                cell(file.seconds.map(|seconds| format!("{seconds:.2}"))),
                file.accepted_at.format("%Y-%m-%d %H:%M:%S").to_string(),
                file.error
                    .clone()
                    .or_else(|| file.duplicate_of.map(|id| format!("same as {id}")))
                    .unwrap_or_default(),
                note(file),
            ]
        })
        .collect();
    grid
}
