//! Runs of real processes, with a runner that is played by the test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tempfile::TempDir;

use crate::serve::Launcher;
use crate::wire::{Exit, Order, Report};

/// A launcher of `sh -c SCRIPT sh`, and the runner that it serves.
struct Pair {
    directory: TempDir,
    listener: UnixListener,
    launcher: Option<JoinHandle<()>>,
}

impl Pair {
    fn new(command: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let scratch = directory.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let launcher = Launcher {
            socket: directory.path().join("socket"),
            scratch: Some(scratch),
            command: command.iter().map(ToString::to_string).collect(),
            sole: false,
        };
        Self {
            directory,
            listener,
            launcher: Some(std::thread::spawn(move || launcher.serve())),
        }
    }

    fn script(script: &str) -> Self {
        Self::new(&["sh", "-c", script, "sh"])
    }

    fn run(&self, argument: &str) -> Run {
        let connection = self.listener.accept().unwrap().0;
        let (output, its_output) = std::io::pipe().unwrap();
        let order = Order::Run {
            arguments: vec![argument.to_owned()],
            environment: BTreeMap::from([("COLOUR".to_owned(), "green".to_owned())]),
        };
        let mut line = serde_json::to_vec(&order).unwrap();
        line.push(b'\n');
        let null = std::fs::File::open("/dev/null").unwrap();
        let descriptors = [null.as_fd(), its_output.as_fd(), its_output.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        assert!(beside.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let sent = sendmsg(
            &connection,
            &[IoSlice::new(&line)],
            &mut beside,
            SendFlags::empty(),
        );
        assert_eq!(sent.unwrap(), line.len());
        Run {
            reports: BufReader::new(connection),
            output: BufReader::new(output),
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let mut connection = self.listener.accept().unwrap().0;
        connection.write_all(b"\"quit\"\n").unwrap();
        self.launcher.take().unwrap().join().unwrap();
    }
}

struct Run {
    reports: BufReader<UnixStream>,
    output: BufReader<std::io::PipeReader>,
}

impl Run {
    fn report(&mut self) -> Report {
        let mut line = String::new();
        self.reports.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
    /// What comes until nobody has the stream any more.
    fn rest(&mut self) -> String {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        text
    }
}

#[test]
fn one_run_after_the_other_with_arguments_variables_and_an_empty_scratch_directory() {
    let pair = Pair::script("echo $1 $COLOUR; exit 3");
    let left = pair.directory.path().join("scratch/of the run before");
    for argument in ["a", "b"] {
        std::fs::create_dir(&left).unwrap();
        let mut run = pair.run(argument);
        assert_eq!(run.report(), Report::Started);
        assert_eq!(run.report(), Report::Ended(Exit::Code(3)));
        assert_eq!(run.rest(), format!("{argument} green\n"));
        assert!(!left.exists());
    }
}

#[test]
fn what_cannot_be_started_is_told() {
    let pair = Pair::new(&["/nonexistent/program", "--flag"]);
    for _ in 0..2 {
        match pair.run("a").report() {
            Report::NotStarted(reason) => {
                assert!(reason.contains("/nonexistent/program --flag"), "{reason}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_program_may_end_in_order_when_it_is_asked_to() {
    let pair = Pair::script("trap 'echo bye; exit 0' TERM; echo up; sleep 1000 & wait");
    let mut run = pair.run("a");
    assert_eq!(run.report(), Report::Started);
    assert_eq!(run.line(), "up");
    run.reports.get_mut().write_all(b"\"terminate\"\n").unwrap();
    assert_eq!(run.report(), Report::Ended(Exit::Code(0)));
    assert!(run.rest().ends_with("bye\n"));
}

#[test]
fn the_end_of_the_connection_ends_program_and_children_that_ignore_signals() {
    let pair = Pair::script("trap '' TERM; (trap '' TERM; echo child; sleep 1000) & wait");
    let mut run = pair.run("a");
    assert_eq!(run.report(), Report::Started);
    assert_eq!(run.line(), "child");
    run.reports
        .get_ref()
        .shutdown(std::net::Shutdown::Both)
        .unwrap();
    assert_eq!(run.rest(), "", "nobody has its output any more");
}

#[test]
fn what_a_program_leaves_behind_is_ended_with_it() {
    let pair = Pair::script("sleep 1000 & echo up");
    let mut run = pair.run("a");
    assert_eq!(run.report(), Report::Started);
    assert_eq!(run.rest(), "up\n", "the sleeping child has the stream too");
    assert_eq!(run.report(), Report::Ended(Exit::Code(0)));
}

#[test]
fn a_signal_is_told_by_its_number() {
    let pair = Pair::script("kill -9 $$");
    let mut run = pair.run("a");
    assert_eq!(run.report(), Report::Started);
    match run.report() {
        Report::Ended(Exit::Signal { number: 9, .. }) => {}
        other => panic!("{other:?}"),
    }
}
