//! What can fail in a reconcile of an IngestPipeline.

use super::dereference::Homeless;
use super::validate::Invalid;
use crate::apply::ApplyError;
use crate::error::{ApiError, Class, Classified};
use crate::tenant;

/// What can fail, named for the step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not in a tenant's namespace.
    #[error("{0}")]
    Homeless(#[from] Homeless),
    /// The pipeline cannot be built.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// The ceilings of its Tenant are not what they should be.
    #[error("the Tenant: {0}")]
    Ceilings(#[from] tenant::validate::Invalid),
    /// Something that the pipeline refers to cannot be read.
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
    /// The table cannot be had by adding to the one that is there. Nothing was altered.
    #[error("{conflict}{}", shared(others))]
    TableConflict {
        /// Table, column, what is there and what would be right.
        conflict: String,
        /// Other pipelines with the same table.
        others: Vec<String>,
    },
    /// The broker does not do what it should.
    #[error("{0}")]
    Broker(#[from] simbdp_broker::admin::AdminError),
    /// The broker or the database of the tenant cannot be asked.
    #[error("{0}")]
    Tenant(#[from] tenant::error::Error),
}

fn shared(others: &[String]) -> String {
    match others {
        [] => String::new(),
        [one] => format!(" (IngestPipeline `{one}` has the same table)"),
        several => format!(
            " (the IngestPipelines {} have the same table)",
            several.join(", ")
        ),
    }
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
            Self::Homeless(_)
            | Self::Invalid(_)
            | Self::Ceilings(_)
            | Self::TableConflict { .. } => Class::Invalid,
            Self::Apply(error) => error.class(),
            Self::Tenant(error) => error.class(),
            Self::Dereference { .. } | Self::Broker(_) => Class::Transient,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Homeless(_) => "NotATenantNamespace",
            Self::Invalid(invalid) => invalid.reason(),
            Self::Ceilings(_) => "InvalidCeilings",
            Self::Dereference { .. } => "ReadFailed",
            Self::Apply(error) => error.reason(),
            Self::TableConflict { .. } => "TableConflict",
            Self::Broker(_) => "BrokerFailed",
            Self::Tenant(error) => error.reason(),
        }
    }
}
