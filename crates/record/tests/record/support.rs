//! A table from YAML, and the outcome of a file as lines of text.

use std::sync::Arc;

use simbdp_api::pipeline::{Format, TableSpec};
use simbdp_record::json::option_to_json;
use simbdp_record::{Decoded, Decoder, FileFault, Origin, Row, RowSchema};

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

pub fn decoder(format: Format, schema: &Arc<RowSchema>) -> Decoder {
    let origin = Origin {
        source: "up".to_owned(),
        version: 1_000,
    };
    Decoder::new(format, schema.clone(), origin)
}

/// Everything that comes out of a file that is pushed in these chunks.
pub fn decode(
    format: Format,
    schema: &Arc<RowSchema>,
    chunks: &[&[u8]],
) -> (Vec<Decoded>, Option<FileFault>) {
    let mut out = Vec::new();
    let mut decoder = decoder(format, schema);
    let mut sink = |decoded| out.push(decoded);
    for chunk in chunks {
        if let Err(fault) = decoder.push(chunk, &mut sink) {
            return (out, Some(fault));
        }
    }
    let end = decoder.finish(&mut sink);
    let totals = decoder.totals();
    let rows = out
        .iter()
        .filter(|one| matches!(one, Decoded::Row(_)))
        .count() as u64;
    assert_eq!(
        (totals.records, totals.accepted, totals.rejected),
        (out.len() as u64, rows, out.len() as u64 - rows)
    );
    (out, end.err())
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

/// That a file comes out the same cut once anywhere, and byte by byte.
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
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(
        &decode(format, schema, &bytes),
        whole,
        "{name}: byte by byte"
    );
}
