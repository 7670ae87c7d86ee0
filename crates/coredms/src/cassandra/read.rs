//! Reads pages of rows: one partition, a prefix of the clustering columns, a range of the next one.

use std::sync::PoisonError;

use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::Row as CqlRow;
use simbdp_record::Value;

use super::encode::Cells;
use super::table::CassandraTable;
use super::{decode, quote};
use crate::declaration::Shape;
use crate::selection::{self, LARGEST_PAGE, Range, bad_page, bad_value};
use crate::store::{Page, RowQuery, StoreError};

/// A query as CQL and the values of its markers.
#[derive(Debug)]
pub(crate) struct Select {
    pub cql: String,
    pub cells: Cells,
}

/// Collects conditions.
struct Conditions<'a> {
    shape: &'a Shape,
    texts: Vec<String>,
    cells: Cells,
}

impl Conditions<'_> {
    fn add(&mut self, place: usize, operator: &str, value: &Value) -> Result<(), StoreError> {
        let (name, column_type) = &self.shape.columns[place];
        self.cells
            .push(*column_type, value)
            .map_err(|reason| bad_value(self.shape, place, &reason))?;
        self.texts.push(format!("{} {operator} ?", quote(name)));
        Ok(())
    }

    fn range(&mut self, range: Range<'_>) -> Result<(), StoreError> {
        if let Some((value, inclusive)) = range.lower {
            self.add(range.place, if inclusive { ">=" } else { ">" }, value)?;
        }
        if let Some((value, inclusive)) = range.upper {
            self.add(range.place, if inclusive { "<=" } else { "<" }, value)?;
        }
        Ok(())
    }
}

/// Builds the query [pure].
pub(crate) fn select(
    keyspace: &str,
    table: &str,
    shape: &Shape,
    query: &RowQuery,
) -> Result<Select, StoreError> {
    let selection = selection::select(shape, query)?;
    let mut conditions = Conditions {
        shape,
        texts: Vec::new(),
        cells: Cells::default(),
    };
    for (place, value) in selection.equal {
        conditions.add(place, "=", value)?;
    }
    selection
        .range
        .map_or(Ok(()), |range| conditions.range(range))?;
    let names: Vec<_> = shape.columns.iter().map(|(name, _)| quote(name)).collect();
    Ok(Select {
        cql: format!(
            "SELECT {} FROM {}.{} WHERE {}",
            names.join(", "),
            quote(keyspace),
            quote(table),
            conditions.texts.join(" AND ")
        ),
        cells: conditions.cells,
    })
}

async fn prepared(
    table: &CassandraTable,
    session: &Session,
    cql: &str,
) -> Result<PreparedStatement, StoreError> {
    let known = {
        let reads = table.reads.lock().unwrap_or_else(PoisonError::into_inner);
        reads.get(cql).cloned()
    };
    if let Some(statement) = known {
        return Ok(statement);
    }
    let mut statement = session.prepare(cql).await?;
    statement.set_is_idempotent(true);
    let mut reads = table.reads.lock().unwrap_or_else(PoisonError::into_inner);
    reads.insert(cql.to_owned(), statement.clone());
    Ok(statement)
}

/// A page that the server does not know is the caller's mistake.
fn page_error(error: ExecutionError, paged: bool) -> StoreError {
    let strange = matches!(
        &error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::ProtocolError | DbError::ServerError | DbError::Invalid,
            _
        ))
    );
    if paged && strange {
        return bad_page();
    }
    error.into()
}

/// Reads one page.
pub(crate) async fn page(table: &CassandraTable, query: &RowQuery) -> Result<Page, StoreError> {
    let select = select(
        &table.keyspace,
        &table.name,
        &table.encoder.layout.shape,
        query,
    )?;
    let session = table.shared.sessions.get().await?;
    let mut statement = prepared(table, &session, &select.cql).await?;
    let size = query.limit.clamp(1, LARGEST_PAGE);
    statement.set_page_size(i32::try_from(size).unwrap_or(i32::MAX));
    let state = match &query.page {
        Some(page) => PagingState::new_from_raw_bytes(page.as_slice()),
        None => PagingState::start(),
    };
    let (result, next) = session
        .execute_single_page(&statement, select.cells.values(), state)
        .await
        .map_err(|error| page_error(error, query.page.is_some()))?;
    let unreadable =
        |error: String| StoreError::Permanent(format!("a row cannot be read: {error}"));
    let result = result
        .into_rows_result()
        .map_err(|error| unreadable(error.to_string()))?;
    let mut rows = Vec::with_capacity(result.rows_num());
    for row in result
        .rows::<CqlRow>()
        .map_err(|error| unreadable(error.to_string()))?
    {
        let row = row.map_err(|error| unreadable(error.to_string()))?;
        let values: Result<Vec<_>, _> = row
            .columns
            .into_iter()
            .map(|cell| cell.map_or(Ok(None), decode::value))
            .collect();
        rows.push(values.map_err(unreadable)?);
    }
    let next = match next {
        PagingStateResponse::HasMorePages { state } => {
            state.as_bytes_slice().map(|bytes| bytes.to_vec())
        }
        PagingStateResponse::NoMorePages => None,
    };
    Ok(Page {
        columns: table.encoder.layout.shape.names(),
        rows,
        next,
    })
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
