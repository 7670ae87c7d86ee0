//! The launcher in the program's container: it connects to the runner's socket, and each connection serves one run.
//! Nothing that comes from it is trusted: the program may be behind it.

use std::fs;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use simbdp_launcher::wire::{Order, Report};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::unix::pipe;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;

use super::run::{Control, Run, Stdin};
use crate::metrics::Metrics;

/// How long a launcher may take to connect, and to start a program.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one is looked for that is to leave.
const LEAVE: Duration = Duration::from_secs(2);

/// Why a program was not started. The work has nothing to do with it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No launcher is there.
    #[error(
        "the container `app` is not there: look at the pod's events and at that container's log"
    )]
    Absent,
    /// The program cannot be started.
    #[error("the program cannot be started: {0}: correct app.command")]
    Program(String),
    /// The launcher was lost, or this process lacks something.
    #[error("the container `app` was lost before the program started: {0}")]
    Lost(#[from] io::Error),
}

/// The runner's end of the socket.
pub struct Launchers {
    listener: UnixListener,
    /// The connection that waits for an order.
    idle: Mutex<Option<UnixStream>>,
    running: Arc<AtomicUsize>,
    grace: Duration,
    metrics: Metrics,
}

impl Launchers {
    /// Listens at `socket`, where a runner before this one may have left its own. Programs have `grace` to end in after
    /// SIGTERM.
    pub fn listen(socket: &Path, grace: Duration, metrics: Metrics) -> io::Result<Self> {
        match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self {
            listener: UnixListener::bind(socket)?,
            idle: Mutex::default(),
            running: Arc::default(),
            grace,
            metrics,
        })
    }

    /// Whether programs can be started, or one runs.
    pub async fn present(&self) -> bool {
        if self.running.load(Ordering::Acquire) > 0 {
            return true;
        }
        // Held while one is started.
        let Ok(mut idle) = self.idle.try_lock() else {
            return true;
        };
        let accept = tokio::time::timeout(Duration::from_millis(500), self.connected(&mut idle));
        accept.await.is_ok()
    }

    /// Waits until there is a connection that nobody has closed.
    async fn connected(&self, idle: &mut Option<UnixStream>) -> io::Result<()> {
        if idle.as_ref().is_some_and(is_closed) {
            *idle = None;
        }
        while idle.is_none() {
            let (connection, _) = self.listener.accept().await?;
            if !is_closed(&connection) {
                *idle = Some(connection);
            }
        }
        Ok(())
    }

    /// Starts the program.
    pub async fn start(&self, order: &Order, stdin: Stdin) -> Result<Run, StartError> {
        let mut idle = self.idle.lock().await;
        let connected = tokio::time::timeout(PATIENCE, self.connected(&mut idle)).await;
        connected.map_err(|_| StartError::Absent)??;
        let connection = idle.take().ok_or(StartError::Absent)?;
        let (input, its_input) = match stdin {
            Stdin::Empty => (None, OwnedFd::from(fs::File::open("/dev/null")?)),
            Stdin::Piped => {
                let (ours, its) = pipe::pipe()?;
                (Some(ours), its.into_blocking_fd()?)
            }
        };
        let (its_output, output) = pipe::pipe()?;
        let (its_error, error) = pipe::pipe()?;
        let its_output = its_output.into_blocking_fd()?;
        let its_error = its_error.into_blocking_fd()?;
        let streams = [its_input.as_fd(), its_output.as_fd(), its_error.as_fd()];
        send(&connection, order, &streams).await?;
        drop((its_input, its_output, its_error));
        let mut control = Control::new(connection, self.grace);
        let report = tokio::time::timeout(PATIENCE, control.report()).await;
        match report {
            Ok(Ok(Report::Started)) => {
                self.metrics.program_started();
                let running = Running::new(&self.running);
                Ok(Run::new(control, input, output, error, running))
            }
            Ok(Ok(Report::NotStarted(reason))) => Err(StartError::Program(reason)),
            Ok(Ok(Report::Ended(_))) => Err(io::Error::other("it makes no sense").into()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(io::Error::other("it does not answer").into()),
        }
    }

    /// Tells the launcher that nothing will be started any more: else its container would stay until it is killed.
    pub async fn quit(&self) {
        let mut idle = self.idle.lock().await;
        // Where none is, none waits.
        let _ = tokio::time::timeout(LEAVE, self.connected(&mut idle)).await;
        if let Some(mut connection) = idle.take()
            && let Ok(mut line) = serde_json::to_vec(&Order::Quit)
        {
            line.push(b'\n');
            // It may have left by itself.
            let _ = connection.write_all(&line).await;
        }
    }
}

/// Marks that a program runs, for as long as it is there.
pub struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(running: &Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(running))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether the other end has left. What speaks before it is asked is no launcher.
fn is_closed(connection: &UnixStream) -> bool {
    match connection.try_read(&mut [0; 1]) {
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        Ok(_) => true,
    }
}

/// Sends an order with the program's standard streams beside its first byte.
async fn send(
    connection: &UnixStream,
    order: &Order,
    streams: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    let sent = connection
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            beside.push(SendAncillaryMessage::ScmRights(streams));
            let line = [IoSlice::new(&line)];
            Ok(sendmsg(
                connection.as_fd(),
                &line,
                &mut beside,
                SendFlags::NOSIGNAL,
            )?)
        })
        .await?;
    match sent == line.len() {
        true => Ok(()),
        // An order is far smaller than the buffer of a socket.
        false => Err(io::Error::other("it takes no whole order")),
    }
}
