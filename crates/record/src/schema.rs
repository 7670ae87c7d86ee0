//! Validates a table's declaration once, into what conversion needs of it.

use std::collections::{HashMap, HashSet};

use simbdp_api::column_type::{ColumnType, ScalarType};
use simbdp_api::pipeline::{Column, PrimaryKey, ShardKey, TableSpec, TtlError};
use simbdp_api::wire::rest::Field;

use crate::convert;
use crate::row::IDENTITY_COLUMNS;
use crate::time::{TimeFormat, TimeFormatError};
use crate::{MAX_FIELD_BYTES, MAX_KEY_BYTES};

/// A table's declaration that cannot be kept.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SchemaError {
    /// Nothing to write.
    #[error("table `{0}` declares no columns: name at least one")]
    NoColumns(String),
    /// A name of a table or column that does not fit.
    #[error(
        "`{0}` is not a name of a table or column: 1 to 48 lower-case letters, digits and underscores, starting with a letter"
    )]
    BadName(String),
    /// A column name of the platform's own.
    #[error(
        "column `{0}`: names that start with simbdp_ are the platform's own; rename it, and use `from` to read the same field"
    )]
    ReservedName(String),
    /// Two columns of one name.
    #[error("column `{0}` is declared twice: remove or rename one")]
    DuplicateColumn(String),
    /// Two columns read the same field.
    #[error(
        "columns `{first}` and `{second}` both read the field `{field}`: give one of them another `from`"
    )]
    DuplicateSource {
        /// The column declared first.
        first: String,
        /// The column declared second.
        second: String,
        /// The field.
        field: String,
    },
    /// `timeFormat` on a column that holds no time.
    #[error(
        "column `{column}`: timeFormat needs the type timestamp, date or time, but the type is {column_type}"
    )]
    TimeFormatType {
        /// The column.
        column: String,
        /// Its type.
        column_type: ColumnType,
    },
    /// A `timeFormat` that does not do.
    #[error("column `{column}`: {error}")]
    TimeFormat {
        /// The column.
        column: String,
        /// What is wrong with its format.
        error: TimeFormatError,
    },
    /// A primary key without partition columns.
    #[error("primaryKey.partition names no column: name at least one, or leave primaryKey out")]
    EmptyKey,
    /// A key column that is not declared.
    #[error("primaryKey names `{0}`, which is not in columns")]
    UnknownKeyColumn(String),
    /// A column twice in the key.
    #[error("primaryKey names `{0}` twice: a column is in it once")]
    RepeatedKeyColumn(String),
    /// Both or neither of the forms of a shard key.
    #[error(
        "exactly one of shardKey.hashed and shardKey.ranged must be set, and must name a column"
    )]
    ShardKeyForm,
    /// A shard key with a column that is not in the primary key.
    #[error(
        "shardKey names `{0}`, which is not in the primary key: name columns of primaryKey only, so that a key is on one shard"
    )]
    UnknownShardKeyColumn(String),
    /// A column twice in the shard key.
    #[error("shardKey names `{0}` twice: a column is in it once")]
    RepeatedShardKeyColumn(String),
    /// A collection in the key.
    #[error(
        "column `{column}` is a {column_type} and cannot be in primaryKey: use a column of a single value"
    )]
    CollectionKey {
        /// The column.
        column: String,
        /// Its type.
        column_type: ColumnType,
    },
    /// A time to live that cannot be kept.
    #[error("table.ttl: {0}")]
    Ttl(#[from] TtlError),
}

/// What a field of a column is first read as; what is nothing of the kind is looked at more closely.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FirstTry {
    Int,
    Bigint,
    Double,
    /// Text of this many bytes, which may be one that means null.
    Text {
        may_be_null: bool,
        shortest: u16,
        longest: u32,
    },
    Timestamp,
    /// Nothing: its type is rare, or a text that could be converted may mean null.
    Nothing,
}

/// A column, validated.
#[derive(Clone, Debug)]
pub struct ColumnSchema {
    name: String,
    source: String,
    column_type: ColumnType,
    null_values: Vec<String>,
    first_try: FirstTry,
    pub(crate) time_format: Option<TimeFormat>,
    required: bool,
    key: bool,
    sole_partition: bool,
}

