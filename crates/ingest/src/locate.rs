//! Rows that only the database refused: a second pass over the file finds their lines and texts for the
//! reject file. Conversion refuses nearly all that a database would, so this is rare.

use std::collections::BTreeMap;

use simbdp_api::pipeline::TableSpec;
use simbdp_api::wire::work::FileWork;
use simbdp_record::SchemaError;

use crate::content::{Content, ContentError};
use crate::decode::Locator;
use crate::rejects::{RejectWriter, RejectsClosed};
use crate::sink::Refused;

/// Refused rows of a file that are kept; when there are more, something else than rows is wrong.
const MOST: usize = 10_000;
const CHUNK: usize = 32 * 1024;

/// Why refused rows are not in the reject file.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The content did not come whole.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The reject file takes no more.
    #[error(transparent)]
    Rejects(#[from] RejectsClosed),
    /// The table's declaration does not allow it.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// Refused rows by their places in the content, which their versions count.
#[derive(Debug, Default)]
pub struct RefusedRows {
    reasons: BTreeMap<u64, String>,
    count: u64,
}

impl RefusedRows {
    /// Remembers a row that was refused; of too many, the first.
    pub fn add(&mut self, work: &FileWork, refused: Refused) {
        self.count += 1;
        if self.reasons.len() < MOST {
            let ordinal = refused.version.saturating_sub(work.version);
            self.reasons
                .insert(u64::try_from(ordinal).unwrap_or(0), refused.reason);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Why the file has failed, when there are too many.
    pub fn fault(&self) -> Option<String> {
        let (_, last) = self.reasons.last_key_value()?;
        (self.count > MOST as u64).then(|| {
            let count = self.count;
            format!("the database refuses {count} rows, of which {MOST} are in the reject file; one reason: {last}")
        })
    }

    /// Ordinals and reasons.
    pub fn into_reasons(self) -> impl Iterator<Item = (u64, String)> {
        self.reasons.into_iter()
    }

    /// Reads `content` once more and writes the refused rows with what they are.
    pub async fn reject(
        self,
        mut content: Content,
        table: &TableSpec,
        work: &FileWork,
        rejects: &mut RejectWriter,
    ) -> Result<(), LocateError> {
        let mut locator = Locator::new(table, work)?;
        let mut left = self.reasons;
        let mut buffer = vec![0; CHUNK];
        while !left.is_empty() {
            let read = match content.read(&mut buffer).await {
                Ok(read) => read,
                // The first pass ended here as well.
                Err(ContentError::Corrupt(_)) => 0,
                Err(error) => return Err(error.into()),
            };
            let mut found = Vec::new();
            locator.push(&buffer[..read], &mut |ordinal, mut row| {
                if let Some(reason) = left.remove(&ordinal) {
                    row.column = None;
                    row.reason = reason;
                    found.push(row);
                }
            });
            if let Some(header) = locator.header() {
                rejects.under(header);
            }
            for row in found {
                rejects.push(&row).await?;
            }
            if read == 0 {
                break;
            }
        }
        Ok(())
    }
}
