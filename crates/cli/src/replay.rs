//! `replay`: a file, or what was quarantined of it, once more.

use std::path::Path;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use indicatif::ProgressBar;
use reqwest::Method;
use sha2::{Digest, Sha256};
use simbdp_api::pipeline::Format;
use simbdp_api::tenant::Role;
use simbdp_api::wire::rest::{
    FileRecord, FileState, PipelineConstraints, RejectedRow, Replayed, UploadResult,
};
use uuid::Uuid;

use crate::args::{ConnectionArgs, Output, Replay};
use crate::client::Gateway;
use crate::connect;
use crate::error::CliError;
use crate::ledger;
use crate::local_check::Checker;
use crate::output::print;
use crate::upload::{self, Wishes};

/// Runs the verb.
pub async fn run(
    connection: &ConnectionArgs,
    output: Output,
    verb: Replay,
) -> Result<ExitCode, CliError> {
    let gateway = connect::gateway(connection, Role::Writer).await?;
    let id = verb.file_id;
    let ingested = match &verb.file {
        None => again(&gateway, id, verb.rejects).await?,
        Some(path) if verb.rejects => mended_rows(&gateway, id, path).await?,
        Some(path) => match mended_file(&gateway, id, path).await? {
            Ok(ingested) => ingested,
            Err(reasons) => {
                eprintln!("error: {}: {}", path.display(), reasons.join("; "));
                return Ok(ExitCode::from(1));
            }
        },
    };
    let record: FileRecord = match verb.wait {
        true => upload::ended(&gateway, ingested).await?,
        false => gateway.get(&format!("/v1/files/{ingested}"), &[]).await?,
    };
    print(
        output,
        &record,
        &ledger::grid(std::slice::from_ref(&record)),
    )?;
    let whole = record.state == FileState::Done && record.rejected == Some(0);
    Ok(ExitCode::from(u8::from(verb.wait && !whole)))
}

/// The bytes that were uploaded, once more.
async fn again(gateway: &Gateway, id: Uuid, rejects: bool) -> Result<Uuid, CliError> {
    let path = format!("/v1/files/{id}/replay");
    let request = || {
        let request = gateway.request(Method::POST, &path);
        match rejects {
            true => request.query(&[("rejects", "true")]),
            false => request,
        }
    };
    let replayed: Replayed = gateway.json(&path, request).await?;
    Ok(replayed.id)
}

/// A whole file in the place of another. The reasons, where it does not conform.
async fn mended_file(
    gateway: &Gateway,
    id: Uuid,
    path: &Path,
) -> Result<Result<Uuid, Vec<String>>, CliError> {
    let record: FileRecord = gateway.get(&format!("/v1/files/{id}"), &[]).await?;
    let pipeline = &record.pipeline;
    let constraints: PipelineConstraints = gateway
        .get(&format!("/v1/pipelines/{pipeline}/constraints"), &[])
        .await?;
    let file = match Checker::new(&constraints)?.check(path).await {
        Ok(file) => file,
        Err(bad) => return Ok(Err(bad.reasons)),
    };
    let bar = ProgressBar::new(file.size);
    let wishes = Wishes {
        force: false,
        mends: Some(id),
    };
    let uploaded = upload::upload(gateway, pipeline, &file, wishes, &bar).await;
    bar.finish_and_clear();
    Ok(Ok(uploaded?.id))
}

/// Lines of the reject file, corrected.
async fn mended_rows(gateway: &Gateway, id: Uuid, path: &Path) -> Result<Uuid, CliError> {
    let record: FileRecord = gateway.get(&format!("/v1/files/{id}"), &[]).await?;
    let text = std::fs::read_to_string(path).map_err(|source| CliError::File {
        path: path.to_owned(),
        source,
    })?;
    let mut rows = parse(&text).map_err(|reason| CliError::Document {
        path: path.to_owned(),
        reason,
    })?;
    if record.format == Format::Csv && rows.iter().all(|row| row.header.is_none()) {
        // The line that had it was left out.
        let header = header(gateway, id).await?;
        if let Some(first) = rows.first_mut() {
            first.header = Some(header);
        }
    }
    send(gateway, id, &rows).await
}

