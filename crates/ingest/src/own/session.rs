//! A program that runs on: messages go in as they come, answers come out in any order. It is started when there is a
//! message, and again after its end when there is another one.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use simbdp_launcher::wire::Order;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::guarded;
use super::launchers::Launchers;
use super::logs::{Logs, printable};
use super::output::{Flood, Line, Lines, log};
use super::protocol::{Answer, answer};
use super::run::{Run, Stdin, Stop, until_gone};
use super::{pause, pauses};
use crate::shutdown::{Shutdown, Stopping};

/// Bytes that wait for the program to read them.
const WAITING: usize = 256 << 10;
/// Requests that wait for their turn.
const QUEUED: usize = 16;

/// How long a program may take to end after the end of its input.
const LEAVE: Duration = Duration::from_secs(5);

/// What became of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// The program answered.
    Answered(Answer),
    /// Another message with this id is with the program just now.
    Busy,
    /// The program failed with it.
    Failed {
        /// How.
        reason: String,
        /// Whether it had no other message.
        alone: bool,
    },
    /// The runner stops.
    Stopped,
}

struct Request {
    id: String,
    line: Bytes,
    reply: oneshot::Sender<Reply>,
}

/// Hands messages to the program.
#[derive(Clone)]
pub struct Session {
    requests: mpsc::Sender<Request>,
}

/// Keeps the program.
pub struct Driver {
    requests: mpsc::Receiver<Request>,
    /// What starts it.
    launchers: Arc<Launchers>,
    limits: Limits,
    about: String,
    shutdown: Shutdown,
}

/// Bounds of a program that runs on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time that it has for the oldest message, counted since that is the oldest.
    pub timeout: Duration,
    /// Most bytes of an answer.
    pub answer: usize,
}

/// A session with the program, and what must be run beside it.
pub fn session(
    launchers: Arc<Launchers>,
    limits: Limits,
    about: String,
    shutdown: Shutdown,
) -> (Session, Driver) {
    let (sender, requests) = mpsc::channel(QUEUED);
    let driver = Driver {
        requests,
        launchers,
        limits,
        about,
        shutdown,
    };
    (Session { requests: sender }, driver)
}

impl Session {
    /// Gives a message to the program and waits for what becomes of it.
    pub async fn ask(&self, id: String, line: Bytes) -> Reply {
        let (reply, answered) = oneshot::channel();
        let request = Request { id, line, reply };
        if self.requests.send(request).await.is_err() {
            return Reply::Stopped;
        }
        answered.await.unwrap_or(Reply::Stopped)
    }
}

impl Driver {
    /// Runs until no session is left, or the runner's time is over. Then the program may end in order.
    pub async fn run(mut self) {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.expired() => {}
            () = self.serve() => {}
        }
    }

    async fn serve(&mut self) {
        while let Some(first) = self.requests.recv().await {
            let Ok(run) = self.start().await else { return };
            self.converse(run, first).await;
        }
    }

    /// Starts the program, as often as it takes: no message is to blame when it does not start.
    async fn start(&self) -> Result<Run, Stopping> {
        let order = Order::Run {
            arguments: Vec::new(),
            environment: Default::default(),
        };
        let mut pauses = pauses();
        loop {
            match self.launchers.start(&order, Stdin::Piped).await {
                Ok(run) => return Ok(run),
                Err(error) => {
                    tracing::warn!(%error, "the app does not start");
                }
            }
            pause(&mut pauses, &self.shutdown).await?;
        }
    }

    async fn converse(&mut self, mut run: Run, first: Request) {
        let (stop, gone) = (Stop::default(), CancellationToken::new());
        let logs = Logs::new(self.about.clone());
        let mut talk = Talk {
            requests: &mut self.requests,
            input: run.input,
            output: Lines::new(run.output, self.limits.answer),
            limits: self.limits,
            pending: Pending::default(),
            unread: BytesMut::new(),
            stop: &stop,
            gone: &gone,
        };
        talk.take(first);
        let (ended, (), _) = tokio::join!(
            run.control.supervise(&stop, &gone),
            talk.go_on(),
            guarded(log(run.error, "stderr", &logs, Flood::Waits, &gone), &stop),
        );
        let last_lines = logs.last_lines();
        let how = match stop.reason() {
            Some(reason) => reason.clone(),
            None => ended.to_string(),
        };
        tracing::info!(
            how,
            unanswered = talk.pending.replies.len(),
            "the app ended"
        );
        talk.pending.fail(&format!("the app {how}; {last_lines}"));
    }
}

/// Messages that the program has, in the order in which it got them.
#[derive(Default)]
struct Pending {
    replies: HashMap<String, oneshot::Sender<Reply>>,
    order: VecDeque<String>,
    /// Since when the first of them is the oldest.
    since: Option<Instant>,
}

