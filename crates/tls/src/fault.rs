//! A bare handshake, to say what is wrong.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, Error as TlsError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Trust;

/// How long a look at one address may take.
const LOOK: Duration = Duration::from_secs(3);
const DEMANDS: &str = "it speaks TLS, and this connection does not";
const NO_TLS: &str = "it does not speak TLS";

/// What a server's certificate must be for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Address {
    /// The host that the server is reached by.
    Host,
    /// The number that this host has: of servers that tell each other's addresses and no names.
    Number,
}

/// What is wrong with TLS at these `host:port`, where a connection failed; [`None`] where it is something else. Without
/// trust, the connection was made without TLS.
pub async fn fault(trust: Option<&Trust>, endpoints: &[String], known: Address) -> Option<String> {
    for endpoint in endpoints {
        let look = tokio::time::timeout(LOOK, look(trust, endpoint, known));
        if let Ok(Some(fault)) = look.await {
            return Some(format!("{endpoint}: {fault}"));
        }
    }
    None
}

async fn look(trust: Option<&Trust>, endpoint: &str, known: Address) -> Option<String> {
    let address = tokio::net::lookup_host(endpoint).await.ok()?.next()?;
    let name = name(known, endpoint, address)?;
    let client = match trust.unwrap_or(&Trust::Public).client() {
        Ok(client) => Arc::new(client),
        Err(error) => return Some(error.to_string()),
    };
    let stream = TcpStream::connect(address).await.ok()?;
    let shaken = TlsConnector::from(client)
        .connect(name.clone(), stream)
        .await;
    match (trust, shaken) {
        (Some(_), Ok(_)) => None,
        (Some(_), Err(error)) => Some(explain(&error, &name)),
        (None, Ok(_)) => Some(DEMANDS.to_owned()),
        (None, Err(error)) => certificate(&error).map(|_| DEMANDS.to_owned()),
    }
}

fn name(known: Address, endpoint: &str, address: SocketAddr) -> Option<ServerName<'static>> {
    match known {
        Address::Number => Some(ServerName::IpAddress(address.ip().into())),
        Address::Host => {
            let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
            ServerName::try_from(host.to_owned()).ok()
        }
    }
}

fn tls(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

fn certificate(error: &io::Error) -> Option<&CertificateError> {
    match tls(error)? {
        TlsError::InvalidCertificate(error) => Some(error),
        _ => None,
    }
}

fn explain(error: &io::Error, name: &ServerName<'_>) -> String {
    let is_for = || name.to_str().into_owned();
    match (certificate(error), tls(error)) {
        (Some(CertificateError::UnknownIssuer | CertificateError::BadSignature), _) => {
            "its certificate is of an authority that is not trusted".to_owned()
        }
        (Some(CertificateError::Expired | CertificateError::ExpiredContext { .. }), _) => {
            "its certificate has expired".to_owned()
        }
        (
            Some(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ),
            _,
        ) => {
            format!("its certificate is not for {}", is_for())
        }
        (Some(other), _) => format!("its certificate is not valid: {other}"),
        (None, Some(TlsError::InvalidMessage(_))) => NO_TLS.to_owned(),
        (None, Some(other)) => format!("TLS with it fails: {other}"),
        (None, None) => NO_TLS.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::ServerConfig;
    use rustls::crypto::ring;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// Whoever connects is shown a certificate of the past: no server would start with it.
    #[tokio::test]
    async fn a_certificate_that_has_expired_is_named() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2020, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let pem = certificate.pem();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        let server = server.with_single_cert(vec![certificate.into()], key);
        let acceptor = TlsAcceptor::from(Arc::new(server.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await.map(drop)
        });
        let trust = Trust::Bundle(pem.into());
        let fault = fault(Some(&trust), std::slice::from_ref(&endpoint), Address::Host).await;
        assert_eq!(
            fault.unwrap(),
            format!("{endpoint}: its certificate has expired")
        );
    }
}
