//! Reads one JSON object into the values of a row, without building a tree: each field's text goes
//! straight to its column's conversion, so decimals keep every digit.
//!
//! A field has the JSON type that its column suggests: numbers for int, bigint, float, double;
//! a number or a string for decimal; `true` or `false` for boolean; strings for the rest; arrays for
//! lists and objects for maps, whose keys are written as in CSV. `null` and a missing field are null,
//! as is a string that `nullValues` names.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use simbdp_api::column_type::{ColumnType, ScalarType};

use crate::convert::{check_key, null, scalar, shown, too_long};
use crate::row::RowFault;
use crate::rows::OpenRow;
use crate::schema::{ColumnSchema, RowSchema};
use crate::time::TimeFormat;
use crate::value::Value;
use crate::{MAX_FIELD_BYTES, json};

/// Most elements of a list or map: it bounds the memory that one field can take.
pub(crate) const MAX_ELEMENTS: usize = 65_535;
/// Most bytes of a map's key, a limit of Cassandra.
const MAX_MAP_KEY_BYTES: usize = 65_535;
/// Most faults that are told of one record.
pub(crate) const MAX_FAULTS: usize = 16;

/// The first faults of a record, and how many more there are.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<RowFault>,
    more: usize,
}

impl Faults {
    pub(crate) fn push(&mut self, fault: RowFault) {
        if self.list.len() < MAX_FAULTS {
            self.list.push(fault);
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes the faults out, and is empty again.
    pub(crate) fn take(&mut self) -> Vec<RowFault> {
        let more = std::mem::take(&mut self.more);
        let mut list = std::mem::take(&mut self.list);
        if more > 0 {
            list.push(RowFault::of_row(format!("and {more} more faults")));
        }
        list
    }
}

/// Reads objects of one schema; keeps its buffers, and the order of the fields in the last object,
/// in which the next one most likely has them.
#[derive(Debug, Default)]
pub(crate) struct ObjectReader {
    order: Vec<usize>,
    seen: Vec<bool>,
    faults: Faults,
}

impl ObjectReader {
    /// Reads one object into the values of the declared columns. On faults `row` is void.
    pub(crate) fn read(
        &mut self,
        schema: &RowSchema,
        record: &[u8],
        row: &mut OpenRow<'_>,
    ) -> Result<(), Vec<RowFault>> {
        let text = std::str::from_utf8(record).map_err(|error| {
            vec![RowFault::of_row(format!(
                "is not UTF-8 at byte {}: write the record in UTF-8",
                error.valid_up_to() + 1
            ))]
        })?;
        check_is_object(text).map_err(|reason| vec![RowFault::of_row(reason)])?;
        self.seen.clear();
        self.seen.resize(schema.columns().len(), false);
        self.faults = Faults::default();
        let mut json = serde_json::Deserializer::from_str(text);
        let fields = Fields {
            schema,
            reader: self,
            row,
        };
        let read = fields.deserialize(&mut json).and_then(|()| json.end());
        if let Err(error) = read {
            return Err(vec![RowFault::of_row(not_json(&error))]);
        }
        for (column, seen) in schema.columns().iter().zip(&self.seen) {
            if !seen && column.required() {
                let reason = "is missing: a record must have this field";
                self.faults
                    .push(RowFault::of_column(column.source(), reason));
            }
        }
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(self.faults.take())
        }
    }
}

fn check_is_object(text: &str) -> Result<(), String> {
    let Some(first) = text.trim_ascii_start().bytes().next() else {
        return Err("is empty: write a JSON object".to_owned());
    };
    if first == b'{' {
        return Ok(());
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Err(format!(
            "is {}, but a record is a JSON object, e.g. {{\"name\": 1}}",
            json_type(first)
        )),
        Err(error) => Err(not_json(&error)),
    }
}

/// What is wrong with a text that is not JSON, and where.
pub(crate) fn not_json(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(what, _)| what);
    if error.line() <= 1 {
        format!("is not JSON: {message} at character {}", error.column())
    } else {
        format!(
            "is not JSON: {message} at line {} character {}",
            error.line(),
            error.column()
        )
    }
}

/// A key of an object, borrowed where it has no escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct Fields<'a, 'r> {
    schema: &'a RowSchema,
    reader: &'a mut ObjectReader,
    row: &'a mut OpenRow<'r>,
}

