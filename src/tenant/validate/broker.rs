//! Which Broker holds a tenant's queues [pure].

use kube::ResourceExt;
use simbdp_api::Broker;
use simbdp_api::names::TenantName;

use super::Invalid;

/// Most bytes of a queue in this Broker.
pub fn max_queue_bytes(broker: &Broker) -> u64 {
    broker.spec.max_queue_size.bytes().unwrap_or(u64::MAX)
}

/// The one that is named, else the one that already holds the queues, else the one that is for this tenant alone, else
/// the one marked default.
pub(super) fn choose(
    tenant: &TenantName,
    wanted: Option<&str>,
    brokers: &[Broker],
    current: Option<&str>,
) -> Result<String, Invalid> {
    let all = || names(brokers, |_| true);
    if let (Some(wanted), Some(current)) = (wanted, current)
        && wanted != current
        && all().contains(&current.to_owned())
    {
        return Err(Invalid::BrokerChanged {
            current: current.to_owned(),
            wanted: wanted.to_owned(),
        });
    }
    if let Some(name) = wanted.or(current) {
        let found = brokers.iter().find(|broker| broker.name_any() == name);
        return match found.map(|broker| broker.spec.tenant.as_deref()) {
            Some(None) => Ok(name.to_owned()),
            Some(Some(owner)) if owner == tenant.as_str() => Ok(name.to_owned()),
            Some(Some(owner)) => Err(Invalid::BrokerReserved {
                broker: name.to_owned(),
                tenant: owner.to_owned(),
            }),
            None => Err(Invalid::BrokerNotFound {
                wanted: Some(name.to_owned()),
                known: all(),
            }),
        };
    }
    let own = names(brokers, |broker| {
        broker.spec.tenant.as_deref() == Some(tenant.as_str())
    });
    match own.as_slice() {
        [] => default(brokers),
        [one] => Ok(one.clone()),
        _ => Err(Invalid::BrokersOfItsOwn(own)),
    }
}

fn default(brokers: &[Broker]) -> Result<String, Invalid> {
    let defaults = names(brokers, |broker| broker.spec.default);
    match defaults.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Invalid::BrokerNotFound {
            wanted: None,
            known: names(brokers, |_| true),
        }),
        _ => Err(Invalid::BrokerAmbiguous(defaults)),
    }
}

/// In order.
fn names(brokers: &[Broker], which: impl Fn(&Broker) -> bool) -> Vec<String> {
    let mut names: Vec<_> = brokers
        .iter()
        .filter(|broker| which(broker))
        .map(ResourceExt::name_any)
        .collect();
    names.sort();
    names
}
