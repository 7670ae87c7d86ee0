//! Writing and reading rows of a tenant's tables.

use std::sync::Arc;

use futures::future::BoxFuture;
use simbdp_api::pipeline::TableSpec;
use simbdp_record::{Rows, Value};

/// A failure of a read or a write.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// The same call may succeed later: no quorum, time-out, overload, connection lost, schema not agreed yet.
    #[error("the database cannot serve now: {0}")]
    Transient(String),
    /// The same call will never succeed: the row or query itself is refused.
    #[error("the database refuses: {0}")]
    Permanent(String),
    /// A query that the engine cannot serve efficiently, or that names what is not there.
    #[error("{0}")]
    BadQuery(String),
}

/// Rows of one table: by partition key (all columns, equality) and a range of the clustering columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowQuery {
    /// Partition key columns, each with its value; all of them.
    pub partition: Vec<(String, Value)>,
    /// Leading clustering columns with their value.
    pub clustering: Vec<(String, Value)>,
    /// The next clustering column, with bounds.
    pub range: Option<RowRange>,
    /// Most rows of the page.
    pub limit: u32,
    /// Where the last page ended, opaque.
    pub page: Option<Vec<u8>>,
}

/// Bounds of one clustering column.
#[derive(Clone, Debug, PartialEq)]
pub struct RowRange {
    /// Column.
    pub column: String,
    /// Lower bound, and whether it is itself in the range.
    pub lower: Option<(Value, bool)>,
    /// Upper bound, and whether it is itself in the range.
    pub upper: Option<(Value, bool)>,
}

/// A page of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Values, in the order of `columns`.
    pub rows: Vec<Vec<Option<Value>>>,
    /// Where this page ended; [`None`] on the last one.
    pub next: Option<Vec<u8>>,
}

/// A session in a tenant's database, as the platform's role.
pub trait Store: Send + Sync {
    /// Prepares the table's statements once. `table` is the declared one; the values of [`Rows`] follow it.
    fn table<'a>(
        &'a self,
        keyspace: &'a str,
        table: &'a TableSpec,
    ) -> BoxFuture<'a, Result<Arc<dyn Table>, StoreError>>;
    /// Whether the database answers now.
    fn ready(&self) -> BoxFuture<'_, bool>;
}

/// One table of a tenant, prepared.
pub trait Table: Send + Sync {
    /// Writes rows, each with its version as timestamp, TTL counted from its version; rows whose time is
    /// already over are skipped. On return every row is durable at LOCAL_QUORUM, or the error says whether to
    /// try all of them again: repeating is harmless. Groups them by replica set into batches
    /// bounded in bytes, several in flight.
    fn write<'a>(&'a self, rows: &'a Rows) -> BoxFuture<'a, Result<WriteReport, StoreError>>;
    /// Reads a page of rows at LOCAL_QUORUM.
    fn read<'a>(&'a self, query: &'a RowQuery) -> BoxFuture<'a, Result<Page, StoreError>>;
}

/// What a write did, for metrics.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WriteReport {
    /// Rows written.
    pub rows: u64,
    /// Requests to the database that it took.
    pub batches: u64,
}
