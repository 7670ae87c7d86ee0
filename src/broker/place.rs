//! Where a broker is [pure]: the one value from which addresses, the administrator's login, bindings and network rules of
//! tenants derive, whether the operator runs the broker or not.

use std::net::IpAddr;

use kube::ResourceExt;
use simbdp_api::Broker;
use simbdp_api::broker::BrokerType;
use simbdp_broker::Trust;
use simbdp_broker::kafka::external_url;

use super::names;
use crate::login::Author;
use crate::outside::{self, Outside};

/// Where a broker is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BrokerPlace {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub broker_type: BrokerType,
    /// Addresses of a broker that the operator does not run.
    pub external: Option<Outside>,
    /// Where the management API of such a RabbitMQ is.
    pub management: Option<String>,
}

impl BrokerPlace {
    /// The place that a Broker is.
    pub fn of(broker: &Broker) -> Self {
        let external = broker.spec.external.as_ref();
        Self {
            name: broker.name_any(),
            broker_type: broker.spec.broker_type,
            external: external.map(|external| {
                let (secret, tls) = (&external.secret_ref.name, external.tls.as_ref());
                Outside::new(&external.addresses, secret, tls)
            }),
            management: external.and_then(|external| external.management_url.clone()),
        }
    }

    /// `host:port` of each address for clients. `namespace` is the operator's, here and below.
    pub fn endpoints(&self, namespace: &str) -> Vec<String> {
        match &self.external {
            Some(outside) => outside.addresses.clone(),
            None => vec![names::endpoint(self.broker_type, &self.name, namespace)],
        }
    }

    /// The first address of an external broker.
    pub fn first_address(&self) -> Option<String> {
        self.external.as_ref()?.addresses.first().cloned()
    }

    /// Hosts, separated by commas, as a binding names them.
    pub fn hosts(&self, namespace: &str) -> String {
        outside::hosts(&self.endpoints(namespace))
    }

    /// Port of every address.
    pub fn port(&self) -> u16 {
        let external = self.external.as_ref();
        external
            .and_then(Outside::port)
            .unwrap_or(names::client_port(self.broker_type))
    }

    /// Where its administrator finds it.
    pub fn management_url(&self, namespace: &str) -> String {
        match (&self.external, &self.management) {
            (Some(_), Some(url)) => url.clone(),
            (Some(outside), None) => external_url(&outside.addresses),
            (None, _) => names::management_url(self.broker_type, &self.name, namespace),
        }
    }

    /// Whose certificates it has; [`None`] where connections are made without TLS.
    pub fn tls(&self) -> Option<&Trust> {
        self.external.as_ref()?.tls.as_ref()
    }

    /// Addresses of an external broker when each is a number; [`None`] where a name is among them, or the
    /// broker is not external.
    pub fn numbers(&self) -> Option<Vec<IpAddr>> {
        self.external.as_ref()?.numbers()
    }

    /// Secret with its administrator's login, in the operator's namespace, and who wrote it.
    pub fn secret(&self) -> (String, Author) {
        match &self.external {
            Some(outside) => (outside.secret.clone(), Author::Person),
            None => (names::admin_secret(&self.name), Author::Operator),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(spec: &str) -> BrokerPlace {
        let text = format!("{{metadata: {{name: b}}, spec: {spec}}}");
        BrokerPlace::of(&serde_yaml::from_str(&text).unwrap())
    }

    #[test]
    fn a_broker_of_ours_is_reached_by_its_service() {
        let place = place("{storage: {size: 1Gi}}");
        assert_eq!(place.endpoints("n"), ["broker-b.n.svc:5672"]);
        assert_eq!(
            (place.hosts("n").as_str(), place.port()),
            ("broker-b.n.svc", 5672)
        );
        assert_eq!(place.management_url("n"), "http://broker-b.n.svc:15672");
        assert_eq!(place.secret(), ("broker-b-admin".into(), Author::Operator));
        assert_eq!((place.numbers(), place.tls()), (None, None));
    }

    #[test]
    fn an_external_one_by_its_addresses() {
        let text = "{type: Kafka, external: {addresses: ['10.0.0.1:9094', '10.0.0.2:9094'], secretRef: {name: s}, tls: {}}}";
        let kafka = place(text);
        assert_eq!(
            (kafka.hosts("n").as_str(), kafka.port()),
            ("10.0.0.1,10.0.0.2", 9094)
        );
        assert_eq!(
            kafka.management_url("n"),
            "kafka://10.0.0.1:9094,10.0.0.2:9094"
        );
        assert_eq!(kafka.secret(), ("s".into(), Author::Person));
        assert_eq!(
            (kafka.numbers().unwrap().len(), kafka.tls()),
            (2, Some(&Trust::Public))
        );
        let text = "{external: {addresses: ['mq.example:5671'], managementUrl: 'https://mq.example/api-root', secretRef: {name: s}}}";
        let rabbitmq = place(text);
        assert_eq!(rabbitmq.management_url("n"), "https://mq.example/api-root");
        assert_eq!((rabbitmq.port(), rabbitmq.numbers()), (5671, None));
    }
}
