//! Reads pages of rows: one partition, a prefix of the clustering columns, a range of the next one.

use std::sync::PoisonError;

use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::Row as CqlRow;
use simbdp_record::Value;

use super::encode::{Cells, Layout};
use super::table::CassandraTable;
use super::{decode, quote};
use crate::store::{Page, RowQuery, StoreError};

/// Most rows of a page, whatever is asked.
const LARGEST_PAGE: u32 = 10_000;

/// A query as CQL and the values of its markers.
#[derive(Debug)]
pub(crate) struct Select {
    pub cql: String,
    pub cells: Cells,
}

fn bad(text: String) -> StoreError {
    StoreError::BadQuery(text)
}

/// Collects conditions; checks each column against the place that it must have in the key.
struct Conditions<'a> {
    layout: &'a Layout,
    texts: Vec<String>,
    cells: Cells,
}

impl Conditions<'_> {
    fn name(&self, place: usize) -> &str {
        &self.layout.columns[place].0
    }

    fn names(&self, places: &[usize]) -> String {
        let names: Vec<_> = places.iter().map(|place| self.name(*place)).collect();
        names.join(", ")
    }

    fn place(&self, column: &str) -> Result<usize, StoreError> {
        self.layout
            .columns
            .iter()
            .position(|(name, _)| name == column)
            .ok_or_else(|| bad(format!("the table has no column `{column}`")))
    }

    fn add(&mut self, place: usize, operator: &str, value: &Value) -> Result<(), StoreError> {
        let (name, column_type) = &self.layout.columns[place];
        self.cells
            .push(*column_type, value)
            .map_err(|reason| bad(format!("column `{name}`: {reason}")))?;
        self.texts.push(format!("{} {operator} ?", quote(name)));
        Ok(())
    }

    fn partition(&mut self, given: &[(String, Value)]) -> Result<(), StoreError> {
        let key = self.names(&self.layout.partition);
        for (column, _) in given {
            let place = self.place(column)?;
            if !self.layout.partition.contains(&place) {
                return Err(bad(format!(
                    "column `{column}` is not in the partition key ({key})"
                )));
            }
        }
        for place in &self.layout.partition {
            let name = self.name(*place);
            let mut values = given.iter().filter(|(column, _)| column == name);
            let Some((_, value)) = values.next() else {
                return Err(bad(format!(
                    "column `{name}` is missing: rows are read by the whole partition key ({key}), each column with its value"
                )));
            };
            if values.next().is_some() {
                return Err(bad(format!("column `{name}` is given more than once")));
            }
            self.add(*place, "=", value)?;
        }
        Ok(())
    }

    fn clustering(&mut self, query: &RowQuery) -> Result<(), StoreError> {
        let order = self.names(&self.layout.clustering);
        let must = |wanted: Option<&str>, column: &str| match wanted {
            Some(wanted) => bad(format!(
                "column `{column}` cannot be used here: after the partition key come the clustering columns in their order ({order}), and the next one is `{wanted}`"
            )),
            None => bad(format!(
                "column `{column}` cannot be used here: the table has no further clustering column"
            )),
        };
        let mut next = self.layout.clustering.iter();
        for (column, value) in &query.clustering {
            let place = self.place(column)?;
            match next.next() {
                Some(wanted) if *wanted == place => self.add(place, "=", value)?,
                other => return Err(must(other.map(|p| self.name(*p)), column)),
            }
        }
        let Some(range) = &query.range else {
            return Ok(());
        };
        let place = self.place(&range.column)?;
        match next.next() {
            Some(wanted) if *wanted == place => {}
            other => return Err(must(other.map(|p| self.name(*p)), &range.column)),
        }
        if let Some((value, inclusive)) = &range.lower {
            self.add(place, if *inclusive { ">=" } else { ">" }, value)?;
        }
        if let Some((value, inclusive)) = &range.upper {
            self.add(place, if *inclusive { "<=" } else { "<" }, value)?;
        }
        Ok(())
    }
}

/// Builds the query [pure].
pub(crate) fn select(
    keyspace: &str,
    table: &str,
    layout: &Layout,
    query: &RowQuery,
) -> Result<Select, StoreError> {
    let mut conditions = Conditions {
        layout,
        texts: Vec::new(),
        cells: Cells::default(),
    };
    conditions.partition(&query.partition)?;
    conditions.clustering(query)?;
    let names: Vec<_> = layout.columns.iter().map(|(name, _)| quote(name)).collect();
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
        return bad("the page does not belong to this query: start again without it".to_owned());
    }
    error.into()
}

/// Reads one page.
pub(crate) async fn page(table: &CassandraTable, query: &RowQuery) -> Result<Page, StoreError> {
    let select = select(&table.keyspace, &table.name, &table.encoder.layout, query)?;
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
        columns: table
            .encoder
            .layout
            .columns
            .iter()
            .map(|(n, _)| n.clone())
            .collect(),
        rows,
        next,
    })
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
