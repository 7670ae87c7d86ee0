//! `GET /v1/tables`, `GET /v1/tables/{t}`, `GET /v1/tables/{t}/rows`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use simbdp_api::wire::rest::{RowPage, TableDescription, TableList};
use simbdp_coredms::store::{Page, RowQuery};
use simbdp_record::{Value, json};

use super::{App, files};
use crate::gateway::Gateway;
use crate::problem::Refusal;
use crate::query;
use crate::tables::TableView;

/// Every table of the tenant that a pipeline writes to.
pub async fn list(State(gateway): State<App>) -> Json<TableList> {
    let config = gateway.config.current();
    let tables = config.tables.values();
    Json(TableList {
        tables: tables.map(|table| table.describe()).collect(),
    })
}

/// One table.
pub async fn one(
    State(gateway): State<App>,
    Path(name): Path<String>,
) -> Result<Json<TableDescription>, Refusal> {
    Ok(Json(find(&gateway, &name)?.describe()))
}

/// Rows of a table, by key.
pub async fn rows(
    State(gateway): State<App>,
    Path(name): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<RowPage>, Refusal> {
    let view = find(&gateway, &name)?;
    let query = query::parse(&view.spec, &parameters).map_err(Refusal::bad_request)?;
    let rows = read(&gateway, &view, &query).await?;
    Ok(Json(page(rows)))
}

fn find(gateway: &Gateway, name: &str) -> Result<Arc<TableView>, Refusal> {
    let config = gateway.config.current();
    config.tables.get(name).cloned().ok_or_else(|| {
        let known: Vec<_> = config.tables.keys().map(String::as_str).collect();
        Refusal::not_found(match known.is_empty() {
            true => format!("there is no table `{name}`, nor any other yet"),
            false => format!(
                "there is no table `{name}`; there are: {}",
                known.join(", ")
            ),
        })
    })
}

async fn read(gateway: &Gateway, view: &Arc<TableView>, query: &RowQuery) -> Result<Page, Refusal> {
    let answer = gateway.ask(async {
        let store = &*gateway.backends.store;
        let table = gateway.tables.table(store, view).await?;
        table.read(query).await
    });
    answer.await.map_err(|error| files::refuse(&error))
}

fn page(page: Page) -> RowPage {
    let columns = page.columns;
    let object = |values: Vec<Option<Value>>| {
        let cells = values
            .iter()
            .map(|value| json::option_to_json(value.as_ref()));
        columns.iter().cloned().zip(cells).collect()
    };
    RowPage {
        next_page: page.next.as_deref().map(query::page_text),
        rows: page.rows.into_iter().map(object).collect(),
    }
}
