//! Limits: long fields, records, keys, collections; and what is kept of them.

use simbdp_api::pipeline::Format;
use simbdp_record::{MAX_FIELD_BYTES, MAX_KEY_BYTES, MAX_RECORD_BYTES, RAW_LIMIT};

use crate::support::{Decoded, PEOPLE, decode, schema, show};

/// The outcome in chunks of some sizes, which all must be the same; without raw text.
fn outcome(format: Format, yaml: &str, input: &[u8]) -> Vec<String> {
    let schema = schema(yaml);
    let whole = decode(format, &schema, &[input]);
    for size in [1_000, 4_096, 65_536, MAX_RECORD_BYTES] {
        let chunks: Vec<&[u8]> = input.chunks(size).collect();
        assert!(
            decode(format, &schema, &chunks) == whole,
            "chunks of {size}"
        );
    }
    for one in &whole.0 {
        if let Decoded::Rejected(row) = one {
            assert!(row.raw.len() <= RAW_LIMIT && row.raw.is_char_boundary(row.raw.len()));
        }
    }
    let short = |text: &String| {
        text.split(" | ")
            .next()
            .unwrap()
            .chars()
            .take(200)
            .collect()
    };
    show(&whole).iter().map(short).collect()
}

fn csv_with_name(length: usize, quoted: bool) -> Vec<u8> {
    let quote = if quoted { "\"" } else { "" };
    format!(
        "id,name,score\n1,{quote}{}{quote},1\nx,b,1\n",
        "ä".repeat(length / 2)
    )
    .into_bytes()
}

#[test]
fn csv_fields_and_records() {
    for quoted in [false, true] {
        let fits = outcome(Format::Csv, PEOPLE, &csv_with_name(MAX_FIELD_BYTES, quoted));
        assert!(fits[0].starts_with("1000: 1 \"ä"), "{}", fits[0]);
        let long = outcome(
            Format::Csv,
            PEOPLE,
            &csv_with_name(MAX_FIELD_BYTES + 2, quoted),
        );
        assert_eq!(
            long[0],
            "line 2 name: has 1048578 bytes, but a field takes at most 1048576 (1 MiB)"
        );
        assert!(
            long[1].starts_with("line 3 id: `x` is not an int"),
            "{}",
            long[1]
        );
        let longer = outcome(
            Format::Csv,
            PEOPLE,
            &csv_with_name(2 * MAX_RECORD_BYTES, quoted),
        );
        let wanted =
            "line 2 -: the record has more than 2097152 bytes (2 MiB), the most of a record";
        assert!(longer[0].starts_with(wanted), "{}", longer[0]);
        assert_eq!(
            longer[0].contains("a quotation mark opened on line 2 may lack its end"),
            quoted
        );
        assert!(
            longer[1].starts_with("line 3 id: `x` is not an int"),
            "{}",
            longer[1]
        );
    }
}

#[test]
fn a_record_of_exactly_the_limit_is_read() {
    let columns: Vec<String> = ["a", "b", "c"]
        .map(|name| format!("{{name: {name}, type: text}}"))
        .to_vec();
    let yaml = format!(
        "columns: [{}]\nprimaryKey: {{partition: [a]}}",
        columns.join(",")
    );
    for (extra, accepted) in [(0, true), (1, false)] {
        let rest = MAX_RECORD_BYTES - 4 - MAX_FIELD_BYTES + extra;
        let input = format!(
            "a,b,c\nk,{},{}{}\n",
            "x".repeat(MAX_FIELD_BYTES),
            "y".repeat(rest),
            "z"
        );
        let shown = outcome(Format::Csv, &yaml, input.as_bytes());
        assert_eq!(shown[0].starts_with("1000: "), accepted, "{}", shown[0]);
    }
}

#[test]
fn an_unbalanced_quotation_mark_in_a_long_file_is_bounded_and_named() {
    let mut input = String::from("id,name,score\n1,a,1\n2,\"b,1\n");
    while input.len() < 3 * MAX_RECORD_BYTES {
        input.push_str("3,c,1\n");
    }
    let shown = outcome(Format::Csv, PEOPLE, input.as_bytes());
    assert_eq!(shown.len(), 2);
    assert!(
        shown[1].starts_with("file: a quotation mark opened on line 3 is never closed"),
        "{}",
        shown[1]
    );
}

#[test]
fn a_header_without_end_is_named() {
    let shown = outcome(Format::Csv, PEOPLE, &[b'x'; MAX_RECORD_BYTES + 1]);
    assert!(
        shown[0].starts_with("file: the header does not end within 2 MiB"),
        "{}",
        shown[0]
    );
}

#[test]
fn ndjson_fields_and_lines() {
    let line = |length: usize| {
        format!(
            "{{\"id\":1,\"name\":\"{}\"}}\n{{\"id\":2}}\n",
            "x".repeat(length)
        )
        .into_bytes()
    };
    let fits = outcome(Format::Ndjson, PEOPLE, &line(MAX_FIELD_BYTES));
    assert!(fits[0].starts_with("1000: 1 \"x"), "{}", fits[0]);
    let long = outcome(Format::Ndjson, PEOPLE, &line(MAX_FIELD_BYTES + 1));
    assert_eq!(
        long,
        [
            "line 1 name: has 1048577 bytes, but a field takes at most 1048576 (1 MiB)",
            "1001: 2 null null"
        ]
    );
    let longer = outcome(Format::Ndjson, PEOPLE, &line(MAX_RECORD_BYTES));
    assert_eq!(
        longer,
        [
            "line 1 -: the line has more than 2097152 bytes (2 MiB), the most of a record",
            "1001: 2 null null"
        ]
    );
}

#[test]
fn keys_stay_within_the_database_limit() {
    let yaml = "columns: [{name: a, type: text}, {name: b, type: text}]\nprimaryKey: {partition: [a], clustering: [{column: b}]}";
    let input = format!("a,b\nx,{0}\nx,{0}y\nx,\n,x\n", "k".repeat(MAX_KEY_BYTES));
    let shown = outcome(Format::Csv, yaml, input.as_bytes());
    assert!(shown[0].starts_with("1000: \"x\" \"kkk"), "{}", shown[0]);
    assert_eq!(
        shown[1],
        "line 3 b: has 8001 bytes, but a column of the primary key takes at most 8000"
    );
    assert_eq!(shown[2], "1002: \"x\" \"\"");
    assert_eq!(
        shown[3],
        "line 5 a: is the partition key and must not be empty"
    );
}

#[test]
fn collections_are_bounded() {
    let yaml = "columns: [{name: a, type: list<int>}]";
    let list = |count: usize| format!("a\n\"[{}]\"\n", vec!["1"; count].join(",")).into_bytes();
    assert!(outcome(Format::Csv, yaml, &list(65_535))[0].starts_with("1000: "));
    let shown = outcome(Format::Csv, yaml, &list(65_536));
    assert_eq!(
        shown[0],
        "line 2 a: has 65536 elements, but a list or map takes at most 65535"
    );
}
