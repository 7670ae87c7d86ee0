//! The tenant's tables, as its pipelines declare them together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use simbdp_api::pipeline::{Column, TableSpec};
use simbdp_api::wire::rest::{Field, TableDescription};
use simbdp_coredms::Store;
use simbdp_coredms::store::{StoreError, Table};
use simbdp_record::row::IDENTITY_COLUMNS;
use tokio::sync::Mutex;

use crate::pipeline::Pipeline;

/// A table: the columns of every pipeline that writes to it.
#[derive(Clone, Debug, PartialEq)]
pub struct TableView {
    /// Keyspace of the table.
    pub keyspace: String,
    /// Its declaration.
    pub spec: TableSpec,
}

impl TableView {
    /// The tables of pipelines, by name. The operator admits only declarations that agree, so the
    /// columns that a later one adds are appended.
    pub fn of_all<'a>(
        pipelines: impl Iterator<Item = &'a Arc<Pipeline>>,
    ) -> BTreeMap<String, Arc<Self>> {
        let mut views: BTreeMap<String, Self> = BTreeMap::new();
        for pipeline in pipelines {
            let config = &pipeline.config;
            match views.get_mut(&config.table.name) {
                None => {
                    let view = Self {
                        keyspace: config.keyspace.clone(),
                        spec: config.table.clone(),
                    };
                    views.insert(config.table.name.clone(), view);
                }
                Some(view) => view.add(&config.table.columns),
            }
        }
        views
            .into_iter()
            .map(|(name, view)| (name, Arc::new(view)))
            .collect()
    }

    fn add(&mut self, columns: &[Column]) {
        for column in columns {
            if !self.spec.columns.iter().any(|own| own.name == column.name) {
                self.spec.columns.push(column.clone());
            }
        }
    }

    /// What a client is told of it.
    pub fn describe(&self) -> TableDescription {
        let identity = IDENTITY_COLUMNS
            .iter()
            .filter(|_| self.spec.primary_key.is_none())
            .map(|(name, column_type)| Field {
                name: (*name).to_owned(),
                column: (*name).to_owned(),
                column_type: *column_type,
                required: true,
            });
        let declared = self.spec.columns.iter().map(|column| Field {
            name: column.source().to_owned(),
            column: column.name.clone(),
            column_type: column.column_type,
            required: column.required || self.is_key(&column.name),
        });
        TableDescription {
            name: self.spec.name.clone(),
            columns: identity.chain(declared).collect(),
            primary_key: self.spec.primary_key.clone(),
        }
    }

    fn is_key(&self, name: &str) -> bool {
        self.spec.primary_key.as_ref().is_some_and(|key| {
            key.partition.iter().any(|column| column == name)
                || key.clustering.iter().any(|column| column.column == name)
        })
    }
}

/// Tables prepared for reading, each as long as its declaration stays.
#[derive(Default)]
pub struct Tables {
    prepared: Mutex<HashMap<String, Prepared>>,
}

type Prepared = (Arc<TableView>, Arc<dyn Table>);

impl Tables {
    /// The table, prepared once.
    pub async fn table(
        &self,
        store: &dyn Store,
        view: &Arc<TableView>,
    ) -> Result<Arc<dyn Table>, StoreError> {
        let name = &view.spec.name;
        if let Some((known, table)) = self.prepared.lock().await.get(name)
            && known == view
        {
            return Ok(Arc::clone(table));
        }
        let table = store.table(&view.keyspace, &view.spec).await?;
        let entry = (Arc::clone(view), Arc::clone(&table));
        self.prepared.lock().await.insert(name.clone(), entry);
        Ok(table)
    }
}
