//! Golden cases of CSV files, good and bad.

use simbdp_api::pipeline::Format;
use simbdp_record::{FileFault, Rows};

use crate::support::{Case, Decoded, PEOPLE, check, decode, schema};

const fn case(name: &'static str, input: &'static [u8], wanted: &'static [&'static str]) -> Case {
    Case {
        name,
        input,
        wanted,
    }
}

const RAGGED_FEW: &str = "line 2 -: the record has 2 fields, but the header has 3: …| 1,Ann";

const GOLDEN: &[Case] = &[
    case(
        "plain",
        b"id,name,score\n1,Ann,2.5\n2,Bob,-3e2\n",
        &["1000: 1 \"Ann\" 2.5", "1001: 2 \"Bob\" -300.0"],
    ),
    case(
        "header in another order",
        b"score,id,name\n2.5,1,Ann\n",
        &["1000: 1 \"Ann\" 2.5"],
    ),
    case(
        "no newline at the end",
        b"id,name,score\n1,Ann,2.5",
        &["1000: 1 \"Ann\" 2.5"],
    ),
    case(
        "last field empty at the end",
        b"id,name,score\n1,Ann,",
        &["1000: 1 \"Ann\" null"],
    ),
    case(
        "CRLF",
        b"id,name,score\r\n1,Ann,2.5\r\n\"2\",Bob,1\r\n",
        &["1000: 1 \"Ann\" 2.5", "1001: 2 \"Bob\" 1.0"],
    ),
    case(
        "CR",
        b"id,name,score\r1,Ann,2.5\rx,Bob,1\r",
        &[
            "1000: 1 \"Ann\" 2.5",
            "line 3 id: `x` is not an int…| x,Bob,1",
        ],
    ),
    case(
        "BOM",
        b"\xef\xbb\xbfid,name,score\n1,Ann,2.5\n",
        &["1000: 1 \"Ann\" 2.5"],
    ),
    case(
        "BOM before a quoted name",
        b"\xef\xbb\xbf\"id\",name,score\n1,Ann,2.5\n",
        &["1000: 1 \"Ann\" 2.5"],
    ),
    case(
        "quoted",
        b"id,name,score\n\"1\",\"O\"\"Neil, \xc3\x84nn\",\"2.5\"\n",
        &["1000: 1 \"O\\\"Neil, \u{c4}nn\" 2.5"],
    ),
    case(
        "newlines in quotes count as lines",
        b"id,name,score\n1,\"a\nb\r\nc\rd\",1\nx,Bob,1\n",
        &[
            "1000: 1 \"a\\nb\\r\\nc\\rd\" 1.0",
            "line 6 id: `x` is not an int…",
        ],
    ),
    case(
        "blank lines are no records",
        b"\n\r\nid,name,score\n\n\n1,Ann,1\n\nx,Bob,1\n\n",
        &["1000: 1 \"Ann\" 1.0", "line 8 id: …"],
    ),
    case(
        "null texts, empty fields",
        b"id,name,score\n1,,NA\n2,\"\",\n",
        &["1000: 1 \"\" null", "1001: 2 \"\" null"],
    ),
    case(
        "a null text of another column is a text",
        b"id,name,score\n1,NA,1\n",
        &["1000: 1 \"NA\" 1.0"],
    ),
    case("header only", b"id,name,score\n", &[]),
    case("header only, no newline", b"id,name,score", &[]),
    case(
        "ordinal counts rejected records",
        b"id,name,score\nx,Ann,1\n2,Bob,1\n",
        &["line 2 id: …", "1001: 2 \"Bob\" 1.0"],
    ),
    case(
        "too few fields",
        b"id,name,score\n1,Ann\n2,Bob,1\n",
        &[RAGGED_FEW, "1001: 2 \"Bob\" 1.0"],
    ),
    case(
        "too many fields",
        b"id,name,score\n1,Ann,1,2,3\n",
        &["line 2 -: the record has 5 fields, but the header has 3: …"],
    ),
    case(
        "too many fields, quoted",
        b"id,name,score\n\"1\",Ann,1,\"\"\n",
        &["line 2 -: the record has 4 fields, but the header has 3: …"],
    ),
    case(
        "key without value",
        b"id,name,score\n,Ann,1\n",
        &["line 2 id: is in the primary key and must have a value | ,Ann,1"],
    ),
    case(
        "several faults in one record",
        b"id,name,score\nx,Ann,high\n",
        &[
            "line 2 id: `x` is not an int…; column `score`: `high` is not a finite double…| x,Ann,high",
        ],
    ),
    case(
        "not UTF-8",
        b"id,name,score\n1,\xe4nn,1\n2,Bob,1\n",
        &[
            "line 2 name: is not UTF-8 at byte 3 of the record…| 1,\u{fffd}nn,1",
            "1001: 2 \"Bob\" 1.0",
        ],
    ),
    case(
        "not UTF-8 in a quoted field",
        b"id,name,score\n\"1\",\"a,\xff\",1\n",
        &["line 2 name: is not UTF-8 at byte 8…"],
    ),
    case(
        "not UTF-8 in the first field",
        b"id,name,score\n\xff,a,1\n",
        &["line 2 id: is not UTF-8 at byte 1 …"],
    ),
    case(
        "not UTF-8 at the start of a field",
        b"id,name,score\n1,\xff,1\n",
        &["line 2 name: is not UTF-8 at byte 3 …"],
    ),
    case(
        "NUL in a text",
        b"id,name,score\n1,A\0n,1\n",
        &["line 2 name: has a NUL byte at position 2: …"],
    ),
    case(
        "NUL in a number",
        b"id,name,score\n1\0,A,1\n",
        &["line 2 id: `1\\u{0}` is not an int…"],
    ),
    case(
        "text after a closing quotation mark",
        b"id,name,score\n1,\"An\"n,1\n2,Bob,1\n",
        &[
            "line 2 -: text follows a closing quotation mark on line 2…",
            "1001: 2 \"Bob\" 1.0",
        ],
    ),
    case(
        "a quotation mark within a field is a character",
        b"id,name,score\n1,5\" disk,1\n",
        &["1000: 1 \"5\\\" disk\" 1.0"],
    ),
    case(
        "unbalanced quotation mark",
        b"id,name,score\n1,Ann,1\n2,\"Bob,1\n3,Cid,1\n",
        &[
            "1000: 1 \"Ann\" 1.0",
            "file: a quotation mark opened on line 3 in field `name` is never closed…",
        ],
    ),
    case(
        "unbalanced by a doubled one",
        b"id,name,score\n\"1,Ann,1\n2,\"\"",
        &["file: a quotation mark opened on line 2 in field `id` is never closed…"],
    ),
    case(
        "unbalanced in the header",
        b"id,\"name,score\n1,Ann,1\n",
        &["file: a quotation mark opened on line 1 is never closed…"],
    ),
    case(
        "empty",
        b"",
        &["file: the file is empty: a CSV file begins with a header…"],
    ),
    case("only a BOM", b"\xef\xbb\xbf", &["file: the file is empty…"]),
    case(
        "half a BOM",
        b"\xef\xbb",
        &["file: the header is not UTF-8 at byte 1…"],
    ),
    case("only newlines", b"\n\r\n\n", &["file: the file is empty…"]),
    case(
        "missing column",
        b"id,name\n1,Ann\n",
        &["file: the header lacks the field `score`: it must name each field…"],
    ),
    case(
        "extra column",
        b"id,name,score,rank\n",
        &["file: the header has `rank`, which the table does not have: …"],
    ),
    case(
        "misspelt column",
        b"id,Name,score\n",
        &["file: the header lacks the field `name` and has `Name`, which …"],
    ),
    case(
        "two missing columns",
        b"id\n1\n",
        &["file: the header lacks the fields `name`, `score`: …"],
    ),
    case(
        "repeated column",
        b"id,name,score,name\n",
        &["file: the header names the field `name` twice…"],
    ),
    case(
        "no header",
        b"1,Ann,2.5\n2,Bob,3\n",
        &["file: the header lacks the fields `id`, `name`, `score` and has `1`, `Ann`, `2.5`, …"],
    ),
    case(
        "semicolons",
        b"id;name;score\n1;Ann;2.5\n",
        &["file: the header seems to be separated by ';': separate fields by commas"],
    ),
    case(
        "tabs",
        b"id\tname\tscore\n",
        &["file: the header seems to be separated by '\\t'…"],
    ),
    case(
        "header not UTF-8",
        b"id,n\xe4me,score\n",
        &["file: the header is not UTF-8 at byte 5…"],
    ),
    case(
        "NUL in the header",
        b"id,na\0me,score\n",
        &["file: the header has a NUL byte…"],
    ),
    case(
        "UTF-16",
        b"\xff\xfei\0d\0,\0\n\0",
        &["file: the file is in UTF-16…"],
    ),
    case(
        "text after a quotation mark in the header",
        b"\"id\"x,name,score\n",
        &["file: the header has text after a closing quotation mark…"],
    ),
];

