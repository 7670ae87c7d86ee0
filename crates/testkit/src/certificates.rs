//! Certificates of servers under test, by authorities that nobody else knows.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// An authority that signs servers' certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one: nobody trusts it yet.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self(issuer))
    }

    /// What is given to those who are to trust it, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A key and a certificate of a server with these host names and IP addresses, in PEM.
    pub fn server(&self, names: &[String]) -> Result<String> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.0)?;
        Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
    }
}
