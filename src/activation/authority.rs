//! The operator's own authority: a key and a certificate in a Secret, made once [IO], by which each operator signs a
//! certificate for itself when it starts. Gateways believe it alone, so that their tokens go to nobody else.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::core::ObjectMeta;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use simbdp_api::labels;

use crate::apply::{Applier, ApplyError, MANAGED_BY, text};
use crate::context::Identity;

/// Field manager of the Secret.
const MANAGER: &str = "simbdp-authority";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// Subject of the authority's certificate. What it signs names it, so it never changes.
const SUBJECT: &str = "simbdp-operator";

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The Secret cannot be had.
    #[error("{0}")]
    Apply(#[from] ApplyError),
    /// The Secret has no certificate or no key.
    #[error("Secret `{secret}` has no `{key}`: delete it, and another one is made")]
    Missing {
        /// Its name.
        secret: String,
        /// The key.
        key: &'static str,
    },
    /// A key or a certificate cannot be made, or is none.
    #[error("the operator's authority cannot be used: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS refuses what was made.
    #[error("the operator's certificate cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// A key and a certificate, in PEM. Never logged: `Debug` is not derived.
#[derive(Clone)]
pub struct Authority {
    certificate: String,
    key: String,
}

impl Authority {
    /// A new one.
    pub fn generate() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let pem = key.serialize_pem();
        Ok(Self {
            certificate: CertifiedIssuer::self_signed(params(), key)?.pem(),
            key: pem,
        })
    }

    /// Its certificate, for those who are to believe it.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// TLS of a server with these names, by a key that only this process has.
    pub fn server(&self, names: Vec<String>) -> Result<ServerConfig, AuthorityError> {
        let issuer = Issuer::new(params(), KeyPair::from_pem(&self.key)?);
        let key = KeyPair::generate()?;
        let mut server = CertificateParams::new(names)?;
        server.distinguished_name.push(DnType::CommonName, SUBJECT);
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = server.signed_by(&key, &issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?)
    }

    /// As the Secret of this name.
    fn secret(&self, namespace: &str, name: &str) -> Secret {
        let data = [(CERTIFICATE, &self.certificate), (KEY, &self.key)];
        let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())));
        Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some([(labels::APP_MANAGED_BY.to_owned(), MANAGED_BY.to_owned())].into()),
                ..Default::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(data.into()),
            ..Default::default()
        }
    }
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, SUBJECT);
    params
}

/// The authority of the Secret, which is made where there is none: of several operators that start at once, one makes it.
pub async fn ensure(
    client: &kube::Client,
    identity: &Identity,
) -> Result<Authority, AuthorityError> {
    let name = format!("{}-authority", identity.service);
    let fresh = Authority::generate()?.secret(&identity.namespace, &name);
    let applier = Applier::new(client, MANAGER);
    let secret = applier.ensure_secret(&fresh).await?;
    let read = |key: &'static str| {
        let secret_name = name.clone();
        text(&secret, key).ok_or(AuthorityError::Missing {
            secret: secret_name,
            key,
        })
    };
    Ok(Authority {
        certificate: read(CERTIFICATE)?,
        key: read(KEY)?,
    })
}

/// Host names of the operator's Service.
pub fn names(identity: &Identity) -> Vec<String> {
    let name = format!("{}.{}.svc", identity.service, identity.namespace);
    vec![format!("{name}.cluster.local"), name]
}

/// Where gateways wake ingest apps.
pub fn url(service: &str, namespace: &str) -> String {
    let port = simbdp_api::mounts::WAKE_PORT;
    format!("https://{service}.{namespace}.svc:{port}")
}
