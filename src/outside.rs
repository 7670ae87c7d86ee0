//! Servers that the operator does not run [pure]: how they are reached, as it is declared of databases and of brokers alike.

use std::net::IpAddr;

use simbdp_api::common::Tls;
use simbdp_tls::{Trust, TrustError};

/// How a server that the operator does not run is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outside {
    /// `host:port` of its members.
    pub addresses: Vec<String>,
    /// Secret with the login.
    pub secret: String,
    /// Whose certificates it has; [`None`] without TLS.
    pub tls: Option<Trust>,
}

/// Addresses or certificates that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// An address that is none.
    #[error("spec.external.addresses: `{0}` is not host:port; write for example {1}")]
    Address(String, &'static str),
    /// Addresses that cannot go into one binding.
    #[error(
        "spec.external.addresses have several ports: give all the same one, since the binding of a tenant names one"
    )]
    SeveralPorts,
    /// Certificates of its authorities that are none.
    #[error("spec.external.tls.trustBundle: {0}")]
    TrustBundle(TrustError),
}

impl Unusable {
    /// CamelCase, for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Address(..) | Self::SeveralPorts => "InvalidAddress",
            Self::TrustBundle(_) => "InvalidTrustBundle",
        }
    }
}

impl Outside {
    /// From what is declared.
    pub fn new(addresses: &[String], secret: &str, tls: Option<&Tls>) -> Self {
        Self {
            addresses: addresses.to_vec(),
            secret: secret.to_owned(),
            tls: tls.map(|tls| match &tls.trust_bundle {
                Some(pem) => Trust::Bundle(pem.as_str().into()),
                None => Trust::Public,
            }),
        }
    }

    /// Whether it can be reached as declared, and by clients that get one port for all addresses. `example` is an address.
    pub fn check(&self, example: &'static str) -> Result<(), Unusable> {
        for address in &self.addresses {
            match split(address).1 {
                Some(port) if Some(port) == self.port() => {}
                Some(_) => return Err(Unusable::SeveralPorts),
                None => return Err(Unusable::Address(address.clone(), example)),
            }
        }
        match &self.tls {
            Some(trust) => trust.roots().map(drop).map_err(Unusable::TrustBundle),
            None => Ok(()),
        }
    }

    /// Port of every address.
    pub fn port(&self) -> Option<u16> {
        let first = self.addresses.first();
        first.and_then(|address| split(address).1)
    }

    /// Hosts when each is a number; [`None`] where a name is among them.
    pub fn numbers(&self) -> Option<Vec<IpAddr>> {
        let hosts = self.addresses.iter().map(|address| split(address).0);
        hosts.map(|host| host.parse().ok()).collect()
    }
}

/// Hosts of addresses, separated by commas, as a binding names them.
pub fn hosts(addresses: &[String]) -> String {
    let hosts: Vec<_> = addresses.iter().map(|address| split(address).0).collect();
    hosts.join(",")
}

/// What a binding says of TLS, beside the rest.
pub fn tls_entries(tls: Option<&Trust>) -> Vec<(&str, &str)> {
    let mut entries = Vec::new();
    entries.extend(tls.map(|_| ("tls", "true")));
    if let Some(Trust::Bundle(pem)) = tls {
        entries.push(("ca.crt", pem));
    }
    entries
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

    fn outside(addresses: &[&str], tls: Option<&Tls>) -> Outside {
        let addresses: Vec<_> = addresses.iter().map(|&a| a.to_owned()).collect();
        Outside::new(&addresses, "login", tls)
    }

    #[test]
    fn ports_are_numbers_that_ports_can_have() {
        assert_eq!(split("a:9042"), ("a", Some(9042)));
        assert_eq!(split("a:0"), ("a", None));
        assert_eq!(split("a:70000"), ("a", None));
        assert_eq!(split("a"), ("a", None));
    }

    #[test]
    fn addresses_have_one_port() {
        let check = |addresses: &[&str]| outside(addresses, None).check("db.example:9042");
        assert_eq!(check(&["a:9042", "b:9042"]), Ok(()));
        assert_eq!(check(&["a:9042", "b:9043"]), Err(Unusable::SeveralPorts));
        let none = check(&["a:70000"]).unwrap_err().to_string();
        assert!(
            none.contains("`a:70000`") && none.contains("db.example:9042"),
            "{none}"
        );
    }

    #[test]
    fn hosts_are_numbers_or_names() {
        let numbers = outside(&["10.0.0.1:9142", "10.0.0.2:9142"], None);
        assert_eq!(numbers.numbers().unwrap().len(), 2);
        assert_eq!(hosts(&numbers.addresses), "10.0.0.1,10.0.0.2");
        assert_eq!(outside(&["a:1", "10.0.0.2:1"], None).numbers(), None);
    }

    #[test]
    fn tls_is_of_public_authorities_or_of_those_in_the_bundle() {
        let tls = |bundle: Option<&str>| Tls {
            trust_bundle: bundle.map(str::to_owned),
        };
        let public = outside(&["a:1"], Some(&tls(None)));
        assert_eq!(public.tls, Some(Trust::Public));
        assert_eq!(tls_entries(public.tls.as_ref()), [("tls", "true")]);
        let own = outside(&["a:1"], Some(&tls(Some("PEM"))));
        assert_eq!(own.tls, Some(Trust::Bundle("PEM".into())));
        assert_eq!(
            tls_entries(own.tls.as_ref()),
            [("tls", "true"), ("ca.crt", "PEM")]
        );
        let error = own.check("a:1").unwrap_err().to_string();
        assert!(
            error.contains("spec.external.tls.trustBundle") && error.contains("BEGIN CERTIFICATE"),
            "{error}"
        );
        assert!(tls_entries(None).is_empty());
    }
}
