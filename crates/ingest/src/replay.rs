//! Files that are ingested once more: which of their rows are written, and what they come to with those that were
//! written before.

use bytes::{Buf, BytesMut};
use futures::StreamExt;
use simbdp_api::wire::rest::RejectedRow;
use simbdp_api::wire::work::FileWork;
use simbdp_record::Only;

use crate::file::FileReport;
use crate::staging_client::{Staging, StagingError};

/// The records to write, where only those that were quarantined are asked for. [`None`] is the whole file, which is
/// always right: what is in the table already is written again with the same version. So it is where the quarantined rows
/// are gone, or a former version wrote them, which did not say which records they are.
pub async fn only(staging: &dyn Staging, work: &FileWork) -> Result<Option<Only>, StagingError> {
    if !work.replay.is_some_and(|replay| replay.rejects) {
        return Ok(None);
    }
    let Some(mut rows) = staging.rejects(work).await? else {
        return Ok(None);
    };
    let mut only = Only::default();
    let mut buffer = BytesMut::new();
    while let Some(chunk) = rows.next().await {
        let chunk = chunk.map_err(|error| StagingError::Transient(error.to_string()))?;
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            if !add(&buffer[..end], &mut only) {
                return Ok(None);
            }
            buffer.advance(end + 1);
        }
    }
    Ok((buffer.is_empty() || add(&buffer, &mut only)).then_some(only))
}

/// Adds a line of a reject file; false where it does not say which record it is.
fn add(line: &[u8], only: &mut Only) -> bool {
    let Ok(row) = serde_json::from_slice::<RejectedRow>(line) else {
        return false;
    };
    let Some(ordinal) = row.ordinal else {
        return false;
    };
    if row.cut && row.raw.is_empty() {
        // It stands for all that the reject file had no room for, of which it is the first.
        only.from = Some(ordinal);
    } else {
        only.ordinals.insert(ordinal);
    }
    true
}

/// Rows of the file that are written and that are quarantined, with those of earlier attempts. Of a replay of quarantined
/// rows alone the sum of both stays: so it is exact also where an attempt that died has replaced the reject file.
pub fn sums(work: &FileWork, report: &FileReport) -> (u64, u64) {
    match (work.replay, &report.error) {
        (Some(before), None) if report.partial => {
            let all = before.accepted + before.rejected;
            (all.saturating_sub(report.rejected), report.rejected)
        }
        // Nothing of it is known to have changed.
        (Some(before), Some(_)) if before.rejects => (before.accepted, before.rejected),
        _ => (report.accepted, report.rejected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_reject_file_name_records() {
        let mut only = Only::default();
        let lines = [
            r#"{"line":3,"ordinal":1,"reason":"r","raw":"x","header":"id"}"#,
            r#"{"line":9,"ordinal":7,"reason":"r","raw":"x","cut":true}"#,
            r#"{"line":99,"ordinal":80,"reason":"12 more rows","raw":"","cut":true}"#,
        ];
        assert!(lines.iter().all(|line| add(line.as_bytes(), &mut only)));
        assert_eq!((only.ordinals, only.from), ([1, 7].into(), Some(80)));
        let mut only = Only::default();
        for former in [r#"{"line":3,"reason":"r","raw":"x"}"#, "{", ""] {
            assert!(!add(former.as_bytes(), &mut only), "{former}");
        }
    }
}
