//! What can fail in a reconcile of a Broker.

use simbdp_broker::admin::AdminError;

use super::validate::Invalid;
use crate::apply::ApplyError;
use crate::error::{Class, Classified};

/// A step of a Broker's reconcile that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not declared so that it could be run.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// An object cannot be read, applied or deleted.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A Secret lacks what was generated once.
    #[error(
        "Secret {secret} has no {key}: put the old one back, or delete the Secret if the broker has no queues yet"
    )]
    MissingKey {
        /// The Secret.
        secret: String,
        /// The key.
        key: &'static str,
    },
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Invalid(error) => error.class(),
            Self::Apply(error) => error.class(),
            Self::MissingKey { .. } => Class::Invalid,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Apply(error) => error.reason(),
            Self::MissingKey { .. } => "MissingKey",
        }
    }
}

/// CamelCase, for a condition.
pub fn broker_reason(error: &AdminError) -> &'static str {
    match error {
        AdminError::Unavailable(_) => "BrokerUnavailable",
        AdminError::Tls(_) => "TlsFailed",
        AdminError::LoginRefused { .. } => "LoginRefused",
        AdminError::Refused { .. } => "BrokerRefused",
    }
}
