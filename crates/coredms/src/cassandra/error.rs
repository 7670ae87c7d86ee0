//! Classifies the driver's errors: may the same call succeed later, or never?
//!
//! What says nothing of the row or query itself is transient, even where a person must act: a role
//! whose grants or password are being changed, a table or column that has not reached every member.
//! Such a pause loses nothing, while a permanent verdict would condemn healthy records.

use scylla::errors::{
    BrokenConnectionError, BrokenConnectionErrorKind, ConnectionError, ConnectionPoolError,
    ConnectionSetupRequestErrorKind, DbError, ExecutionError, FrameHeaderParseError, MetadataError,
    NewSessionError, PrepareError, RequestAttemptError,
};

use crate::admin::AdminError;
use crate::kept::LoginFailure;
use crate::store::StoreError;

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    /// It may.
    Transient,
    /// It will not.
    Permanent,
}

/// What the server says in `Invalid` when its schema is behind (or ahead of) what was declared.
const SCHEMA_NOT_THERE: [&str; 6] = [
    "unconfigured table",
    "Undefined column name",
    "does not exist",
    "doesn't exist",
    "Unknown keyspace",
    "Unknown identifier",
];

/// What the server says when a row is beyond its own limits.
const BEYOND_LIMITS: [&str; 3] = [
    "too large for max size",
    "exceeds maximum",
    "exceeds the maximum",
];

/// What the server says in `ConfigError` while a member joins, leaves or moves.
const RING_CHANGES: [&str; 1] = ["not in normal state"];

fn says(text: &str, any: &[&str]) -> bool {
    any.iter().any(|phrase| text.contains(phrase))
}

fn database(error: &DbError, text: &str) -> Class {
    match error {
        DbError::Invalid if says(text, &SCHEMA_NOT_THERE) => Class::Transient,
        DbError::ConfigError if says(text, &RING_CHANGES) => Class::Transient,
        DbError::ServerError if says(text, &BEYOND_LIMITS) => Class::Permanent,
        DbError::SyntaxError
        | DbError::Invalid
        | DbError::ConfigError
        | DbError::FunctionFailure { .. }
        | DbError::AlreadyExists { .. }
        | DbError::ProtocolError => Class::Permanent,
        _ => Class::Transient,
    }
}

fn attempt(error: &RequestAttemptError) -> Class {
    match error {
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_) => Class::Permanent,
        RequestAttemptError::DbError(error, text) => database(error, text),
        _ => Class::Transient,
    }
}

/// The class of a failed execution.
pub(crate) fn execution(error: &ExecutionError) -> Class {
    match error {
        ExecutionError::BadQuery(_) => Class::Permanent,
        ExecutionError::LastAttemptError(error) => attempt(error),
        ExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt, .. }) => {
            attempt(first_attempt)
        }
        _ => Class::Transient,
    }
}

impl From<ExecutionError> for StoreError {
    fn from(error: ExecutionError) -> Self {
        match execution(&error) {
            Class::Transient => Self::Transient(error.to_string()),
            Class::Permanent => Self::Permanent(error.to_string()),
        }
    }
}

impl From<PrepareError> for StoreError {
    fn from(error: PrepareError) -> Self {
        ExecutionError::from(error).into()
    }
}

/// The server says this when it could not read the role, which proves nothing about the password.
const CANNOT_DECIDE: [&str; 4] = [
    "Unable to perform authentication",
    "Cannot achieve consistency",
    "Operation timed out",
    "Operation failed",
];

fn setup(error: &ConnectionError) -> Option<LoginFailure> {
    let ConnectionError::ConnectionSetupRequestError(error) = error else {
        return None;
    };
    match error.get_error() {
        ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, text)
            if !says(text, &CANNOT_DECIDE) =>
        {
            Some(LoginFailure::Refused(text.clone()))
        }
        ConnectionSetupRequestErrorKind::BrokenConnection(error) => foreign(error),
        ConnectionSetupRequestErrorKind::MissingAuthentication => {
            Some(LoginFailure::Refused("it asks for a login".to_owned()))
        }
        _ => None,
    }
}

/// An answer that no version of CQL has, as when something else listens at the address.
fn foreign(error: &BrokenConnectionError) -> Option<LoginFailure> {
    match error.downcast_ref::<BrokenConnectionErrorKind>()? {
        BrokenConnectionErrorKind::FrameHeaderParseError(
            said @ (FrameHeaderParseError::FrameFromClient
            | FrameHeaderParseError::VersionNotSupported(_)
            | FrameHeaderParseError::UnknownResponseOpcode(_)),
        ) => Some(LoginFailure::Foreign(said.to_string())),
        _ => None,
    }
}

