//! Opens AMQP connections.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use lapin::ConnectionProperties;
use lapin::runtime::default_runtime;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use tokio::time::timeout;

use crate::source::SourceError;
use crate::{Connection, ConnectionSource};

/// How a connection is made and kept.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// Name of the connection in the broker's lists.
    pub name: String,
    /// Longest time for a connection to be made, login included.
    pub connect_timeout: Duration,
    /// A connection without a sign of life for twice this long is dead.
    pub heartbeat: Duration,
    /// Shortest pause between attempts to connect.
    pub min_delay: Duration,
    /// Longest pause between attempts to connect.
    pub max_delay: Duration,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            name: "simbdp".into(),
            connect_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(20),
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(3),
        }
    }
}

impl LinkOptions {
    /// The same, by another name in the broker's lists.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Pauses between attempts: they grow without end, with jitter.
    pub(super) fn delays(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        ExponentialBuilder::new()
            .with_min_delay(self.min_delay)
            .with_max_delay(self.max_delay)
            .without_max_times()
            .with_jitter()
            .build()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{0}")]
    Amqp(#[from] lapin::Error),
    #[error("no connection within {0:?}")]
    Timeout(Duration),
}

/// One attempt to connect with the login as it is now: to each node in turn, until one answers.
pub(super) async fn open(
    source: &ConnectionSource,
    options: &LinkOptions,
) -> Result<lapin::Connection, OpenError> {
    let connection = source.read().await?;
    let mut failed = OpenError::Timeout(options.connect_timeout);
    for host in &connection.hosts {
        match open_at(host, &connection, options).await {
            Ok(opened) => return Ok(opened),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn open_at(
    host: &str,
    connection: &Connection,
    options: &LinkOptions,
) -> Result<lapin::Connection, OpenError> {
    let heartbeat = options.heartbeat.as_secs().clamp(1, u16::MAX.into());
    let uri = AMQPUri {
        scheme: match connection.tls {
            None => AMQPScheme::AMQP,
            Some(_) => AMQPScheme::AMQPS,
        },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: connection.username.clone(),
                password: connection.password.clone(),
            },
            host: host.to_owned(),
            port: connection.port,
        },
        vhost: connection.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: u16::try_from(heartbeat).ok(),
            ..AMQPQueryString::default()
        },
    };
    let properties =
        ConnectionProperties::default().with_connection_name(options.name.as_str().into());
    let tls = OwnedTLSConfig {
        identity: None,
        cert_chain: connection.tls.as_ref().map(|trust| trust.pem().to_string()),
    };
    let runtime = default_runtime()?;
    let connect = lapin::Connection::connect_uri_with_config(uri, properties, tls, runtime);
    match timeout(options.connect_timeout, connect).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(OpenError::Timeout(options.connect_timeout)),
    }
}

/// Whether a login is taken at its virtual host; the connection is closed again.
pub async fn try_login(connection: Connection, patience: Duration) -> Result<(), String> {
    let options = LinkOptions {
        connect_timeout: patience,
        ..LinkOptions::named("simbdp-check")
    };
    let opened = open(&ConnectionSource::fixed(connection), &options).await;
    let opened = opened.map_err(|error| error.to_string())?;
    // It is left either way.
    let _ = opened.close(200, "checked".into()).await;
    Ok(())
}
