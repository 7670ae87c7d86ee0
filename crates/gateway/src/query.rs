//! Query parameters of `GET /v1/tables/{t}/rows` → [`RowQuery`]. Pure.
//!
//! Every column of the partition key has its value (`origin=EWR`), then leading clustering columns may
//! have theirs, and the next one may have bounds (`hour.gte=5&hour.lt=9`). `column.eq` is the same as
//! `column`, for columns that are called `limit` or `page`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use simbdp_api::column_type::ColumnType;
use simbdp_api::pipeline::TableSpec;
use simbdp_coredms::store::{RowQuery, RowRange};
use simbdp_record::Value;
use simbdp_record::row::{BUCKET_COLUMN, IDENTITY_COLUMNS, ORDINAL_COLUMN, SOURCE_COLUMN};

/// Most rows of a page.
pub const MAX_LIMIT: u32 = 1000;
const DEFAULT_LIMIT: u32 = 100;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Comparison {
    Equal,
    Lower { inclusive: bool },
    Upper { inclusive: bool },
}

struct Term<'a> {
    column: &'a str,
    comparison: Comparison,
    value: Value,
}

/// The key columns of a table.
struct Key<'a> {
    partition: Vec<&'a str>,
    clustering: Vec<&'a str>,
}

impl<'a> Key<'a> {
    fn of(table: &'a TableSpec) -> Self {
        match &table.primary_key {
            Some(key) => Self {
                partition: key.partition.iter().map(String::as_str).collect(),
                clustering: key
                    .clustering
                    .iter()
                    .map(|column| column.column.as_str())
                    .collect(),
            },
            None => Self {
                partition: vec![SOURCE_COLUMN, BUCKET_COLUMN],
                clustering: vec![ORDINAL_COLUMN],
            },
        }
    }

    fn has(&self, column: &str) -> bool {
        self.partition.contains(&column) || self.clustering.contains(&column)
    }

    fn describe(&self) -> String {
        let mut text = format!("partition key {}", self.partition.join(", "));
        if !self.clustering.is_empty() {
            text.push_str("; clustering columns ");
            text.push_str(&self.clustering.join(", "));
        }
        text
    }
}

/// Reads the parameters; the error says what would be right.
pub fn parse(table: &TableSpec, parameters: &[(String, String)]) -> Result<RowQuery, String> {
    let key = Key::of(table);
    let mut query = RowQuery {
        limit: DEFAULT_LIMIT,
        ..RowQuery::default()
    };
    let mut terms = Vec::new();
    for (name, text) in parameters {
        match name.as_str() {
            "limit" => query.limit = limit(text)?,
            "page" => query.page = Some(page(text)?),
            _ => terms.push(term(table, &key, name, text)?),
        }
    }
    check_repetition(&terms)?;
    for column in &key.partition {
        query.partition.push(equality(&terms, column).ok_or_else(|| {
            format!(
                "`{column}` is missing: rows are read by their partition key, every column of it with a value ({})",
                key.describe()
            )
        })?);
    }
    clustering(&key, &terms, &mut query)?;
    Ok(query)
}

/// A `limit` of a page.
pub fn limit(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| format!("`limit` is a number from 1 to {MAX_LIMIT}"))
}

/// A page of rows as it is shown to clients.
pub fn page_text(page: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(page)
}

fn page(text: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| "`page` is not a `nextPage` of an earlier answer".to_owned())
}

fn term<'a>(
    table: &TableSpec,
    key: &Key<'a>,
    name: &'a str,
    text: &str,
) -> Result<Term<'a>, String> {
    let (column, comparison) = match name.rsplit_once('.') {
        None => (name, Comparison::Equal),
        Some((column, "eq")) => (column, Comparison::Equal),
        Some((column, "gt")) => (column, Comparison::Lower { inclusive: false }),
        Some((column, "gte")) => (column, Comparison::Lower { inclusive: true }),
        Some((column, "lt")) => (column, Comparison::Upper { inclusive: false }),
        Some((column, "lte")) => (column, Comparison::Upper { inclusive: true }),
        Some((_, other)) => {
            return Err(format!(
                "`.{other}` is not a comparison: there are .eq, .gt, .gte, .lt and .lte"
            ));
        }
    };
    if !key.has(column) {
        let what = match column_type(table, column) {
            Some(_) => "is not a key column",
            None => "is not a column of the table",
        };
        return Err(format!(
            "`{column}` {what}: rows are read by their key ({})",
            key.describe()
        ));
    }
    let kind = column_type(table, column)
        .ok_or_else(|| format!("`{column}` is not a column of the table"))?;
    let value = Value::parse(kind, text).map_err(|error| format!("`{column}`: {error}"))?;
    Ok(Term {
        column,
        comparison,
        value,
    })
}

fn column_type(table: &TableSpec, name: &str) -> Option<ColumnType> {
    let identity = IDENTITY_COLUMNS
        .iter()
        .filter(|_| table.primary_key.is_none())
        .find(|(column, _)| *column == name)
        .map(|(_, kind)| *kind);
    identity.or_else(|| {
        let column = table.columns.iter().find(|column| column.name == name)?;
        Some(column.column_type)
    })
}

fn check_repetition(terms: &[Term<'_>]) -> Result<(), String> {
    let side = |term: &Term<'_>| match term.comparison {
        Comparison::Equal => 0,
        Comparison::Lower { .. } => 1,
        Comparison::Upper { .. } => 2,
    };
    for (index, term) in terms.iter().enumerate() {
        let clash = terms[..index].iter().any(|other| {
            other.column == term.column
                && (side(other) == side(term)
                    || other.comparison == Comparison::Equal
                    || term.comparison == Comparison::Equal)
        });
        if clash {
            return Err(format!(
                "`{}` is given twice: give it one value, or one lower and one upper bound",
                term.column
            ));
        }
    }
    Ok(())
}

