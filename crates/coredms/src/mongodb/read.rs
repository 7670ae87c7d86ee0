//! Reads pages of rows: one partition, a prefix of the clustering columns, a range of the next one.
//!
//! Reads go to the primary with read concern `majority`: a row that was acknowledged is seen, and one that a
//! failover could take back is not. That is what LOCAL_QUORUM gives in Cassandra, but for the seconds in which a
//! primary that was cut off does not know yet that another one took over: then a read may be that old.

use futures::TryStreamExt;
use mongodb::bson::RawDocumentBuf;
use mongodb::options::Hint;

use super::decode;
use super::error::{code, command_code};
use super::scan::{Scan, Scanner};
use super::table::MongoTable;
use crate::lifetime::now_micros;
use crate::selection::LARGEST_PAGE;
use crate::store::{Page, RowQuery, StoreError};

/// Reads one page.
pub(crate) async fn page(table: &MongoTable, query: &RowQuery) -> Result<Page, StoreError> {
    let scan = table.scanner.plan(query, now_micros() / 1_000)?;
    let limit = query.limit.clamp(1, LARGEST_PAGE) as usize;
    let mut documents = run(table, scan, limit + 1).await?;
    let more = documents.len() > limit;
    documents.truncate(limit);
    let next = match documents.last() {
        Some(last) if more => Scanner::page(last),
        _ => None,
    };
    let shape = &table.encoder.shape;
    let rows: Result<_, _> = documents
        .iter()
        .map(|row| decode::row(shape, row))
        .collect();
    Ok(Page {
        columns: shape.names(),
        rows: rows
            .map_err(|reason| StoreError::Permanent(format!("a row cannot be read: {reason}")))?,
        next,
    })
}

async fn run(
    table: &MongoTable,
    scan: Scan,
    limit: usize,
) -> Result<Vec<RawDocumentBuf>, StoreError> {
    let collection = table
        .database()
        .await?
        .collection::<RawDocumentBuf>(&table.name);
    let clients = &table.shared.clients;
    let answer = async {
        let mut find = collection
            .find(scan.filter)
            .sort(scan.sort)
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .max_time(clients.timeout);
        if let Some((index, min, max)) = scan.bounds {
            find = find.hint(Hint::Name(index.to_owned())).min(min).max(max);
        }
        match find.await {
            Ok(cursor) => cursor.try_collect().await,
            // Nothing lies between bounds that are the wrong way round.
            Err(error) if command_code(&error) == Some(code::MIN_NOT_BELOW_MAX) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    };
    clients.within(answer).await
}
