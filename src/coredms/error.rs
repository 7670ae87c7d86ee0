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
    /// The superuser's Secret has no password.
    #[error(
        "Secret {0} has no password: delete it if the database has no data yet, else put the old password back"
    )]
    NoPassword(String),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Invalid(error) => error.class(),
            Self::Apply(error) => error.class(),
            // An edited Secret or a database that was restored is made good without an event here.
            Self::Database(_) => Class::Transient,
            Self::NoPassword(_) => Class::Invalid,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Apply(error) => error.reason(),
            Self::Database(error) => database_reason(error),
            Self::NoPassword(_) => "NoPassword",
        }
    }
}

/// CamelCase, for a condition.
pub fn database_reason(error: &AdminError) -> &'static str {
    match error {
        AdminError::Unavailable(_) => "DatabaseUnavailable",
        AdminError::LoginRefused { .. } => "LoginRefused",
        AdminError::TableConflict { .. } => "TableConflict",
        AdminError::Refused { .. } => "DatabaseRefused",
    }
}
