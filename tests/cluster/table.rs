//! Comparing a tenant's table with its source, cell by cell, by code that shares nothing with the product.

use std::collections::BTreeMap;

/// Rows by their key, each cell as text, null as `None`.
pub type Cells = BTreeMap<Vec<String>, BTreeMap<String, Option<String>>>;

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