impl ColumnSchema {
    /// Name of the column.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Name of the field that it is read from.
    pub fn source(&self) -> &str {
        &self.source
    }
    /// Type of the column.
    pub fn column_type(&self) -> ColumnType {
        self.column_type
    }
    /// Whether a record must have a value for it; true for key columns.
    pub fn required(&self) -> bool {
        self.required
    }
    /// Whether it is in the primary key.
    pub fn key(&self) -> bool {
        self.key
    }
    /// Whether a text means null.
    #[inline]
    pub(crate) fn is_null_text(&self, text: &str) -> bool {
        self.null_values.iter().any(|null| null == text)
    }
    /// What a field is first read as.
    #[inline]
    pub(crate) fn first_try(&self) -> FirstTry {
        self.first_try
    }
    /// Whether any text means null.
    pub(crate) fn has_null_values(&self) -> bool {
        !self.null_values.is_empty()
    }
    /// Whether it is the whole partition key, which Cassandra wants not to be empty.
    pub(crate) fn sole_partition(&self) -> bool {
        self.sole_partition
    }
    /// Whether it is of type text.
    #[inline]
    pub(crate) fn is_text(&self) -> bool {
        self.column_type == ColumnType::Scalar(ScalarType::Text)
    }
}

/// A table's declaration, validated: how records become rows of it.
#[derive(Clone, Debug)]
pub struct RowSchema {
    columns: Vec<ColumnSchema>,
    by_source: HashMap<String, usize>,
    identity: bool,
    ttl_seconds: Option<u32>,
}

impl RowSchema {
    /// Validates a declaration.
    ///
    /// # Errors
    /// The first thing that cannot be kept, by name, with what would be right.
    pub fn new(table: &TableSpec) -> Result<Self, SchemaError> {
        check_name(&table.name)?;
        if table.columns.is_empty() {
            return Err(SchemaError::NoColumns(table.name.clone()));
        }
        let mut names = HashSet::new();
        let mut by_source = HashMap::new();
        let mut columns: Vec<ColumnSchema> = Vec::with_capacity(table.columns.len());
        for (index, column) in table.columns.iter().enumerate() {
            if !names.insert(column.name.as_str()) {
                return Err(SchemaError::DuplicateColumn(column.name.clone()));
            }
            if let Some(first) = by_source.insert(column.source().to_owned(), index) {
                return Err(SchemaError::DuplicateSource {
                    first: table.columns[first].name.clone(),
                    second: column.name.clone(),
                    field: column.source().to_owned(),
                });
            }
            columns.push(column_schema(column)?);
        }
        if let Some(key) = &table.primary_key {
            mark_key(&mut columns, key)?;
        }
        if let Some(shard_key) = &table.shard_key {
            check_shard_key(table, shard_key)?;
        }
        Ok(Self {
            columns,
            by_source,
            identity: table.primary_key.is_none(),
            ttl_seconds: table.ttl.as_ref().map(|ttl| ttl.seconds()).transpose()?,
        })
    }

    /// The declared columns, in order; without the identity columns.
    pub fn columns(&self) -> &[ColumnSchema] {
        &self.columns
    }
    /// Index among the declared columns of the one that reads a field.
    pub fn column_of_field(&self, field: &str) -> Option<usize> {
        self.by_source.get(field).copied()
    }
    /// A declared column by its name.
    pub fn column(&self, name: &str) -> Option<&ColumnSchema> {
        self.columns.iter().find(|column| column.name == name)
    }
    /// Whether rows begin with the identity columns, because the table has no primary key.
    pub fn has_identity(&self) -> bool {
        self.identity
    }
    /// Values of a row, with the identity columns.
    pub fn width(&self) -> usize {
        self.columns.len() + self.identity_width()
    }
    /// How long rows live, in seconds, counted from their version.
    pub fn ttl_seconds(&self) -> Option<u32> {
        self.ttl_seconds
    }
    /// The fields of a record, as `GET /v1/pipelines/{p}/constraints` shows them.
    pub fn fields(&self) -> Vec<Field> {
        let field = |column: &ColumnSchema| Field {
            name: column.source.clone(),
            column: column.name.clone(),
            column_type: column.column_type,
            required: column.required,
        };
        self.columns.iter().map(field).collect()
    }

    pub(crate) fn identity_width(&self) -> usize {
        if self.identity {
            crate::row::IDENTITY_COLUMNS.len()
        } else {
            0
        }
    }
}

fn check_name(name: &str) -> Result<(), SchemaError> {
    let fits = (1..=48).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if fits {
        Ok(())
    } else {
        Err(SchemaError::BadName(name.to_owned()))
    }
}

