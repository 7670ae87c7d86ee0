//! Texts of every type, good and bad.

use simbdp_api::column_type::ColumnType;
use simbdp_api::pipeline::Format;
use simbdp_record::Value;
use simbdp_record::json::to_json;

use crate::support::{decode, matches, schema, show};

fn parse(column_type: &str, text: &str) -> Result<String, String> {
    let column_type: ColumnType = column_type.parse().expect("the test's type");
    Value::parse(column_type, text)
        .map(|value| to_json(&value).to_string())
        .map_err(|error| error.to_string())
}

#[test]
fn good_texts() {
    let cases = [
        ("text", " as it is ", r#"" as it is ""#),
        ("text", "", r#""""#),
        ("int", "-2147483648", "-2147483648"),
        ("int", "+007", "7"),
        ("bigint", "9223372036854775807", "9223372036854775807"),
        ("float", "0.1", "0.1"),
        ("float", "3.4e38", "3.4e+38"),
        (
            "double",
            "1.7976931348623157e308",
            "1.7976931348623157e+308",
        ),
        ("double", "-.5", "-0.5"),
        ("double", "5e-324", "5e-324"),
        (
            "decimal",
            "12345678901234567890.12345678901234567890",
            r#""12345678901234567890.12345678901234567890""#,
        ),
        ("decimal", "-0.10", r#""-0.10""#),
        ("boolean", "true", "true"),
        ("boolean", "FALSE", "false"),
        ("boolean", "1", "true"),
        ("boolean", "0", "false"),
        (
            "timestamp",
            "2013-01-01T05:00:00Z",
            r#""2013-01-01T05:00:00Z""#,
        ),
        (
            "timestamp",
            "2013-01-01T05:00:00",
            r#""2013-01-01T05:00:00Z""#,
        ),
        ("timestamp", "2013-01-01 05:00", r#""2013-01-01T05:00:00Z""#),
        (
            "timestamp",
            "2013-01-01t05:00:00z",
            r#""2013-01-01T05:00:00Z""#,
        ),
        (
            "timestamp",
            "2013-01-01T05:00:00.123456789+05:30",
            r#""2012-12-31T23:30:00.123Z""#,
        ),
        (
            "timestamp",
            "2013-01-01T23:30:00-0100",
            r#""2013-01-02T00:30:00Z""#,
        ),
        (
            "timestamp",
            "2013-01-01T05:00:00+01",
            r#""2013-01-01T04:00:00Z""#,
        ),
        (
            "timestamp",
            "1969-12-31T23:59:59.999Z",
            r#""1969-12-31T23:59:59.999Z""#,
        ),
        (
            "timestamp",
            "0001-01-01T00:00:00Z",
            r#""0001-01-01T00:00:00Z""#,
        ),
        ("date", "2012-02-29", r#""2012-02-29""#),
        ("time", "23:59:59.999999999", r#""23:59:59.999999999""#),
        ("time", "05:00", r#""05:00:00""#),
        (
            "uuid",
            "67E55044-10B1-426F-9247-BB680E5FE0C8",
            r#""67e55044-10b1-426f-9247-bb680e5fe0c8""#,
        ),
        ("blob", "aGVsbG8=", r#""aGVsbG8=""#),
        ("blob", "aGVsbG8", r#""aGVsbG8=""#),
        ("list<int>", "[1, 2 ,3]", "[1,2,3]"),
        ("list<text>", "[]", "[]"),
        (
            "list<timestamp>",
            r#"["2013-01-01T05:00:00"]"#,
            r#"["2013-01-01T05:00:00Z"]"#,
        ),
        ("map<text,int>", r#"{"a": 2, "b": 1}"#, r#"{"a":2,"b":1}"#),
        ("map<int,text>", r#"{"1": "x"}"#, r#"{"1":"x"}"#),
    ];
    for (column_type, text, wanted) in cases {
        assert_eq!(
            parse(column_type, text).as_deref(),
            Ok(wanted),
            "{column_type} `{text}`"
        );
    }
}

#[test]
fn bad_texts_say_what_would_be_right() {
    let cases = [
        ("text", "a\0b", "has a NUL byte at position 2…"),
        (
            "int",
            "2147483648",
            "`2147483648` does not fit int (-2147483648 to 2147483647); use bigint",
        ),
        (
            "int",
            "99999999999999999999",
            "`99999999999999999999` does not fit int (-2147483648 to 2147483647); use decimal",
        ),
        (
            "bigint",
            "9223372036854775808",
            "`9223372036854775808` does not fit bigint (-9223372036854775808 to 9223372036854775807); use decimal",
        ),
        ("int", "1.5", "`1.5` is not a whole number…"),
        ("int", "1e3", "`1e3` is not a whole number…"),
        (
            "int",
            " 7",
            "` 7` is not an int: write a whole number, e.g. 42; there are blanks around it",
        ),
        (
            "int",
            "NA",
            "`NA` is not an int…; if it means that there is no value, name it in nullValues",
        ),
        ("bigint", "x", "`x` is not a bigint: …"),
        ("int", "", "`` is not an int…"),
        (
            "float",
            "3.5e38",
            "`3.5e38` does not fit float (up to 3.4e38); use double",
        ),
        (
            "double",
            "1e309",
            "`1e309` does not fit double (up to 1.8e308); use decimal",
        ),
        ("double", "NaN", "`NaN` is not a finite double…nullValues"),
        ("double", "inf", "`inf` is not a finite double…"),
        ("float", "-Infinity", "`-Infinity` is not a finite float…"),
        ("double", "1,5", "`1,5` is not a finite double…"),
        ("decimal", "1_000", "`1_000` is not a decimal…"),
        (
            "decimal",
            "1e2000",
            "`1e2000` is not a decimal with an exponent between…",
        ),
        (
            "decimal",
            "1e-99999999999999999999",
            "`1e-99999999999999999999` is not a decimal…",
        ),
        ("decimal", "--1", "`--1` is not a decimal…"),
        ("decimal", ".", "`.` is not a decimal…"),
        (
            "boolean",
            "yes",
            "`yes` is not a boolean: write true, false, 1 or 0",
        ),
        (
            "timestamp",
            "2013-02-30T05:00:00Z",
            "`2013-02-30T05:00:00Z` is written right, but there is no such date and time",
        ),
        (
            "timestamp",
            "2013-01-01T24:00:00Z",
            "…there is no such date and time",
        ),
        (
            "timestamp",
            "2013-01-01T05:00:00+25:00",
            "…there is no such…",
        ),
        (
            "timestamp",
            "2013-01-01",
            "`2013-01-01` is not a timestamp: write it as …",
        ),
        (
            "timestamp",
            "2013-01-01T05:00:00 Europe/Berlin",
            "…is not a timestamp: …",
        ),
        (
            "timestamp",
            "2013-01-01T05:00:00.Z",
            "…is not a timestamp: …",
        ),
        (
            "timestamp",
            "1357016400",
            "…is not a timestamp: …or declare a timeFormat",
        ),
        (
            "timestamp",
            "2013-01-01T05:00:0\u{e4}",
            "…is not a timestamp: …",
        ),
        (
            "date",
            "2013-02-29",
            "`2013-02-29` is written right, but there is no such day of the calendar",
        ),
        ("date", "2013-13-01", "…no such day of the calendar"),
        (
            "date",
            "01/02/2013",
            "`01/02/2013` is not a date: write YYYY-MM-DD, or declare a timeFormat",
        ),
        ("date", "2013-1-2", "…is not a date…"),
        (
            "time",
            "25:00:00",
            "`25:00:00` is written right, but there is no such time of day",
        ),
        ("time", "5 pm", "`5 pm` is not a time: …"),
        (
            "uuid",
            "67e55044",
            "`67e55044` is not a uuid: write 32 hexadecimal digits…",
        ),
        ("blob", "a b", "`a b` is not base64: …"),
        (
            "list<int>",
            "1,2",
            "`1,2` is not JSON: …write a list<int> as JSON, e.g. [1, 2]",
        ),
        (
            "list<int>",
            "{\"a\":1}",
            "is a JSON object, but the type is list<int>: write a JSON array",
        ),
        (
            "list<int>",
            "[1, \"2\"]",
            "element 2: is a JSON string, but the type is int…",
        ),
        (
            "list<int>",
            "[1, null]",
            "element 2: is null, which a list or map cannot hold…",
        ),
        ("list<int>", "[[1]]", "element 1: is a JSON array…"),
        (
            "map<text,int>",
            "{\"a\":1,\"a\":2}",
            "key `a`: is in the map twice…",
        ),
        (
            "map<int,int>",
            "{\"1\":1,\"01\":2}",
            "key `01`: is in the map twice…",
        ),
        ("map<int,int>", "{\"x\":1}", "key `x`: `x` is not an int…"),
        (
            "map<text,int>",
            "{\"a\":\"x\"}",
            "key `a`: is a JSON string, but the type is int…",
        ),
        (
            "map<text,int>",
            "[]",
            "is a JSON array, but the type is map<text,int>: write a JSON object",
        ),
    ];
    for (column_type, text, wanted) in cases {
        match parse(column_type, text) {
            Ok(value) => panic!("{column_type} `{text}` was taken as {value}"),
            Err(reason) => assert!(
                matches(&reason, wanted),
                "{column_type} `{text}`: {reason}, wanted {wanted}"
            ),
        }
    }
}

#[test]
fn what_a_type_writes_it_reads_back() {
    let cases = [
        ("text", "a, \"b\""),
        ("int", "-1"),
        ("bigint", "-9223372036854775808"),
        ("float", "0.1"),
        ("double", "1e-300"),
        ("decimal", "1E+30"),
        ("decimal", "0.000000000000000000000000000001"),
        ("boolean", "true"),
        ("timestamp", "2013-01-01T05:00:00.001Z"),
        ("date", "2013-01-01"),
        ("time", "05:00:00.5"),
        ("uuid", "67e55044-10b1-426f-9247-bb680e5fe0c8"),
        ("blob", "AAH/"),
        ("list<double>", "[1.5,2]"),
        ("list<decimal>", "[1.10,\"2\"]"),
        ("map<date,blob>", r#"{"2013-01-01":"AAH/"}"#),
    ];
    for (column_type, text) in cases {
        let column_type: ColumnType = column_type.parse().unwrap();
        let value = Value::parse(column_type, text).unwrap();
        let again = Value::parse(column_type, &simbdp_record::json::to_text(&value));
        assert_eq!(again.as_ref(), Ok(&value), "{column_type} {text}");
    }
}

fn with_format(column_type: &str, format: &str, text: &str) -> String {
    let schema = schema(&format!(
        "columns: [{{name: a, type: {column_type}, timeFormat: \"{format}\"}}, {{name: b, type: text}}]"
    ));
    let input = format!("a,b\n\"{text}\",\n");
    let shown = show(&decode(Format::Csv, &schema, &[input.as_bytes()]));
    assert_eq!(shown.len(), 1);
    shown[0].clone()
}

#[test]
fn time_formats() {
    let cases = [
        (
            "timestamp",
            "%d/%m/%Y %H:%M:%S",
            "31/12/2013 23:59:58",
            "\"2013-12-31T23:59:58Z\"",
        ),
        (
            "timestamp",
            "%d/%m/%Y %H:%M",
            "31/12/2013 23:59",
            "\"2013-12-31T23:59:00Z\"",
        ),
        (
            "timestamp",
            "%d.%m.%Y %H:%M %z",
            "31.12.2013 23:59 +0100",
            "\"2013-12-31T22:59:00Z\"",
        ),
        (
            "timestamp",
            "%Y-%m-%d",
            "2013-12-31",
            "\"2013-12-31T00:00:00Z\"",
        ),
        ("timestamp", "%s", "1357016400", "\"2013-01-01T05:00:00Z\""),
        (
            "timestamp",
            "%I:%M %p, %b %d %Y",
            "05:00 PM, Jan 01 2013",
            "\"2013-01-01T17:00:00Z\"",
        ),
        (
            "timestamp",
            "%Y-%m-%dT%H:%M:%S%.f",
            "2013-01-01T05:00:00.25",
            "\"2013-01-01T05:00:00.250Z\"",
        ),
        ("date", "%m/%d/%Y", "02/28/2013", "\"2013-02-28\""),
        ("date", "%Y%m%d", "20130228", "\"2013-02-28\""),
        ("date", "%Y-%j", "2013-059", "\"2013-02-28\""),
        ("time", "%H%M", "0517", "\"05:17:00\""),
        ("time", "%I:%M:%S %p", "05:17:09 PM", "\"17:17:09\""),
    ];
    for (column_type, format, text, wanted) in cases {
        let shown = with_format(column_type, format, text);
        assert!(
            shown.contains(wanted),
            "{column_type} {format} `{text}`: {shown}"
        );
    }
    let bad = [
        (
            "date",
            "%m/%d/%Y",
            "02/29/2013",
            "`02/29/2013` is not a possible date in the column's timeFormat `%m/%d/%Y`",
        ),
        (
            "date",
            "%m/%d/%Y",
            "2013-02-28",
            "`2013-02-28` is not a possible date in the column's timeFormat `%m/%d/%Y`",
        ),
        (
            "time",
            "%H%M",
            "2460",
            "`2460` is not a possible time in the column's timeFormat `%H%M`",
        ),
        (
            "timestamp",
            "%d/%m/%Y %H:%M",
            "31/12/2013 23:59 x",
            "is not a timestamp in the column's timeFormat",
        ),
    ];
    for (column_type, format, text, wanted) in bad {
        let shown = with_format(column_type, format, text);
        assert!(
            shown.contains(wanted),
            "{column_type} {format} `{text}`: {shown}"
        );
    }
}
