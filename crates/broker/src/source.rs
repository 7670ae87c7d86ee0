//! Where a connection's address and login come from. Asked at every (re)connect, so that a rotated
//! password needs no restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::Connection;

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
    /// The binding's port is no port.
    #[error("the binding file {path} holds no port number")]
    Port {
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

    /// From a mounted Service Binding directory with the files `host`, `port`, `vhost`, `username`
    /// and `password`, read again at every (re)connect.
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
    let port = read_entry(directory, "port").await?;
    Ok(Connection {
        host: read_entry(directory, "host").await?,
        port: port.parse().map_err(|_| SourceError::Port {
            path: directory.join("port").display().to_string(),
        })?,
        vhost: read_entry(directory, "vhost").await?,
        username: read_entry(directory, "username").await?,
        password: read_entry(directory, "password").await?,
    })
}

async fn read_entry(directory: &Path, name: &str) -> Result<String, SourceError> {
    let path = directory.join(name);
    match tokio::fs::read_to_string(&path).await {
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => Err(SourceError::File {
            path: path.display().to_string(),
            reason: error.to_string(),
        }),
    }
}
