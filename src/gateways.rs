//! Asks gateway replicas for their state, and tells those that are to go [IO], behind a trait for tests.

use std::time::Duration;

use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use simbdp_api::wire::internal::{DrainState, GatewayState};

/// A gateway replica that cannot be asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the gateway {url} cannot be asked: {reason}")]
pub struct GatewayError {
    /// Base URL of the replica.
    pub url: String,
    /// Why.
    pub reason: String,
}

/// Asks gateway replicas.
pub trait GatewayStates: Send + Sync {
    /// `GET /internal/state` of the replica at a base URL, e.g. `http://gateway-0.gateway-replicas.tenant-x.svc:8081`.
    fn state<'a>(
        &'a self,
        url: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<GatewayState, GatewayError>>;
    /// `POST /internal/drain` of that replica: it is to go, and takes no more files for a minute.
    fn drain<'a>(
        &'a self,
        url: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<DrainState, GatewayError>>;
}

/// Asks over HTTP.
pub struct HttpGateways {
    client: reqwest::Client,
}

impl HttpGateways {
    /// With short time-outs: a replica that does not answer is asked again by the next reconcile.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(5))
            .build()?;
        Ok(Self { client })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        url: &str,
        token: &str,
    ) -> Result<T, GatewayError> {
        let failed = |error: reqwest::Error| GatewayError {
            url: url.to_owned(),
            reason: error.without_url().to_string(),
        };
        request
            .bearer_auth(token)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(failed)?
            .json()
            .await
            .map_err(failed)
    }
}

impl GatewayStates for HttpGateways {
    fn state<'a>(
        &'a self,
        url: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<GatewayState, GatewayError>> {
        Box::pin(async move {
            let request = self.client.get(format!("{url}/internal/state"));
            self.ask(request, url, token).await
        })
    }

    fn drain<'a>(
        &'a self,
        url: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<DrainState, GatewayError>> {
        Box::pin(async move {
            let request = self.client.post(format!("{url}/internal/drain"));
            self.ask(request, url, token).await
        })
    }
}
