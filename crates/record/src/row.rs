//! A converted record, or the reason why there is none.

use crate::value::Value;

/// A record that conforms to its table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// One value for each column of the table, in the order of `TableSpec::columns`, preceded by the
    /// identity columns (source, bucket, ordinal) where the table has no primary key of its own.
    pub values: Vec<Option<Value>>,
    /// Version: microseconds since 1970.
    pub version: i64,
}

/// Why a record does not conform.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}{reason}", column.as_ref().map(|c| format!("column `{c}`: ")).unwrap_or_default())]
pub struct RowFault {
    /// Column, where the fault is in one.
    pub column: Option<String>,
    /// What is wrong and what would be right.
    pub reason: String,
}
