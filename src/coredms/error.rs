//! What can fail in a reconcile of a CoreDms.

use simbdp_coredms::admin::AdminError;

use super::validate::Invalid;
use crate::apply::ApplyError;
use crate::error::{Class, Classified};

/// A step of a CoreDms' reconcile that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not declared so that it could be run.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// An object cannot be read, applied or deleted.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The database cannot be set up.
    #[error(transparent)]
    Database(#[from] AdminError),
    /// No such StorageClass.
    #[error(
        "spec.storage.storageClassName: there is no StorageClass `{class}`: create it, or declare one of {}",
        known.join(", ")
    )]
    StorageClassMissing {
        /// The one that is declared.
        class: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A key of the superuser's Secret is missing.
    #[error(
        "Secret {secret} has no {key}: delete it if the database has no data yet, else put what it was back"
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
            // An edited Secret or a database that was restored is made good without an event here.
            Self::Database(_) | Self::StorageClassMissing { .. } => Class::Transient,
            Self::MissingKey { .. } => Class::Invalid,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Apply(error) => error.reason(),
            Self::Database(error) => database_reason(error),
            Self::StorageClassMissing { .. } => "StorageClassMissing",
            Self::MissingKey { .. } => "MissingKey",
        }
    }
}

/// CamelCase, for a condition.
pub fn database_reason(error: &AdminError) -> &'static str {
    match error {
        AdminError::Unavailable(_) => "DatabaseUnavailable",
        AdminError::LoginRefused { .. } => "LoginRefused",
        AdminError::Tls(_) => "TlsFailed",
        AdminError::TableConflict { .. } => "TableConflict",
        AdminError::Refused { .. } => "DatabaseRefused",
    }
}
