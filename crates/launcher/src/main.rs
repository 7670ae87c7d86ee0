//! `simbdp-launcher SOCKET SCRATCH PROGRAM [ARGUMENT...]`: serves the runner that listens at SOCKET.

use std::process::ExitCode;

use simbdp_launcher::serve::Launcher;

const USAGE: &str = "usage: simbdp-launcher SOCKET SCRATCH PROGRAM [ARGUMENT...]
Starts PROGRAM whenever the runner that listens at SOCKET says so. SCRATCH is emptied after each run.";

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let _name = arguments.next();
    let (Some(socket), Some(scratch)) = (arguments.next(), arguments.next()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let command: Vec<String> = arguments.collect();
    if command.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let launcher = Launcher {
        socket: socket.into(),
        scratch: Some(scratch.into()),
        command,
        // The first process of a container alone may end whatever else runs there.
        sole: std::process::id() == 1,
    };
    launcher.serve();
    ExitCode::SUCCESS
}
