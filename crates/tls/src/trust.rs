//! Whose certificates are believed, in each shape that a driver wants.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use pem::Pem;
use rustix::fs::{MemfdFlags, memfd_create};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// Whose certificates a server may have. The name or address in them is always verified.
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
    /// What a Service Binding says of TLS: `tls`, which is `true`, and `ca.crt` where certificates are not of a public
    /// authority.
    pub fn of_binding(tls: Option<&str>, bundle: Option<String>) -> Option<Self> {
        let speaks = tls == Some("true");
        speaks.then(|| bundle.map_or(Self::Public, |pem| Self::Bundle(pem.into())))
    }

    /// The authorities as rustls takes them.
    pub fn roots(&self) -> Result<RootCertStore, TrustError> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::Public => {
                roots.add_parsable_certificates(TLS_SERVER_ROOT_CERTS.iter().cloned());
            }
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

    /// Settings of a client that is rustls's.
    pub fn client(&self) -> Result<ClientConfig, TrustError> {
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TrustError::Library(error.to_string()))?
            .with_root_certificates(self.roots()?);
        Ok(client.with_no_client_auth())
    }

    /// The certificates in PEM.
    pub fn pem(&self) -> Arc<str> {
        static PUBLIC: LazyLock<Arc<str>> = LazyLock::new(|| {
            let certificate = |der: &CertificateDer<'_>| Pem::new("CERTIFICATE", der.as_ref());
            let all: Vec<_> = TLS_SERVER_ROOT_CERTS.iter().map(certificate).collect();
            pem::encode_many(&all).into()
        });
        match self {
            Self::Public => PUBLIC.clone(),
            Self::Bundle(pem) => pem.clone(),
        }
    }

    /// A file with the certificates, for a driver that takes nothing else; [`None`] for [`Trust::Public`]. It lies in
    /// memory, since pods have no disk to write to, and stays, since the driver reads it again for each member that it
    /// meets: there are as many as bundles that were ever used.
    pub fn file(&self) -> io::Result<Option<PathBuf>> {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_bundle_holds_certificates_and_nothing_else_is_taken_for_one() {
        let bundle = |pem: &str| Trust::Bundle(pem.into());
        assert_eq!(bundle("").roots().unwrap_err(), TrustError::Empty);
        assert_eq!(bundle("secret").roots().unwrap_err(), TrustError::Empty);
        let broken = "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n";
        let error = bundle(broken).roots().unwrap_err().to_string();
        assert!(error.starts_with("certificate 1 in it"), "{error}");
    }

    #[test]
    fn the_public_authorities_are_the_same_in_each_shape() {
        let roots = Trust::Public.roots().unwrap();
        let bundle = Trust::Bundle(Trust::Public.pem());
        assert!(roots.len() > 50);
        assert_eq!(bundle.roots().unwrap().len(), roots.len());
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
}
