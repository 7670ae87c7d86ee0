//! A tenant's database by clients of its own, at the level that says what a majority of the members has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::TryStreamExt;
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::{ClientOptions, Credential, ReadConcern, SelectionCriteria, ServerAddress};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::{Consistency, Statement};
use scylla::value::{CqlValue, Row};
use simbdp_api::common::Engine;

use crate::harness::{QUICK, eventually};
use crate::table::Cells;

const TIMEOUT: Duration = Duration::from_secs(10);
const TIME: &str = "%Y-%m-%dT%H:%M:%SZ";

/// A session as some role.
pub enum Database {
    Cassandra(Box<Session>),
    /// With the primary alone, by its address: members' names are known in the cluster only.
    MongoDB(Client),
}

impl Database {
    /// Logs in at the addresses of the members.
    pub async fn open(
        engine: Engine,
        addresses: &[String],
        user: &str,
        password: &str,
    ) -> Result<Self, String> {
        match engine {
            Engine::Cassandra => {
                let endpoints = addresses.iter().map(|address| format!("{address}:9042"));
                let session = SessionBuilder::new()
                    .known_nodes(endpoints)
                    .user(user, password)
                    .connection_timeout(TIMEOUT)
                    .build()
                    .await
                    .map_err(|e| e.to_string())?;
                Ok(Self::Cassandra(Box::new(session)))
            }
            Engine::MongoDB => primary(addresses, user, password).await.map(Self::MongoDB),
        }
    }

    /// Every row of a table, keyed by the given columns, null as `None`. Reads again when a member that was just
    /// killed, or has just come back, fails the read.
    pub async fn rows(&self, keyspace: &str, table: &str, key: &[&str]) -> Cells {
        let what = format!("reading {keyspace}.{table}");
        eventually(&what, QUICK, || self.try_rows(keyspace, table, key)).await
    }

    /// Columns and types of a table in the database's own words, to be compared with what they were.
    pub async fn declaration(&self, keyspace: &str, table: &str) -> String {
        match self {
            Self::Cassandra(session) => {
                let columns = "SELECT column_name, kind, type FROM system_schema.columns \
                    WHERE keyspace_name = ? AND table_name = ?";
                let rows = session.query_unpaged(columns, (keyspace, table)).await;
                let rows = rows.unwrap().into_rows_result().unwrap();
                let rows = rows.rows::<(String, String, String)>().unwrap();
                format!("{:?}", rows.map(Result::unwrap).collect::<Vec<_>>())
            }
            Self::MongoDB(client) => {
                let list = doc! {"listCollections": 1, "filter": {"name": table}};
                let listed = client.database(keyspace).run_command(list).await.unwrap();
                let options = &listed.get_document("cursor").unwrap()["firstBatch"];
                options.as_array().unwrap()[0].as_document().unwrap()["options"].to_string()
            }
        }
    }

    /// [`Self::rows`] once.
    pub async fn try_rows(
        &self,
        keyspace: &str,
        table: &str,
        key: &[&str],
    ) -> Result<Cells, String> {
        let rows = match self {
            Self::Cassandra(session) => select(session, keyspace, table).await?,
            Self::MongoDB(client) => find(client, keyspace, table, key).await?,
        };
        let columns: BTreeSet<String> = rows.iter().flat_map(BTreeMap::keys).cloned().collect();
        let mut cells = Cells::new();
        for mut row in rows {
            for column in &columns {
                if !row.contains_key(column) {
                    row.insert(column.clone(), None);
                }
            }
            let key = key
                .iter()
                .map(|k| row[*k].clone().expect("a key is never null"))
                .collect();
            assert!(cells.insert(key, row).is_none(), "a key shows twice");
        }
        Ok(cells)
    }
}

/// A row's cells by column.
type Line = BTreeMap<String, Option<String>>;

