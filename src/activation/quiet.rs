//! Asks a tenant's gateways [IO] when they last published to a pipeline: a broker's figures are late, and say nothing of
//! what came and went between two looks. Who would not be woken by the next message must not be stopped.

use std::time::Duration;

use simbdp_api::names::{PipelineName, TenantName};
use simbdp_api::wire::internal::LoadedPipeline;

use crate::apply::{Applier, ApplyError};
use crate::context::Context;
use crate::pipeline::observe::gateway_states;

/// How long ago any replica of the gateway published to the pipeline; [`None`] where none has. A replica that does not
/// answer is taken as one that has not: if it publishes all the same, the next look at the queue shows it.
pub async fn published(
    ctx: &Context,
    applier: &Applier,
    tenant: &TenantName,
    pipeline: &PipelineName,
) -> Result<Option<Duration>, ApplyError> {
    let states = gateway_states(ctx, applier, tenant).await?;
    let loaded = states.iter().flatten().flat_map(|state| &state.pipelines);
    let own = loaded.filter(|loaded| loaded.name == pipeline.as_str());
    Ok(latest(own))
}

fn latest<'a>(loaded: impl Iterator<Item = &'a LoadedPipeline>) -> Option<Duration> {
    let since = |loaded: &LoadedPipeline| match loaded.in_flight {
        0 => loaded.quiet_seconds,
        _ => Some(0),
    };
    loaded.filter_map(since).min().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_of_all_replicas_counts_and_a_request_under_way_is_now() {
        let loaded = |quiet_seconds, in_flight| LoadedPipeline {
            quiet_seconds,
            in_flight,
            ..LoadedPipeline::default()
        };
        for (replicas, seconds) in [
            (vec![], None),
            (vec![loaded(None, 0)], None),
            (vec![loaded(Some(40), 0), loaded(None, 0)], Some(40)),
            (vec![loaded(Some(40), 0), loaded(Some(7), 0)], Some(7)),
            (vec![loaded(Some(40), 0), loaded(None, 1)], Some(0)),
        ] {
            assert_eq!(latest(replicas.iter()), seconds.map(Duration::from_secs));
        }
    }
}