fn equality(terms: &[Term<'_>], column: &str) -> Option<(String, Value)> {
    terms
        .iter()
        .find(|term| term.column == column && term.comparison == Comparison::Equal)
        .map(|term| (column.to_owned(), term.value.clone()))
}

fn bounds(terms: &[Term<'_>], column: &str) -> Option<RowRange> {
    let mut range = RowRange {
        column: column.to_owned(),
        lower: None,
        upper: None,
    };
    for term in terms.iter().filter(|term| term.column == column) {
        match term.comparison {
            Comparison::Lower { inclusive } => range.lower = Some((term.value.clone(), inclusive)),
            Comparison::Upper { inclusive } => range.upper = Some((term.value.clone(), inclusive)),
            Comparison::Equal => {}
        }
    }
    (range.lower.is_some() || range.upper.is_some()).then_some(range)
}

/// Equalities on leading clustering columns, then bounds on the next one, then nothing.
fn clustering(key: &Key<'_>, terms: &[Term<'_>], query: &mut RowQuery) -> Result<(), String> {
    if let Some(column) = key.partition.iter().find(|c| bounds(terms, c).is_some()) {
        return Err(format!(
            "`{column}` is in the partition key, which takes values and no bounds"
        ));
    }
    let mut open: Option<&str> = None;
    for column in &key.clustering {
        let (equal, range) = (equality(terms, column), bounds(terms, column));
        if equal.is_none() && range.is_none() {
            open = open.or(Some(column));
            continue;
        }
        if let Some(earlier) = open {
            return Err(format!(
                "`{column}` needs a value for `{earlier}`, which comes before it in the key ({})",
                key.describe()
            ));
        }
        match (equal, range) {
            (Some(equal), _) => query.clustering.push(equal),
            (None, range) => {
                query.range = range;
                open = Some(column);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use simbdp_api::pipeline::TableSpec;

    use super::*;

    fn weather() -> TableSpec {
        serde_json::from_value(serde_json::json!({
            "name": "weather",
            "columns": [
                {"name": "origin", "type": "text"},
                {"name": "year", "type": "int"},
                {"name": "month", "type": "int"},
                {"name": "limit", "type": "int"},
                {"name": "temp", "type": "double"},
            ],
            "primaryKey": {
                "partition": ["origin", "year"],
                "clustering": [{"column": "month"}, {"column": "limit"}],
            },
        }))
        .unwrap()
    }

    fn read(text: &str) -> Result<RowQuery, String> {
        let pairs: Vec<_> = text
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        parse(&weather(), &pairs)
    }

    #[test]
    fn reads_partition_prefix_range_and_page() {
        let query =
            read("year=2013&origin=EWR&month=1&limit.gte=3&limit.lt=9&limit=5&page=AQI").unwrap();
        assert_eq!(
            query,
            RowQuery {
                partition: vec![
                    ("origin".into(), Value::Text("EWR".into())),
                    ("year".into(), Value::Int(2013)),
                ],
                clustering: vec![("month".into(), Value::Int(1))],
                range: Some(RowRange {
                    column: "limit".into(),
                    lower: Some((Value::Int(3), true)),
                    upper: Some((Value::Int(9), false)),
                }),
                limit: 5,
                page: Some(vec![1, 2]),
            }
        );
        let query = read("year=2013&origin=EWR&month=1&limit.eq=3").unwrap();
        assert_eq!(query.clustering.len(), 2);
        assert_eq!(query.limit, DEFAULT_LIMIT);
        assert_eq!(page_text(&[1, 2]), "AQI");
    }

    #[test]
    fn says_what_would_be_right() {
        for (text, expected) in [
            ("origin=EWR", "`year` is missing"),
            ("origin=EWR&year.gt=3", "`year` is missing"),
            (
                "origin=EWR&year=2013&origin.gt=A",
                "`origin` is given twice",
            ),
            ("origin=EWR&year=abc", "`year`: `abc` is not an int"),
            ("origin=EWR&year=2013&temp=3", "`temp` is not a key column"),
            ("origin=EWR&year=2013&nope=3", "`nope` is not a column"),
            (
                "origin=EWR&year=2013&limit.eq=3",
                "`limit` needs a value for `month`",
            ),
            (
                "origin=EWR&year=2013&month.gt=1&limit.eq=3",
                "`limit` needs a value for `month`",
            ),
            (
                "origin=EWR&year=2013&month=1&month.gt=2",
                "`month` is given twice",
            ),
            (
                "origin=EWR&year=2013&month.gt=1&month.gte=2",
                "`month` is given twice",
            ),
            (
                "origin=EWR&year=2013&month.ne=1",
                "`.ne` is not a comparison",
            ),
            ("origin=EWR&year=2013&limit=0", "`limit` is a number"),
            ("origin=EWR&year=2013&limit=1001", "`limit` is a number"),
            ("origin=EWR&year=2013&page=%", "`page` is not"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_table_without_key_is_read_by_identity() {
        let table = TableSpec {
            primary_key: None,
            ..weather()
        };
        let pairs = [
            ("simbdp_source", "x"),
            ("simbdp_bucket", "0"),
            ("simbdp_ordinal.gte", "7"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let query = parse(&table, &pairs).unwrap();
        assert_eq!(query.partition.len(), 2);
        assert_eq!(query.range.unwrap().lower, Some((Value::Bigint(7), true)));
        assert!(parse(&weather(), &pairs).is_err());
    }
}
