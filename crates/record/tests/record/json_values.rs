//! Every type from JSON fields, and back to JSON.

use simbdp_api::pipeline::Format;

use crate::support::{decode, matches, schema, show};

const ALL: &str = "
columns:
- {name: k, type: bigint}
- {name: fl, type: float}
- {name: de, type: decimal}
- {name: bo, type: boolean}
- {name: ts, type: timestamp}
- {name: da, type: date}
- {name: ti, type: time}
- {name: uu, type: uuid}
- {name: bl, type: blob}
- {name: li, type: list<decimal>}
- {name: ma, type: 'map<text,timestamp>'}
primaryKey: {partition: [k]}
";

fn one(fields: &str) -> String {
    let input = format!("{{\"k\":1,{fields}}}");
    let shown = show(&decode(Format::Ndjson, &schema(ALL), &[input.as_bytes()]));
    assert_eq!(shown.len(), 1);
    shown[0].clone()
}

#[test]
fn each_type_keeps_its_value() {
    let shown = one(concat!(
        r#""fl":0.1,"de":12345678901234567890.10,"bo":false,"ts":"2013-01-01T05:00:00+01:00","da":"2013-02-28","#,
        r#""ti":"05:17:00.5","uu":"67e55044-10b1-426f-9247-bb680e5fe0c8","bl":"AAH/","#,
        r#""li":[1.10,"2.0"],"ma":{"a b":"2013-01-01T05:00:00Z"}"#
    ));
    let wanted = concat!(
        r#"1000: 1 0.1 "12345678901234567890.10" false "2013-01-01T04:00:00Z" "2013-02-28" "#,
        r#""05:17:00.500" "67e55044-10b1-426f-9247-bb680e5fe0c8" "AAH/" ["1.10","2.0"] {"a b":"2013-01-01T05:00:00Z"}"#
    );
    assert_eq!(shown, wanted);
}

#[test]
fn wrong_types_name_the_field() {
    let cases = [
        (
            r#""bo":1"#,
            "…bo: is a JSON number, but the type is boolean: write true or false…",
        ),
        (
            r#""bo":"true""#,
            "…bo: is a JSON string, but the type is boolean…",
        ),
        (
            r#""ts":1357016400"#,
            "…ts: is a JSON number, but the type is timestamp: write a JSON string…",
        ),
        (r#""ts":"""#, "…ts: `` is not a timestamp…"),
        (
            r#""de":true"#,
            "…de: is a JSON boolean, but the type is decimal: write a JSON number or string…",
        ),
        (
            r#""fl":"0.1""#,
            "…fl: is a JSON string, but the type is float…",
        ),
        (
            r#""li":"[1]""#,
            "…li: is a JSON string, but the type is list<decimal>: write a JSON array…",
        ),
        (
            r#""li":[{}]"#,
            "…li: element 1: is a JSON object, but the type is decimal…",
        ),
        (
            r#""ma":{"a":1}"#,
            "…ma: key `a`: is a JSON number, but the type is timestamp…",
        ),
        (
            r#""ma":{"a":"2013-01-01T05:00:00Z","a":"2013-01-01T05:00:00Z"}"#,
            "…ma: key `a`: is in the map twice…",
        ),
    ];
    for (fields, wanted) in cases {
        let shown = one(fields);
        assert!(matches(&shown, wanted), "{fields}: {shown}");
    }
}