fn column_schema(column: &Column) -> Result<ColumnSchema, SchemaError> {
    check_name(&column.name)?;
    if column.name.starts_with("simbdp_") {
        return Err(SchemaError::ReservedName(column.name.clone()));
    }
    let time_format = match (&column.time_format, column.column_type) {
        (None, _) => None,
        (
            Some(format),
            ColumnType::Scalar(
                scalar @ (ScalarType::Timestamp | ScalarType::Date | ScalarType::Time),
            ),
        ) => {
            let format =
                TimeFormat::new(scalar, format).map_err(|error| SchemaError::TimeFormat {
                    column: column.name.clone(),
                    error,
                })?;
            Some(format)
        }
        (Some(_), column_type) => {
            return Err(SchemaError::TimeFormatType {
                column: column.name.clone(),
                column_type,
            });
        }
    };
    Ok(ColumnSchema {
        name: column.name.clone(),
        source: column.source().to_owned(),
        column_type: column.column_type,
        null_values: column.null_values.clone(),
        first_try: first_try(column, time_format.as_ref()),
        time_format,
        required: column.required,
        key: false,
        sole_partition: false,
    })
}

fn first_try(column: &Column, time_format: Option<&TimeFormat>) -> FirstTry {
    // A text that means null but could be converted too, as `-999` in a column of numbers, must be looked
    // for before, not after, conversion has failed.
    let converts = |text: &String| convert::value(column.column_type, time_format, text).is_ok();
    let is_text = column.column_type == ColumnType::Scalar(ScalarType::Text);
    if !is_text && column.null_values.iter().any(converts) {
        return FirstTry::Nothing;
    }
    match column.column_type {
        ColumnType::Scalar(ScalarType::Int) => FirstTry::Int,
        ColumnType::Scalar(ScalarType::Bigint) => FirstTry::Bigint,
        ColumnType::Scalar(ScalarType::Double) => FirstTry::Double,
        ColumnType::Scalar(ScalarType::Text) => FirstTry::Text {
            may_be_null: !column.null_values.is_empty(),
            shortest: 0,
            longest: MAX_FIELD_BYTES as u32,
        },
        ColumnType::Scalar(ScalarType::Timestamp) if time_format.is_none() => FirstTry::Timestamp,
        _ => FirstTry::Nothing,
    }
}

/// Rows of one primary key must always fall on one shard: there alone `_id` is unique.
fn check_shard_key(table: &TableSpec, shard_key: &ShardKey) -> Result<(), SchemaError> {
    if shard_key.hashed.is_some() == shard_key.ranged.is_some()
        || shard_key.columns().next().is_none()
    {
        return Err(SchemaError::ShardKeyForm);
    }
    let in_key = |name: &String| match &table.primary_key {
        Some(key) => {
            key.partition.contains(name) || key.clustering.iter().any(|one| one.column == *name)
        }
        None => IDENTITY_COLUMNS.iter().any(|(column, _)| column == name),
    };
    let mut seen = HashSet::new();
    for name in shard_key.columns() {
        if !in_key(name) {
            return Err(SchemaError::UnknownShardKeyColumn(name.clone()));
        }
        if !seen.insert(name) {
            return Err(SchemaError::RepeatedShardKeyColumn(name.clone()));
        }
    }
    Ok(())
}

fn mark_key(columns: &mut [ColumnSchema], key: &PrimaryKey) -> Result<(), SchemaError> {
    if key.partition.is_empty() {
        return Err(SchemaError::EmptyKey);
    }
    let clustering = key.clustering.iter().map(|clustering| &clustering.column);
    for name in key.partition.iter().chain(clustering) {
        let column = columns
            .iter_mut()
            .find(|column| column.name == *name)
            .ok_or_else(|| SchemaError::UnknownKeyColumn(name.clone()))?;
        if column.key {
            return Err(SchemaError::RepeatedKeyColumn(name.clone()));
        }
        if !matches!(column.column_type, ColumnType::Scalar(_)) {
            return Err(SchemaError::CollectionKey {
                column: name.clone(),
                column_type: column.column_type,
            });
        }
        column.key = true;
        column.required = true;
        if let FirstTry::Text {
            shortest, longest, ..
        } = &mut column.first_try
        {
            // An empty text may be refused.
            *shortest = 1;
            *longest = MAX_KEY_BYTES as u32;
        }
        column.sole_partition = key.partition.len() == 1 && key.partition[0] == *name;
    }
    Ok(())
}
