//! `query`: rows of a table by its primary key.

use std::process::ExitCode;

use serde_json::Value;
use simbdp_api::tenant::Role;
use simbdp_api::wire::rest::{RowPage, TableDescription};

use crate::args::{ConnectionArgs, Output, Query};
use crate::client::Gateway;
use crate::connect;
use crate::error::CliError;
use crate::output::{Grid, print};

/// Rows in one request.
const PAGE: u64 = 1_000;

type Row = serde_json::Map<String, Value>;

/// Runs the verb.
pub async fn run(
    connection: &ConnectionArgs,
    output: Output,
    verb: Query,
) -> Result<ExitCode, CliError> {
    let gateway = connect::gateway(connection, Role::Reader).await?;
    let table: TableDescription = gateway
        .get(&format!("/v1/tables/{}", verb.table), &[])
        .await?;
    let rows = rows(&gateway, &verb).await?;
    let header: Vec<String> = table
        .columns
        .iter()
        .map(|field| field.column.clone())
        .collect();
    let grid = Grid {
        rows: rows
            .iter()
            .map(|row| header.iter().map(|column| text(row.get(column))).collect())
            .collect(),
        header,
    };
    print(output, &rows, &grid)?;
    Ok(ExitCode::SUCCESS)
}

async fn rows(gateway: &Gateway, verb: &Query) -> Result<Vec<Row>, CliError> {
    let wanted = if verb.all { u64::MAX } else { verb.limit };
    let path = format!("/v1/tables/{}/rows", verb.table);
    let mut rows: Vec<Row> = Vec::new();
    let mut page = None;
    loop {
        let limit = (wanted - rows.len() as u64).min(PAGE);
        let mut query = verb.conditions.clone();
        query.push(("limit".into(), limit.to_string()));
        query.extend(page.map(|page| ("page".to_owned(), page)));
        let answer: RowPage = gateway.get(&path, &query).await?;
        rows.extend(answer.rows);
        page = answer.next_page;
        if page.is_none() || rows.len() as u64 >= wanted {
            return Ok(rows);
        }
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
