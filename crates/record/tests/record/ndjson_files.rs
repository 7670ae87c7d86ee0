//! Golden cases of NDJSON files, good and bad.

use simbdp_api::pipeline::Format;

use crate::support::{Case, PEOPLE, check, schema};

const fn case(name: &'static str, input: &'static [u8], wanted: &'static [&'static str]) -> Case {
    Case {
        name,
        input,
        wanted,
    }
}

const GOLDEN: &[Case] = &[
    case(
        "plain",
        b"{\"id\":1,\"name\":\"Ann\",\"score\":2.5}\n{\"id\":2,\"name\":\"B\"}\n",
        &["1000: 1 \"Ann\" 2.5", "1001: 2 \"B\" null"],
    ),
    case(
        "fields in any order, no newline at the end",
        b"{\"score\": 1, \"name\":null, \"id\":1}",
        &["1000: 1 null 1.0"],
    ),
    case(
        "CRLF, BOM, blank lines",
        b"\xef\xbb\xbf{\"id\":1}\r\n\r\n  \n{\"id\":2}\r\n{\"id\":true}\n",
        &[
            "1000: 1 null null",
            "1001: 2 null null",
            "line 5 id: is a JSON boolean…| {\\\"id\\\":true}",
        ],
    ),
    case(
        "null text",
        b"{\"id\":1,\"score\":\"NA\",\"name\":\"NA\"}\n",
        &["1000: 1 \"NA\" null"],
    ),
    case(
        "escapes",
        b"{\"id\":1,\"n\\u0061me\":\"a\\n\\u00e4\\ud83d\\ude00\"}\n",
        &["1000: 1 \"a\\n\u{e4}\u{1f600}\" null"],
    ),
    case(
        "not JSON",
        b"{\"id\":1,}\n{\"id\":2}\n",
        &[
            "line 1 -: is not JSON: trailing comma at character 9 | {\\\"id\\\":1,}",
            "1001: 2 null null",
        ],
    ),
    case(
        "cut off",
        b"{\"id\":1",
        &["line 1 -: is not JSON: EOF while parsing an object at character 7 | …"],
    ),
    case(
        "two objects in a line",
        b"{\"id\":1} {\"id\":2}\n",
        &["line 1 -: is not JSON: trailing characters at character 10 …"],
    ),
    case(
        "not an object",
        b"[1]\n\"x\"\n7\nnull\nx\n",
        &[
            "line 1 -: is a JSON array, but a record is a JSON object…",
            "line 2 -: is a JSON string, …",
            "line 3 -: is a JSON number, …",
            "line 4 -: is null, …",
            "line 5 -: is not JSON: …",
        ],
    ),
    case(
        "missing key field",
        b"{\"name\":\"a\"}\n",
        &["line 1 id: is missing…"],
    ),
    case(
        "key field is null",
        b"{\"id\":null}\n",
        &["line 1 id: is in the primary key and must have a value…"],
    ),
    case(
        "unknown field",
        b"{\"id\":1,\"rank\":{\"a\":[1,2]}}\n",
        &["line 1 rank: is not a field of this table: remove it; known are id, name, score | …"],
    ),
    case(
        "repeated field",
        b"{\"id\":1,\"name\":\"a\",\"name\":\"b\"}\n",
        &["line 1 name: is in the record twice…"],
    ),
    case(
        "repeated by an escape",
        b"{\"id\":1,\"i\\u0064\":1}\n",
        &["line 1 id: is in the record twice…"],
    ),
    case(
        "wrong types",
        b"{\"id\":\"1\",\"name\":2,\"score\":[]}\n",
        &[
            "line 1 id: is a JSON string, but the type is int: write a JSON number, e.g. 42; column `name`: is a JSON number, but the type is text: write a JSON string; column `score`: is a JSON array, but the type is double: …",
        ],
    ),
    case(
        "out of range",
        b"{\"id\":2147483648,\"score\":1e999}\n",
        &[
            "line 1 id: `2147483648` does not fit int (-2147483648 to 2147483647); use bigint; column `score`: `1e999` does not fit double …",
        ],
    ),
    case(
        "not whole",
        b"{\"id\":1.0}\n",
        &["line 1 id: `1.0` is not a whole number…"],
    ),
    case(
        "NaN",
        b"{\"id\":1,\"score\":NaN}\n",
        &["line 1 -: is not JSON: …"],
    ),
    case(
        "not UTF-8",
        b"{\"id\":1,\"name\":\"\xe4\"}\n{\"id\":2}\n",
        &["line 1 -: is not UTF-8 at byte 17…", "1001: 2 null null"],
    ),
    case(
        "NUL",
        b"{\"id\":1,\"name\":\"a\\u0000\"}\n",
        &["line 1 name: has a NUL byte at position 2…"],
    ),
    case(
        "raw NUL",
        b"{\"id\":1,\"name\":\"a\0\"}\n",
        &["line 1 -: is not JSON: control character…"],
    ),
    case(
        "half a surrogate pair",
        b"{\"id\":1,\"name\":\"\\ud83d\"}\n",
        &["line 1 …is not JSON: …"],
    ),
    case(
        "empty",
        b"",
        &["file: the file is empty: an NDJSON file has one JSON object a line"],
    ),
    case("blank", b" \n\n", &["file: the file is empty…"]),
    case("only a BOM", b"\xef\xbb\xbf", &["file: the file is empty…"]),
    case(
        "half a BOM",
        b"\xef\xbb",
        &["line 1 -: is not UTF-8 at byte 1…"],
    ),
    case(
        "UTF-16",
        b"\xff\xfe{\0\n\0",
        &["file: the file is in UTF-16…"],
    ),
];

