//! Counters that are exact under concurrency: compare-and-set with back-off.
//!
//! A transaction that times out may have been applied. So each change writes a mark of its own beside the
//! number; after an uncertain answer, the mark tells whether the change is in.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;
use simbdp_api::pipeline::{Order, Period};
use uuid::Uuid;

use super::CassandraLedger;
use super::statements::{Preparer, rows, transact};
use crate::declaration::TableDef;
use crate::ledger::values::{ATTEMPTS_SECONDS, MARKS, period};
use crate::store::StoreError;

const ROUNDS: usize = 60;

/// A table of counters with a key of two texts.
pub(super) fn table(name: &str, first: &str, second: &str) -> TableDef {
    super::table(
        name,
        &[
            (first, "text"),
            (second, "text"),
            ("n", "int"),
            ("marks", "frozen<list<uuid>>"),
        ],
        &[first, second],
        &[] as &[(&str, Order)],
    )
}

/// Statements of one table of counters.
pub(crate) struct Counter {
    read: PreparedStatement,
    read_serial: PreparedStatement,
    insert: PreparedStatement,
    update: PreparedStatement,
    delete: PreparedStatement,
}

/// What a counter holds.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Count {
    n: i32,
    marks: Vec<Uuid>,
}

/// What shall be done to it.
#[derive(Clone, Copy, Debug)]
struct Change {
    by: i32,
    limit: i32,
    /// Seconds that the counter is kept.
    ttl: i32,
}

impl Change {
    /// The number with the change; [`None`] where the limit, or zero, forbids it [pure].
    fn apply(self, count: Option<&Count>, mark: Uuid) -> Option<Count> {
        let n = count.map_or(0, |count| count.n);
        let next = n.saturating_add(self.by);
        if next < 0 || (self.by > 0 && next > self.limit) {
            return None;
        }
        let mut marks = count.map(|count| count.marks.clone()).unwrap_or_default();
        if marks.len() >= MARKS {
            marks.drain(..=marks.len() - MARKS);
        }
        marks.push(mark);
        Some(Count { n: next, marks })
    }
}

impl Counter {
    pub(super) async fn prepare(
        p: &Preparer<'_>,
        table: &str,
        first: &str,
        second: &str,
    ) -> Result<Self, StoreError> {
        let key = format!("WHERE {first} = ? AND {second} = ?");
        let read = format!("SELECT n, marks FROM {{}}.{table} {key}");
        Ok(Self {
            read: p.plain(&read).await?,
            read_serial: p.serial(&read).await?,
            insert: p
                .transaction(&format!(
                    "INSERT INTO {{}}.{table} ({first}, {second}, n, marks) VALUES (?, ?, ?, ?) IF NOT EXISTS USING TTL ?"
                ))
                .await?,
            update: p
                .transaction(&format!(
                    "UPDATE {{}}.{table} USING TTL ? SET n = ?, marks = ? {key} IF n = ? AND marks = ?"
                ))
                .await?,
            delete: p
                .transaction(&format!("DELETE FROM {{}}.{table} {key} IF EXISTS"))
                .await?,
        })
    }

    async fn look(
        &self,
        session: &Session,
        statement: &PreparedStatement,
        key: (&str, &str),
    ) -> Result<Option<Count>, StoreError> {
        let found: Vec<(Option<i32>, Option<Vec<Uuid>>)> = rows(session, statement, key).await?;
        Ok(match found.into_iter().next() {
            Some((Some(n), marks)) => Some(Count {
                n,
                marks: marks.unwrap_or_default(),
            }),
            _ => None,
        })
    }

    /// One compare-and-set: whether it was applied, and what is there if not.
    async fn swap(
        &self,
        session: &Session,
        (first, second): (&str, &str),
        (is, next): (Option<&Count>, &Count),
        ttl: i32,
    ) -> Result<Result<(), Option<Count>>, StoreError> {
        let answer = match is {
            None => {
                let values = (first, second, next.n, &next.marks, ttl);
                transact(session, &self.insert, values).await?
            }
            Some(is) => {
                let values = (ttl, next.n, &next.marks, first, second, is.n, &is.marks);
                transact(session, &self.update, values).await?
            }
        };
        if answer.applied {
            return Ok(Ok(()));
        }
        Ok(Err(answer.int("n").map(|n| Count {
            n,
            marks: answer.uuids("marks"),
        })))
    }

