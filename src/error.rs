//! Errors by class: whether trying again can help, and how they are told to people.

use std::fmt;

/// What can be done about an error.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// What is declared is wrong: nothing changes until somebody changes it.
    Invalid,
    /// The same call may succeed later.
    Transient,
}

impl Class {
    /// As a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Transient => "transient",
        }
    }
}

/// An error of a step of a reconcile.
pub trait Classified: std::error::Error {
    /// What can be done about it.
    fn class(&self) -> Class;
    /// CamelCase, for conditions and metrics.
    fn reason(&self) -> &'static str;
}

/// A failed reconcile, as the requeue, the metrics and the log need it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What can be done about it.
    pub class: Class,
    /// CamelCase.
    pub reason: &'static str,
    /// What failed.
    pub message: String,
}

impl<E: Classified> From<&E> for Failure {
    fn from(error: &E) -> Self {
        Self {
            class: error.class(),
            reason: error.reason(),
            message: error.to_string(),
        }
    }
}

/// An error of the API server, said in one line: kube's own text repeats everything twice.
#[derive(Debug)]
pub struct ApiError(pub kube::Error);

impl ApiError {
    /// A bad request or an object that does not validate stays so; anything else may pass.
    pub fn class(&self) -> Class {
        match &self.0 {
            kube::Error::Api(status) if matches!(status.code, 400 | 422) => Class::Invalid,
            _ => Class::Transient,
        }
    }

    /// HTTP status, when the API server answered.
    pub fn code(&self) -> Option<u16> {
        match &self.0 {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            kube::Error::Api(status) if !status.message.is_empty() => f.write_str(&status.message),
            kube::Error::Api(status) => write!(f, "{} ({})", status.reason, status.code),
            other => write!(f, "the API server cannot be asked: {other}"),
        }
    }
}

impl std::error::Error for ApiError {}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        Self(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn api(code: u16, message: &str) -> ApiError {
        ApiError(kube::Error::Api(
            Status::failure(message, "Invalid").with_code(code).boxed(),
        ))
    }

    #[test]
    fn an_object_that_does_not_validate_is_not_tried_again_and_a_conflict_is() {
        assert_eq!(api(422, "x").class(), Class::Invalid);
        assert_eq!(api(409, "x").class(), Class::Transient);
        assert_eq!(api(503, "x").class(), Class::Transient);
        assert_eq!(api(403, "x").class(), Class::Transient);
    }

    #[test]
    fn the_api_servers_own_words_are_what_people_read() {
        assert_eq!(
            api(422, "spec.replicas: must be positive").to_string(),
            "spec.replicas: must be positive"
        );
    }
}
