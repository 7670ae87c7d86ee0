//! A real RabbitMQ for tests, on loopback, in a mount and process namespace of its own. It runs
//! from a root file system with Debian's `rabbitmq-server`, or one of the official image, named by
//! `SIMBDP_RABBITMQ_ROOT`. Needs root, for the namespaces.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use simbdp_api::broker::BrokerType;
use simbdp_broker::admin::ManagementConnection;
use simbdp_broker::{Connection, Trust};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::certificates::Authority;

/// Names the root file system with RabbitMQ in it.
pub const ROOT_VARIABLE: &str = "SIMBDP_RABBITMQ_ROOT";
/// Where its server programs are: Debian's package, the official image.
const PROGRAMS: [&str; 2] = [
    "usr/lib/rabbitmq/bin/rabbitmq-server",
    "opt/rabbitmq/sbin/rabbitmq-server",
];
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// File with a server's key and certificate.
pub const SERVER: &str = "server.pem";
/// File with the certificate of its authority.
pub const AUTHORITY: &str = "authority.pem";
const ADMINISTRATOR: &str = "operator";
const PASSWORD: &str = "operator-password";

/// Runs in the new namespaces. It ends when its standard input does, which is when the test is over,
/// however it ended; everything else in the namespaces, and the data, end with it.
const SCRIPT: &str = r#"
mount --rbind /dev "$ROOT/dev"
mount --bind "$DATA" "$ROOT/var/lib/rabbitmq"
{ chroot "$ROOT" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/var/lib/rabbitmq LANG=C.UTF-8 \
  RABBITMQ_USE_LONGNAME=true RABBITMQ_NODENAME=rabbit@127.0.0.1 ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$EPMD_PORT" \
  RABBITMQ_DIST_PORT="$DIST_PORT" RABBITMQ_CONFIG_FILE=/var/lib/rabbitmq/rabbitmq.conf \
  RABBITMQ_ADVANCED_CONFIG_FILE=/var/lib/rabbitmq/advanced.config \
  RABBITMQ_MNESIA_BASE=/var/lib/rabbitmq/mnesia RABBITMQ_LOG_BASE=/var/lib/rabbitmq/log \
  RABBITMQ_ENABLED_PLUGINS_FILE=/var/lib/rabbitmq/enabled_plugins \
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+sbwt none +sbwtdcpu none +sbwtdio none" \
  "/$PROGRAM" </dev/null || true; : >"$DATA/ended"; } &
read -r _ || true
kill -KILL -1 || true
wait || true
rm -rf "$DATA"
"#;

/// A RabbitMQ server. It ends when it is dropped or when the process does, and its data too.
pub struct RabbitMq {
    root: PathBuf,
    data: TempDir,
    ports: Ports,
    /// Whose certificate it has: it speaks TLS alone then.
    authority: Option<String>,
    server: Option<Child>,
}

struct Ports {
    amqp: u16,
    management: u16,
    epmd: u16,
    distribution: u16,
}

impl Ports {
    /// Free now; held until all are known, so that they differ.
    fn free() -> Result<Self> {
        let listeners: Vec<TcpListener> = (0..4)
            .map(|_| TcpListener::bind(("127.0.0.1", 0)))
            .collect::<Result<_, _>>()?;
        let port = |n: usize| -> Result<u16> { Ok(listeners[n].local_addr()?.port()) };
        Ok(Self {
            amqp: port(0)?,
            management: port(1)?,
            epmd: port(2)?,
            distribution: port(3)?,
        })
    }
}

impl RabbitMq {
    /// Starts a server and waits until it answers.
    pub async fn start() -> Result<Self> {
        Self::start_at(None).await
    }

    /// The same, for clients that speak TLS.
    pub async fn start_with_tls(authority: &Authority) -> Result<Self> {
        Self::start_at(Some(authority)).await
    }

    async fn start_at(authority: Option<&Authority>) -> Result<Self> {
        let root = std::env::var_os(ROOT_VARIABLE).with_context(|| {
            format!("{ROOT_VARIABLE} is not set: it names a root file system with RabbitMQ, e.g. one made by debootstrap with the package rabbitmq-server")
        })?;
        let mut server = Self {
            root: PathBuf::from(root),
            data: tempfile::Builder::new().prefix("rabbitmq-").tempdir()?,
            ports: Ports::free()?,
            authority: authority.map(Authority::pem),
            server: None,
        };
        if let Some(authority) = authority {
            let pem = authority.server(&["127.0.0.1".to_owned()])?;
            fs::write(server.data.path().join(SERVER), pem)?;
            fs::write(server.data.path().join(AUTHORITY), authority.pem())?;
        }
        server.configure()?;
        server.run().await?;
        Ok(server)
    }

