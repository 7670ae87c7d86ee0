//! Comparing a tenant's table with its source, cell by cell, by code that shares nothing with the product.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use scylla::client::session::Session;
use scylla::statement::{Consistency, Statement};
use scylla::value::{CqlValue, Row};

use crate::harness::{QUICK, eventually};

/// Rows by their key, each cell as text, null as `None`.
pub type Cells = BTreeMap<Vec<String>, BTreeMap<String, Option<String>>>;

/// Reads a whole table at LOCAL_QUORUM, keyed by the given columns. Reads again when a member that was just
/// killed, or has just come back, fails the read.
pub async fn read(session: &Session, keyspace: &str, table: &str, key: &[&str]) -> Cells {
    let what = format!("reading {keyspace}.{table}");
    eventually(&what, QUICK, || try_read(session, keyspace, table, key)).await
}

async fn try_read(
    session: &Session,
    keyspace: &str,
    table: &str,
    key: &[&str],
) -> Result<Cells, String> {
    let mut select = Statement::new(format!("SELECT * FROM \"{keyspace}\".\"{table}\""));
    select.set_consistency(Consistency::LocalQuorum);
    select.set_page_size(2000);
    let pager = session
        .query_iter(select, ())
        .await
        .map_err(|e| e.to_string())?;
    let columns: Vec<String> = pager
        .column_specs()
        .iter()
        .map(|spec| spec.name().to_owned())
        .collect();
    let rows: Vec<Row> = pager
        .rows_stream::<Row>()
        .map_err(|e| e.to_string())?
        .try_collect()
        .await
        .map_err(|e| e.to_string())?;
    let mut cells = Cells::new();
    for row in rows {
        let row: BTreeMap<String, Option<String>> = columns
            .iter()
            .cloned()
            .zip(row.columns.iter().map(|cell| cell.as_ref().map(text)))
            .collect();
        let key = key
            .iter()
            .map(|k| row[*k].clone().expect("a key is never null"))
            .collect();
        assert!(cells.insert(key, row).is_none(), "a key shows twice");
    }
    Ok(cells)
}

fn text(value: &CqlValue) -> String {
    match value {
        CqlValue::Text(text) | CqlValue::Ascii(text) => text.clone(),
        CqlValue::Int(number) => number.to_string(),
        CqlValue::BigInt(number) => number.to_string(),
        CqlValue::Double(number) => number.to_string(),
        CqlValue::Float(number) => number.to_string(),
        CqlValue::Boolean(truth) => truth.to_string(),
        CqlValue::Timestamp(at) => chrono::DateTime::from_timestamp_millis(at.0)
            .expect("a timestamp of this age")
            .format("%Y-%m-%dT%H:%M:%SZ")
            .to_string(),
        other => panic!("a value of a type that no test uses: {other:?}"),
    }
}

/// Rows of a CSV text, keyed by the given columns; `NA` is null; numbers as the shortest text that means the same.
pub fn from_csv(csv: &str, key: &[&str], doubles: &[&str]) -> Cells {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header: Vec<String> = reader
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    let mut cells = Cells::new();
    for record in reader.records() {
        let record = record.unwrap();
        let row: BTreeMap<String, Option<String>> = header
            .iter()
            .zip(record.iter())
            .map(|(name, field)| {
                let cell = match field {
                    "NA" => None,
                    number if doubles.contains(&name.as_str()) => {
                        Some(number.parse::<f64>().unwrap().to_string())
                    }
                    text => Some(text.to_owned()),
                };
                (name.clone(), cell)
            })
            .collect();
        let key = key.iter().map(|k| row[*k].clone().unwrap()).collect();
        cells.insert(key, row);
    }
    cells
}

/// Fails with the first few differences, not with two tables of thousands of rows.
pub fn assert_same(found: &Cells, expected: &Cells) {
    if let Err(differences) = differences(found, expected) {
        panic!("{differences}");
    }
}

/// The first few differences of two tables.
pub fn differences(found: &Cells, expected: &Cells) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let only = |one: &Cells, other: &Cells| -> Vec<Vec<String>> {
        let keys = one.keys().filter(|key| !other.contains_key(*key));
        keys.take(5).cloned().collect()
    };
    let changed: Vec<_> = expected
        .iter()
        .filter_map(|(key, row)| found.get(key).filter(|f| *f != row).map(|f| (key, f, row)))
        .take(3)
        .collect();
    Err(format!(
        "{} rows found, {} expected; missing {:?}; foreign {:?}; changed (key, found, expected) {changed:?}",
        found.len(),
        expected.len(),
        only(expected, found),
        only(found, expected),
    ))
}
