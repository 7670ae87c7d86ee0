//! Splits rows into batches [pure], bounded in rows and in bytes.

use std::ops::Range;

use super::encode::EncodedRow;

/// How large a batch may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of its documents.
    pub bytes: usize,
    /// Rows.
    pub rows: usize,
}

/// Rows that go together, in order. A row beyond the limits goes alone.
pub(crate) fn split(rows: &[EncodedRow], limits: Limits) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, row) in rows.iter().enumerate() {
        let size = row.document.len();
        if at > start && (bytes + size > limits.bytes || at - start >= limits.rows) {
            batches.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    if start < rows.len() {
        batches.push(start..rows.len());
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::{Limits, split};
    use crate::mongodb::encode::EncodedRow;
    use mongodb::bson::spec::ElementType;

    #[test]
    fn batches_keep_their_bounds_and_a_large_row_goes_alone() {
        let rows: Vec<_> = [10, 10, 10, 50, 10]
            .map(|size| EncodedRow {
                document: 0..size,
                id: (ElementType::Int32, 0..0),
                version: 0,
            })
            .into();
        let bounded = |bytes, rows_of_batch| {
            let limits = Limits {
                bytes,
                rows: rows_of_batch,
            };
            split(&rows, limits)
        };
        assert_eq!(bounded(20, 100), [0..2, 2..3, 3..4, 4..5]);
        assert_eq!(bounded(1_000, 2), [0..2, 2..4, 4..5]);
        assert_eq!(bounded(1_000, 100), vec![0..5; 1]);
        assert!(split(&[], Limits { bytes: 1, rows: 1 }).is_empty());
    }
}