#[test]
fn golden_cases_come_out_as_wanted_wherever_they_are_cut() {
    let schema = schema(PEOPLE);
    for case in GOLDEN {
        check(Format::Csv, &schema, case);
    }
}

#[test]
fn a_table_without_a_key_gets_identity_columns() {
    let schema = schema("columns: [{name: a, type: text}]");
    let mut input = String::from("a\n");
    for _ in 0..10_001 {
        input.push_str("x\n");
    }
    let (rows, fault) = decode(Format::Csv, &schema, &[input.as_bytes()]);
    assert_eq!((rows.len(), fault), (10_001, None));
    let identity = |index: usize| match &rows[index] {
        Decoded::Row(row) => {
            let shown: Vec<_> = row
                .values
                .iter()
                .map(|v| simbdp_record::json::option_to_json(v.as_ref()))
                .collect();
            (row.version, serde_json::Value::from(shown).to_string())
        }
        Decoded::Rejected(row) => panic!("{row:?}"),
    };
    assert_eq!(identity(0), (1_000, r#"["up",0,0,"x"]"#.to_owned()));
    assert_eq!(identity(9_999), (10_999, r#"["up",0,9999,"x"]"#.to_owned()));
    assert_eq!(
        identity(10_000),
        (11_000, r#"["up",1,10000,"x"]"#.to_owned())
    );
}

#[test]
fn one_column_tells_a_quoted_empty_field_from_a_blank_line() {
    let schema = schema("columns: [{name: a, type: text}]\nprimaryKey: {partition: [a]}");
    let case = case(
        "one column",
        b"a\nx\n\n\"\"\n",
        &[
            "1000: \"x\"",
            "line 4 a: is the partition key and must not be empty | \\\"\\\"",
        ],
    );
    check(Format::Csv, &schema, &case);
}

#[test]
fn after_a_fault_of_the_file_every_call_says_the_same() {
    let schema = schema(PEOPLE);
    let mut decoder = crate::support::decoder(Format::Csv, &schema);
    let mut rows = Rows::default();
    let mut rejected = 0;
    let mut sink = |_, _| rejected += 1;
    let first = decoder.push(b"id,id\n", &mut rows, &mut sink).unwrap_err();
    assert_eq!(first, FileFault::RepeatedField("id".to_owned()));
    assert_eq!(
        decoder.push(b"id,name,score\n1,a,1\n", &mut rows, &mut sink),
        Err(first.clone())
    );
    assert_eq!(decoder.finish(&mut rows, &mut sink), Err(first));
    assert_eq!((rows.len(), rejected), (0, 0));
}

#[test]
fn a_null_text_that_could_be_a_value_is_null() {
    let schema = schema(
        "columns: [{name: a, type: int, nullValues: ['-999']}, {name: b, type: text, nullValues: ['', '-']}]",
    );
    let case = case(
        "nulls",
        b"b,a\n,-999\n-,-9990\n--,999\n",
        &[
            "1000: \"up\" 0 0 null null",
            "1001: \"up\" 0 1 -9990 null",
            "1002: \"up\" 0 2 999 \"--\"",
        ],
    );
    check(Format::Csv, &schema, &case);
}
