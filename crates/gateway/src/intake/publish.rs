//! The last step of a file's intake: into the queue, at once or when its pipeline's window begins.

use std::time::Duration;

use chrono::{DateTime, Utc};
use simbdp_api::names::PipelineName;
use simbdp_api::wire::work::FileWork;
use simbdp_broker::queue::{Message, PublishError};

use crate::gateway::Gateway;
use crate::problem::Refusal;

/// Until when staged files of a pipeline wait for its window, where they do now.
pub fn held_until(gateway: &Gateway, pipeline: &str) -> Option<DateTime<Utc>> {
    let config = gateway.config.current();
    config.pipelines.get(pipeline)?.held_until(Utc::now())
}

/// Publishes a staged file, or leaves it to the sweeper until its pipeline's window begins; whether it is queued. Without
/// a confirm it stays staged, and the sweeper publishes it again.
pub async fn publish(gateway: &Gateway, work: &FileWork) -> Result<bool, Refusal> {
    if held_until(gateway, &work.pipeline).is_some() {
        return Ok(false);
    }
    let result = publish_work(gateway, work).await;
    let error = match result {
        Ok(()) => return Ok(true),
        Err(error) => error,
    };
    tracing::warn!(%error, file = %work.id, "the queue did not confirm a file");
    let staged = format!(
        "the file is staged as {} and will be queued as soon as it can be; sending it again is harmless, and tells whether it is",
        work.id
    );
    Err(match error {
        PublishError::Full => Refusal::too_many(
            "queue-full",
            format!(
                "the queue of pipeline `{}` is full; {staged}",
                work.pipeline
            ),
            Duration::from_secs(10),
        ),
        PublishError::Unavailable(_) => Refusal::unavailable(
            "broker-unreachable",
            format!("the broker does not answer; {staged}"),
            Duration::from_secs(5),
        ),
        PublishError::NoQueue(_) => Refusal::unavailable(
            "no-queue",
            format!(
                "the queue of pipeline `{}` is not there yet; {staged}",
                work.pipeline
            ),
            Duration::from_secs(10),
        ),
    })
}

/// Publishes a staged file and notes the confirm.
pub async fn publish_work(gateway: &Gateway, work: &FileWork) -> Result<(), PublishError> {
    let body =
        serde_json::to_vec(work).map_err(|error| PublishError::Unavailable(error.to_string()))?;
    let message = Message {
        id: work.id.to_string(),
        body: body.into(),
        headers: Vec::new(),
    };
    let pipeline = PipelineName::new(work.pipeline.as_str())
        .map_err(|error| PublishError::NoQueue(error.to_string()))?;
    let mut results = gateway.publish(&pipeline, vec![message]).await;
    results
        .pop()
        .unwrap_or_else(|| Err(PublishError::Unavailable("no answer".into())))?;
    gateway.staging.mark_published(work.id).await;
    Ok(())
}
