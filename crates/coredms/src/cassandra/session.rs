//! Opens sessions with the driver.

use std::sync::Arc;
use std::time::Duration;

use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::{Consistency, SerialConsistency};
use tokio::sync::Mutex;

use super::error::{login, spoke};
use crate::kept::LoginFailure;
use crate::store::StoreError;
use crate::{Connection, Trust, TrustError};

/// How a session behaves.
#[derive(Clone, Debug)]
pub(crate) struct SessionOptions {
    /// Datacenter whose members are asked.
    pub datacenter: Option<String>,
    /// Longest that a request may take.
    pub request_timeout: Duration,
    /// Longest that a change of schema may take to reach every member.
    pub agreement_timeout: Duration,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const AGREEMENT_INTERVAL: Duration = Duration::from_millis(100);
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Logs in. Tries every address that the endpoints resolve to.
pub(crate) async fn open(
    connection: &Connection,
    options: &SessionOptions,
) -> Result<Session, LoginFailure> {
    match build(connection, &connection.endpoints, options).await {
        Err(failure) if !matches!(failure, LoginFailure::Refused(_)) => {
            Err(ask_each(connection, options).await.unwrap_or(failure))
        }
        told => told,
    }
}

async fn build(
    connection: &Connection,
    endpoints: &[String],
    options: &SessionOptions,
) -> Result<Session, LoginFailure> {
    let builder = builder(connection, endpoints, options)
        .map_err(|error| LoginFailure::Unavailable(error.to_string()))?;
    let builder = builder.user(&connection.username, &connection.password);
    builder.build().await.map_err(|error| login(&error))
}

fn builder(
    connection: &Connection,
    endpoints: &[String],
    options: &SessionOptions,
) -> Result<SessionBuilder, TrustError> {
    let tls = connection.tls.as_ref().map(Trust::client).transpose()?;
    let tls = tls.map(Arc::new);
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(options.request_timeout))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(endpoints)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(CONNECT_TIMEOUT)
        .hostname_resolution_timeout(Some(CONNECT_TIMEOUT))
        .schema_agreement_interval(AGREEMENT_INTERVAL)
        .schema_agreement_timeout(options.agreement_timeout)
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .pool_size(PoolSize::PerHost(std::num::NonZeroUsize::MIN))
        .tls_context(tls)
        .fetch_full_schema_metadata(false)
        .driver_config_reporting(false);
    if let Some(datacenter) = &options.datacenter {
        builder = builder.prefer_datacenter(datacenter.clone());
    }
    Ok(builder)
}

/// The driver reports what the last member said, which may be one that is down while another refuses
/// the login: asks each by itself, and a refusal by any counts.
async fn ask_each(connection: &Connection, options: &SessionOptions) -> Option<LoginFailure> {
    for endpoint in &connection.endpoints {
        let addresses = tokio::net::lookup_host(endpoint.as_str()).await;
        for address in addresses.into_iter().flatten() {
            let built = build(connection, &[address.to_string()], options).await;
            if let Err(refused @ LoginFailure::Refused(_)) = built {
                return Some(refused);
            }
        }
    }
    None
}

/// Whether a member answers. It is not logged in to: without the others it may not be able to read the roles.
pub(crate) async fn answers(
    connection: &Connection,
    options: &SessionOptions,
) -> Result<(), String> {
    let builder = builder(connection, &connection.endpoints, options);
    let built = builder.map_err(|error| error.to_string())?;
    let built = built.build();
    match tokio::time::timeout(ANSWER_TIMEOUT, built).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if spoke(&error) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {ANSWER_TIMEOUT:?}")),
    }
}

/// One session, opened when it is first needed and opened again when the login changes. The driver
/// itself reconnects to members that come back.
pub(crate) struct Sessions {
    options: SessionOptions,
    state: Mutex<State>,
}

struct State {
    connection: Connection,
    session: Option<Arc<Session>>,
}

impl Sessions {
    pub(crate) fn new(connection: Connection, options: SessionOptions) -> Self {
        Self {
            options,
            state: Mutex::new(State {
                connection,
                session: None,
            }),
        }
    }

    /// The session; opens it where there is none yet. Callers wait for one and the same attempt.
    pub(crate) async fn get(&self) -> Result<Arc<Session>, StoreError> {
        let mut state = self.state.lock().await;
        if let Some(session) = &state.session {
            return Ok(session.clone());
        }
        // A refused login is transient as well: roles are made, and passwords rotated, by the operator.
        let session = open(&state.connection, &self.options)
            .await
            .map_err(|failure| {
                StoreError::Transient(match failure {
                    LoginFailure::Refused(reason) => {
                        format!(
                            "the login of `{}` is refused: {reason}",
                            state.connection.username
                        )
                    }
                    LoginFailure::Foreign(reason) => format!("it is no Cassandra: {reason}"),
                    LoginFailure::Unavailable(reason) => reason,
                })
            })?;
        let session = Arc::new(session);
        state.session = Some(session.clone());
        Ok(session)
    }

    /// Logs in otherwise from now on. Requests under way end on the old session.
    pub(crate) async fn replace(&self, connection: Connection) {
        let mut state = self.state.lock().await;
        if state.connection == connection {
            return;
        }
        state.connection = connection;
        state.session = None;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::cassandra::connector::CassandraConnector;

    #[tokio::test]
    async fn a_server_of_another_kind_is_told_from_one_that_does_not_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
        });
        let login = |address: &str| Connection {
            engine: simbdp_api::common::Engine::Cassandra,
            endpoints: vec![address.to_owned()],
            username: "ada".into(),
            password: "secret".into(),
            tls: None,
        };
        let options = CassandraConnector::options();
        let failure = open(&login(&address), &options).await.err();
        assert!(
            matches!(failure, Some(LoginFailure::Foreign(_))),
            "{failure:?}"
        );
        let nobody = open(&login("127.0.0.1:1"), &options).await.err();
        assert!(
            matches!(nobody, Some(LoginFailure::Unavailable(_))),
            "{nobody:?}"
        );
    }
}
