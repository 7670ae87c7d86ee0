//! Errors for people, with the exit code that tells programs which kind it was.

use std::path::PathBuf;

use simbdp_api::wire::rest::Problem;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line does not say enough.
    #[error("{0}")]
    Usage(String),
    /// The gateway answered with a problem.
    #[error("{}{}", .0.detail, faults(.0))]
    Problem(Box<Problem>),
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

impl CliError {
    /// The documented exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Problem(problem) if matches!(problem.status, 401 | 403) => 4,
            Self::Cluster { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if matches!(status.code, 401 | 403) => 4,
                kube::Error::Api(_) => 1,
                _ => 3,
            },
            Self::Unreachable { .. } | Self::NoCluster(_) => 3,
            Self::Problem(_) | Self::File { .. } | Self::Answer { .. } | Self::Write(_) => 1,
        }
    }
}