impl Pending {
    fn add(&mut self, id: String, reply: oneshot::Sender<Reply>) {
        self.since.get_or_insert_with(Instant::now);
        self.order.push_back(id.clone());
        self.replies.insert(id, reply);
    }

    /// False for an id that the program has not got.
    fn answered(&mut self, id: &str, answer: Answer) -> bool {
        let Some(reply) = self.replies.remove(id) else {
            return false;
        };
        // Who asked may have stopped.
        let _ = reply.send(Reply::Answered(answer));
        let oldest = self.order.front().cloned();
        while self
            .order
            .front()
            .is_some_and(|id| !self.replies.contains_key(id))
        {
            self.order.pop_front();
        }
        if self.order.front() != oldest.as_ref() {
            self.since = (!self.order.is_empty()).then(Instant::now);
        }
        true
    }

    fn fail(&mut self, reason: &str) {
        let alone = self.replies.len() == 1;
        for (_, reply) in self.replies.drain() {
            let reason = reason.to_owned();
            let _ = reply.send(Reply::Failed { reason, alone });
        }
    }
}

/// What goes in and comes out, while the program runs.
struct Talk<'a> {
    requests: &'a mut mpsc::Receiver<Request>,
    input: Option<pipe::Sender>,
    output: Lines<pipe::Receiver>,
    limits: Limits,
    pending: Pending,
    /// What it has not read yet.
    unread: BytesMut,
    stop: &'a Stop,
    gone: &'a CancellationToken,
}

/// What happens next.
enum Next {
    Printed(Option<io::Result<Option<Line>>>),
    Wrote(io::Result<usize>),
    Asked(Option<Request>),
    Late,
}

impl Talk<'_> {
    /// Goes on until the program prints nothing more, or must end.
    async fn go_on(&mut self) {
        let mut open = true;
        loop {
            match self.next(open).await {
                Next::Printed(Some(Ok(Some(line)))) => {
                    if let Err(reason) = self.answer(&line) {
                        return self.stop.because(reason);
                    }
                }
                // It has closed its standard output: it ends, or will never answer.
                Next::Printed(_) => return self.closed().await,
                Next::Wrote(Ok(written)) => self.unread.advance(written),
                // It reads no more, but may still answer.
                Next::Wrote(Err(_)) => {
                    self.input = None;
                    self.unread.clear();
                }
                Next::Asked(Some(request)) => self.take(request),
                Next::Asked(None) => open = false,
                Next::Late => {
                    let seconds = self.limits.timeout.as_secs();
                    return self.stop.because(format!(
                        "did not answer within {seconds} s (app.timeoutSeconds)"
                    ));
                }
            }
            if !open && self.unread.is_empty() && self.pending.replies.is_empty() {
                return self.leave().await;
            }
        }
    }

    async fn next(&mut self, open: bool) -> Next {
        let deadline = self.pending.since.map(|since| since + self.limits.timeout);
        let late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let (input, unread) = (&mut self.input, &self.unread);
        let write = async {
            match input {
                Some(input) if !unread.is_empty() => input.write(unread).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            line = until_gone(self.gone, self.output.next()) => Next::Printed(line),
            written = write => Next::Wrote(written),
            () = late => Next::Late,
            request = self.requests.recv(), if open && unread.len() < WAITING => Next::Asked(request),
        }
    }

    fn take(&mut self, request: Request) {
        if self.pending.replies.contains_key(&request.id) {
            let _ = request.reply.send(Reply::Busy);
            return;
        }
        if self.input.is_some() {
            self.unread.extend_from_slice(&request.line);
        }
        self.pending.add(request.id, request.reply);
    }

    fn answer(&mut self, line: &Line) -> Result<(), String> {
        if line.is_cut {
            let most = self.limits.answer;
            return Err(format!("printed a line of more than {most} bytes"));
        }
        if line.bytes.trim_ascii().is_empty() {
            return Ok(());
        }
        let (id, answer) = answer(&line.bytes)?;
        match self.pending.answered(&id, answer) {
            true => Ok(()),
            false => Err(format!(
                "printed `{}`, which is no id of a message that it was given and has not answered",
                printable(id.as_bytes())
                    .chars()
                    .take(200)
                    .collect::<String>()
            )),
        }
    }

    /// The end of its input is the program's sign to end.
    async fn leave(&mut self) {
        self.input = None;
        if tokio::time::timeout(LEAVE, self.gone.cancelled())
            .await
            .is_err()
        {
            self.stop.quietly();
        }
    }

    /// Gives the program the time that the oldest message has to end by itself.
    async fn closed(&mut self) {
        self.input = None;
        if tokio::time::timeout(self.limits.timeout, self.gone.cancelled())
            .await
            .is_err()
        {
            let seconds = self.limits.timeout.as_secs();
            self.stop.because(format!(
                "closed its standard output, and did not end within {seconds} s"
            ));
        }
    }
}
