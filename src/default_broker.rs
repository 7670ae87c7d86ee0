//! Creates the Broker of the configuration when none is marked default [IO]. A chart cannot create an object
//! of a kind that it installs.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use kube::Api;
use kube::api::{ListParams, ObjectMeta, PostParams};
use simbdp_api::Broker;

use crate::apply::MANAGED_BY;
use crate::config::DefaultBroker;
use crate::context::Context;
use crate::error::ApiError;

/// Makes sure that there is a default Broker, if the configuration names one; tries until it can.
pub async fn ensure(ctx: &Context) {
    let Some(wanted) = &ctx.config.default_broker else {
        return;
    };
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(Duration::from_secs(60))
        .with_jitter()
        .without_max_times();
    let create = || create(ctx, wanted);
    let outcome = create
        .retry(backoff)
        .notify(|error: &ApiError, again| {
            tracing::warn!(%error, again_seconds = again.as_secs(), "cannot create the default Broker");
        })
        .await;
    match outcome {
        Ok(true) => tracing::info!(broker = wanted.name, "the default Broker is created"),
        Ok(false) => {}
        Err(error) => tracing::error!(%error, "cannot create the default Broker"),
    }
}

/// Whether it was created. What is there, also under that name, is left as it is.
async fn create(ctx: &Context, wanted: &DefaultBroker) -> Result<bool, ApiError> {
    let api: Api<Broker> = Api::all(ctx.client.clone());
    let brokers = api.list(&ListParams::default()).await.map_err(ApiError)?;
    if brokers.items.iter().any(|broker| broker.spec.default) {
        return Ok(false);
    }
    let broker = Broker {
        metadata: ObjectMeta {
            name: Some(wanted.name.clone()),
            ..Default::default()
        },
        spec: wanted.spec.clone(),
        status: None,
    };
    let params = PostParams {
        field_manager: Some(MANAGED_BY.to_owned()),
        ..Default::default()
    };
    match api.create(&params, &broker).await.map_err(ApiError) {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(409) => Ok(false),
        Err(error) => Err(error),
    }
}
