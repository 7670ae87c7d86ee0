//! Running `simbdp`.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::fake::{Fake, TOKEN};

/// Longest time that a run takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// The program without anything of this environment that it would listen to.
pub fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simbdp"));
    for variable in [
        "SERVER",
        "TENANT",
        "USER",
        "TOKEN",
        "TOKEN_FILE",
        "PASSWORD",
        "PASSWORD_FILE",
        "OUTPUT",
        "LOG",
    ] {
        command.env_remove(format!("SIMBDP_{variable}"));
    }
    command
        .env("KUBECONFIG", "/nonexistent")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The program on a gateway, with its token.
pub fn simbdp(gateway: &Fake, args: &[&str]) -> Command {
    let mut command = bare(args);
    command
        .env("SIMBDP_SERVER", &gateway.url)
        .env("SIMBDP_TOKEN", TOKEN);
    command
}

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Standard output, which is one JSON value and nothing else.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

pub async fn run(mut command: Command) -> Ran {
    end(command.spawn().unwrap()).await
}

/// Waits for the end of a run.
pub async fn end(child: Child) -> Ran {
    let output: Output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .expect("it ends")
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ran {
        code: output.status.code().unwrap_or_else(|| panic!("{output:?}")),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}
