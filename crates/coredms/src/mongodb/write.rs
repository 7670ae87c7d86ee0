//! The two commands of a write [pure], and what the server answers.
//!
//! New rows are inserted. Those whose key is there already are refused, and go again as updates that keep what is
//! there unless its version is lower, so that the last accepted wins in any order of delivery.

use std::ops::Range;

use mongodb::bson::spec::ElementType;
use mongodb::bson::{Bson, Document, RawDocumentBuf};

use super::bson::{Places, Writer};
use super::encode::{EncodedRow, EncodedRows};
use super::error::{code, permanent};
use super::{ID, VERSION};
use crate::store::StoreError;

/// What a command has beside its rows, and a row beside its document, at most.
const OVERHEAD: usize = 256;

fn command(
    name: &str,
    collection: &str,
    write_concern: &RawDocumentBuf,
    rows: (&str, usize),
    write: impl FnOnce(&mut Writer, &mut Places),
) -> Result<RawDocumentBuf, StoreError> {
    let (list, bytes) = rows;
    let mut writer = Writer::with_capacity(bytes + OVERHEAD);
    let start = writer.start();
    writer.text(name, collection);
    writer.boolean("ordered", false);
    writer.raw(
        ElementType::EmbeddedDocument,
        "writeConcern",
        write_concern.as_bytes(),
    );
    let array = writer.open(ElementType::Array, list);
    write(&mut writer, &mut Places::default());
    writer.close(array);
    writer.close(start);
    RawDocumentBuf::from_bytes(writer.bytes)
        .map_err(|error| StoreError::Permanent(format!("the rows are no BSON: {error}")))
}

/// Inserts rows.
pub(crate) fn insert(
    collection: &str,
    write_concern: &RawDocumentBuf,
    encoded: &EncodedRows,
    rows: Range<usize>,
) -> Result<RawDocumentBuf, StoreError> {
    let rows = &encoded.rows[rows];
    let bytes = rows.iter().map(|row| row.document.len() + OVERHEAD).sum();
    command(
        "insert",
        collection,
        write_concern,
        ("documents", bytes),
        |writer, places| {
            for row in rows {
                let document = &encoded.bytes[row.document.clone()];
                writer.raw(ElementType::EmbeddedDocument, places.next(), document);
            }
        },
    )
}

/// Replaces what is there by rows of a higher version; inserts what has gone meanwhile.
pub(crate) fn replace(
    collection: &str,
    write_concern: &RawDocumentBuf,
    encoded: &EncodedRows,
    rows: &[usize],
) -> Result<RawDocumentBuf, StoreError> {
    let rows = || rows.iter().map(|row| &encoded.rows[*row]);
    let bytes = rows().map(|row| row.document.len() + OVERHEAD).sum();
    command(
        "update",
        collection,
        write_concern,
        ("updates", bytes),
        |writer, places| {
            for row in rows() {
                update(writer, places.next(), &encoded.bytes, row);
            }
        },
    )
}

/// `{q: {_id: …}, u: [{$replaceWith: {$cond: [{$lt: ["$_v", …]}, {$literal: …}, "$$ROOT"]}}], upsert: true}`. The
/// filter is the key alone: two that insert it at once collide, and the server itself tries the later one again. What
/// has no version, such as a document that is not there, sorts below every number.
fn update(writer: &mut Writer, place: &str, bytes: &[u8], row: &EncodedRow) {
    use ElementType::{Array, EmbeddedDocument};
    let update = writer.open(EmbeddedDocument, place);
    let query = writer.open(EmbeddedDocument, "q");
    writer.raw(row.id.0, ID, &bytes[row.id.1.clone()]);
    writer.close(query);
    let pipeline = writer.open(Array, "u");
    let stage = writer.open(EmbeddedDocument, "0");
    let replace = writer.open(EmbeddedDocument, "$replaceWith");
    let condition = writer.open(Array, "$cond");
    let lower = writer.open(EmbeddedDocument, "0");
    let versions = writer.open(Array, "$lt");
    writer.text("0", &format!("${VERSION}"));
    writer.int64("1", row.version);
    writer.close(versions);
    writer.close(lower);
    let literal = writer.open(EmbeddedDocument, "1");
    writer.raw(EmbeddedDocument, "$literal", &bytes[row.document.clone()]);
    writer.close(literal);
    writer.text("2", "$$ROOT");
    writer.close(condition);
    writer.close(replace);
    writer.close(stage);
    writer.close(pipeline);
    writer.boolean("upsert", true);
    writer.close(update);
}

/// What the server says of the rows of a command.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Rows of the command that are there already, by their place in it.
    pub there: Vec<usize>,
}

impl Answer {
    /// # Errors
    /// What keeps the whole command from being done: a row that can never be written before what may pass.
    pub(crate) fn read(answer: &Document) -> Result<Self, StoreError> {
        let faults: Vec<&Document> = answer
            .get_array("writeErrors")
            .map(|errors| errors.iter().filter_map(Bson::as_document).collect())
            .unwrap_or_default();
        let mut there = Vec::new();
        let mut passing = None;
        for fault in faults {
            let number = fault.get_i32("code").unwrap_or_default();
            let place = fault
                .get_i32("index")
                .ok()
                .and_then(|at| usize::try_from(at).ok());
            match place {
                Some(place) if number == code::DUPLICATE_KEY && is_key(fault) => there.push(place),
                _ if permanent(number) || number == code::DUPLICATE_KEY => {
                    return Err(StoreError::Permanent(describe(fault)));
                }
                _ => passing = Some(describe(fault)),
            }
        }
        let late = answer.get_document("writeConcernError").ok();
        match passing.or(late.map(describe)) {
            Some(reason) => Err(StoreError::Transient(reason)),
            None => Ok(Self { there }),
        }
    }
}

/// Whether what is there already is the key, and not a value of an index that somebody else made.
fn is_key(fault: &Document) -> bool {
    fault
        .get_document("keyPattern")
        .is_ok_and(|pattern| pattern.len() == 1 && pattern.contains_key(ID))
}

/// The server's words, and the columns that its validator refuses.
fn describe(fault: &Document) -> String {
    let message = fault.get_str("errmsg").unwrap_or("no reason is given");
    if fault.get_i32("code").ok() != Some(code::DOCUMENT_VALIDATION_FAILURE) {
        return message.to_owned();
    }
    let mut columns = Vec::new();
    collect("propertyName", fault, &mut columns);
    collect("additionalProperties", fault, &mut columns);
    match columns.is_empty() {
        true => message.to_owned(),
        false => format!("{message}: column `{}`", columns.join("`, `")),
    }
}

/// All texts of fields of this name, at any depth.
fn collect(name: &str, document: &Document, found: &mut Vec<String>) {
    for (field, value) in document {
        collect_value(name, field, value, found);
    }
}

fn collect_value(name: &str, field: &str, value: &Bson, found: &mut Vec<String>) {
    match value {
        Bson::String(text) if field == name => found.push(text.clone()),
        Bson::Document(document) => collect(name, document, found),
        Bson::Array(values) => values
            .iter()
            .for_each(|value| collect_value(name, field, value, found)),
        _ => {}
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
