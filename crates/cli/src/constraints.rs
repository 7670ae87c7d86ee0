//! `constraints`: what pipelines accept.

use std::process::ExitCode;

use simbdp_api::tenant::Role;
use simbdp_api::wire::config::Schedule;
use simbdp_api::wire::rest::{PipelineConstraints, PipelineList};

use crate::args::{ConnectionArgs, Constraints, Output};
use crate::connect;
use crate::error::CliError;
use crate::output::{Grid, print};

/// Runs the verb.
pub async fn run(
    connection: &ConnectionArgs,
    output: Output,
    verb: Constraints,
) -> Result<ExitCode, CliError> {
    let gateway = connect::gateway(connection, Role::Reader).await?;
    let all: Vec<PipelineConstraints> = match verb.pipeline {
        Some(name) => vec![
            gateway
                .get(&format!("/v1/pipelines/{name}/constraints"), &[])
                .await?,
        ],
        None => {
            gateway
                .get::<PipelineList>("/v1/pipelines", &[])
                .await?
                .pipelines
        }
    };
    print(output, &all, &grid(&all))?;
    Ok(ExitCode::SUCCESS)
}

fn grid(all: &[PipelineConstraints]) -> Grid {
    let mut grid = Grid::new(["pipeline", "mode", "table", "accepts", "limits", "fields"]);
    grid.rows = all.iter().map(row).collect();
    grid
}

fn row(pipeline: &PipelineConstraints) -> Vec<String> {
    let (mode, accepts, limits) = match (&pipeline.batch, &pipeline.stream) {
        (Some(batch), _) => {
            let accepts = [join(&batch.formats), join(&batch.compression)].join("; ");
            let mut limits = vec![format!("{} bytes uncompressed", batch.max_file_size)];
            limits.extend(
                batch
                    .max_files
                    .map(|n| format!("{} files a {:?}", n.count, n.per)),
            );
            limits.extend(
                batch
                    .tenant_max_files
                    .map(|n| format!("{} files a {:?} of the tenant", n.count, n.per)),
            );
            limits.extend(
                batch
                    .name_pattern
                    .as_ref()
                    .map(|pattern| format!("name {pattern}")),
            );
            limits.extend(batch.schedule.as_ref().map(window));
            ("Batch", accepts, limits.join("; "))
        }
        (None, Some(stream)) => (
            "Stream",
            "json".to_owned(),
            format!("{} bytes a message", stream.max_message_size),
        ),
        (None, None) => ("", String::new(), String::new()),
    };
    let fields: Vec<String> = pipeline
        .fields
        .iter()
        .map(|field| {
            format!(
                "{}:{}{}",
                field.name,
                field.column_type,
                if field.required { "!" } else { "" }
            )
        })
        .collect();
    vec![
        pipeline.pipeline.clone(),
        mode.to_owned(),
        pipeline.table.clone(),
        accepts,
        limits,
        match fields.is_empty() {
            true => "any: the tenant's own program reads them".to_owned(),
            false => fields.join(" "),
        },
    ]
}

/// When files are queued.
fn window(schedule: &Schedule) -> String {
    let minutes = schedule.seconds / 60;
    format!("queued at `{}` UTC, for {minutes} minutes", schedule.cron)
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}
