//! Classifies the driver's errors: may the same call succeed later, or never?
//!
//! To the data plane what says nothing of the row or query itself is transient, even where a person must act: a
//! permanent verdict would condemn healthy records. To the operator what is not known to pass by itself is a
//! refusal, which shows in the status.
//!
//! The driver's own texts are not shown whole: they repeat the server's answer byte by byte. Neither connection
//! strings nor passwords are in them, since clients are made of parts, and the server does not repeat commands.

use mongodb::error::{CommandError, Error, ErrorKind, WriteFailure};

use crate::admin::AdminError;
use crate::kept::LoginFailure;
use crate::store::StoreError;

/// The server's codes (mongodb/mongo:src/mongo/base/error_codes.yml) that matter here.
pub(crate) mod code {
    pub const AUTHENTICATION_FAILED: i32 = 18;
    pub const USER_NOT_FOUND: i32 = 11;
    pub const ALREADY_INITIALIZED: i32 = 23;
    pub const NAMESPACE_NOT_FOUND: i32 = 26;
    pub const NAMESPACE_EXISTS: i32 = 48;
    /// The same index is there under another name.
    pub const INDEX_OPTIONS_CONFLICT: i32 = 85;
    /// A member does not find itself in its own configuration.
    pub const INVALID_REPLICA_SET_CONFIG: i32 = 93;
    pub const NOT_YET_INITIALIZED: i32 = 94;
    /// The configuration is not the one after the set's: somebody else changed it meanwhile.
    pub const INCOMPATIBLE_CONFIGURATION: i32 = 103;
    pub const DOCUMENT_VALIDATION_FAILURE: i32 = 121;
    pub const DUPLICATE_KEY: i32 = 11_000;
    pub const USER_ALREADY_EXISTS: i32 = 51_003;
    /// The bounds of a scan leave nothing between them.
    pub const MIN_NOT_BELOW_MAX: i32 = 51_175;
}

/// What a row or query itself causes: bad or mistyped values, fields that cannot be, documents that are too large.
const PERMANENT: [i32; 16] = [
    2, 9, 14, 22, 52, 55, 56, 57, 66, 72, 73, 10_334, 17_280, 17_419, 17_420, 121,
];

/// What passes by itself: elections, shutdowns, time limits, members that do not answer, changes under way.
const TRANSIENT: [i32; 31] = [
    6, 7, 24, 46, 50, 64, 74, 89, 91, 94, 95, 100, 109, 112, 117, 133, 134, 189, 202, 215, 246,
    262, 290, 308, 384, 9_001, 10_107, 11_600, 11_602, 13_435, 13_436,
];

/// Whether a code says that the same write or query will never succeed.
pub(crate) fn permanent(code: i32) -> bool {
    PERMANENT.contains(&code)
}

/// The code of a command that the server refused.
pub(crate) fn command_code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(CommandError { code, .. }) => Some(*code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        _ => None,
    }
}

/// What happened, in few words.
pub(crate) fn reason(error: &Error) -> String {
    match &*error.kind {
        ErrorKind::Command(error) => format!("{} ({})", error.message, error.code_name),
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.message.clone(),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => {
            format!("{} ({})", error.message, error.code_name)
        }
        ErrorKind::ServerSelection { message, .. } => shortened(message),
        kind => shortened(&kind.to_string()),
    }
}

/// Topologies are described at length, each member with its last error.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 300;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let never = match &*error.kind {
            ErrorKind::InvalidArgument { .. } | ErrorKind::Bson(_) => true,
            _ => command_code(&error).is_some_and(permanent),
        };
        match never {
            true => Self::Permanent(reason(&error)),
            false => Self::Transient(reason(&error)),
        }
    }
}

/// Whether a login was refused, or could not be decided.
pub(crate) fn login(error: &Error) -> LoginFailure {
    match &*error.kind {
        // The driver says no more of what the server answered than that it was no success.
        ErrorKind::Authentication { .. } => {
            LoginFailure::Refused("the user is not known, or has another password".to_owned())
        }
        ErrorKind::Command(command) if command.code == code::AUTHENTICATION_FAILED => {
            LoginFailure::Refused(reason(error))
        }
        _ => LoginFailure::Unavailable(reason(error)),
    }
}

/// The error of an administrative command. `action` says what was to be done.
pub(crate) fn refused(error: &Error, action: &str) -> AdminError {
    let reason = reason(error);
    let passes = match &*error.kind {
        ErrorKind::Command(command) => TRANSIENT.contains(&command.code),
        ErrorKind::InvalidArgument { .. } | ErrorKind::Bson(_) => false,
        _ => true,
    };
    match passes {
        true => AdminError::Unavailable(format!("{action}: {reason}")),
        false => AdminError::Refused {
            action: action.to_owned(),
            reason,
        },
    }
}
