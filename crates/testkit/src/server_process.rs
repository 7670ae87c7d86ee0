//! The process of a server that ends with the test, however the test ends, and its data with it.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};
use uuid::Uuid;

/// What a server writes to its output, in its directory.
pub(crate) const LOG: &str = "system.log";

/// Starts the server and waits for its standard input: a line names a signal for the server, the end of input (the
/// test is over, however it ended) kills it and removes all data.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
exec 3<&0
"$@" </dev/null >>"$LOG" 2>&1 &
server=$!
while read -r signal <&3; do
  kill -$signal $server
  if [ $signal = KILL ]; then wait $server; exit 0; fi
done
kill -KILL $server
wait $server
rm -rf "$DIRECTORY"
rmdir "$BASE"
"#;

/// A server that runs. Dropped, it ends and its directory is removed.
pub(crate) struct ServerProcess {
    shell: Child,
    stdin: Option<ChildStdin>,
}

impl ServerProcess {
    /// Starts a server that keeps everything in `directory`, which lies in `base` beside those of others.
    pub(crate) fn start(server: Command, directory: &Path, base: &Path) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "server"])
            .arg(server.get_program())
            .args(server.get_args());
        for (name, value) in server.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let mut shell = command
            .env("LOG", directory.join(LOG))
            .env("DIRECTORY", directory)
            .env("BASE", base)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(
                File::options()
                    .create(true)
                    .append(true)
                    .open(directory.join("script.log"))?,
            )
            .spawn()
            .context("cannot run a shell")?;
        let stdin = shell.stdin.take();
        Ok(Self { shell, stdin })
    }

    /// Kills the server as `kill -9` does. Its data stays.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.signal("KILL")?;
        self.shell.wait()?;
        Ok(())
    }

    /// Sends it a signal by name, such as `STOP` and `CONT`.
    pub(crate) fn signal(&mut self, name: &str) -> Result<()> {
        if let Some(stdin) = &mut self.stdin {
            writeln!(stdin, "{name}")?;
        }
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It cannot be helped.
        let _ = self.shell.wait();
    }
}

/// Addresses of loopback on which nobody uses these ports: so all servers of a cluster can have the same ones.
pub(crate) fn free_addresses(servers: u8, ports: &[u16]) -> Result<Vec<Ipv4Addr>> {
    for _ in 0..64 {
        let [x, y, ..] = Uuid::new_v4().into_bytes();
        let addresses: Vec<_> = (1..=servers)
            .map(|z| Ipv4Addr::new(127, x.clamp(1, 254), y.clamp(1, 254), z))
            .collect();
        let free = |address: &Ipv4Addr| {
            ports
                .iter()
                .all(|port| TcpListener::bind((*address, *port)).is_ok())
        };
        if addresses.iter().all(free) {
            return Ok(addresses);
        }
    }
    bail!("no free addresses on loopback")
}
