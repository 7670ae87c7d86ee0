//! A table as the validator of its collection [pure]. The validator refuses what is not of the table's types, and
//! its description says in JSON what was declared, which its BSON types alone do not tell: a float is stored as a
//! double, a date like a timestamp.

use mongodb::bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};
use simbdp_api::column_type::{ColumnType, ScalarType};
use simbdp_api::pipeline::{Order, TableSpec};

use super::{DELETED, EXPIRY, ID, VERSION};
use crate::declaration::{self, ColumnState};

/// What was declared of a table, by all pipelines that share it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Declared {
    pub partition: Vec<String>,
    pub clustering: Vec<(String, Order)>,
    pub columns: Vec<DeclaredColumn>,
}

/// What was declared of a column.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct DeclaredColumn {
    pub name: String,
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Whether it may be null: once any pipeline lets it be, for good.
    pub nullable: bool,
}

impl Declared {
    /// What one pipeline declares.
    pub(crate) fn of(table: &TableSpec) -> Self {
        let (partition, clustering) = declaration::key(table);
        let required = |name: &String| {
            table
                .columns
                .iter()
                .any(|column| column.required && column.name == *name)
                || partition.contains(name)
                || clustering.iter().any(|(column, _)| column == name)
        };
        let columns = declaration::columns(table)
            .into_iter()
            .map(|(name, column_type)| DeclaredColumn {
                nullable: !required(&name),
                name,
                column_type,
            })
            .collect();
        Self {
            columns,
            partition,
            clustering,
        }
    }

    /// What a collection's validator says; [`None`] where it is not one of these.
    pub(crate) fn read(validator: &Document) -> Option<Self> {
        let schema = validator.get_document("$jsonSchema").ok()?;
        serde_json::from_str(schema.get_str("description").ok()?).ok()
    }

    /// With what another pipeline declares, which must not be in conflict.
    pub(crate) fn with(mut self, other: Self) -> Self {
        for column in other.columns {
            match self.columns.iter_mut().find(|c| c.name == column.name) {
                Some(there) => there.nullable |= column.nullable,
                None => self.columns.push(column),
            }
        }
        self
    }

    /// The columns, for comparison.
    pub(crate) fn states(&self) -> Vec<ColumnState> {
        let columns = self.columns.iter();
        let columns = columns.map(|column| (column.name.clone(), column.column_type.to_string()));
        declaration::states(columns, &self.partition, &self.clustering)
    }

    /// Names of the key's columns, in its order.
    fn key(&self) -> Vec<&String> {
        let clustering = self.clustering.iter().map(|(name, _)| name);
        self.partition.iter().chain(clustering).collect()
    }

    fn of_key(&self, name: &str) -> Document {
        let column = self.columns.iter().find(|column| column.name == name);
        column.map_or_else(Document::new, |column| property(column.column_type, false))
    }

    /// The validator. Absent fields pass, as rows that are older than a column and deleted ones have none.
    pub(crate) fn validator(&self) -> Document {
        let key = self.key();
        let id = match key.as_slice() {
            [only] => self.of_key(only),
            key => {
                let properties: Document = key
                    .iter()
                    .map(|name| ((*name).clone(), Bson::Document(self.of_key(name))))
                    .collect();
                let names: Vec<&str> = key.iter().map(|name| name.as_str()).collect();
                doc! {"bsonType": "object", "required": names, "properties": properties, "additionalProperties": false}
            }
        };
        let mut properties = doc! {
            ID: id,
            VERSION: {"bsonType": "long"},
            EXPIRY: {"bsonType": "date"},
            DELETED: {"bsonType": "bool"},
        };
        for column in self
            .columns
            .iter()
            .filter(|column| !key.contains(&&column.name))
        {
            let property = property(column.column_type, column.nullable);
            properties.insert(column.name.clone(), property);
        }
        doc! {"$jsonSchema": {
            "bsonType": "object",
            // It serialises: names, types and orders are plain values.
            "description": serde_json::to_string(self).unwrap_or_default(),
            "required": [ID, VERSION],
            "properties": properties,
            "additionalProperties": false,
        }}
    }
}

fn bson_type(scalar: ScalarType) -> &'static str {
    match scalar {
        ScalarType::Text => "string",
        ScalarType::Int => "int",
        ScalarType::Bigint | ScalarType::Time => "long",
        ScalarType::Float | ScalarType::Double => "double",
        ScalarType::Decimal => "decimal",
        ScalarType::Boolean => "bool",
        ScalarType::Timestamp | ScalarType::Date => "date",
        ScalarType::Uuid | ScalarType::Blob => "binData",
    }
}

fn property(column_type: ColumnType, nullable: bool) -> Document {
    let of = |bson: &str| -> Bson {
        match nullable {
            true => vec![bson, "null"].into(),
            false => bson.into(),
        }
    };
    let one = |scalar| doc! {"bsonType": bson_type(scalar)};
    match column_type {
        ColumnType::Scalar(scalar) => doc! {"bsonType": of(bson_type(scalar))},
        ColumnType::List(element) => doc! {"bsonType": of("array"), "items": one(element)},
        ColumnType::Map(ScalarType::Text, element) => {
            doc! {"bsonType": of("object"), "additionalProperties": one(element)}
        }
        ColumnType::Map(key, element) => doc! {"bsonType": of("array"), "items": {
            "bsonType": "object",
            "required": ["k", "v"],
            "properties": {"k": one(key), "v": one(element)},
        }},
    }
}
