//! Where a database is [pure]: the one value from which addresses, logins, bindings and network rules of a tenant's
//! database derive, whether it is the tenant's own, shared, or external.

use std::fmt;
use std::net::IpAddr;

use kube::ResourceExt;
use simbdp_api::CoreDms;
use simbdp_api::common::{Engine, ObjectRef};
use simbdp_api::names::{TenantName, tenant_objects};
use simbdp_coredms::Trust;

use super::names;
use crate::objects::namespace_of;
use crate::outside::{self, Outside};

/// Where a tenant's database is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DatabasePlace {
    /// Namespace of the CoreDms.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its engine.
    pub engine: Engine,
    /// Datacenter that tenants' keyspaces are replicated in; [`None`] while an external one has not said it.
    pub datacenter: Option<String>,
    /// `host:port` of the members of an external database, and the Secret with the login.
    pub external: Option<Outside>,
}

impl fmt::Display for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl DatabasePlace {
    /// A tenant's own database.
    pub fn dedicated(tenant: &TenantName, engine: Engine) -> Self {
        Self {
            namespace: tenant.namespace(),
            name: tenant_objects::COREDMS.to_owned(),
            engine,
            datacenter: names::datacenter(engine),
            external: None,
        }
    }

    /// The place that a CoreDms is.
    pub fn of(coredms: &CoreDms) -> Self {
        let external = coredms.spec.external.as_ref();
        let said = || coredms.status.as_ref()?.datacenter.clone();
        Self {
            namespace: namespace_of(coredms),
            name: coredms.name_any(),
            engine: coredms.spec.engine,
            datacenter: match external {
                Some(external) => external.datacenter.clone().or_else(said),
                None => names::datacenter(coredms.spec.engine),
            },
            external: external.map(|external| {
                let (secret, tls) = (&external.secret_ref.name, external.tls.as_ref());
                Outside::new(&external.addresses, secret, tls)
            }),
        }
    }

    /// As a status names it.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Whether it is in a tenant's own namespace.
    pub fn is_own(&self, tenant: &TenantName) -> bool {
        self.namespace == tenant.namespace()
    }

    /// `host:port` of each address.
    pub fn endpoints(&self) -> Vec<String> {
        match &self.external {
            Some(outside) => outside.addresses.clone(),
            None => names::endpoints(self.engine, &self.name, &self.namespace),
        }
    }

    /// Hosts, separated by commas, as a binding names them.
    pub fn hosts(&self) -> String {
        outside::hosts(&self.endpoints())
    }

    /// Bytes of a batch from which on members warn, where it is not the default: those that the operator runs.
    pub fn batch_size_warn_threshold(&self) -> Option<u32> {
        let ours = self.external.is_none() && self.engine == Engine::Cassandra;
        ours.then_some(names::BATCH_KIB * 1024)
    }

    /// Port of every address.
    pub fn port(&self) -> u16 {
        let external = self.external.as_ref();
        external
            .and_then(Outside::port)
            .unwrap_or(names::client_port(self.engine))
    }

    /// Addresses of the members of an external database when each is a number; [`None`] where a name is
    /// among them, or the database is not external.
    pub fn numbers(&self) -> Option<Vec<IpAddr>> {
        self.external.as_ref()?.numbers()
    }

    /// Whose certificates it has; [`None`] where connections are made without TLS.
    pub fn tls(&self) -> Option<&Trust> {
        self.external.as_ref()?.tls.as_ref()
    }

    /// Secret with the operator's login, in the namespace of the CoreDms.
    pub fn secret(&self) -> String {
        match &self.external {
            Some(outside) => outside.secret.clone(),
            None => names::superuser_secret(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(spec: &str) -> DatabasePlace {
        let text = format!("{{metadata: {{name: c, namespace: n}}, spec: {spec}}}");
        DatabasePlace::of(&serde_yaml::from_str(&text).unwrap())
    }

    #[test]
    fn a_database_of_ours_is_reached_by_its_service() {
        let place = place("{storage: {size: 1Gi}}");
        assert_eq!(place.endpoints(), ["c.n.svc:9042"]);
        assert_eq!((place.hosts().as_str(), place.port()), ("c.n.svc", 9042));
        assert_eq!(place.secret(), "c-superuser");
        assert_eq!(place.datacenter.as_deref(), Some("dc1"));
        assert_eq!(place.numbers(), None);
    }

    #[test]
    fn an_external_one_by_its_addresses_in_the_datacenter_that_it_names() {
        let text =
            "{external: {addresses: ['10.0.0.1:9142', '10.0.0.2:9142'], secretRef: {name: login}}}";
        let place = place(text);
        assert_eq!(place.endpoints(), ["10.0.0.1:9142", "10.0.0.2:9142"]);
        assert_eq!(
            (place.hosts().as_str(), place.port()),
            ("10.0.0.1,10.0.0.2", 9142)
        );
        assert_eq!(place.secret(), "login");
        assert_eq!(place.datacenter, None);
        assert_eq!(place.numbers().unwrap().len(), 2);
        assert_eq!(place.tls(), None);
    }
}
