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
pub(super) fn choose<'a>(
    tenant: &TenantName,
    wanted: Option<&str>,
    brokers: &'a [Broker],
    current: Option<&str>,
) -> Result<&'a Broker, Invalid> {
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
        let found = found.ok_or_else(|| Invalid::BrokerNotFound {
            wanted: Some(name.to_owned()),
            known: all(),
        })?;
        return match found.spec.tenant.as_deref() {
            Some(owner) if owner != tenant.as_str() => Err(Invalid::BrokerReserved {
                broker: name.to_owned(),
                tenant: owner.to_owned(),
            }),
            _ => Ok(found),
        };
    }
    let is_own = |broker: &Broker| broker.spec.tenant.as_deref() == Some(tenant.as_str());
    let own: Vec<_> = brokers.iter().filter(|broker| is_own(broker)).collect();
    match own.as_slice() {
        [] => default(brokers),
        [one] => Ok(one),
        _ => Err(Invalid::BrokersOfItsOwn(names(brokers, is_own))),
    }
}

fn default(brokers: &[Broker]) -> Result<&Broker, Invalid> {
    let is_default = |broker: &Broker| broker.spec.default;
    let defaults: Vec<_> = brokers.iter().filter(|broker| is_default(broker)).collect();
    match defaults.as_slice() {
        [one] => Ok(one),
        [] => Err(Invalid::BrokerNotFound {
            wanted: None,
            known: names(brokers, |_| true),
        }),
        _ => Err(Invalid::BrokerAmbiguous(names(brokers, is_default))),
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
