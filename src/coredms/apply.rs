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
        superuser,
        network,
        service,
        budget,
        members,
        state: PhantomData,
    } = prepared;
    Ok(Resources {
        account: applier.apply(&account).await?,
        config: applier.apply(&config).await?,
        superuser: applier.ensure_secret(&superuser).await?,
        network: applier.apply_some(network.as_ref()).await?,
        service: applier.apply(&service).await?,
        budget: applier.apply(&budget).await?,
        members: applier.apply_or_replace(&members).await?,
        state: PhantomData,
    })
}
