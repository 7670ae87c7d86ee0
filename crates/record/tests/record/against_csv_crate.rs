//! Framing and splitting must agree with the `csv` crate on every short input.

use simbdp_api::pipeline::Format;
use simbdp_record::{FileFault, Value};

use crate::support::{Decoded, check_cuts, decode, schema};

const ALPHABET: &[u8] = b"a,\"\n\r";
const TEXTS: &str =
    "columns: [{name: x, type: text}, {name: y, type: text}]\nprimaryKey: {partition: [x, y]}";

fn reference(input: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    reader
        .records()
        .map(|record| record.expect("UTF-8").iter().map(str::to_owned).collect())
        .collect()
}

fn text(value: &Option<Value>) -> String {
    match value {
        Some(Value::Text(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

fn compare(input: &[u8], check_every_cut: bool) {
    let schema = schema(TEXTS);
    let whole = decode(Format::Csv, &schema, &[input]);
    let wanted = reference(input);
    let shown = String::from_utf8_lossy(input);
    match &whole.1 {
        // The crate takes what follows an unbalanced quotation mark as one field.
        Some(FileFault::UnbalancedQuote { .. }) => {
            assert_eq!(whole.0.len() + 1, wanted.len(), "{shown:?}")
        }
        Some(fault) => panic!("{shown:?}: {fault}"),
        None => assert_eq!(whole.0.len(), wanted.len(), "{shown:?}"),
    }
    for (decoded, wanted) in whole.0.iter().zip(&wanted) {
        match decoded {
            Decoded::Row(row) => assert_eq!(
                &row.values.iter().map(text).collect::<Vec<_>>(),
                wanted,
                "{shown:?}"
            ),
            Decoded::Rejected(row) if row.reason.starts_with("text follows") => {
                assert!(row.raw.contains('"'), "{shown:?}");
            }
            Decoded::Rejected(_) => assert_ne!(wanted.len(), 2, "{shown:?}"),
        }
    }
    if check_every_cut {
        check_cuts(&shown, Format::Csv, &schema, input, &whole);
    }
}

#[test]
fn every_short_input_is_read_alike() {
    for length in 0..=7u32 {
        for number in 0..ALPHABET.len().pow(length) {
            let mut input = b"x,y\n".to_vec();
            let mut rest = number;
            for _ in 0..length {
                input.push(ALPHABET[rest % ALPHABET.len()]);
                rest /= ALPHABET.len();
            }
            compare(&input, length <= 5);
        }
    }
}
