//! A real MongoDB for tests: one member of a replica set, or three, on loopback addresses of their own. They know a
//! keyfile and nothing else: the set is initiated by who is tested. The program is found in the root file system of
//! an image, or in a directory with `bin/mongod`, named by `SIMBDP_MONGODB_ROOT`.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::certificates::Authority;
use crate::server_process::{LOG, ServerProcess, free_addresses};

/// Names the installation.
pub const ROOT_VARIABLE: &str = "SIMBDP_MONGODB_ROOT";
/// Name of the replica set that members are started for.
pub const REPLICA_SET: &str = "tests";
/// Port of every member.
pub const PORT: u16 = 27_017;

/// Elections that tests can wait for. Elsewhere it is 10 s.
pub const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// Elsewhere it is 2 s.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// Files of a member that speaks TLS: its own key and certificate, and the authority's.
const CERTIFICATE: &str = "certificate.pem";
const AUTHORITY: &str = "authority.pem";

const PROGRAMS: [&str; 2] = ["usr/bin/mongod", "bin/mongod"];
/// The loader of an image's own libraries, and where they are.
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
const START_TIMEOUT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);
/// Bytes of a log's end that are shown.
const SHOWN: usize = 3_000;

/// For tests only: small, quick to start and to stop, and quick to remove rows whose life is over.
const FAST: [&str; 12] = [
    "--wiredTigerCacheSizeGB",
    "0.25",
    "--wiredTigerEngineConfigString",
    "log=(file_max=4MB,prealloc=false)",
    "--oplogSize",
    "64",
    "--setParameter",
    "shutdownTimeoutMillisForSignaledShutdown=500",
    "--setParameter",
    "diagnosticDataCollectionEnabled=false",
    "--setParameter",
    "ttlMonitorSleepSecs=1",
];

/// Members of a replica set. They end when it is dropped or when the process does, and their data too.
pub struct MongoDb {
    root: PathBuf,
    base: TempDir,
    keyfile: String,
    members: Vec<Member>,
}

struct Member {
    address: Ipv4Addr,
    directory: PathBuf,
    server: Option<ServerProcess>,
    tls: bool,
}

