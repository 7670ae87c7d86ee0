//! Grouping by replica set, on a ring of six members with three replicas.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::{Limits, PARTITION_OVERHEAD, Ring, split};
use crate::cassandra::encode::EncodedRow;

const MEMBERS: u128 = 6;
const TOKENS_EACH: u128 = 4;
const REPLICAS: usize = 3;

fn spread(n: u128) -> i64 {
    // A fixed, well mixed sequence: no randomness in tests.
    let mixed = (n as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 31)).cast_signed()
}

/// Token and owner, ascending.
fn owners() -> Vec<(i64, Uuid)> {
    let mut ring: Vec<_> = (0..MEMBERS * TOKENS_EACH)
        .map(|n| (spread(n), Uuid::from_u128(n % MEMBERS)))
        .collect();
    ring.sort_unstable();
    ring
}

/// The members that hold a token, by walking the ring: what the ring must agree with.
fn walk(owners: &[(i64, Uuid)], token: i64) -> BTreeSet<Uuid> {
    let start = owners
        .iter()
        .position(|(end, _)| token <= *end)
        .unwrap_or(0);
    let mut replicas = BTreeSet::new();
    for (_, owner) in owners.iter().cycle().skip(start) {
        replicas.insert(*owner);
        if replicas.len() == REPLICAS {
            break;
        }
    }
    replicas
}

fn ring(owners: &[(i64, Uuid)]) -> Ring {
    Ring::new(
        owners
            .iter()
            .map(|(token, _)| (*token, walk(owners, *token).into_iter().collect())),
    )
}

fn row(token: i64, cost: usize) -> EncodedRow {
    EncodedRow {
        values: 0..0,
        token,
        cost,
    }
}

/// The rows of each batch.
fn batches(rows: &[EncodedRow], ring: &Ring) -> Vec<Vec<EncodedRow>> {
    split(rows, ring, LIMITS)
        .iter()
        .map(|batch| batch.iter().map(|row| rows[*row].clone()).collect())
        .collect()
}

const LIMITS: Limits = Limits {
    bytes: 5_120,
    partition_bytes: 16_384,
    rows: 64,
};

#[test]
fn every_batch_lies_on_one_set_of_members() {
    let owners = owners();
    let rows: Vec<_> = (1_000..11_000).map(|n| row(spread(n), 150)).collect();
    let batches = batches(&rows, &ring(&owners));
    let mut sets: HashMap<BTreeSet<Uuid>, usize> = HashMap::new();
    for batch in &batches {
        let members = walk(&owners, batch[0].token);
        assert!(batch.iter().all(|row| walk(&owners, row.token) == members));
        let bytes = batch.iter().map(|row| row.cost + PARTITION_OVERHEAD);
        assert!(bytes.sum::<usize>() <= LIMITS.bytes);
        assert!(batch.len() <= LIMITS.rows);
        *sets.entry(members).or_default() += 1;
    }
    assert!(sets.len() > 6, "{} sets of members", sets.len());
    // 28 rows fit, and each set of members leaves at most one batch that is not full.
    let full = rows.len() / 28;
    assert!(
        batches.len() <= full + 1 + sets.len(),
        "{} batches",
        batches.len()
    );
    let mut written: Vec<_> = batches.iter().flatten().map(|row| row.token).collect();
    let mut asked: Vec<_> = rows.iter().map(|row| row.token).collect();
    written.sort_unstable();
    asked.sort_unstable();
    assert_eq!(written, asked);
}

#[test]
fn tokens_at_and_beyond_the_ends_belong_to_the_next_one() {
    let owners = owners();
    let ring = ring(&owners);
    let (first, last) = (owners[0].0, owners[owners.len() - 1].0);
    assert_eq!(ring.replica_set(i64::MIN), ring.replica_set(first));
    assert_eq!(ring.replica_set(i64::MAX), ring.replica_set(first));
    assert_eq!(ring.replica_set(last + 1), ring.replica_set(first));
    for pair in owners.windows(2) {
        assert_eq!(ring.replica_set(pair[0].0 + 1), ring.replica_set(pair[1].0));
    }
}

#[test]
fn on_three_members_with_three_replicas_all_rows_go_together() {
    let members: Vec<_> = (0..3).map(Uuid::from_u128).collect();
    let ring = Ring::new((0..12).map(|n| (spread(n), members.clone())));
    let rows: Vec<_> = (0..64).map(|n| row(spread(n), 10)).collect();
    let batches = batches(&rows, &ring);
    assert_eq!(batches.len(), 1);
}

#[test]
fn one_partition_may_fill_a_larger_batch() {
    let rows: Vec<_> = (0..60).map(|_| row(5, 500)).collect();
    let batches = batches(&rows, &Ring::default());
    let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [32, 28]);
}

#[test]
fn a_large_partition_never_shares_its_batch() {
    let mut rows: Vec<_> = (0..20).map(|_| row(5, 500)).collect();
    rows.extend((10..20).map(|n| row(n, 100)));
    let batches = batches(&rows, &Ring::default());
    for batch in batches {
        let partitions: BTreeSet<_> = batch.iter().map(|row| row.token).collect();
        let bytes = batch.iter().map(|row| row.cost).sum::<usize>();
        assert!(partitions.len() == 1 || bytes <= LIMITS.bytes);
    }
}

#[test]
fn a_row_beyond_every_limit_goes_alone() {
    let rows = vec![row(1, 100), row(2, 1_000_000), row(3, 100)];
    let batches = batches(&rows, &Ring::default());
    let sizes: Vec<_> = batches
        .iter()
        .map(|batch| batch.iter().map(|row| row.cost).collect::<Vec<_>>())
        .collect();
    assert_eq!(sizes, [vec![100], vec![1_000_000], vec![100]]);
}
