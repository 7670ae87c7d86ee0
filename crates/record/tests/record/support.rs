//! A table from YAML, and the outcome of a file as lines of text.

use std::collections::BTreeMap;
use std::sync::Arc;

use simbdp_api::pipeline::{Format, TableSpec};
use simbdp_api::wire::rest::RejectedRow;
use simbdp_record::json::option_to_json;
use simbdp_record::{BatchLimits, Decoder, FileFault, Origin, Row, RowSchema, Rows};

/// A table by its YAML; `columns` and the rest below `name`.
pub fn table(yaml: &str) -> TableSpec {
    serde_yaml::from_str(&format!("name: t\n{yaml}")).expect("the test's table")
}

pub fn schema(yaml: &str) -> Arc<RowSchema> {
    Arc::new(RowSchema::new(&table(yaml)).expect("the test's schema"))
}

/// `id` int (the key), `name` text, `score` double with NA as null.
pub const PEOPLE: &str = "
columns:
- {name: id, type: int}
- {name: name, type: text}
- {name: score, type: double, nullValues: [NA]}
primaryKey: {partition: [id]}
";

/// Version of the record with ordinal 0.
const VERSION: i64 = 1_000;

/// A record, decoded.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    Row(Row),
    Rejected(RejectedRow),
}

pub fn decoder(format: Format, schema: &Arc<RowSchema>) -> Decoder {
    let origin = Origin {
        source: "up".to_owned(),
        version: VERSION,
        first: 0,
    };
    Decoder::new(format, schema.clone(), origin)
}

/// Everything that comes out of a file that is pushed in these chunks, in its order.
pub fn decode(
    format: Format,
    schema: &Arc<RowSchema>,
    chunks: &[&[u8]],
) -> (Vec<Decoded>, Option<FileFault>) {
    decode_by(usize::MAX, format, schema, chunks)
}

/// The same, in batches of so many rows.
fn decode_by(
    most: usize,
    format: Format,
    schema: &Arc<RowSchema>,
    chunks: &[&[u8]],
) -> (Vec<Decoded>, Option<FileFault>) {
    let mut decoder = decoder(format, schema);
    let mut rows = Rows::bounded(BatchLimits {
        rows: most,
        bytes: usize::MAX,
    });
    let mut out = BTreeMap::new();
    let mut end = Ok(());
    for chunk in chunks {
        let mut rest = *chunk;
        while end.is_ok() && !rest.is_empty() {
            let taken = decoder.push(rest, &mut rows, &mut |ordinal, row| {
                out.insert(ordinal, Decoded::Rejected(row));
            });
            assert!(rows.is_full() || taken.is_err() || taken == Ok(rest.len()));
            end = taken.map(|taken| rest = &rest[taken..]);
            if rows.is_full() {
                assert_eq!(rows.len(), most);
                take(&mut rows, &mut out);
            }
        }
    }
    let end = end.and_then(|()| {
        decoder.finish(&mut rows, &mut |ordinal, row| {
            out.insert(ordinal, Decoded::Rejected(row));
        })
    });
    take(&mut rows, &mut out);
    let (totals, records) = (decoder.totals(), out.len() as u64);
    let count = |row: fn(&Decoded) -> bool| out.values().filter(|one| row(one)).count() as u64;
    assert!(out.keys().copied().eq(0..records));
    assert_eq!(
        (totals.records, totals.accepted, totals.rejected),
        (
            records,
            count(|one| matches!(one, Decoded::Row(_))),
            count(|one| matches!(one, Decoded::Rejected(_)))
        )
    );
    (out.into_values().collect(), end.err())
}

/// Takes the rows out of a batch, by their ordinals.
fn take(rows: &mut Rows, out: &mut BTreeMap<u64, Decoded>) {
    for row in rows.iter() {
        let ordinal = (row.version - VERSION) as u64;
        out.insert(ordinal, Decoded::Row(row.into()));
    }
    rows.clear();
}

fn show_row(row: &Row) -> String {
    let values: Vec<String> = row
        .values
        .iter()
        .map(|value| option_to_json(value.as_ref()).to_string())
        .collect();
    format!("{}: {}", row.version, values.join(" "))
}

/// The outcome, one line a record and the file's fault last.
pub fn show(outcome: &(Vec<Decoded>, Option<FileFault>)) -> Vec<String> {
    let one = |decoded: &Decoded| match decoded {
        Decoded::Row(row) => show_row(row),
        Decoded::Rejected(row) => format!(
            "line {} {}: {} | {}",
            row.line,
            row.column.as_deref().unwrap_or("-"),
            row.reason,
            row.raw.escape_debug()
        ),
    };
    let fault = outcome.1.as_ref().map(|fault| format!("file: {fault}"));
    outcome.0.iter().map(one).chain(fault).collect()
}

/// A file and what must come of it: a record a line, by the start of its text or, with `…`, by parts of it.
pub struct Case {
    pub name: &'static str,
    pub input: &'static [u8],
    pub wanted: &'static [&'static str],
}

/// Whether a text starts with the first part and has the others in their order.
pub fn matches(text: &str, wanted: &str) -> bool {
    let mut parts = wanted.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    wanted.contains('…') || rest.is_empty()
}

/// Checks the case, then that it comes out the same wherever the input is cut.
pub fn check(format: Format, schema: &Arc<RowSchema>, case: &Case) {
    let whole = decode(format, schema, &[case.input]);
    let shown = show(&whole);
    let same = shown.len() == case.wanted.len()
        && shown
            .iter()
            .zip(case.wanted)
            .all(|(text, wanted)| matches(text, wanted));
    assert!(
        same,
        "{}: got {shown:#?}, wanted {:#?}",
        case.name, case.wanted
    );
    check_cuts(case.name, format, schema, case.input, &whole);
}

/// That a file comes out the same cut once anywhere, byte by byte, and row by row.
pub fn check_cuts(
    name: &str,
    format: Format,
    schema: &Arc<RowSchema>,
    input: &[u8],
    whole: &(Vec<Decoded>, Option<FileFault>),
) {
    for cut in 0..=input.len() {
        let (left, right) = input.split_at(cut);
        let parts = decode(format, schema, &[left, right]);
        assert_eq!(&parts, whole, "{name}: cut at {cut}");
    }
    assert_eq!(
        &decode_by(1, format, schema, &[input]),
        whole,
        "{name}: row by row"
    );
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(
        &decode(format, schema, &bytes),
        whole,
        "{name}: byte by byte"
    );
}
