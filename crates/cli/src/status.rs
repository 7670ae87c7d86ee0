//! `status`: a tenant, its database and its pipelines, from the cluster.

use std::process::ExitCode;

use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::Serialize;
use simbdp_api::common::Conditions;
use simbdp_api::{CoreDms, IngestPipeline, Tenant};

use crate::args::{ConnectionArgs, Output, Status};
use crate::connect;
use crate::error::CliError;
use crate::output::{Grid, cell, print};

/// One object and whether it is ready.
#[derive(Serialize)]
struct Line {
    kind: &'static str,
    name: String,
    ready: String,
    reason: String,
    message: String,
    detail: String,
}

/// Runs the verb: exit code 1 when anything is not ready.
pub async fn run(
    connection: &ConnectionArgs,
    output: Output,
    _: Status,
) -> Result<ExitCode, CliError> {
    let name = connect::tenant_name(connection)?;
    let client = connect::cluster().await?;
    let namespace = name.namespace();
    let asked = |what: &str| {
        let action = format!("reading {what} of tenant {name}");
        move |source| CliError::Cluster {
            action,
            source: Box::new(source),
        }
    };
    let tenant = Api::<Tenant>::all(client.clone())
        .get(name.as_str())
        .await
        .map_err(asked("the Tenant"))?;
    let databases: Api<CoreDms> = Api::namespaced(client.clone(), &namespace);
    let databases = databases
        .list(&ListParams::default())
        .await
        .map_err(asked("the databases"))?;
    let pipelines: Api<IngestPipeline> = Api::namespaced(client, &namespace);
    let pipelines = pipelines
        .list(&ListParams::default())
        .await
        .map_err(asked("the pipelines"))?;

    let mut lines = vec![tenant_line(&tenant)];
    lines.extend(databases.iter().map(database_line));
    lines.extend(pipelines.iter().map(pipeline_line));
    let mut grid = Grid::new(["kind", "name", "ready", "reason", "detail", "message"]);
    grid.rows = lines
        .iter()
        .map(|l| {
            vec![
                l.kind.to_owned(),
                l.name.clone(),
                l.ready.clone(),
                l.reason.clone(),
                l.detail.clone(),
                l.message.clone(),
            ]
        })
        .collect();
    print(output, &lines, &grid)?;
    let all_ready = lines.iter().all(|line| line.ready == "True");
    Ok(if all_ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn tenant_line(tenant: &Tenant) -> Line {
    let status = tenant.status.clone().unwrap_or_default();
    let detail = [
        status.database,
        status.broker.map(|broker| format!("broker {broker}")),
        status.endpoint,
    ];
    line(
        "Tenant",
        tenant.name_any(),
        &status.conditions,
        detail.into_iter().flatten().collect::<Vec<_>>().join(", "),
    )
}

fn database_line(database: &CoreDms) -> Line {
    let status = database.status.clone().unwrap_or_default();
    let detail = format!(
        "{:?} {}, members {}",
        database.spec.engine,
        database.spec.version(),
        cell(status.members)
    );
    line("CoreDms", database.name_any(), &status.conditions, detail)
}

fn pipeline_line(pipeline: &IngestPipeline) -> Line {
    let status = pipeline.status.clone().unwrap_or_default();
    let detail = format!(
        "{} backlog {}, replicas {}, rows {}, rejected {}",
        cell(status.mode),
        cell(status.backlog),
        cell(status.replicas),
        cell(status.rows),
        cell(status.rejected)
    );
    line(
        "IngestPipeline",
        pipeline.name_any(),
        &status.conditions,
        detail,
    )
}

fn line(kind: &'static str, name: String, conditions: &Conditions, detail: String) -> Line {
    let ready = conditions
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Ready");
    let (ready, reason, message) = ready.map_or_else(
        || {
            (
                "Unknown".to_owned(),
                "NotSeen".to_owned(),
                "the operator has not looked at it yet: is it running?".to_owned(),
            )
        },
        |condition| {
            (
                condition.status.clone(),
                condition.reason.clone(),
                condition.message.clone(),
            )
        },
    );
    Line {
        kind,
        name,
        ready,
        reason,
        message,
        detail,
    }
}
