//! What keeps a plan from being made. What would be refused is part of the plan instead.

use super::documents::DocumentError;
use crate::error::ApiError;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The documents cannot be read.
    #[error("{0}")]
    Document(#[from] DocumentError),
    /// Something cannot be read.
    #[error("cannot read {what}: {source}")]
    Read {
        /// Kind and name.
        what: String,
        /// Why.
        source: ApiError,
    },
    /// A dry run was not answered, or is not permitted.
    #[error("cannot ask what applying or deleting {what} would do: {source}")]
    Ask {
        /// Kind and name.
        what: String,
        /// Why.
        source: ApiError,
    },
    /// What the API server answered is not of that kind.
    #[error("cannot read {what} as it was answered: {source}")]
    Decode {
        /// Kind and name.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// No operator runs in the cluster, or several do.
    #[error("{0}")]
    NoOperator(String),
    /// The operator's configuration cannot be understood.
    #[error("the operator's configuration in ConfigMap {name}: {source}")]
    Config {
        /// Namespace and name.
        name: String,
        /// Why.
        source: serde_yaml::Error,
    },
}

impl PlanError {
    /// What the API server said, where it was asked.
    pub fn answer(&self) -> Option<&kube::Error> {
        match self {
            Self::Read { source, .. } | Self::Ask { source, .. } => Some(&source.0),
            _ => None,
        }
    }

    /// Something cannot be read.
    pub fn reading(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |error| Self::Read {
            what,
            source: ApiError(error),
        }
    }

    /// A dry run fails for another reason than what is asked.
    pub fn asking(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |error| Self::Ask {
            what,
            source: ApiError(error),
        }
    }

    /// An answer is not what it should be.
    pub fn decoding(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        let what = what.into();
        move |source| Self::Decode { what, source }
    }
}
