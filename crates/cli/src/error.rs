//! Errors for people, with the exit code that tells programs which kind it was.

use std::path::PathBuf;
use std::time::Duration;

use simbdp_api::wire::rest::Problem;
use simbdp_operator::plan::PlanError;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line does not say enough.
    #[error("{0}")]
    Usage(String),
    /// The gateway answered with a problem.
    #[error("{}{}", .problem.detail, faults(.problem))]
    Problem {
        problem: Box<Problem>,
        /// How long the gateway asks to wait.
        retry_after: Option<Duration>,
    },
    /// The gateway cannot be reached.
    #[error("the gateway at {url} cannot be reached: {reason}")]
    Unreachable { url: String, reason: String },
    /// The cluster cannot be asked.
    #[error("{action}: {source}")]
    Cluster {
        action: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// No kubeconfig, or none that works.
    #[error("no cluster is configured ({0}); give --server, or set KUBECONFIG")]
    NoCluster(String),
    /// A local file cannot be read.
    #[error("{}: {source}", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The gateway answered what this version does not understand.
    #[error("{url} answered what this version does not understand: {reason}")]
    Answer { url: String, reason: String },
    /// A file of documents that cannot be read as such.
    #[error("{}: {reason}", .path.display())]
    Document { path: PathBuf, reason: String },
    /// There is no plan.
    #[error("{0}")]
    Plan(Box<PlanError>),
    /// SIGINT or SIGTERM came first.
    #[error("interrupted")]
    Interrupted,
    /// Output cannot be written.
    #[error("the result cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

fn faults(problem: &Problem) -> String {
    let lines = problem.errors.iter().take(10).map(|fault| {
        let record = fault
            .record
            .map(|n| format!("record {n}: "))
            .unwrap_or_default();
        let column = fault
            .column
            .as_ref()
            .map(|c| format!("`{c}`: "))
            .unwrap_or_default();
        format!("\n  {record}{column}{}", fault.reason)
    });
    let more = problem.errors.len().saturating_sub(10);
    let tail = if more > 0 {
        format!("\n  and {more} more")
    } else {
        String::new()
    };
    lines.collect::<String>() + &tail
}

/// The exit code of what the API server said.
fn answered(error: &kube::Error) -> u8 {
    match error {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => 4,
        kube::Error::Api(_) => 1,
        _ => 3,
    }
}

impl From<PlanError> for CliError {
    fn from(error: PlanError) -> Self {
        Self::Plan(Box::new(error))
    }
}

impl CliError {
    /// The documented exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Problem { problem, .. } if matches!(problem.status, 401 | 403) => 4,
            Self::Cluster { source, .. } => answered(source),
            Self::Plan(error) => match error.answer() {
                Some(source) => answered(source),
                None if matches!(**error, PlanError::NoOperator(_)) => 2,
                None => 1,
            },
            Self::Unreachable { .. } | Self::NoCluster(_) => 3,
            Self::Problem { .. }
            | Self::File { .. }
            | Self::Document { .. }
            | Self::Answer { .. }
            | Self::Interrupted
            | Self::Write(_) => 1,
        }
    }

    /// When the same request may go well.
    pub fn again(&self) -> Again {
        match self {
            Self::Problem {
                problem,
                retry_after,
            } => match problem.status {
                429 | 503 | 507 => retry_after.map_or(Again::Soon, Again::After),
                408 | 502 | 504 => Again::Soon,
                // A pipeline may be on its way, and a failure of the gateway is not the request's.
                404 | 500.. => Again::Later,
                _ => Again::Never,
            },
            Self::Unreachable { .. } => Again::Soon,
            Self::Answer { .. } => Again::Later,
            _ => Again::Never,
        }
    }
}

/// When a request that failed may be repeated as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Again {
    /// Not before something about the request changes.
    Never,
    /// Not at once: nothing says that it passes by itself.
    Later,
    /// Soon: it is a matter of moments, and of the gateway as a whole.
    Soon,
    /// When the gateway says: it is a matter of the gateway as a whole.
    After(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16, retry_after: Option<Duration>) -> CliError {
        CliError::Problem {
            problem: Box::new(Problem {
                problem_type: "about:blank".into(),
                title: String::new(),
                status,
                detail: String::new(),
                instance: None,
                errors: Vec::new(),
            }),
            retry_after,
        }
    }

    #[test]
    fn what_is_wrong_with_the_request_is_not_repeated() {
        for status in [400, 401, 403, 409, 413, 415, 422] {
            assert_eq!(problem(status, None).again(), Again::Never, "{status}");
        }
        for status in [408, 429, 502, 503, 504, 507] {
            assert_eq!(problem(status, None).again(), Again::Soon, "{status}");
        }
        let asked = Duration::from_secs(7);
        for status in [429, 503, 507] {
            let again = problem(status, Some(asked)).again();
            assert_eq!(again, Again::After(asked), "{status}");
        }
        for status in [404, 500] {
            assert_eq!(problem(status, None).again(), Again::Later, "{status}");
        }
    }

    #[test]
    fn exit_codes_tell_credentials_from_the_rest() {
        assert_eq!(problem(401, None).exit_code(), 4);
        assert_eq!(problem(403, None).exit_code(), 4);
        assert_eq!(problem(422, None).exit_code(), 1);
        assert_eq!(problem(503, None).exit_code(), 1);
    }
}