impl Fields<'_, '_> {
    fn column(&mut self, position: usize, name: &str) -> Option<usize> {
        let columns = self.schema.columns();
        if let Some(&guess) = self.reader.order.get(position)
            && columns
                .get(guess)
                .is_some_and(|column| column.source() == name)
        {
            return Some(guess);
        }
        let index = self.schema.column_of_field(name)?;
        if position < columns.len() {
            self.reader
                .order
                .resize(self.reader.order.len().max(position + 1), usize::MAX);
            self.reader.order[position] = index;
        }
        Some(index)
    }

    fn field(&mut self, index: usize, raw: &RawValue) {
        let column = &self.schema.columns()[index];
        match field(column, raw.get()) {
            Ok(Some(value)) => self.row.set(index, value),
            Ok(None) => {}
            Err(reason) => self
                .reader
                .faults
                .push(RowFault::of_column(column.source(), reason)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Fields<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut position = 0;
        while let Some(Key(name)) = map.next_key()? {
            match self.column(position, &name) {
                Some(index) if !self.reader.seen[index] => {
                    self.reader.seen[index] = true;
                    self.field(index, map.next_value::<&RawValue>()?);
                }
                known => {
                    map.next_value::<IgnoredAny>()?;
                    let reason = if known.is_some() {
                        "is in the record twice: write each field once".to_owned()
                    } else {
                        unknown_field(self.schema)
                    };
                    self.reader
                        .faults
                        .push(RowFault::of_column(&shown(&name), reason));
                }
            }
            position += 1;
        }
        Ok(())
    }
}

fn unknown_field(schema: &RowSchema) -> String {
    format!(
        "is not a field of this table: remove it; known are {}",
        field_names(schema)
    )
}

/// The names of the fields, for a reason; the first 20.
pub(crate) fn field_names(schema: &RowSchema) -> String {
    const MOST: usize = 20;
    let names: Vec<&str> = schema
        .columns()
        .iter()
        .take(MOST)
        .map(ColumnSchema::source)
        .collect();
    let more = schema.columns().len().saturating_sub(MOST);
    if more == 0 {
        names.join(", ")
    } else {
        format!("{} and {more} more", names.join(", "))
    }
}

fn field(column: &ColumnSchema, raw: &str) -> Result<Option<Value>, String> {
    if raw == "null" {
        return null(column).map(|()| None);
    }
    if raw.starts_with('"') && column.has_null_values() && column.is_null_text(&unquoted(raw)?) {
        return null(column).map(|()| None);
    }
    let value = match column.column_type() {
        ColumnType::Scalar(kind) => scalar_from_json(kind, column.time_format.as_ref(), raw)?,
        collection => collection_from_json(collection, raw)?,
    };
    if column.key() {
        check_key(column, &value)?;
    }
    Ok(Some(value))
}

/// The text of a JSON string.
fn unquoted(raw: &str) -> Result<Cow<'_, str>, String> {
    match raw
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str(raw)
            .map(Cow::Owned)
            .map_err(|error| not_json(&error)),
    }
}

fn scalar_from_json(
    kind: ScalarType,
    time_format: Option<&TimeFormat>,
    raw: &str,
) -> Result<Value, String> {
    use ScalarType::{Bigint, Boolean, Decimal, Double, Float, Int};
    let numeric = matches!(kind, Int | Bigint | Float | Double | Decimal);
    let text = match raw.as_bytes().first() {
        Some(b'"') if kind == Decimal || !(numeric || kind == Boolean) => unquoted(raw)?,
        Some(b'-' | b'0'..=b'9') if numeric => Cow::Borrowed(raw),
        Some(b't' | b'f') if kind == Boolean => Cow::Borrowed(raw),
        first => return Err(wrong_type(ColumnType::Scalar(kind), first)),
    };
    if text.len() > MAX_FIELD_BYTES {
        return Err(too_long(text.len()));
    }
    scalar(kind, time_format, &text)
}

fn json_type(first: u8) -> &'static str {
    match first {
        b'"' => "a JSON string",
        b'{' => "a JSON object",
        b'[' => "a JSON array",
        b't' | b'f' => "a JSON boolean",
        b'n' => "null",
        _ => "a JSON number",
    }
}

