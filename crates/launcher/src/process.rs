//! One run: the program is started in a process group of its own, waited for, and whatever it left
//! behind is ended.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, wait as wait_any, waitid,
};

use crate::wire::Exit;

/// What is started.
pub struct Program<'a> {
    /// Program and arguments; not empty.
    pub command: &'a [String],
    /// Arguments after those.
    pub arguments: &'a [String],
    /// Variables beside those of this process.
    pub environment: &'a BTreeMap<String, String>,
}

/// Its standard input, output and error.
pub struct Streams([OwnedFd; 3]);

impl Streams {
    /// The three descriptors that came with an order.
    pub fn of(descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let three = <[OwnedFd; 3]>::try_from(descriptors);
        three.map(Self).map_err(|other| {
            io::Error::other(format!("{} streams came instead of three", other.len()))
        })
    }
}

impl Program<'_> {
    /// Starts it, in a process group of its own.
    pub fn start(&self, Streams([input, output, error]): Streams) -> io::Result<Child> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(io::Error::other("there is no program"));
        };
        Command::new(program)
            .args(arguments)
            .args(self.arguments)
            .envs(self.environment)
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(error))
            .process_group(0)
            .spawn()
    }
}

/// Waits until the program has ended, then ends what it left behind: as the only other one here every process,
/// else its process group. `ended` is called before its id may be another one's.
pub fn wait(mut child: Child, sole: bool, ended: impl FnOnce()) -> io::Result<ExitStatus> {
    let group = Pid::from_child(&child);
    if sole {
        let status = reap_until(group)?;
        ended();
        // -1: everything but this process, also what left the group.
        let _ = kill_process_group(Pid::INIT, Signal::KILL);
        reap_all();
        return Ok(status);
    }
    // Looked at first and reaped last: until then no other process can have its id.
    while let Err(error) = waitid(
        WaitId::Pid(group),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    ) {
        if error != Errno::INTR {
            return Err(error.into());
        }
    }
    let _ = kill_process_group(group, Signal::KILL);
    ended();
    child.wait()
}

/// Reaps orphans, as a first process must, until the program itself has ended.
fn reap_until(program: Pid) -> io::Result<ExitStatus> {
    loop {
        match wait_any(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == program => {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn reap_all() {
    while matches!(wait_any(WaitOptions::empty()), Ok(_) | Err(Errno::INTR)) {}
}

/// How it ended, for the runner.
pub fn exit(status: ExitStatus, out_of_memory: bool) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal {
            number: signal.unwrap_or_default(),
            out_of_memory,
        },
    }
}

/// Empties a directory.
pub fn empty(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(&path),
            _ => std::fs::remove_file(&path),
        };
        if let Err(error) = removed {
            eprintln!("simbdp-launcher: {} stays: {error}", path.display());
        }
    }
}

/// Processes of this container that the kernel has ended for want of memory, where it tells: cgroup v2, then v1
/// (<https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files>).
pub fn out_of_memory_kills() -> u64 {
    let files = [
        "/sys/fs/cgroup/memory.events",
        "/sys/fs/cgroup/memory/memory.oom_control",
    ];
    files.iter().find_map(|file| kills_of(file)).unwrap_or(0)
}

fn kills_of(file: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?
        .trim()
        .parse()
        .ok()
}
