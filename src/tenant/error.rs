//! What can fail in a reconcile of a Tenant.

use simbdp_api::names::NameError;

use super::credentials::Unusable;
use super::hash::HashError;
use super::namespace::Taken;
use super::placement::NoPlace;
use super::validate::Invalid;
use crate::apply::ApplyError;
use crate::error::{ApiError, Class, Classified};

/// What can fail, named for the step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name does not fit.
    #[error("{0}")]
    Name(#[from] NameError),
    /// The Tenant cannot be built.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// The namespace is somebody else's.
    #[error("{0}")]
    Taken(#[from] Taken),
    /// Something that the Tenant refers to cannot be read.
    #[error("cannot read {what}: {source}")]
    Dereference {
        /// What.
        what: String,
        /// Why.
        source: ApiError,
    },
    /// An object cannot be applied or deleted.
    #[error("{0}")]
    Apply(#[from] ApplyError),
    /// There is no place for the tenant's data.
    #[error("{0}")]
    NoPlace(#[from] NoPlace),
    /// The places of a shared CoreDms cannot be written.
    #[error("cannot take or give up a place in CoreDms `{coredms}`: {source}")]
    Claim {
        /// Its name.
        coredms: String,
        /// Why.
        source: ApiError,
    },
    /// A shared CoreDms cannot be made.
    #[error("cannot create the shared CoreDms `{coredms}`: {source}")]
    Create {
        /// Its name.
        coredms: String,
        /// Why.
        source: ApiError,
    },
    /// A Secret was edited such that nobody can use it.
    #[error("{0}")]
    Credentials(#[from] Unusable),
    /// A password cannot be hashed.
    #[error("{0}")]
    Hash(#[from] HashError),
    /// The broker does not do what it should.
    #[error("{0}")]
    Broker(#[from] simbdp_broker::admin::AdminError),
    /// The database does not do what it should.
    #[error("{0}")]
    Database(#[from] simbdp_coredms::admin::AdminError),
}

impl Error {
    /// Something could not be read.
    pub fn reading(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |error| Self::Dereference {
            what,
            source: ApiError(error),
        }
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Name(_)
            | Self::Invalid(_)
            | Self::Taken(_)
            | Self::NoPlace(_)
            | Self::Credentials(_) => Class::Invalid,
            Self::Apply(error) => error.class(),
            Self::Create { source, .. } => source.class(),
            Self::Claim { .. }
            | Self::Dereference { .. }
            | Self::Hash(_)
            | Self::Broker(_)
            | Self::Database(_) => Class::Transient,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Name(_) => "InvalidName",
            Self::Invalid(invalid) => invalid.reason(),
            Self::Taken(_) => "NamespaceTaken",
            Self::Dereference { .. } => "ReadFailed",
            Self::Apply(error) => error.reason(),
            Self::Credentials(_) => "UnusableSecret",
            Self::NoPlace(no_place) => no_place.reason(),
            Self::Claim { .. } => "ClaimFailed",
            Self::Create { .. } => "CreateFailed",
            Self::Hash(_) => "HashFailed",
            Self::Broker(_) => "BrokerFailed",
            Self::Database(_) => "DatabaseFailed",
        }
    }
}