    /// Changes a counter; the number with the change, or [`None`] where it must not be.
    async fn change(
        &self,
        session: &Session,
        key: (&str, &str),
        change: Change,
    ) -> Result<Option<i32>, StoreError> {
        let mark = Uuid::new_v4();
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(4))
            .with_factor(1.5)
            .with_max_delay(Duration::from_millis(400))
            .with_max_times(ROUNDS)
            .with_jitter()
            .build();
        let mut is = self.look(session, &self.read, key).await?;
        let mut last = None;
        for delay in backoff {
            let Some(next) = change.apply(is.as_ref(), mark) else {
                return Ok(None);
            };
            match self
                .swap(session, key, (is.as_ref(), &next), change.ttl)
                .await
            {
                Ok(Ok(())) => return Ok(Some(next.n)),
                Ok(Err(there)) => is = there,
                Err(StoreError::Transient(reason)) => {
                    last = Some(reason);
                    tokio::time::sleep(delay).await;
                    is = self.look(session, &self.read_serial, key).await?;
                    if let Some(count) = is.as_ref().filter(|count| count.marks.contains(&mark)) {
                        return Ok(Some(count.n));
                    }
                    continue;
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(delay).await;
        }
        Err(StoreError::Transient(last.unwrap_or_else(|| {
            format!("too many count `{}` at once", key.0)
        })))
    }
}

impl CassandraLedger {
    pub(super) async fn count(
        &self,
        scope: &str,
        per: Period,
        at_millis: i64,
        limit: u32,
    ) -> Result<bool, StoreError> {
        let (session, statements) = self.open().await?;
        let (period, ttl) = period(per, at_millis);
        let change = Change {
            by: 1,
            limit: i32::try_from(limit).unwrap_or(i32::MAX),
            ttl,
        };
        let counter = &statements.file_counts;
        let counted = counter.change(&session, (scope, &period), change).await?;
        Ok(counted.is_some())
    }

    pub(super) async fn uncount(
        &self,
        scope: &str,
        per: Period,
        at_millis: i64,
    ) -> Result<(), StoreError> {
        let (session, statements) = self.open().await?;
        let (period, ttl) = period(per, at_millis);
        let change = Change {
            by: -1,
            limit: i32::MAX,
            ttl,
        };
        let counter = &statements.file_counts;
        counter.change(&session, (scope, &period), change).await?;
        Ok(())
    }

    pub(super) async fn count_attempt(
        &self,
        pipeline: &str,
        message_id: &str,
    ) -> Result<u32, StoreError> {
        let (session, statements) = self.open().await?;
        let change = Change {
            by: 1,
            limit: i32::MAX,
            ttl: ATTEMPTS_SECONDS,
        };
        let counter = &statements.attempts;
        let key = (pipeline, message_id);
        let counted = counter.change(&session, key, change).await?;
        Ok(counted
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(u32::MAX))
    }

    pub(super) async fn forget(&self, pipeline: &str, message_id: &str) -> Result<(), StoreError> {
        let (session, statements) = self.open().await?;
        let key = (pipeline, message_id);
        transact(&session, &statements.attempts.delete, key).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Count, MARKS};
    use uuid::Uuid;

    const UP: Change = Change {
        by: 1,
        limit: 2,
        ttl: 60,
    };

    #[test]
    fn the_limit_is_exact() {
        let mark = Uuid::from_u128(1);
        let one = UP.apply(None, mark).unwrap();
        assert_eq!((one.n, &one.marks), (1, &vec![mark]));
        let two = UP.apply(Some(&one), Uuid::from_u128(2)).unwrap();
        assert_eq!(two.n, 2);
        assert_eq!(UP.apply(Some(&two), mark), None);
        let down = Change { by: -1, ..UP };
        assert_eq!(down.apply(Some(&two), mark).unwrap().n, 1);
        assert_eq!(down.apply(None, mark), None);
    }

    #[test]
    fn only_the_latest_marks_are_kept() {
        let unlimited = Change {
            limit: i32::MAX,
            ..UP
        };
        let mut count: Option<Count> = None;
        for n in 0..100 {
            count = unlimited.apply(count.as_ref(), Uuid::from_u128(n));
        }
        let count = count.unwrap();
        assert_eq!((count.n, count.marks.len()), (100, MARKS));
        assert_eq!(count.marks.last(), Some(&Uuid::from_u128(99)));
    }
}