#[test]
fn golden_cases_come_out_as_wanted_wherever_they_are_cut() {
    let schema = schema(PEOPLE);
    for case in GOLDEN {
        check(Format::Ndjson, &schema, case);
    }
}

#[test]
fn fields_of_many_orders_find_their_columns() {
    let schema = schema(PEOPLE);
    let orders = [
        "id,name,score",
        "score,name,id",
        "name,id",
        "id",
        "score,id",
        "id,score,name",
    ];
    let mut input = String::new();
    let mut wanted = Vec::new();
    for round in 0..30 {
        let order = orders[round % orders.len()];
        let fields: Vec<String> = order
            .split(',')
            .map(|field| match field {
                "name" => format!("\"name\":\"n{round}\""),
                other => format!("\"{other}\":{round}"),
            })
            .collect();
        input.push_str(&format!("{{{}}}\n", fields.join(",")));
        let or_null = |field: &str, text: String| {
            if order.contains(field) {
                text
            } else {
                "null".to_owned()
            }
        };
        wanted.push(format!(
            "{}: {round} {} {}",
            1_000 + round,
            or_null("name", format!("\"n{round}\"")),
            or_null("score", format!("{round}.0"))
        ));
    }
    let outcome = crate::support::decode(Format::Ndjson, &schema, &[input.as_bytes()]);
    assert_eq!(crate::support::show(&outcome), wanted);
}

#[test]
fn a_thousand_unknown_fields_are_told_in_a_few_words() {
    let schema = schema(PEOPLE);
    let fields: Vec<String> = (0..1_000).map(|n| format!("\"f{n}\":0")).collect();
    let input = format!("{{{}}}", fields.join(","));
    let outcome = crate::support::show(&crate::support::decode(
        Format::Ndjson,
        &schema,
        &[input.as_bytes()],
    ));
    assert_eq!(outcome.len(), 1);
    // 16 faults are told; id is missing as well.
    assert!(outcome[0].contains("and 985 more faults"), "{}", outcome[0]);
    assert!(outcome[0].len() < 8_000);
}