async fn select(session: &Session, keyspace: &str, table: &str) -> Result<Vec<Line>, String> {
    let mut select = Statement::new(format!("SELECT * FROM \"{keyspace}\".\"{table}\""));
    select.set_consistency(Consistency::LocalQuorum);
    select.set_page_size(2000);
    let pager = session
        .query_iter(select, ())
        .await
        .map_err(|e| e.to_string())?;
    let columns: Vec<String> = pager
        .column_specs()
        .iter()
        .map(|spec| spec.name().to_owned())
        .collect();
    let rows = pager.rows_stream::<Row>().map_err(|e| e.to_string())?;
    let rows: Vec<Row> = rows.try_collect().await.map_err(|e| e.to_string())?;
    let named = |row: Row| {
        let cells = row.columns.iter().map(|cell| cell.as_ref().map(cql_text));
        columns.iter().cloned().zip(cells).collect()
    };
    Ok(rows.into_iter().map(named).collect())
}

fn cql_text(value: &CqlValue) -> String {
    match value {
        CqlValue::Text(text) | CqlValue::Ascii(text) => text.clone(),
        CqlValue::Int(number) => number.to_string(),
        CqlValue::BigInt(number) => number.to_string(),
        CqlValue::Double(number) => number.to_string(),
        CqlValue::Float(number) => number.to_string(),
        CqlValue::Boolean(truth) => truth.to_string(),
        CqlValue::Timestamp(at) => time(at.0),
        other => panic!("a value of a type that no test uses: {other:?}"),
    }
}

fn time(millis: i64) -> String {
    let at = chrono::DateTime::from_timestamp_millis(millis).expect("a timestamp of this age");
    at.format(TIME).to_string()
}

/// A client of the member that takes writes.
async fn primary(addresses: &[String], user: &str, password: &str) -> Result<Client, String> {
    let mut last = "no member".to_owned();
    for address in addresses {
        let credential = Credential::builder()
            .username(user.to_owned())
            .password(password.to_owned())
            .source("admin".to_owned())
            .build();
        let options = ClientOptions::builder()
            .hosts(vec![ServerAddress::Tcp {
                host: address.clone(),
                port: None,
            }])
            .direct_connection(true)
            .credential(credential)
            .connect_timeout(TIMEOUT)
            .server_selection_timeout(TIMEOUT)
            .build();
        let client = Client::with_options(options).map_err(|e| e.to_string())?;
        let hello = client
            .database("admin")
            .run_command(doc! {"hello": 1})
            .await;
        match hello {
            Ok(hello) if hello.get_bool("isWritablePrimary").unwrap_or(false) => {
                // `hello` needs no login.
                let ping = doc! {"connectionStatus": 1};
                let known = client.database("admin").run_command(ping).await;
                return known.map(|_| client).map_err(|e| e.to_string());
            }
            Ok(_) => last = "no primary".to_owned(),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

async fn find(
    client: &Client,
    database: &str,
    table: &str,
    key: &[&str],
) -> Result<Vec<Line>, String> {
    let rows = client
        .database(database)
        .collection::<Document>(table)
        .find(doc! {})
        .read_concern(ReadConcern::majority())
        .selection_criteria(SelectionCriteria::ReadPreference(
            mongodb::options::ReadPreference::Primary,
        ))
        .await
        .map_err(|e| e.to_string())?;
    let rows: Vec<Document> = rows.try_collect().await.map_err(|e| e.to_string())?;
    Ok(rows.into_iter().map(|row| line(row, key)).collect())
}

/// The key is `_id`: its one column's value, or a document of them. What begins with `_` besides is simbdp's own.
fn line(row: Document, key: &[&str]) -> Line {
    let mut cells = Line::new();
    for (name, value) in row {
        match (name.as_str(), value) {
            ("_id", Bson::Document(keys)) => {
                cells.extend(
                    keys.into_iter()
                        .map(|(name, value)| (name, bson_text(value))),
                );
            }
            ("_id", value) => {
                cells.insert(key[0].to_owned(), bson_text(value));
            }
            (own, _) if own.starts_with('_') => {}
            (_, value) => {
                cells.insert(name, bson_text(value));
            }
        }
    }
    cells
}

fn bson_text(value: Bson) -> Option<String> {
    Some(match value {
        Bson::Null => return None,
        Bson::String(text) => text,
        Bson::Int32(number) => number.to_string(),
        Bson::Int64(number) => number.to_string(),
        Bson::Double(number) => number.to_string(),
        Bson::Boolean(truth) => truth.to_string(),
        Bson::DateTime(at) => time(at.timestamp_millis()),
        other => panic!("a value of a type that no test uses: {other:?}"),
    })
}
