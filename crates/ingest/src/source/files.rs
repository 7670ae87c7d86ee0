//! Files: a message of a batch pipeline's queue names a staged file.

use simbdp_api::names::PipelineName;
use simbdp_api::wire::work::FileWork;
use simbdp_broker::Delivery;

/// The file that a delivery names, or why it names none.
pub fn work(delivery: &Delivery, pipeline: &PipelineName) -> Result<FileWork, String> {
    let work: FileWork = serde_json::from_slice(&delivery.message.body).map_err(|error| {
        format!("the message names no staged file ({error}): upload through the gateway")
    })?;
    if work.pipeline != pipeline.as_str() {
        return Err(format!(
            "the file is for pipeline `{}`, this is the queue of `{pipeline}`",
            work.pipeline
        ));
    }
    Ok(work)
}
