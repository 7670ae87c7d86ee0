//! Dereference [IO]: which other Broker claims to be the default, and who uses this one.

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use simbdp_api::{Broker, Tenant, labels};

use super::error::Error;
use crate::apply::Applier;
use crate::triggers::MANAGED;

/// Other Brokers that are marked default, in order.
pub async fn other_defaults(applier: &Applier, broker: &Broker) -> Result<Vec<String>, Error> {
    if !broker.spec.default {
        return Ok(Vec::new());
    }
    let brokers: Vec<Broker> = applier.list(None, "").await?;
    let mut names: Vec<_> = brokers
        .iter()
        .filter(|other| other.spec.default && other.metadata.deletion_timestamp.is_none())
        .map(ResourceExt::name_any)
        .filter(|name| *name != broker.name_any())
        .collect();
    names.sort();
    Ok(names)
}

/// Tenants whose queues the Broker holds: those that are there, and those that were retained.
pub async fn users(applier: &Applier, broker: &str) -> Result<Vec<String>, Error> {
    let tenants: Vec<Tenant> = applier.list(None, "").await?;
    let namespaces: Vec<Namespace> = applier.list(None, MANAGED).await?;
    Ok(who_uses(broker, &tenants, &namespaces))
}

/// The same [pure].
pub fn who_uses(broker: &str, tenants: &[Tenant], namespaces: &[Namespace]) -> Vec<String> {
    let mut names: Vec<_> = tenants
        .iter()
        .filter(|tenant| uses(tenant, broker))
        .map(ResourceExt::name_any)
        .collect();
    let retained = namespaces.iter().filter(|namespace| {
        namespace
            .annotations()
            .get(labels::BROKER)
            .map(String::as_str)
            == Some(broker)
    });
    for namespace in retained {
        let Some(tenant) = namespace.annotations().get(labels::OWNED_BY_TENANT) else {
            continue;
        };
        if !tenants.iter().any(|other| other.name_any() == *tenant) {
            names.push(format!("{tenant} (retained)"));
        }
    }
    names.sort();
    names
}

fn uses(tenant: &Tenant, broker: &str) -> bool {
    let current = tenant
        .status
        .as_ref()
        .and_then(|status| status.broker.as_deref());
    let asked = tenant
        .spec
        .broker
        .reference
        .as_ref()
        .map(|asked| asked.name.as_str());
    current.or(asked) == Some(broker)
}
