//! Reads the header of a CSV file: which field of a record goes to which column.

use std::collections::HashSet;

use super::Splitter;
use super::framer::Record;
use crate::convert::shown;
use crate::decoder::FileFault;
use crate::schema::RowSchema;

/// For each field of a record the index of its column.
pub(super) fn read(
    schema: &RowSchema,
    record: &Record<'_>,
    splitter: &mut Splitter,
) -> Result<Vec<usize>, FileFault> {
    if record.raw.starts_with(b"\xff\xfe") || record.raw.starts_with(b"\xfe\xff") {
        return Err(FileFault::Utf16);
    }
    if record.too_long {
        return Err(FileFault::HeaderTooLong);
    }
    if record.raw.contains(&0) {
        return Err(FileFault::HeaderNul);
    }
    if record.stray_on.is_some() {
        return Err(FileFault::HeaderQuote);
    }
    let text = std::str::from_utf8(record.raw)
        .map_err(|error| FileFault::HeaderNotUtf8(error.valid_up_to() + 1))?;
    let fields = splitter.split(text, record.quoted_on.is_some());
    check_names(schema, fields.texts().map(str::to_owned).collect())
}

fn check_names(schema: &RowSchema, names: Vec<String>) -> Result<Vec<usize>, FileFault> {
    let mut seen = HashSet::new();
    if let Some(repeated) = names.iter().find(|name| !seen.insert(name.as_str())) {
        return Err(FileFault::RepeatedField(shown(repeated)));
    }
    let columns = || schema.columns().iter().map(|column| column.source());
    let missing: Vec<String> = columns()
        .filter(|name| !seen.contains(name))
        .map(str::to_owned)
        .collect();
    let order: Vec<usize> = names
        .iter()
        .filter_map(|name| schema.column_of_field(name))
        .collect();
    if missing.is_empty() && order.len() == names.len() {
        return Ok(order);
    }
    let extra = names
        .iter()
        .filter(|name| schema.column_of_field(name).is_none());
    Err(FileFault::Fields {
        missing,
        extra: extra.map(|name| shown(name)).collect(),
        separator: other_separator(schema, &names),
    })
}

/// The separator with which a header of one name would have been one of fields of the table.
fn other_separator(schema: &RowSchema, names: &[String]) -> Option<char> {
    let [only] = names else { return None };
    let fits = |separator: &char| {
        only.contains(*separator)
            && only
                .split(*separator)
                .any(|name| schema.column_of_field(name.trim_matches('"')).is_some())
    };
    [';', '\t', '|'].into_iter().find(fits)
}