/// The rows that are mended: all but those that stand for others.
fn parse(text: &str) -> Result<Vec<RejectedRow>, String> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let number = index + 1;
        let row: RejectedRow = serde_json::from_str(line).map_err(|error| {
            format!("line {number} is no row of a reject file: {error}; write it as `simbdp ledger FILE --rejects` does")
        })?;
        if row.cut && row.raw.is_empty() {
            continue;
        }
        if row.ordinal.is_none() {
            return Err(format!(
                "line {number} lacks `ordinal`, which says which record it is: leave it as the reject file has it, or replay the whole file"
            ));
        }
        if row.cut {
            return Err(format!(
                "line {number}: `raw` was cut at 4 KiB and is not the whole record: write it whole, and take `cut` away"
            ));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err("it has no row to mend".to_owned());
    }
    // The header comes first, whatever order the lines are in now.
    if let Some(at) = rows.iter().position(|row| row.header.is_some()) {
        let header = rows[at].header.take();
        rows[0].header = header;
    }
    Ok(rows)
}

/// The header of a file's reject file.
async fn header(gateway: &Gateway, id: Uuid) -> Result<String, CliError> {
    let path = format!("/v1/files/{id}/rejects");
    let answer = gateway.stream(&path).await?;
    let text = answer.text().await.map_err(|error| CliError::Unreachable {
        url: path.clone(),
        reason: error.to_string(),
    })?;
    let rows = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    rows.filter_map(|row: RejectedRow| row.header)
        .next()
        .ok_or_else(|| {
            CliError::Usage(format!(
                "the reject file of {id} does not tell the header of its CSV file: replay the whole file with --file"
            ))
        })
}

async fn send(gateway: &Gateway, id: Uuid, rows: &[RejectedRow]) -> Result<Uuid, CliError> {
    let mut body = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut body, row).map_err(std::io::Error::from)?;
        body.push(b'\n');
    }
    let body = Bytes::from(body);
    let digest = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(&body)));
    let path = format!("/v1/files/{id}/rejects");
    let request = || {
        gateway
            .request(Method::PUT, &path)
            .header("content-type", "application/x-ndjson")
            .header("content-digest", &digest)
            .body(body.clone())
    };
    let uploaded: UploadResult = gateway.json(&path, request).await?;
    Ok(uploaded.id)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lines_of_a_reject_file_are_taken_wherever_its_header_is() {
        let text = concat!(
            r#"{"line":9,"ordinal":7,"reason":"r","raw":"7,x"}"#,
            "\n\n",
            r#"{"line":3,"ordinal":1,"reason":"r","raw":"1,y","header":"id,name"}"#,
            "\n",
            r#"{"line":99,"ordinal":90,"reason":"4 more rows","raw":"","cut":true}"#,
        );
        let rows = parse(text).unwrap();
        assert_eq!(rows.len(), 2, "the line that stands for others is no row");
        assert_eq!(rows[0].header.as_deref(), Some("id,name"));
        assert_eq!((rows[0].ordinal, &rows[1].header), (Some(7), &None));
    }

    #[test]
    fn what_cannot_be_mended_is_told_by_its_line() {
        for (text, part) in [
            ("", "no row"),
            ("7,x", "line 1 is no row of a reject file"),
            (
                r#"{"line":3,"reason":"r","raw":"1"}"#,
                "line 1 lacks `ordinal`",
            ),
            (
                r#"{"line":3,"ordinal":1,"reason":"r","raw":"1","cut":true}"#,
                "write it whole",
            ),
        ] {
            let reason = parse(text).unwrap_err();
            assert!(reason.contains(part), "{reason}");
        }
    }
}
