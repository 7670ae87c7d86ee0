//! `GET /v1/pipelines`, `GET /v1/pipelines/{p}/constraints`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use simbdp_api::wire::rest::{PipelineConstraints, PipelineList};

use super::App;
use crate::gateway::Gateway;
use crate::pipeline::Pipeline;
use crate::problem::Refusal;

/// Every pipeline of the tenant.
pub async fn list(State(gateway): State<App>) -> Json<PipelineList> {
    let config = gateway.config.current();
    let pipelines = config.pipelines.values();
    Json(PipelineList {
        pipelines: pipelines.map(|pipeline| pipeline.constraints()).collect(),
    })
}

/// What a pipeline takes.
pub async fn constraints(
    State(gateway): State<App>,
    Path(name): Path<String>,
) -> Result<Json<PipelineConstraints>, Refusal> {
    Ok(Json(find(&gateway, &name)?.constraints()))
}

/// A pipeline by name; the refusal names those that there are.
pub fn find(gateway: &Gateway, name: &str) -> Result<Arc<Pipeline>, Refusal> {
    let config = gateway.config.current();
    config.pipelines.get(name).cloned().ok_or_else(|| {
        let known: Vec<_> = config.pipelines.keys().map(String::as_str).collect();
        Refusal::not_found(match known.is_empty() {
            true => format!("there is no pipeline `{name}`, nor any other yet"),
            false => format!(
                "there is no pipeline `{name}`; there are: {}",
                known.join(", ")
            ),
        })
    })
}

/// A pipeline that takes new work. What comes of it is published only after another look, since it may
/// be closed meanwhile.
pub fn find_open(gateway: &Gateway, name: &str) -> Result<Arc<Pipeline>, Refusal> {
    let pipeline = find(gateway, name)?;
    match &pipeline.config.closed {
        None => Ok(pipeline),
        Some(reason) => Err(Refusal::unavailable(
            "pipeline-closed",
            format!("pipeline `{name}` takes nothing new: {reason}"),
            Duration::from_secs(60),
        )),
    }
}