    /// Starts it again after [`RabbitMq::kill`], on the same ports with the same data.
    pub async fn run(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "the server already runs");
        let program = PROGRAMS
            .iter()
            .find(|program| self.root.join(program).exists())
            .with_context(|| format!("no rabbitmq-server below {}", self.root.display()))?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut mount_proc = std::ffi::OsString::from("--mount-proc=");
        mount_proc.push(self.root.join("proc"));
        let child = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child=KILL"])
            .arg(mount_proc)
            .args(["/bin/sh", "-ec", SCRIPT])
            .env("ROOT", &self.root)
            .env("DATA", self.data.path())
            .env("PROGRAM", program)
            .env("EPMD_PORT", self.ports.epmd.to_string())
            .env("DIST_PORT", self.ports.distribution.to_string())
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run unshare")?;
        self.server = Some(child);
        self.wait_until_it_answers().await
    }

    /// Kills it as `kill -9` does. What was confirmed is on its disk.
    pub async fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.server.take() else {
            bail!("the server does not run");
        };
        child.kill()?;
        child.wait()?;
        // The kernel ends what is left in the namespace by and by.
        while TcpStream::connect(("127.0.0.1", self.ports.amqp))
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Waits until a new quorum queue outlives a [`RabbitMq::kill`]. RabbitMQ answers a declaration
    /// before the queue's name is on disk (`names.dets`, saved after half a second without
    /// changes); a node killed in between finds the queue but not its log, and the queue stays
    /// without a leader until it is deleted.
    pub async fn until_registered(&self, vhost: &str, queue: &str) -> Result<()> {
        let name = format!("{vhost}_{queue}");
        // Erlang's external term: an atom is its length and its text.
        let mut atom = vec![u8::try_from(name.len())?];
        atom.extend(name.as_bytes());
        let quorum = "mnesia/rabbit@127.0.0.1/quorum/rabbit@127.0.0.1/names.dets";
        let names = self.data.path().join(quorum);
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            let bytes = fs::read(&names).unwrap_or_default();
            if bytes.windows(atom.len()).any(|window| window == atom) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("queue `{queue}` is not registered within {START_TIMEOUT:?}")
    }

    /// Where messages go, for this user.
    pub fn connection(&self, vhost: &str, username: &str, password: &str) -> Connection {
        Connection {
            broker: BrokerType::RabbitMQ,
            hosts: vec!["127.0.0.1".into()],
            port: self.ports.amqp,
            vhost: vhost.into(),
            username: username.into(),
            password: password.into(),
            max_queue_bytes: None,
            tls: self.trust(),
        }
    }

    /// The administrator's login.
    pub fn management(&self) -> ManagementConnection {
        let scheme = match self.authority {
            None => "http",
            Some(_) => "https",
        };
        ManagementConnection {
            url: format!("{scheme}://127.0.0.1:{}", self.ports.management),
            username: ADMINISTRATOR.into(),
            password: PASSWORD.into(),
            tls: self.trust(),
        }
    }

    fn trust(&self) -> Option<Trust> {
        let authority = self.authority.as_deref();
        authority.map(|pem| Trust::Bundle(pem.into()))
    }

    /// What the server wrote, for a failed test's message.
    pub fn log(&self) -> PathBuf {
        self.data.path().join("console.log")
    }

    fn configure(&self) -> Result<()> {
        let Ports {
            amqp, management, ..
        } = self.ports;
        let write = |name: &str, text: &str| fs::write(self.data.path().join(name), text);
        write("enabled_plugins", "[rabbitmq_management].\n")?;
        // How often queues count their messages for the management API; 5 s by default.
        write(
            "advanced.config",
            "[{rabbit, [{quorum_tick_interval, 250}]}].\n",
        )?;
        let listeners = match self.authority {
            None => format!(
                "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
                 management.tcp.ip = 127.0.0.1\n\
                 management.tcp.port = {management}\n"
            ),
            Some(_) => format!(
                "listeners.tcp = none\n\
                 listeners.ssl.1 = 127.0.0.1:{amqp}\n\
                 management.ssl.ip = 127.0.0.1\n\
                 management.ssl.port = {management}\n{}",
                encryption("/var/lib/rabbitmq")
            ),
        };
        write(
            "rabbitmq.conf",
            &format!(
                "{listeners}\
                 default_user = {ADMINISTRATOR}\n\
                 default_pass = {PASSWORD}\n\
                 loopback_users = none\n\
                 log.console = true\n\
                 log.file = false\n\
                 disk_free_limit.absolute = 50MB\n\
                 total_memory_available_override_value = 1GB\n\
                 message_interceptors.incoming.set_header_timestamp.overwrite = true\n"
            ),
        )?;
        Ok(())
    }

    async fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        let ManagementConnection {
            url,
            username,
            password,
            tls,
        } = self.management();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.unwrap_or(Trust::Public).client()?)
            .timeout(Duration::from_secs(5))
            .build()?;
        loop {
            let ended = match &mut self.server {
                Some(child) => {
                    child.try_wait()?.is_some() || self.data.path().join("ended").exists()
                }
                None => true,
            };
            ensure!(!ended, "RabbitMQ ended at once: {}", tail(&self.log()));
            // Management answers before messages are taken.
            let management = http
                .get(format!("{url}/api/whoami"))
                .basic_auth(&username, Some(&password))
                .send()
                .await
                .is_ok_and(|response| response.status().is_success());
            let amqp = ("127.0.0.1", self.ports.amqp);
            if management && TcpStream::connect(amqp).await.is_ok() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "RabbitMQ does not answer within {START_TIMEOUT:?}: {}",
                tail(&self.log())
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        if let Some(mut child) = self.server.take() {
            drop(child.stdin.take());
            // It cannot be helped, and the namespace ends anyway.
            let _ = child.wait();
        }
    }
}

/// What makes a rabbitmq.conf use the key and the certificate in the files [`SERVER`] and [`AUTHORITY`] of a directory.
pub fn encryption(directory: &str) -> String {
    ["ssl_options", "management.ssl"]
        .map(|of| {
            format!(
                "{of}.cacertfile = {directory}/{AUTHORITY}\n\
                 {of}.certfile = {directory}/{SERVER}\n\
                 {of}.keyfile = {directory}/{SERVER}\n"
            )
        })
        .concat()
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
