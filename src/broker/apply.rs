//! Apply [IO]: [`Resources<Prepared>`] → [`Resources<Applied>`]. No `..` here: a forgotten object does not compile.

use std::marker::PhantomData;

use super::build::{Applied, Prepared, Resources};
use crate::apply::{Applier, ApplyError};

/// Applies every object in order.
pub async fn apply(
    applier: &Applier,
    prepared: Resources<Prepared>,
) -> Result<Resources<Applied>, ApplyError> {
    let Resources {
        account,
        config,
        network,
        nodes_service,
        service,
        budget,
        nodes,
        state: PhantomData,
    } = prepared;
    Ok(Resources {
        account: applier.apply(&account).await?,
        config: applier.apply(&config).await?,
        network: applier.apply(&network).await?,
        nodes_service: applier.apply(&nodes_service).await?,
        service: applier.apply(&service).await?,
        budget: applier.apply(&budget).await?,
        nodes: applier.apply_or_replace(&nodes).await?,
        state: PhantomData,
    })
}
