//! Where a database is [pure]: the one value from which addresses, logins, bindings and network rules of a tenant's
//! database derive, whether it is the tenant's own, shared, or external.

use std::fmt;
use std::net::IpAddr;

use kube::ResourceExt;
use simbdp_api::CoreDms;
use simbdp_api::common::{Engine, ObjectRef};
use simbdp_api::coredms::Tls;
use simbdp_api::names::{TenantName, tenant_objects};
use simbdp_coredms::Trust;

use super::names;
use crate::objects::namespace_of;

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

/// How an external database is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outside {
    /// `host:port` of members.
    pub addresses: Vec<String>,
    /// Secret with the login, in the namespace of the CoreDms.
    pub secret: String,
    /// Whose certificates it has; [`None`] without TLS.
    pub tls: Option<Trust>,
}

fn trust(tls: &Tls) -> Trust {
    match &tls.trust_bundle {
        Some(pem) => Trust::Bundle(pem.as_str().into()),
        None => Trust::Public,
    }
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
            external: external.map(|external| Outside {
                addresses: external.addresses.clone(),
                secret: external.secret_ref.name.clone(),
                tls: external.tls.as_ref().map(trust),
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
        let endpoints = self.endpoints();
        let hosts: Vec<_> = endpoints.iter().map(|address| split(address).0).collect();
        hosts.join(",")
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
            .and_then(|outside| outside.addresses.first())
            .and_then(|address| split(address).1)
            .unwrap_or(names::client_port(self.engine))
    }

    /// Addresses of the members of an external database when each is a number; [`None`] where a name is
    /// among them, or the database is not external.
    pub fn numbers(&self) -> Option<Vec<IpAddr>> {
        let outside = self.external.as_ref()?;
        let hosts = outside.addresses.iter().map(|address| split(address).0);
        hosts.map(|host| host.parse().ok()).collect()
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

/// Host and port; the port is absent when it is not a number that a port can have.
pub fn split(address: &str) -> (&str, Option<u16>) {
    match address.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)),
        None => (address, None),
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

    #[test]
    fn tls_is_of_public_authorities_or_of_those_in_the_bundle() {
        let place = |tls: &str| {
            let text =
                format!("{{external: {{addresses: ['a:1'], secretRef: {{name: s}}, tls: {tls}}}}}");
            self::place(&text)
        };
        assert_eq!(place("{}").tls(), Some(&Trust::Public));
        let bundle = Trust::Bundle("PEM".into());
        assert_eq!(place("{trustBundle: PEM}").tls(), Some(&bundle));
    }

    #[test]
    fn ports_are_numbers_that_ports_can_have() {
        assert_eq!(split("a:9042"), ("a", Some(9042)));
        assert_eq!(split("a:0"), ("a", None));
        assert_eq!(split("a:70000"), ("a", None));
        assert_eq!(split("a"), ("a", None));
    }
}
