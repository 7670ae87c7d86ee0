//! [pure] Where a Kafka is and who logs in, as URL and as binding.

use simbdp_tls::Trust;

use crate::Connection;
use crate::admin::{AdminError, ManagementConnection};

/// Scheme of the URL under which an administrator finds a Kafka.
pub const SCHEME: &str = "kafka://";
/// What the URL has behind its addresses where the administrator has no SCRAM credential.
const PLAIN_QUERY: &str = "?mechanism=PLAIN";

/// How a client shows who it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mechanism {
    /// By SCRAM-SHA-512: tenants' users, and administrators of clusters of somebody else.
    Scram,
    /// By its password, which the server has in its configuration: the administrator of a Kafka that the operator runs.
    Plain,
}

impl Mechanism {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Scram => "SCRAM-SHA-512",
            Self::Plain => "PLAIN",
        }
    }
}

/// Who logs in, and whose certificates are believed.
#[derive(Clone)]
pub(crate) struct Login {
    pub(super) username: String,
    pub(super) password: String,
    pub(super) mechanism: Mechanism,
    pub(super) tls: Option<Trust>,
}

/// The URL of a Kafka that the operator runs: its administrator is in the server's configuration.
pub fn managed_url(addresses: &str) -> String {
    format!("{SCHEME}{addresses}{PLAIN_QUERY}")
}

/// The URL of a Kafka of somebody else: its administrator is one of its users.
pub fn external_url(addresses: &[String]) -> String {
    format!("{SCHEME}{}", addresses.join(","))
}

/// Addresses and login of an administrator.
pub(crate) fn administrator(
    connection: &ManagementConnection,
) -> Result<(Vec<String>, Login), AdminError> {
    let refused = || AdminError::Refused {
        action: "the connection".into(),
        reason: "the address of the broker is no list of host:port".into(),
    };
    let rest = connection.url.strip_prefix(SCHEME).ok_or_else(refused)?;
    let (rest, mechanism) = match rest.strip_suffix(PLAIN_QUERY) {
        Some(rest) => (rest, Mechanism::Plain),
        None => (rest, Mechanism::Scram),
    };
    let addresses: Vec<String> = rest.split(',').map(str::to_owned).collect();
    if addresses.iter().any(|address| !is_address(address)) {
        return Err(refused());
    }
    let login = Login {
        username: connection.username.clone(),
        password: connection.password.clone(),
        mechanism,
        tls: connection.tls.clone(),
    };
    Ok((addresses, login))
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Addresses and login of a tenant.
pub(super) fn tenant(connection: &Connection) -> (Vec<String>, Login) {
    let login = Login {
        username: connection.username.clone(),
        password: connection.password.clone(),
        mechanism: Mechanism::Scram,
        tls: connection.tls.clone(),
    };
    (connection.addresses(), login)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Option<(Vec<String>, Mechanism)> {
        let connection = ManagementConnection {
            url: url.into(),
            username: "operator".into(),
            password: "p".into(),
            tls: None,
        };
        let (addresses, login) = administrator(&connection).ok()?;
        Some((addresses, login.mechanism))
    }

    #[test]
    fn a_url_tells_addresses_and_mechanism() {
        let two = vec!["a:1".to_owned(), "b.c:9092".to_owned()];
        assert_eq!(
            read(&external_url(&two)),
            Some((two.clone(), Mechanism::Scram))
        );
        assert_eq!(
            read(&managed_url("a:1,b.c:9092")),
            Some((two, Mechanism::Plain))
        );
        for wrong in [
            "http://a:1",
            "kafka://",
            "kafka://a",
            "kafka://a:1,b",
            "kafka://a:70000",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
