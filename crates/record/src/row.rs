//! A converted record, or the reason why there is none; and the identity of records.

use simbdp_api::column_type::{ColumnType, ScalarType};

use crate::rows::OpenRow;
use crate::value::Value;

/// Name of the identity column with the source id, first part of the partition key.
pub const SOURCE_COLUMN: &str = "simbdp_source";
/// Name of the identity column with the bucket of ordinals, second part of the partition key.
pub const BUCKET_COLUMN: &str = "simbdp_bucket";
/// Name of the identity column with the ordinal, the clustering key.
pub const ORDINAL_COLUMN: &str = "simbdp_ordinal";
/// Ordinals of one bucket, so that no file is one giant partition.
pub const BUCKET_SIZE: u64 = 10_000;
/// Columns of a table that has no primary key of its own, before its declared ones:
/// `PRIMARY KEY ((simbdp_source, simbdp_bucket), simbdp_ordinal)`.
pub const IDENTITY_COLUMNS: [(&str, ColumnType); 3] = [
    (SOURCE_COLUMN, ColumnType::Scalar(ScalarType::Text)),
    (BUCKET_COLUMN, ColumnType::Scalar(ScalarType::Int)),
    (ORDINAL_COLUMN, ColumnType::Scalar(ScalarType::Bigint)),
];

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
    /// The field of the record, where the fault is in one: by its name in the file or message.
    pub column: Option<String>,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl RowFault {
    pub(crate) fn of_row(reason: impl Into<String>) -> Self {
        Self {
            column: None,
            reason: reason.into(),
        }
    }

    pub(crate) fn of_column(column: &str, reason: impl Into<String>) -> Self {
        Self {
            column: Some(column.to_owned()),
            reason: reason.into(),
        }
    }
}

/// Sets the identity columns' values; what is set later are the declared columns.
pub(crate) fn set_identity(row: &mut OpenRow<'_>, source: &str, ordinal: u64) {
    // A bucket beyond i32 would take 2 * 10^13 records of one source: saturate rather than wrap.
    let bucket = i32::try_from(ordinal / BUCKET_SIZE).unwrap_or(i32::MAX);
    let ordinal = i64::try_from(ordinal).unwrap_or(i64::MAX);
    row.set(0, Value::Text(source.to_owned()));
    row.set(1, Value::Int(bucket));
    row.set(2, Value::Bigint(ordinal));
    row.skip(IDENTITY_COLUMNS.len());
}

/// The version of a record: the base plus its ordinal.
pub(crate) fn version(base: i64, ordinal: u64) -> i64 {
    base.saturating_add(i64::try_from(ordinal).unwrap_or(i64::MAX))
}
