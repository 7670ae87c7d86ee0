//! One table of a tenant: writes rows in batches.

use std::ops::Range;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use mongodb::Database;
use mongodb::bson::{RawDocumentBuf, doc};
use simbdp_api::pipeline::TableSpec;
use simbdp_record::Rows;

use super::batch::split;
use super::client::write_concern_document;
use super::encode::{EncodedRows, RowEncoder};
use super::observe::{first_batch, list_collections};
use super::read;
use super::scan::Scanner;
use super::schema::CollectionState;
use super::store::Shared;
use super::write::{self, Answer};
use crate::declaration;
use crate::store::{Page, RowQuery, StoreError, Table, WriteReport};

/// A table whose collection was there, with all its columns.
pub(crate) struct MongoTable {
    pub(super) shared: Arc<Shared>,
    pub(super) database: String,
    pub(super) name: String,
    pub(super) encoder: RowEncoder,
    pub(super) scanner: Scanner,
    write_concern: RawDocumentBuf,
}

impl MongoTable {
    pub(crate) async fn prepare(
        shared: Arc<Shared>,
        keyspace: &str,
        table: &TableSpec,
    ) -> Result<Self, StoreError> {
        let encoder = RowEncoder::new(table)?;
        let database = shared.clients.get().await?.database(keyspace);
        let command = list_collections(doc! {"name": &table.name});
        let answer = shared
            .clients
            .within(async { database.run_command(command).await })
            .await?;
        let state = first_batch(&answer)
            .pop()
            .map(|collection| CollectionState {
                options: collection
                    .get_document("options")
                    .cloned()
                    .unwrap_or_default(),
                ..CollectionState::default()
            });
        check(table, state.as_ref())?;
        let write_concern = write_concern_document(shared.clients.timeout);
        Ok(Self {
            scanner: Scanner::new(table, &encoder),
            encoder,
            write_concern: RawDocumentBuf::try_from(&write_concern)
                .map_err(|error| StoreError::Permanent(error.to_string()))?,
            shared,
            database: keyspace.to_owned(),
            name: table.name.clone(),
        })
    }

    pub(super) async fn database(&self) -> Result<Database, StoreError> {
        Ok(self.shared.clients.get().await?.database(&self.database))
    }

    async fn run(
        &self,
        database: &Database,
        command: RawDocumentBuf,
    ) -> Result<Answer, StoreError> {
        let answer = async { database.run_raw_command(command).await };
        Answer::read(&self.shared.clients.within(answer).await?)
    }

    /// Sends the rows of this range; returns how many commands it took.
    async fn send(
        &self,
        database: &Database,
        encoded: &EncodedRows,
        batch: Range<usize>,
    ) -> Result<u64, StoreError> {
        let _permit = self
            .shared
            .permits
            .acquire()
            .await
            .map_err(|error| StoreError::Transient(error.to_string()))?;
        let first = batch.start;
        let command = write::insert(&self.name, &self.write_concern, encoded, batch)?;
        let there = self.run(database, command).await?.there;
        if there.is_empty() {
            return Ok(1);
        }
        let rows: Vec<usize> = there.into_iter().map(|place| first + place).collect();
        let command = write::replace(&self.name, &self.write_concern, encoded, &rows)?;
        let lost = self.run(database, command).await?.there;
        match lost.is_empty() {
            true => Ok(2),
            // They were deleted and inserted again by others while they were replaced.
            false => Err(StoreError::Transient(
                "other writers of the same rows got in between".to_owned(),
            )),
        }
    }
}

/// A column that has not been added yet is waited for: its rows would be refused one by one.
fn check(table: &TableSpec, there: Option<&CollectionState>) -> Result<(), StoreError> {
    let wait = |reason: String| Err(StoreError::Transient(reason));
    let Some(declared) = there.and_then(CollectionState::declared) else {
        return wait(format!("collection `{}` is not there yet", table.name));
    };
    for (name, column_type) in declaration::columns(table) {
        let column = declared.columns.iter().find(|column| column.name == name);
        if column.is_none_or(|column| column.column_type != column_type) {
            return wait(format!(
                "collection `{}` has no column `{name}` of type {column_type} yet",
                table.name
            ));
        }
    }
    Ok(())
}

impl Table for MongoTable {
    fn write<'a>(&'a self, rows: &'a Rows) -> BoxFuture<'a, Result<WriteReport, StoreError>> {
        Box::pin(async move {
            let encoded = self.encoder.encode(rows)?;
            if encoded.rows.is_empty() {
                return Ok(WriteReport::default());
            }
            let database = self.database().await?;
            let batches = stream::iter(split(&encoded.rows, self.shared.limits))
                .map(|batch| self.send(&database, &encoded, batch))
                .buffer_unordered(self.shared.in_flight)
                .try_fold(0, |sum, commands| async move { Ok(sum + commands) })
                .await?;
            Ok(WriteReport {
                rows: encoded.rows.len() as u64,
                batches,
            })
        })
    }

    fn read<'a>(&'a self, query: &'a RowQuery) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move { read::page(self, query).await })
    }
}
