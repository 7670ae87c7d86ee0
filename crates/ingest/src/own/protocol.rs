//! What the program is given and what it prints [pure]: messages as NDJSON with ids, answers by id, the report of
//! a file. `docs/own-apps.md` is the contract.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::file::FileReport;
use crate::own::logs::printable;

/// Most rows that a program may report of one file.
const MOST_ROWS: u64 = 1_000_000_000_000;

#[derive(Serialize)]
struct Given<'a> {
    id: &'a str,
    version: i64,
    record: &'a RawValue,
}

/// The line of a message, or why it is none.
pub fn line(id: &str, version: i64, body: &[u8]) -> Result<Bytes, String> {
    simbdp_record::message::validate_object(body).map_err(|fault| fault.to_string())?;
    let record: &RawValue = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let given = Given {
        id,
        version,
        record,
    };
    let mut line = serde_json::to_vec(&given).map_err(|error| error.to_string())?;
    // JSON has them between its tokens alone.
    for byte in &mut line {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    line.push(b'\n');
    Ok(line.into())
}

/// What the program says of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It has done its work; these rows are to be written.
    Done(Vec<Bytes>),
    /// It can never do it.
    Refused(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Printed<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    rows: Vec<&'a RawValue>,
    #[serde(default)]
    error: Option<String>,
}

/// Reads an answer: an id alone, or `{"id": …, "rows": […]}`, or `{"id": …, "error": …}`.
pub fn answer(line: &[u8]) -> Result<(String, Answer), String> {
    let shown = || printable(&line[..line.len().min(400)]);
    let line = line.trim_ascii();
    if !line.starts_with(b"{") {
        let id = std::str::from_utf8(line)
            .map_err(|_| format!("printed `{}`, which is not UTF-8", shown()))?;
        return Ok((id.to_owned(), Answer::Done(Vec::new())));
    }
    let printed: Printed<'_> = serde_json::from_slice(line).map_err(|error| {
        format!(
            "printed `{}`, which is no answer ({error}): print an id, or an object with id and rows, or with id and error",
            shown()
        )
    })?;
    let answer = match printed.error {
        Some(reason) => Answer::Refused(printable(reason.as_bytes())),
        None => {
            let rows = printed.rows.iter();
            Answer::Done(
                rows.map(|row| Bytes::copy_from_slice(row.get().as_bytes()))
                    .collect(),
            )
        }
    };
    Ok((printed.id.into_owned(), answer))
}

/// What the last line that a program printed says of a file: how many rows, where it is a report.
pub fn report(line: &[u8]) -> Result<FileReport, String> {
    let nothing = FileReport::default();
    let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(line.trim_ascii()) else {
        return Ok(nothing);
    };
    if !object.contains_key("accepted") && !object.contains_key("rejected") {
        return Ok(nothing);
    }
    let count = |name: &str| match object.get(name) {
        None => Ok(0),
        Some(value) => value
            .as_u64()
            .filter(|count| *count <= MOST_ROWS)
            .ok_or_else(|| format!("reports `{name}`: {value}, which is no number of rows")),
    };
    Ok(FileReport {
        accepted: count("accepted")?,
        rejected: count("rejected")?,
        unlisted: true,
        ..nothing
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_with_every_digit() {
        let body = b"{\n \"price\": 0.10000000000000000001,\r\n \"text\": \"a\\nb\" }";
        let line = line("s:1", 7, body).unwrap();
        assert_eq!(
            line.as_ref(),
            b"{\"id\":\"s:1\",\"version\":7,\"record\":{  \"price\": 0.10000000000000000001,   \"text\": \"a\\nb\" }}\n"
        );
        for bad in [&b"[1]"[..], b"{", b"", b"\xff{}", b"{} {}"] {
            assert!(super::line("s:1", 7, bad).is_err());
        }
    }

    #[test]
    fn answers_are_an_id_or_rows_or_an_error() {
        let done = |rows: &[&str]| {
            Answer::Done(
                rows.iter()
                    .map(|row| Bytes::copy_from_slice(row.as_bytes()))
                    .collect(),
            )
        };
        let read = |text: &str| answer(text.as_bytes()).unwrap();
        assert_eq!(read("s:1\r"), ("s:1".into(), done(&[])));
        assert_eq!(read(r#"{"id":"s:1"}"#), ("s:1".into(), done(&[])));
        assert_eq!(
            read(r#"{"id":"a\"b","rows":[{"x":1.10},{}]}"#),
            ("a\"b".into(), done(&[r#"{"x":1.10}"#, "{}"]))
        );
        let refused = Answer::Refused("no such colour".into());
        assert_eq!(
            read(r#"{"id":"s:1","error":"no such\tcolour"}"#),
            ("s:1".into(), refused)
        );
        for garbage in [
            "{",
            "{}",
            r#"{"id":1}"#,
            r#"{"id":"s:1","row":{}}"#,
            "\u{0}{",
        ] {
            let _ = answer(garbage.as_bytes());
        }
        assert!(
            answer(b"{\"level\":\"info\"}")
                .unwrap_err()
                .contains("no answer")
        );
        assert!(answer(b"\xff\xfe").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn the_last_line_is_a_report_when_it_says_so() {
        let counts = |text: &str| report(text.as_bytes()).map(|one| (one.accepted, one.rejected));
        assert_eq!(counts(r#"{"accepted":3,"rejected":1}"#), Ok((3, 1)));
        assert_eq!(counts(r#"{"accepted":3,"took":0.5} "#), Ok((3, 0)));
        for log in ["", "done", r#"{"level":"info"}"#, "[1]", "{"] {
            assert_eq!(counts(log), Ok((0, 0)));
        }
        for wrong in ["-1", "1.5", "\"3\"", "18446744073709551615", "1e30"] {
            let text = format!(r#"{{"accepted":{wrong}}}"#);
            assert!(
                counts(&text).unwrap_err().contains("no number of rows"),
                "{text}"
            );
        }
    }
}
