//! One run of the program: its streams, and how it ends.

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use simbdp_launcher::wire::{Exit, LONGEST, Report, Wish};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

use super::launchers::Running;

/// How long the launcher may take to end it after that.
const KILL: Duration = Duration::from_secs(10);
/// How long a stream may go on when the program is gone: with the program, whoever has it is gone too, unless it was
/// given away.
const DRAIN: Duration = Duration::from_secs(2);

/// What the program reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stdin {
    /// Nothing.
    Empty,
    /// What the runner writes.
    Piped,
}

/// A program that runs. When it is dropped, the launcher ends the program.
pub struct Run {
    /// To watch and end it.
    pub control: Control,
    /// Its standard input, where it has one.
    pub input: Option<pipe::Sender>,
    /// Its standard output.
    pub output: pipe::Receiver,
    /// Its standard error.
    pub error: pipe::Receiver,
}

/// The connection to the launcher, for as long as the program runs.
pub struct Control {
    connection: UnixStream,
    buffer: Vec<u8>,
    grace: Duration,
    running: Option<Running>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The launcher says so.
    Exit(Exit),
    /// With its container, or nobody knows.
    Lost,
}

impl Run {
    /// What a launcher has started.
    pub fn new(
        mut control: Control,
        input: Option<pipe::Sender>,
        output: pipe::Receiver,
        error: pipe::Receiver,
        running: Running,
    ) -> Self {
        control.running = Some(running);
        Self {
            control,
            input,
            output,
            error,
        }
    }
}

impl Control {
    /// Over a connection whose order is sent; the program has `grace` to end in after SIGTERM.
    pub fn new(connection: UnixStream, grace: Duration) -> Self {
        Self {
            connection,
            buffer: Vec::new(),
            grace,
            running: None,
        }
    }

    /// What the launcher says next. Cancel-safe.
    pub async fn report(&mut self) -> io::Result<Report> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                return Ok(serde_json::from_slice(&line)?);
            }
            if self.buffer.len() > LONGEST {
                return Err(io::Error::other("it says too much"));
            }
            self.connection.readable().await?;
            match self.connection.try_read_buf(&mut self.buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    }

    async fn ended(&mut self) -> Ended {
        match self.report().await {
            Ok(Report::Ended(exit)) => Ended::Exit(exit),
            Ok(_) | Err(_) => Ended::Lost,
        }
    }

    /// Waits until the program has ended; asks it to when `stop` says so, and then ends it. Tells `gone`.
    pub async fn supervise(&mut self, stop: &Stop, gone: &CancellationToken) -> Ended {
        let ended = tokio::select! {
            ended = self.ended() => ended,
            () = stop.token.cancelled() => self.end().await,
        };
        self.running = None;
        gone.cancel();
        ended
    }

    async fn end(&mut self) -> Ended {
        if let Ok(mut line) = serde_json::to_vec(&Wish::Terminate) {
            line.push(b'\n');
            // A launcher that is lost has ended it.
            let _ = self.connection.write_all(&line).await;
        }
        if let Ok(ended) = tokio::time::timeout(self.grace, self.ended()).await {
            return ended;
        }
        let _ = self.connection.shutdown().await;
        let killed = tokio::time::timeout(KILL, self.ended()).await;
        killed.unwrap_or(Ended::Lost)
    }
}

/// Asks a run to end, for the first reason that was given.
#[derive(Debug, Default)]
pub struct Stop {
    token: CancellationToken,
    reason: OnceLock<String>,
}

impl Stop {
    /// Ends the run for a fault of the program.
    pub fn because(&self, reason: String) {
        // Of several reasons the first counts.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// Ends the run: nobody needs it any more.
    pub fn quietly(&self) {
        self.token.cancel();
    }

    /// The fault of the program.
    pub fn reason(&self) -> Option<&String> {
        self.reason.get()
    }
}

/// What a call gives; [`None`] when the program has been gone for a while.
pub async fn until_gone<T>(gone: &CancellationToken, call: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        result = call => Some(result),
        () = async { gone.cancelled().await; tokio::time::sleep(DRAIN).await } => None,
    }
}

/// Time that a program has, of which only what is spent is taken.
#[derive(Debug)]
pub struct Budget {
    left: Duration,
    whole: Duration,
}

impl Budget {
    /// All of it.
    pub fn new(whole: Duration) -> Self {
        Self { left: whole, whole }
    }

    /// Waits for the program at its expense; an error when it has no more time.
    pub async fn spend<T>(&mut self, call: impl Future<Output = T>) -> Result<T, String> {
        let start = tokio::time::Instant::now();
        let result = tokio::time::timeout(self.left, call).await;
        self.left = self.left.saturating_sub(start.elapsed());
        let seconds = self.whole.as_secs();
        result.map_err(|_| format!("took longer than {seconds} s (app.timeoutSeconds)"))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(Exit::Code(code)) => write!(f, "exited with code {code}"),
            Self::Exit(Exit::Signal {
                out_of_memory: true,
                ..
            }) => f.write_str(
                "was ended because its container had used up its memory: raise app.resources.limits.memory, or use less",
            ),
            Self::Exit(Exit::Signal { number, .. }) => write!(f, "was ended by signal {number}"),
            Self::Lost => f.write_str(
                "was lost with its container, most likely because that had used up its memory: see `kubectl describe pod` and app.resources.limits.memory",
            ),
        }
    }
}
