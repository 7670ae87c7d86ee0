//! Lists files, newest first, and sums totals.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, stream};
use simbdp_api::wire::rest::{FilePage, FileRecord};
use uuid::Uuid;

use super::CassandraLedger;
use super::files::day;
use super::statements::rows;
use crate::ledger::values::{LARGEST_PAGE, bad_page, signed, unsigned};
use crate::ledger::{FileQuery, Totals};
use crate::store::StoreError;

/// Most days with files that a list goes back.
const DAYS: i32 = 400;
/// Index entries read at once.
const CHUNK: i32 = 256;
/// Index entries that one page looks at, so that a rare state does not read the whole ledger.
const MOST_SCANNED: usize = 4_096;
/// Files read at once.
const AT_ONCE: usize = 16;

/// A page in the making.
struct Page<'a> {
    query: &'a FileQuery,
    limit: usize,
    files: Vec<FileRecord>,
    scanned: usize,
    /// The oldest id that was looked at.
    last: Uuid,
}

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.files.len() >= self.limit || self.scanned >= MOST_SCANNED
    }

    fn wants(&self, pipeline: &str) -> bool {
        self.query
            .pipeline
            .as_ref()
            .is_none_or(|wanted| wanted == pipeline)
    }

    /// Looks at one more file; false when the page is full with it.
    fn look(&mut self, id: Uuid, record: Option<FileRecord>) -> bool {
        self.last = id;
        self.scanned += 1;
        let wanted = record.filter(|file| self.query.state.is_none_or(|state| state == file.state));
        self.files.extend(wanted);
        !self.is_full()
    }
}

impl CassandraLedger {
    pub(super) async fn list(&self, query: &FileQuery) -> Result<FilePage, StoreError> {
        let before = match &query.page {
            None => Uuid::max(),
            Some(page) => page.parse().map_err(|_| bad_page(page))?,
        };
        let mut page = Page {
            query,
            limit: query.limit.clamp(1, LARGEST_PAGE) as usize,
            files: Vec::new(),
            scanned: 0,
            last: before,
        };
        let mut more = false;
        for day in self.days(before).await? {
            more = self.list_day(day, &mut page).await?;
            if more {
                break;
            }
        }
        Ok(FilePage {
            next_page: more.then(|| page.last.to_string()),
            files: page.files,
        })
    }

    /// Days that have files, newest first, from the day of `before` on.
    async fn days(&self, before: Uuid) -> Result<Vec<NaiveDate>, StoreError> {
        let (session, statements) = self.open().await?;
        let newest = if before == Uuid::max() {
            NaiveDate::from_ymd_opt(9_999, 12, 31).unwrap_or(NaiveDate::MAX)
        } else {
            day(before)
        };
        let found: Vec<(NaiveDate,)> = rows(&session, &statements.days, (newest, DAYS)).await?;
        Ok(found.into_iter().map(|(day,)| day).collect())
    }

    /// Adds files of a day; true when the page is full, though there may be more.
    async fn list_day(&self, day: NaiveDate, page: &mut Page<'_>) -> Result<bool, StoreError> {
        let (session, statements) = self.open().await?;
        let mut before = page.last;
        loop {
            let values = (day, before, CHUNK);
            let ids: Vec<(Uuid, Option<String>)> =
                rows(&session, &statements.by_day, values).await?;
            let Some((oldest, _)) = ids.last() else {
                return Ok(false);
            };
            before = *oldest;
            let whole = ids.len() < CHUNK as usize;
            let wanted: Vec<(Uuid, bool)> = ids
                .into_iter()
                .map(|(id, pipeline)| (id, page.wants(&pipeline.unwrap_or_default())))
                .collect();
            let mut files = stream::iter(wanted)
                .map(|(id, wanted)| async move {
                    let record = if wanted { self.record(id).await? } else { None };
                    Ok::<_, StoreError>((id, record))
                })
                .buffered(AT_ONCE);
            while let Some((id, record)) = files.try_next().await? {
                if !page.look(id, record) {
                    return Ok(true);
                }
            }
            if whole {
                return Ok(false);
            }
        }
    }

    /// Overwrites; the timestamp is this process's own, so that its later figures win.
    pub(super) async fn write_totals(
        &self,
        pipeline: &str,
        instance: &str,
        totals: Totals,
    ) -> Result<(), StoreError> {
        let (session, statements) = self.open().await?;
        let micros = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros());
        let values = (
            pipeline,
            instance,
            signed(totals.rows),
            signed(totals.rejected),
            i64::try_from(micros).unwrap_or(i64::MAX),
        );
        session
            .execute_unpaged(&statements.put_totals, values)
            .await?;
        Ok(())
    }

    pub(super) async fn sum_totals(&self, pipeline: &str) -> Result<Totals, StoreError> {
        let (session, statements) = self.open().await?;
        let found: Vec<(Option<i64>, Option<i64>)> =
            rows(&session, &statements.totals, (pipeline,)).await?;
        let add = |sum: u64, number: Option<i64>| sum.saturating_add(number.map_or(0, unsigned));
        Ok(found
            .into_iter()
            .fold(Totals::default(), |sum, (rows, rejected)| Totals {
                rows: add(sum.rows, rows),
                rejected: add(sum.rejected, rejected),
            }))
    }
}