impl MongoDb {
    /// Starts members, and waits until every one listens. None of them has a configuration yet.
    pub async fn start(members: u8) -> Result<Self> {
        ensure!((1..=7).contains(&members), "1 to 7 members, not {members}");
        let root = std::env::var_os(ROOT_VARIABLE).with_context(|| {
            format!("{ROOT_VARIABLE} is not set: it names a directory with bin/mongod, or the root file system that deploy/local/unpack.sh mongodb leaves")
        })?;
        let base = tempfile::Builder::new().prefix("mongodb-").tempdir()?;
        let mut set = Self {
            root: PathBuf::from(root).canonicalize()?,
            // Base 64, as the server demands.
            keyfile: format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()),
            members: free_addresses(members, &[PORT])?
                .into_iter()
                .map(|address| Member {
                    directory: base.path().join(address.to_string()),
                    address,
                    server: None,
                    tls: false,
                })
                .collect(),
            base,
        };
        for member in 0..set.members.len() {
            set.launch(member)?;
        }
        for member in 0..set.members.len() {
            set.wait(member).await?;
        }
        Ok(set)
    }

    /// `address:port` of every member.
    pub fn endpoints(&self) -> Vec<String> {
        self.members
            .iter()
            .map(|member| format!("{}:{PORT}", member.address))
            .collect()
    }

    /// Text of the members' keyfile.
    pub fn keyfile(&self) -> &str {
        &self.keyfile
    }

    /// Stops a member as `kill -STOP` does, or lets it go on: its connections stay, and nothing answers.
    pub fn hang(&mut self, member: usize, hangs: bool) -> Result<()> {
        match &mut self.members[member].server {
            Some(server) => server.signal(if hangs { "STOP" } else { "CONT" }),
            None => bail!("member {member} does not run"),
        }
    }

    /// Kills a member as `kill -9` does. Its data stays.
    pub fn kill(&mut self, member: usize) -> Result<()> {
        match self.members[member].server.take() {
            Some(server) => server.kill(),
            None => bail!("member {member} does not run"),
        }
    }

    /// Removes the data of a member that does not run, as when its volume is lost.
    pub fn wipe(&self, member: usize) -> Result<()> {
        let Member {
            server, directory, ..
        } = &self.members[member];
        ensure!(server.is_none(), "member {member} runs");
        fs::remove_dir_all(directory)?;
        Ok(())
    }

    /// Gives a member that does not run another address, with the data that it has: it does not find itself in the
    /// configuration then. Returns the address that it had.
    pub fn readdress(&mut self, member: usize, address: Option<Ipv4Addr>) -> Result<Ipv4Addr> {
        let other = match address {
            Some(address) => address,
            None => free_addresses(1, &[PORT])?[0],
        };
        let member = &mut self.members[member];
        ensure!(member.server.is_none(), "the member runs");
        Ok(std::mem::replace(&mut member.address, other))
    }

    /// Starts a member again after [`MongoDb::kill`], on its address with what data it has, and waits for it.
    pub async fn run(&mut self, member: usize) -> Result<()> {
        ensure!(
            self.members[member].server.is_none(),
            "member {member} already runs"
        );
        self.launch(member)?;
        self.wait(member).await
    }

    /// Starts a member again after [`MongoDb::kill`], such that it speaks TLS alone, with a certificate for these names.
    pub async fn run_with_tls(
        &mut self,
        member: usize,
        authority: &Authority,
        names: &[String],
    ) -> Result<()> {
        let directory = &self.members[member].directory;
        fs::write(directory.join(CERTIFICATE), authority.server(names)?)?;
        fs::write(directory.join(AUTHORITY), authority.pem())?;
        self.members[member].tls = true;
        self.run(member).await
    }

    fn launch(&mut self, member: usize) -> Result<()> {
        let mut command = program(&self.root)?;
        let Member {
            address,
            directory,
            server,
            tls,
        } = &mut self.members[member];
        let (data, keyfile) = (directory.join("data"), directory.join("keyfile"));
        fs::create_dir_all(&data)?;
        // Whether it gives up is read from what it says from now on.
        let log = directory.join(LOG);
        if log.exists() {
            fs::rename(&log, log.with_extension("before.log"))?;
        }
        if !keyfile.exists() {
            fs::write(&keyfile, &self.keyfile)?;
            fs::set_permissions(&keyfile, Permissions::from_mode(0o400))?;
        }
        command
            .arg("--dbpath")
            .arg(data)
            .arg("--keyFile")
            .arg(keyfile)
            .args(["--replSet", REPLICA_SET, "--nounixsocket"])
            .args(["--bind_ip", &address.to_string()])
            .args(["--port", &PORT.to_string()])
            .args(FAST)
            .env("GLIBC_TUNABLES", "glibc.malloc.arena_max=2");
        if *tls {
            command
                .args(["--tlsMode", "requireTLS"])
                .arg("--tlsAllowConnectionsWithoutCertificates")
                .arg("--tlsCertificateKeyFile")
                .arg(directory.join(CERTIFICATE))
                .arg("--tlsCAFile")
                .arg(directory.join(AUTHORITY));
        }
        *server = Some(ServerProcess::start(command, directory, self.base.path())?);
        Ok(())
    }

    async fn wait(&mut self, member: usize) -> Result<()> {
        let address = SocketAddr::from((self.members[member].address, PORT));
        let log = self.members[member].directory.join(LOG);
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).await.is_err() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let gave_up = said.contains("Shutting down") || said.contains("error while loading");
            if gave_up || Instant::now() > deadline {
                self.members[member].server = None;
                let end = said.len().saturating_sub(SHOWN);
                let end = (end..=said.len()).find(|at| said.is_char_boundary(*at));
                bail!(
                    "member {member} does not listen; its log ends:\n{}",
                    &said[end.unwrap_or(said.len())..]
                );
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// The server's program: with an image's own libraries where there are any.
fn program(root: &Path) -> Result<Command> {
    let program = PROGRAMS
        .iter()
        .map(|program| root.join(program))
        .find(|program| program.exists())
        .with_context(|| {
            format!(
                "{ROOT_VARIABLE} is {}, and there is neither of {}",
                root.display(),
                PROGRAMS.join(" and ")
            )
        })?;
    let loader = root.join(LOADER);
    if !loader.exists() {
        return Ok(Command::new(program));
    }
    let libraries = LIBRARIES.map(|path| root.join(path).display().to_string());
    let mut command = Command::new(loader);
    command
        .arg("--library-path")
        .arg(libraries.join(":"))
        .arg(program);
    Ok(command)
}
