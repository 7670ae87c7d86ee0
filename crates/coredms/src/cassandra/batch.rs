//! Groups rows into batches [pure]. Rows whose partitions lie on the same members go into one unlogged
//! batch, which any of these members coordinates without asking another one for its rows; on a ring where
//! each partition lies elsewhere, a batch of arbitrary rows would make the coordinator a bottleneck.

use std::collections::HashMap;

use uuid::Uuid;

use super::encode::EncodedRow;

/// Which members hold which tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring {
    /// Tokens of the ring, ascending, each with the number of its replica set.
    tokens: Vec<(i64, u32)>,
}

impl Ring {
    /// A ring of tokens, each with the members that hold the range which ends at it.
    pub(crate) fn new(tokens: impl IntoIterator<Item = (i64, Vec<Uuid>)>) -> Self {
        let mut sets: HashMap<Vec<Uuid>, u32> = HashMap::new();
        let mut ring: Vec<(i64, u32)> = tokens
            .into_iter()
            .map(|(token, mut replicas)| {
                replicas.sort_unstable();
                replicas.dedup();
                let next = u32::try_from(sets.len()).unwrap_or(u32::MAX);
                (token, *sets.entry(replicas).or_insert(next))
            })
            .collect();
        ring.sort_unstable();
        Self { tokens: ring }
    }

    /// The number of the replica set that holds a token: that of the next token of the ring, and beyond
    /// the last one that of the first.
    pub(crate) fn replica_set(&self, token: i64) -> u32 {
        let next = self.tokens.partition_point(|(end, _)| *end < token);
        self.tokens
            .get(next)
            .or(self.tokens.first())
            .map_or(0, |(_, set)| *set)
    }
}

/// How large a batch may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a batch over several partitions: members warn at 5 KiB and refuse at 50 KiB by default.
    pub bytes: usize,
    /// Bytes of a batch in one partition, which is one mutation and has no limit of its own.
    pub partition_bytes: usize,
    /// Rows of any batch.
    pub rows: usize,
}

/// What a member counts for each partition of a batch beside its rows: that nothing of it is deleted, and a static row.
const PARTITION_OVERHEAD: usize = 28;

/// Fills one batch after the other.
struct Filler {
    limits: Limits,
    open: Vec<usize>,
    bytes: usize,
    full: Vec<Vec<usize>>,
}

impl Filler {
    fn close(&mut self) {
        if !self.open.is_empty() {
            self.full.push(std::mem::take(&mut self.open));
            self.bytes = 0;
        }
    }

    /// Adds a row, the first of its partition or another one.
    fn add(&mut self, row: usize, cost: usize, first: bool, bytes: usize) {
        let with = |first| cost + if first { PARTITION_OVERHEAD } else { 0 };
        if self.bytes + with(first) > bytes || self.open.len() >= self.limits.rows {
            self.close();
        }
        self.bytes += with(first || self.open.is_empty());
        self.open.push(row);
    }
}

/// Splits rows into batches, each of rows on the same members; a batch has its rows' positions. A row beyond
/// the limits goes alone.
pub(crate) fn split(rows: &[EncodedRow], ring: &Ring, limits: Limits) -> Vec<Vec<usize>> {
    let place =
        |(index, row): (usize, &EncodedRow)| (ring.replica_set(row.token), row.token, index);
    let mut order: Vec<_> = rows.iter().enumerate().map(place).collect();
    order.sort_unstable();
    let mut filler = Filler {
        limits,
        open: Vec::new(),
        bytes: 0,
        full: Vec::new(),
    };
    for members in order.chunk_by(|(one, ..), (other, ..)| one == other) {
        for partition in members.chunk_by(|(_, one, _), (_, other, _)| one == other) {
            let cost = |(_, _, row): &(u32, i64, usize)| rows[*row].cost;
            let large =
                partition.len() > 1 && partition.iter().map(cost).sum::<usize>() > limits.bytes;
            let bytes = if large {
                filler.close();
                limits.partition_bytes
            } else {
                limits.bytes
            };
            for (n, at) in partition.iter().enumerate() {
                filler.add(at.2, cost(at), n == 0, bytes);
            }
            if large {
                filler.close();
            }
        }
        filler.close();
    }
    filler.full
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