fn connection(error: &NewSessionError) -> Option<&ConnectionError> {
    match error {
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
            ConnectionPoolError::Broken {
                last_connection_error,
                ..
            },
        )) => Some(last_connection_error),
        _ => None,
    }
}

/// Whether the member that was tried last has said something, such as that it wants a login.
pub(crate) fn spoke(error: &NewSessionError) -> bool {
    let Some(ConnectionError::ConnectionSetupRequestError(error)) = connection(error) else {
        return false;
    };
    matches!(
        error.get_error(),
        ConnectionSetupRequestErrorKind::DbError(..)
            | ConnectionSetupRequestErrorKind::MissingAuthentication
    )
}

/// Whether a login was refused, or could not be decided.
pub(crate) fn login(error: &NewSessionError) -> LoginFailure {
    let refused = connection(error).and_then(setup);
    refused.unwrap_or_else(|| LoginFailure::Unavailable(error.to_string()))
}

/// The error of an administrative statement. `action` says what was to be done; `secret` never shows.
pub(crate) fn refused(error: &ExecutionError, action: &str, secret: Option<&str>) -> AdminError {
    let reason = match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => error.to_string().replace(secret, "…"),
        None => error.to_string(),
    };
    match execution(error) {
        Class::Transient if !unauthorized(error) => {
            AdminError::Unavailable(format!("{action}: {reason}"))
        }
        _ => AdminError::Refused {
            action: action.to_owned(),
            reason,
        },
    }
}

/// To the operator, a missing right is a refusal that a person must look at.
fn unauthorized(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, _))
    )
}

#[cfg(test)]
mod tests {
    use super::{Class, execution, refused};
    use crate::admin::AdminError;
    use scylla::errors::{DbError, ExecutionError, RequestAttemptError, WriteType};
    use scylla::statement::Consistency;

    fn error(error: DbError, text: &str) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, text.to_owned()))
    }

    #[test]
    fn what_is_not_the_rows_fault_is_transient() {
        let unavailable = DbError::Unavailable {
            consistency: Consistency::LocalQuorum,
            required: 2,
            alive: 1,
        };
        let timeout = DbError::WriteTimeout {
            consistency: Consistency::LocalQuorum,
            received: 1,
            required: 2,
            write_type: WriteType::UnloggedBatch,
        };
        let failure = DbError::WriteFailure {
            consistency: Consistency::LocalQuorum,
            received: 1,
            required: 2,
            numfailures: 1,
            write_type: WriteType::Simple,
        };
        for (db, text) in [
            (unavailable, ""),
            (timeout, ""),
            (failure, "INCOMPATIBLE_SCHEMA"),
            (DbError::Overloaded, ""),
            (DbError::IsBootstrapping, ""),
            (DbError::Unauthorized, "User p_a has no MODIFY permission"),
            (DbError::AuthenticationError, ""),
            (DbError::Invalid, "unconfigured table flights"),
            (DbError::Invalid, "Undefined column name later in table t.f"),
            (
                DbError::ConfigError,
                "Cannot alter RF while some endpoints are not in normal state (no range movements): [/10.0.0.3:7000]",
            ),
            (DbError::ServerError, "java.lang.OutOfMemoryError"),
            (DbError::Other(0x1700), "CAS write unknown"),
        ] {
            assert_eq!(
                execution(&error(db.clone(), text)),
                Class::Transient,
                "{db:?} {text}"
            );
        }
        assert_eq!(execution(&ExecutionError::EmptyPlan), Class::Transient);
    }

    #[test]
    fn what_the_row_or_query_itself_causes_is_permanent() {
        for (db, text) in [
            (DbError::SyntaxError, "line 1:0"),
            (DbError::Invalid, "Key may not be empty"),
            (DbError::ProtocolError, "Request is too big"),
            (DbError::ConfigError, "Unrecognized strategy option"),
            (
                DbError::ServerError,
                "Mutation of 20000000 bytes is too large for max size of 16777216",
            ),
        ] {
            assert_eq!(
                execution(&error(db.clone(), text)),
                Class::Permanent,
                "{db:?} {text}"
            );
        }
    }

    #[test]
    fn a_secret_never_shows() {
        let syntax = error(DbError::SyntaxError, "no viable alternative at 'hunter2'");
        let shown = refused(&syntax, "create role `a`", Some("hunter2"));
        assert!(!shown.to_string().contains("hunter2"), "{shown}");
        assert!(matches!(shown, AdminError::Refused { .. }));
    }
}
