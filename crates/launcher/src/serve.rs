//! The connection to the runner: made, used for one run, made again.

use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::process::{self, Program, Streams};
use crate::wire::{LONGEST, Order, Report, Wish};

/// How often the runner is looked for.
const AGAIN: Duration = Duration::from_millis(100);

/// What is started, and for whom.
pub struct Launcher {
    /// Where the runner listens.
    pub socket: PathBuf,
    /// Directory that is emptied after each run; none is when absent.
    pub scratch: Option<PathBuf>,
    /// Program and arguments; not empty.
    pub command: Vec<String>,
    /// Whether every other process here is the program's: then all of them end with a run.
    pub sole: bool,
}

/// The process group of the run that goes on.
type Group = Arc<Mutex<Option<Pid>>>;

impl Launcher {
    /// Serves one run after the other until the runner says that there will be none.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one thread of a program without a runtime"
    )]
    pub fn serve(&self) {
        loop {
            let Ok(connection) = UnixStream::connect(&self.socket) else {
                // The runner's container starts, or starts again.
                thread::sleep(AGAIN);
                continue;
            };
            match self.serve_one(connection) {
                Ok(true) => {}
                Ok(false) => return,
                // Not too often, when it fails each time.
                Err(error) => {
                    eprintln!("simbdp-launcher: the runner is lost: {error}");
                    thread::sleep(AGAIN);
                }
            }
        }
    }

    /// False when there will be no more runs.
    fn serve_one(&self, mut connection: UnixStream) -> io::Result<bool> {
        let Some((order, descriptors)) = receive(&connection)? else {
            return Ok(true);
        };
        let Order::Run {
            arguments,
            environment,
        } = order
        else {
            return Ok(false);
        };
        let program = Program {
            command: &self.command,
            arguments: &arguments,
            environment: &environment,
        };
        let child = match Streams::of(descriptors).and_then(|streams| program.start(streams)) {
            Ok(child) => child,
            Err(error) => {
                let reason = format!("`{}`: {error}", self.command.join(" "));
                say(&mut connection, &Report::NotStarted(reason))?;
                return Ok(true);
            }
        };
        let kills = process::out_of_memory_kills();
        let group = Group::new(Mutex::new(Some(Pid::from_child(&child))));
        let wishes = listen(connection.try_clone()?, Arc::clone(&group));
        // When the runner is gone, its silence ends the run.
        let _ = say(&mut connection, &Report::Started);
        let status = process::wait(child, self.sole, || {
            *group.lock().unwrap_or_else(PoisonError::into_inner) = None;
        });
        if let Some(scratch) = &self.scratch {
            process::empty(scratch);
        }
        let exit = process::exit(status?, process::out_of_memory_kills() > kills);
        let told = say(&mut connection, &Report::Ended(exit));
        let _ = connection.shutdown(std::net::Shutdown::Both);
        let _ = wishes.join();
        told.map(|()| true)
    }
}

/// Does what the runner wishes of a run; its silence is the wish to end it at once.
fn listen(connection: UnixStream, group: Group) -> thread::JoinHandle<()> {
    let signal = move |signal: Signal| {
        let group = group.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = *group {
            // It may have ended just now.
            let _ = kill_process_group(group, signal);
        }
    };
    thread::spawn(move || {
        let mut lines = Lines::new(connection);
        while let Ok(Some(line)) = lines.next() {
            match serde_json::from_slice(&line) {
                Ok(Wish::Terminate) => signal(Signal::TERM),
                Err(_) => break,
            }
        }
        signal(Signal::KILL);
    })
}

fn say(connection: &mut UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    connection.write_all(&line)
}

/// The order, and what came beside it; [`None`] when the runner has left.
fn receive(connection: &UnixStream) -> io::Result<Option<(Order, Vec<OwnedFd>)>> {
    let mut line = Vec::new();
    let mut descriptors = Vec::new();
    let mut chunk = vec![0; LONGEST];
    while !line.ends_with(b"\n") {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            connection,
            &mut [IoSliceMut::new(&mut chunk)],
            &mut beside,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        line.extend_from_slice(&chunk[..received.bytes]);
        if line.len() > LONGEST {
            return Err(io::Error::other("an order of more than 64 KiB"));
        }
    }
    Ok(Some((serde_json::from_slice(&line)?, descriptors)))
}

/// Lines of a bounded length.
struct Lines {
    connection: UnixStream,
    buffer: Vec<u8>,
}

impl Lines {
    fn new(connection: UnixStream) -> Self {
        Self {
            connection,
            buffer: Vec::new(),
        }
    }

    /// The next line; [`None`] at the end.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = [0; 512];
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            if self.buffer.len() > LONGEST {
                return Err(io::Error::other("a line of more than 64 KiB"));
            }
            match self.connection.read(&mut chunk)? {
                0 => return Ok(None),
                read => self.buffer.extend_from_slice(&chunk[..read]),
            }
        }
    }
}
