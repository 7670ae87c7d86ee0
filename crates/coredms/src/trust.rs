//! TLS to a database: whose certificates are believed, and what is wrong where a connection cannot be made.
//!
//! Drivers tell failures of TLS in texts of their own, or not at all. So whoever could not log in looks again with a
//! bare handshake, which says the same of every engine.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, Error as TlsError, RootCertStore};
use simbdp_api::common::Engine;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Connection;

/// How long a look at one address may take.
const LOOK: Duration = Duration::from_secs(3);

/// Whose certificates a database may have. The name or address in them is always verified.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Trust {
    /// Those of the authorities that web browsers trust (Mozilla's list).
    Public,
    /// Those of these authorities alone: certificates in PEM.
    Bundle(Arc<str>),
}

/// A text that is no list of certificates.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TrustError {
    /// Nothing in it is a certificate.
    #[error("there is no certificate in it: each begins with the line -----BEGIN CERTIFICATE-----")]
    Empty,
    /// One of them cannot be read.
    #[error("certificate {number} in it cannot be read: {reason}")]
    Certificate {
        /// Which one, from 1.
        number: usize,
        /// Why not.
        reason: String,
    },
    /// The library for TLS cannot be used.
    #[error("TLS cannot be used: {0}")]
    Library(String),
}

impl Trust {
    /// The authorities as the library for TLS takes them.
    pub fn roots(&self) -> Result<RootCertStore, TrustError> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::Public => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Self::Bundle(pem) => {
                for (index, found) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
                    let unreadable = |reason: String| TrustError::Certificate {
                        number: index + 1,
                        reason,
                    };
                    let certificate = found.map_err(|error| unreadable(error.to_string()))?;
                    roots
                        .add(certificate)
                        .map_err(|error| unreadable(error.to_string()))?;
                }
            }
        }
        match roots.is_empty() {
            true => Err(TrustError::Empty),
            false => Ok(roots),
        }
    }

    /// Settings of a client.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TrustError::Library(error.to_string()))?
            .with_root_certificates(self.roots()?);
        Ok(Arc::new(client.with_no_client_auth()))
    }

    /// A file with the certificates, for a driver that takes nothing else; [`None`] for [`Trust::Public`]. It lies in
    /// memory, since pods have no disk to write to, and stays, since the driver reads it again for each member that it
    /// meets: there are as many as bundles that were ever used.
    pub(crate) fn file(&self) -> io::Result<Option<PathBuf>> {
        static FILES: LazyLock<Mutex<HashMap<Arc<str>, File>>> = LazyLock::new(Mutex::default);
        let Self::Bundle(pem) = self else {
            return Ok(None);
        };
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        if !files.contains_key(pem) {
            let mut file = File::from(memfd_create("trust", MemfdFlags::CLOEXEC)?);
            file.write_all(pem.as_bytes())?;
            files.insert(pem.clone(), file);
        }
        let path = |file: &File| PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(files.get(pem).map(path))
    }
}

/// What is wrong with TLS at the addresses of a connection that failed; [`None`] where it is something else.
pub(crate) async fn fault(connection: &Connection) -> Option<String> {
    for endpoint in &connection.endpoints {
        if let Ok(Some(fault)) = tokio::time::timeout(LOOK, look(connection, endpoint)).await {
            return Some(format!("{endpoint}: {fault}"));
        }
    }
    None
}

async fn look(connection: &Connection, endpoint: &str) -> Option<String> {
    let address = tokio::net::lookup_host(endpoint).await.ok()?.next()?;
    let name = name(connection.engine, endpoint, address)?;
    let client = match &connection.tls {
        Some(trust) => trust.client(),
        None => Trust::Public.client(),
    };
    let client = match client {
        Ok(client) => client,
        Err(error) => return Some(error.to_string()),
    };
    let stream = TcpStream::connect(address).await.ok()?;
    let shaken = TlsConnector::from(client)
        .connect(name.clone(), stream)
        .await;
    match (&connection.tls, shaken) {
        (Some(_), Ok(_)) => None,
        (Some(_), Err(error)) => Some(explain(&error, &name)),
        (None, Ok(_)) => Some(DEMANDS.to_owned()),
        (None, Err(error)) => certificate(&error).map(|_| DEMANDS.to_owned()),
    }
}

const DEMANDS: &str = "it speaks TLS, and this connection does not";

/// What its certificate must be for: members of Cassandra tell each other's addresses and no names, so that the driver
/// knows them by these alone.
fn name(engine: Engine, endpoint: &str, address: SocketAddr) -> Option<ServerName<'static>> {
    match engine {
        Engine::Cassandra => Some(ServerName::IpAddress(address.ip().into())),
        Engine::MongoDB => {
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

const NO_TLS: &str = "it does not speak TLS";

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    #[test]
    fn a_bundle_holds_certificates_and_nothing_else_is_taken_for_one() {
        let bundle = |pem: &str| Trust::Bundle(pem.into());
        assert_eq!(bundle("").roots().unwrap_err(), TrustError::Empty);
        assert_eq!(bundle("secret").roots().unwrap_err(), TrustError::Empty);
        let broken = "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n";
        let error = bundle(broken).roots().unwrap_err().to_string();
        assert!(error.starts_with("certificate 1 in it"), "{error}");
        assert!(!Trust::Public.roots().unwrap().is_empty());
    }

    #[test]
    fn the_file_of_a_bundle_can_be_read_more_than_once() {
        let trust = Trust::Bundle("certificates".into());
        let path = trust.file().unwrap().unwrap();
        for _ in 0..2 {
            assert_eq!(fs::read_to_string(&path).unwrap(), "certificates");
        }
        assert_eq!(trust.file().unwrap().unwrap(), path);
        assert_eq!(Trust::Public.file().unwrap(), None);
    }

    /// Whoever connects is shown a certificate of the past: no server of a database would start with it.
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
        let connection = Connection {
            engine: Engine::MongoDB,
            endpoints: vec![endpoint.clone()],
            username: String::new(),
            password: String::new(),
            tls: Some(Trust::Bundle(pem.into())),
        };
        let fault = fault(&connection).await.unwrap();
        assert_eq!(fault, format!("{endpoint}: its certificate has expired"));
    }
}
