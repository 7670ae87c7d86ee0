//! Single messages, and bodies of many.

use simbdp_record::message::{self, records, validate};
use simbdp_record::{Row, RowFault, RowSchema, Rows};

use crate::support::{PEOPLE, matches, schema};

/// The row of a message, which comes behind one that is there; of a bad one nothing is added.
fn convert(
    schema: &RowSchema,
    body: &[u8],
    source: &str,
    ordinal: u64,
    base: i64,
) -> Result<Row, Vec<RowFault>> {
    let first = Row {
        values: vec![None],
        version: 0,
    };
    let mut rows = Rows::from([first]);
    let memory = rows.memory();
    let converted = message::convert(schema, body, source, ordinal, base, &mut rows);
    assert_eq!(rows.memory() == memory, converted.is_err());
    converted.map(|()| rows.get(1).unwrap().into())
}

#[test]
fn identity_and_version_come_from_the_caller() {
    let keyed = convert(
        &schema(PEOPLE),
        br#"{"id":1,"name":"Ann","score":1}"#,
        "src",
        7,
        1_000,
    )
    .unwrap();
    assert_eq!((keyed.values.len(), keyed.version), (3, 1_007));
    let keyless = schema("columns: [{name: a, type: text, from: A}]");
    let row = convert(&keyless, br#"{"A":"x"}"#, "src", 20_003, 1_000).unwrap();
    let shown: Vec<String> = row
        .values
        .iter()
        .map(|value| simbdp_record::json::option_to_json(value.as_ref()).to_string())
        .collect();
    assert_eq!(
        (shown.join(" ").as_str(), row.version),
        ("\"src\" 2 20003 \"x\"", 21_003)
    );
}

#[test]
fn bad_messages_name_each_fault() {
    let cases: [(&[u8], &[&str]); 10] = [
        (b"", &["is empty: write a JSON object"]),
        (b"hello", &["is not JSON: …"]),
        (b"{\"id\":1", &["is not JSON: …"]),
        (
            b"{\n\"id\":1,\n}",
            &["is not JSON: trailing comma at line 3 character 1"],
        ),
        (
            b"[{\"id\":1}]",
            &["is a JSON array, but a record is a JSON object…"],
        ),
        (b"{}", &["column `id`: is missing…"]),
        (
            b"{\"id\":1,\"x\":1,\"y\":1}",
            &["column `x`: is not a field…", "column `y`: is not a field…"],
        ),
        (
            b"{\"id\":\"1\",\"name\":1}",
            &[
                "column `id`: is a JSON string…",
                "column `name`: is a JSON number…",
            ],
        ),
        (
            b"{\"id\":1,\"id\":1}",
            &["column `id`: is in the record twice…"],
        ),
        (b"\xff", &["is not UTF-8 at byte 1…"]),
    ];
    for (body, wanted) in cases {
        let faults = convert(&schema(PEOPLE), body, "s", 0, 0).unwrap_err();
        let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let same = shown.len() == wanted.len()
            && shown
                .iter()
                .zip(wanted)
                .all(|(text, wanted)| matches(text, wanted));
        assert!(same, "{}: {shown:?}", String::from_utf8_lossy(body));
        assert_eq!(validate(&schema(PEOPLE), body), Err(faults));
    }
}

#[test]
fn deep_nesting_is_refused_without_harm() {
    let deep = format!(
        "{{\"id\":1,\"name\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let faults = convert(&schema(PEOPLE), deep.as_bytes(), "s", 0, 0).unwrap_err();
    assert_eq!(faults.len(), 1);
    let unknown = format!(
        "{{\"id\":1,\"x\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let faults = convert(&schema(PEOPLE), unknown.as_bytes(), "s", 0, 0).unwrap_err();
    assert_eq!(faults.len(), 1);
}

#[test]
fn a_body_of_many_is_cut_at_newlines() {
    let cut: Vec<(u64, &[u8])> = records(b"\xef\xbb\xbf{\"a\":1}\r\n\n  \n{\"a\":2}").collect();
    assert_eq!(cut, [(1, b"{\"a\":1}\r".as_slice()), (4, b"{\"a\":2}")]);
    assert_eq!(records(b"\n \n").count(), 0);
}

#[test]
fn a_message_for_another_reader_is_any_json_object() {
    use simbdp_record::message::validate_object;
    for good in [
        &b"{}"[..],
        b" {\"a\": [1, {\"b\": null}]}\n",
        "{\"é\":1}".as_bytes(),
    ] {
        assert_eq!(validate_object(good), Ok(()));
    }
    for bad in [
        &b""[..],
        b"1",
        b"[{}]",
        b"{\"a\":}",
        b"{} {}",
        b"{\"a\":\"\xff\"}",
        b"null",
    ] {
        assert!(validate_object(bad).is_err(), "{bad:?}");
    }
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20));
    assert!(
        validate_object(large.as_bytes())
            .unwrap_err()
            .reason
            .contains("2 MiB")
    );
}
