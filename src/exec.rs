//! Runs a command in a pod's container [IO], behind a trait for tests. Nothing waits for its end longer than it is told
//! to: what was started goes on in the container.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::future::join;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Client;
use kube::api::{Api, AttachParams};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Mutex;

use crate::error::ApiError;

/// Bytes of each stream's end that are kept.
const KEPT: usize = 4096;

/// A command, and where it is run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Command {
    /// Namespace of the pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Program and arguments, without a shell.
    pub words: Vec<String>,
    /// Longest that its end is waited for.
    pub limit: Duration,
}

/// How a command ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// With code 0.
    Succeeded {
        /// The end of what it wrote.
        output: String,
    },
    /// Otherwise.
    Failed {
        /// The end of what it wrote.
        output: String,
    },
    /// Not within the limit: it goes on, and nobody hears of its end.
    Unfinished,
}

/// A command that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot run `{command}` in pod {pod}: {source}")]
pub struct ExecError {
    /// Its first words.
    pub command: String,
    /// The pod.
    pub pod: String,
    /// Why.
    pub source: ApiError,
}

/// Runs commands in pods.
pub trait Exec: Send + Sync {
    /// Runs one, and waits for its end for a while.
    fn run<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Result<Outcome, ExecError>>;
}

/// Runs them by the API server.
pub struct PodExec {
    client: Client,
}

impl PodExec {
    /// As whoever the client is logged in as.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Exec for PodExec {
    fn run<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Result<Outcome, ExecError>> {
        Box::pin(async move {
            let running = self.run_to_its_end(command);
            match tokio::time::timeout(command.limit, running).await {
                Ok(outcome) => outcome.map_err(|source| ExecError {
                    command: command.words.join(" "),
                    pod: command.pod.clone(),
                    source: source.into(),
                }),
                Err(_) => Ok(Outcome::Unfinished),
            }
        })
    }
}

impl PodExec {
    async fn run_to_its_end(&self, command: &Command) -> Result<Outcome, kube::Error> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &command.namespace);
        let params = AttachParams::default()
            .container(&command.container)
            .stdin(false)
            .stdout(true)
            .stderr(true);
        let mut process = pods
            .exec(&command.pod, command.words.clone(), &params)
            .await?;
        let status = process.take_status();
        let output = Mutex::new(Vec::new());
        join(
            keep(process.stdout(), &output),
            keep(process.stderr(), &output),
        )
        .await;
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        Ok(outcome(status, &output.into_inner()))
    }
}

/// Reads a stream to its end, and keeps the last bytes.
async fn keep(stream: Option<impl AsyncRead + Unpin>, kept: &Mutex<Vec<u8>>) {
    let Some(mut stream) = stream else {
        return;
    };
    let mut part = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut part).await {
        let mut kept = kept.lock().await;
        kept.extend_from_slice(&part[..read]);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}

/// A connection that broke off says nothing of the end.
fn outcome(status: Option<Status>, output: &[u8]) -> Outcome {
    let output = String::from_utf8_lossy(output).trim().to_owned();
    match status.map(|status| status.status.as_deref() == Some("Success")) {
        Some(true) => Outcome::Succeeded { output },
        Some(false) => Outcome::Failed { output },
        None => Outcome::Unfinished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_what_is_written_is_kept() {
        let text = format!("{}error: it is so\n", "x".repeat(10_000));
        let kept = Mutex::new(Vec::new());
        keep(Some(text.as_bytes()), &kept).await;
        let kept = kept.into_inner();
        assert_eq!(kept.len(), KEPT);
        assert!(kept.ends_with(b"error: it is so\n"));
    }

    #[test]
    fn a_command_succeeds_fails_or_goes_on_unheard() {
        let status = |status: &str| {
            Some(Status {
                status: Some(status.to_owned()),
                ..Default::default()
            })
        };
        let output = "done".to_owned();
        assert_eq!(
            outcome(status("Success"), b"done\n"),
            Outcome::Succeeded {
                output: output.clone()
            }
        );
        assert_eq!(
            outcome(status("Failure"), b"done"),
            Outcome::Failed { output }
        );
        assert_eq!(outcome(None, b"done"), Outcome::Unfinished);
    }
}
