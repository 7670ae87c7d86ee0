//! Converts messages: JSON objects. The gateway validates with it, the ingest app converts with it.

use crate::MAX_RECORD_BYTES;
use crate::object::ObjectReader;
use crate::row::{RowFault, set_identity, version};
use crate::rows::Rows;
use crate::schema::RowSchema;

/// Converts a message and adds the row to `rows`. `source` and `ordinal` are its identity, `base` is the
/// version of ordinal 0 of its source: the row has `base` plus `ordinal`.
///
/// # Errors
/// Every fault of the message, at most 16 and how many more there are; nothing is added then.
pub fn convert(
    schema: &RowSchema,
    body: &[u8],
    source: &str,
    ordinal: u64,
    base: i64,
    rows: &mut Rows,
) -> Result<(), Vec<RowFault>> {
    if body.len() > MAX_RECORD_BYTES {
        let reason = format!(
            "has {} bytes, but a record takes at most {MAX_RECORD_BYTES} (2 MiB)",
            body.len()
        );
        return Err(vec![RowFault::of_row(reason)]);
    }
    let mut row = rows.open(schema.width());
    if schema.has_identity() {
        set_identity(&mut row, source, ordinal);
    }
    let read = ObjectReader::default().read(schema, body, &mut row);
    match read {
        Ok(()) => rows.close(version(base, ordinal)),
        Err(_) => rows.discard(),
    }
    read
}

/// Whether a message conforms, without making a row of it.
///
/// # Errors
/// As [`convert`].
pub fn validate(schema: &RowSchema, body: &[u8]) -> Result<(), Vec<RowFault>> {
    convert(schema, body, "", 0, 0, &mut Rows::default())
}

/// Whether a message is a JSON object at all: what a pipeline asks of it whose own program reads it.
///
/// # Errors
/// Why it is none.
pub fn validate_object(body: &[u8]) -> Result<(), RowFault> {
    let fault = |reason| Err(RowFault::of_row(reason));
    if body.len() > MAX_RECORD_BYTES {
        return fault(format!(
            "has {} bytes, but a record takes at most {MAX_RECORD_BYTES} (2 MiB)",
            body.len()
        ));
    }
    if let Err(error) = std::str::from_utf8(body) {
        let byte = error.valid_up_to() + 1;
        return fault(format!("is not UTF-8, at byte {byte}"));
    }
    let read = serde_json::from_slice::<&serde_json::value::RawValue>(body);
    match read {
        Ok(value) if value.get().trim_start().starts_with('{') => Ok(()),
        Ok(_) => fault("is no JSON object".to_owned()),
        Err(error) => fault(format!("is no JSON object: {error}")),
    }
}

/// The records of an NDJSON body: its lines that are not blank, each with its number, from 1.
pub fn records(body: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    (1..)
        .zip(body.split(|byte| *byte == b'\n'))
        .filter(|(_, line)| !line.trim_ascii().is_empty())
}
