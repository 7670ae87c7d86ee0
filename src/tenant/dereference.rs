//! Dereference [IO]: what a Tenant refers to, and what is there of it already.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use simbdp_api::Broker;
use simbdp_api::names::TenantName;

use super::error::Error;
use super::namespace::Current;

/// What a Tenant refers to.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Every Broker: a message names them.
    pub brokers: Vec<Broker>,
    /// The namespace of the tenant's name, whosever it is.
    pub namespace: Option<Namespace>,
}

impl Found {
    /// What holds the tenant's queues and data already.
    pub fn current(&self) -> Current {
        Current::of(self.namespace.as_ref())
    }

    /// A Broker by name.
    pub fn broker(&self, name: &str) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.name_any() == name)
    }
}

/// Finds what a Tenant refers to.
pub async fn dereference(client: &Client, tenant: &TenantName) -> Result<Found, Error> {
    let brokers: Api<Broker> = Api::all(client.clone());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    Ok(Found {
        brokers: brokers
            .list(&ListParams::default())
            .await
            .map_err(Error::reading("the Brokers"))?
            .items,
        namespace: namespaces
            .get_opt(&tenant.namespace())
            .await
            .map_err(Error::reading("the tenant's namespace"))?,
    })
}
