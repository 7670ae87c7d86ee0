//! Where a connection's address and login come from. Asked at every (re)connect, so that a rotated
//! password needs no restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;

use simbdp_api::broker::BrokerType;
use simbdp_tls::Trust;

use crate::Connection;

/// `type` of the binding of a Kafka.
pub const KAFKA: &str = "kafka";
/// The file with the most bytes of a queue.
pub const MAX_QUEUE_BYTES: &str = "max-queue-bytes";

/// Why address and login are not known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SourceError {
    /// A file of the binding cannot be read.
    #[error("the binding file {path} cannot be read: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The binding's port, or bound, is none.
    #[error("the binding file {path} holds no such number")]
    Number {
        /// The file.
        path: String,
    },
}

type Read = dyn Fn() -> BoxFuture<'static, Result<Connection, SourceError>> + Send + Sync;

/// Gives address and login, anew at each call.
#[derive(Clone)]
pub struct ConnectionSource(Arc<Read>);

impl ConnectionSource {
    /// From a function that is called at every (re)connect.
    pub fn new<F, R>(read: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Connection, SourceError>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(read())))
    }

    /// Always the same.
    pub fn fixed(connection: Connection) -> Self {
        Self::new(move || {
            let connection = connection.clone();
            async move { Ok(connection) }
        })
    }

    /// From a mounted Service Binding directory with the files `host`, which may name several joined by commas, `port`,
    /// `vhost`, `username` and `password`, read again at every (re)connect; with TLS also `tls`, which is `true`, and
    /// `ca.crt` where certificates are not of a public authority. `type` tells a Kafka from a RabbitMQ; a Kafka's has
    /// `max-queue-bytes`, too.
    pub fn binding(directory: impl Into<PathBuf>) -> Self {
        let directory = Arc::new(directory.into());
        Self::new(move || {
            let directory = directory.clone();
            async move { read_binding(&directory).await }
        })
    }

    /// Address and login as they are now.
    pub async fn read(&self) -> Result<Connection, SourceError> {
        (self.0)().await
    }
}

async fn read_binding(directory: &Path) -> Result<Connection, SourceError> {
    let broker = broker_type(directory)?;
    let port = number(directory, "port").await?;
    let (hosts, tls) = (
        read_entry(directory, "host").await?,
        optional(directory, "tls").await?,
    );
    Ok(Connection {
        broker,
        hosts: hosts
            .split(',')
            .map(|host| host.trim().to_owned())
            .collect(),
        port: u16::try_from(port).map_err(|_| not_a_number(directory, "port"))?,
        vhost: read_entry(directory, "vhost").await?,
        username: read_entry(directory, "username").await?,
        password: read_entry(directory, "password").await?,
        max_queue_bytes: match broker {
            BrokerType::RabbitMQ => None,
            BrokerType::Kafka => Some(number(directory, MAX_QUEUE_BYTES).await?),
        },
        tls: Trust::of_binding(tls.as_deref(), optional(directory, "ca.crt").await?),
    })
}

/// Which kind of broker a mounted Service Binding directory is of.
pub fn broker_type(directory: &Path) -> Result<BrokerType, SourceError> {
    let path = directory.join("type");
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim() == KAFKA => Ok(BrokerType::Kafka),
        Ok(_) => Ok(BrokerType::RabbitMQ),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

async fn number(directory: &Path, name: &str) -> Result<u64, SourceError> {
    let text = read_entry(directory, name).await?;
    text.parse().map_err(|_| not_a_number(directory, name))
}

async fn read_entry(directory: &Path, name: &str) -> Result<String, SourceError> {
    let missing = io::Error::from(io::ErrorKind::NotFound);
    optional(directory, name)
        .await?
        .ok_or_else(|| unreadable(&directory.join(name), &missing))
}

async fn optional(directory: &Path, name: &str) -> Result<Option<String>, SourceError> {
    let path = directory.join(name);
    match tokio::fs::read_to_string(&path).await {
        Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> SourceError {
    SourceError::File {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}

fn not_a_number(directory: &Path, name: &str) -> SourceError {
    SourceError::Number {
        path: directory.join(name).display().to_string(),
    }
}