fn wrong_type(column_type: ColumnType, first: Option<&u8>) -> String {
    use ScalarType::{Bigint, Boolean, Decimal, Double, Float, Int};
    let wanted = match column_type {
        ColumnType::Scalar(Int | Bigint) => "a JSON number, e.g. 42",
        ColumnType::Scalar(Float | Double) => "a JSON number, e.g. 1.5",
        ColumnType::Scalar(Decimal) => "a JSON number or string, e.g. \"1234.50\"",
        ColumnType::Scalar(Boolean) => "true or false",
        ColumnType::Scalar(_) => "a JSON string",
        ColumnType::List(_) => "a JSON array",
        ColumnType::Map(_, _) => "a JSON object",
    };
    format!(
        "is {}, but the type is {column_type}: write {wanted}",
        json_type(first.copied().unwrap_or(b'"'))
    )
}

/// Reads a list or map from JSON text in a field.
pub(crate) fn collection_from_text(column_type: ColumnType, text: &str) -> Result<Value, String> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => collection_from_json(column_type, raw.get()),
        Err(error) => {
            let example = if matches!(column_type, ColumnType::List(_)) {
                "[1, 2]"
            } else {
                "{\"a\": 1}"
            };
            Err(format!(
                "`{}` {}; write a {column_type} as JSON, e.g. {example}",
                shown(text),
                not_json(&error)
            ))
        }
    }
}

fn collection_from_json(column_type: ColumnType, raw: &str) -> Result<Value, String> {
    if raw.len() > MAX_FIELD_BYTES {
        return Err(too_long(raw.len()));
    }
    match (column_type, raw.as_bytes().first()) {
        (ColumnType::List(element), Some(b'[')) => list(element, raw),
        (ColumnType::Map(key, value), Some(b'{')) => map(key, value, raw),
        (_, first) => Err(wrong_type(column_type, first)),
    }
}

fn element(kind: ScalarType, raw: &str) -> Result<Value, String> {
    if raw == "null" {
        return Err("is null, which a list or map cannot hold: leave it out".to_owned());
    }
    scalar_from_json(kind, None, raw)
}

fn list(kind: ScalarType, raw: &str) -> Result<Value, String> {
    let elements: Vec<&RawValue> = serde_json::from_str(raw).map_err(|error| not_json(&error))?;
    check_count(elements.len())?;
    let value = |(index, raw): (usize, &&RawValue)| {
        element(kind, raw.get()).map_err(|reason| format!("element {}: {reason}", index + 1))
    };
    elements
        .iter()
        .enumerate()
        .map(value)
        .collect::<Result<_, _>>()
        .map(Value::List)
}

fn check_count(count: usize) -> Result<(), String> {
    if count > MAX_ELEMENTS {
        return Err(format!(
            "has {count} elements, but a list or map takes at most {MAX_ELEMENTS}"
        ));
    }
    Ok(())
}

fn map(key_kind: ScalarType, value_kind: ScalarType, raw: &str) -> Result<Value, String> {
    let entries: Entries<'_> = serde_json::from_str(raw).map_err(|error| not_json(&error))?;
    check_count(entries.0.len())?;
    let mut keys = HashSet::with_capacity(entries.0.len());
    let mut values = Vec::with_capacity(entries.0.len());
    for (name, raw) in &entries.0 {
        let named = |reason: String| format!("key `{}`: {reason}", shown(name));
        if name.len() > MAX_MAP_KEY_BYTES {
            return Err(named(format!(
                "has {} bytes, but a map's key takes at most {MAX_MAP_KEY_BYTES}",
                name.len()
            )));
        }
        let key = scalar(key_kind, None, name).map_err(named)?;
        // Two notations of one key, such as 1 and 01, are one key too.
        if !keys.insert(json::to_text(&key)) {
            return Err(named("is in the map twice: write each key once".to_owned()));
        }
        values.push((key, element(value_kind, raw.get()).map_err(named)?));
    }
    Ok(Value::Map(values))
}

/// The entries of an object in their order, doubles included.
struct Entries<'de>(Vec<(Cow<'de, str>, &'de RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((Key(name), value)) = map.next_entry()? {
                    entries.push((name, value));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}
