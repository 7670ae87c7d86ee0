//! Makes clients of the driver, out of parts: there is no connection string that a password could show in.

use std::future::Future;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::{
    Acknowledgment, AuthMechanism, ClientOptions, Credential, ReadConcern, ReadPreference,
    SelectionCriteria, ServerAddress, Tls, TlsOptions, WriteConcern,
};
use mongodb::{Client, error};
use tokio::sync::Mutex;

use super::ADMIN;
use super::error::login;
use crate::kept::LoginFailure;
use crate::store::StoreError;
use crate::{Connection, Trust};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const IDLE: Duration = Duration::from_secs(300);
const APP_NAME: &str = "simbdp";
/// The user that members log in to each other as; its password is the keyfile's text.
const SYSTEM_USER: &str = "__system";
const SYSTEM_DATABASE: &str = "local";

/// Acknowledged by a majority, each with its journal synced: no failover takes it back.
pub(crate) fn write_concern(timeout: Duration) -> WriteConcern {
    let mut concern = WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .build();
    concern.w_timeout = Some(timeout);
    concern
}

/// [`write_concern`] as part of a command.
pub(crate) fn write_concern_document(timeout: Duration) -> Document {
    let millis = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
    doc! {"w": "majority", "j": true, "wtimeout": millis}
}

/// Asks the primary, or a secondary while there is none.
pub(crate) fn anybody() -> SelectionCriteria {
    SelectionCriteria::ReadPreference(ReadPreference::PrimaryPreferred {
        options: Default::default(),
    })
}

fn primary() -> SelectionCriteria {
    SelectionCriteria::ReadPreference(ReadPreference::Primary)
}

fn options(
    endpoints: &[String],
    tls: Option<&Trust>,
    timeout: Duration,
) -> error::Result<ClientOptions> {
    let mut options = ClientOptions::default();
    options.hosts = endpoints
        .iter()
        .map(ServerAddress::parse)
        .collect::<error::Result<_>>()?;
    options.app_name = Some(APP_NAME.to_owned());
    options.connect_timeout = Some(CONNECT_TIMEOUT.min(timeout));
    options.server_selection_timeout = Some(timeout);
    options.max_idle_time = Some(IDLE);
    options.write_concern = Some(write_concern(timeout));
    options.read_concern = Some(ReadConcern::majority());
    options.tls = tls.map(secured).transpose()?;
    Ok(options)
}

fn secured(trust: &Trust) -> error::Result<Tls> {
    trust.roots().map_err(error::Error::custom)?;
    let mut options = TlsOptions::default();
    options.ca_file_path = trust.file().map_err(error::Error::custom)?;
    Ok(Tls::Enabled(options))
}

fn credential(username: &str, password: &str, database: &str) -> Credential {
    Credential::builder()
        .username(username.to_owned())
        .password(password.to_owned())
        .source(database.to_owned())
        .mechanism(AuthMechanism::ScramSha256)
        .build()
}

/// A client of a replica set: any member leads to the others. It connects when it is first used.
pub(crate) fn of_set(connection: &Connection, timeout: Duration) -> error::Result<Client> {
    logged_in(connection, &connection.endpoints, false, timeout)
}

/// A client of the first member alone, which may not be of a replica set yet.
pub(crate) fn of_first(connection: &Connection, timeout: Duration) -> error::Result<Client> {
    let first = connection.endpoints.get(..1).unwrap_or_default();
    logged_in(connection, first, true, timeout)
}

fn logged_in(
    connection: &Connection,
    endpoints: &[String],
    direct: bool,
    timeout: Duration,
) -> error::Result<Client> {
    let mut options = options(endpoints, connection.tls.as_ref(), timeout)?;
    options.direct_connection = Some(direct);
    let (username, password) = (&connection.username, &connection.password);
    options.credential = Some(credential(username, password, ADMIN));
    Client::with_options(options)
}

/// A client of one member, which may not be of a replica set yet.
pub(crate) fn of_member(
    member: &str,
    username: &str,
    password: &str,
    timeout: Duration,
) -> error::Result<Client> {
    let mut options = options(&[member.to_owned()], None, timeout)?;
    options.direct_connection = Some(true);
    options.credential = Some(credential(username, password, ADMIN));
    Client::with_options(options)
}

/// A client of one member, as the members' own user: it may do everything, before any other user exists.
pub(crate) fn of_member_as_system(
    member: &str,
    keyfile: &str,
    timeout: Duration,
) -> error::Result<Client> {
    let mut options = options(&[member.to_owned()], None, timeout)?;
    options.direct_connection = Some(true);
    // The server takes the text without any white space.
    let password: String = keyfile.split_whitespace().collect();
    options.credential = Some(credential(SYSTEM_USER, &password, SYSTEM_DATABASE));
    Client::with_options(options)
}

/// Makes sure that the login is good and somebody answers.
///
/// The primary is asked, and somebody else only where there is none: who lags behind does not know a user that was
/// made just now, so that only the primary's refusal counts.
pub(crate) async fn open(
    client: error::Result<Client>,
    timeout: Duration,
) -> Result<Client, LoginFailure> {
    let client = client.map_err(|error| login(&error))?;
    match ping(&client, primary(), timeout).await {
        Err(LoginFailure::Unavailable(no_primary)) => ping(&client, anybody(), timeout)
            .await
            .map_err(|_| LoginFailure::Unavailable(no_primary))?,
        pinged => pinged?,
    }
    Ok(client)
}

async fn ping(
    client: &Client,
    whom: SelectionCriteria,
    timeout: Duration,
) -> Result<(), LoginFailure> {
    let database = client.database(ADMIN);
    let ping = async {
        database
            .run_command(doc! {"ping": 1})
            .selection_criteria(whom)
            .await
    };
    match tokio::time::timeout(timeout, ping).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(login(&error)),
        Err(_) => Err(LoginFailure::Unavailable(format!(
            "no answer within {timeout:?}"
        ))),
    }
}

/// One client, made when it is first needed and made again when the login changes. The driver itself follows
/// members that come, go and take over.
pub(crate) struct Clients {
    pub timeout: Duration,
    state: Mutex<State>,
}

struct State {
    connection: Connection,
    client: Option<Client>,
}

impl Clients {
    pub(crate) fn new(connection: Connection, timeout: Duration) -> Self {
        Self {
            timeout,
            state: Mutex::new(State {
                connection,
                client: None,
            }),
        }
    }

    pub(crate) async fn get(&self) -> Result<Client, StoreError> {
        let mut state = self.state.lock().await;
        if let Some(client) = &state.client {
            return Ok(client.clone());
        }
        let client = of_set(&state.connection, self.timeout)
            .map_err(|error| StoreError::Transient(super::error::reason(&error)))?;
        state.client = Some(client.clone());
        Ok(client)
    }

    /// Logs in otherwise from now on. Requests under way end on the old client.
    pub(crate) async fn replace(&self, connection: Connection) {
        let mut state = self.state.lock().await;
        if state.connection == connection {
            return;
        }
        state.connection = connection;
        state.client = None;
    }

    /// Waits for an answer, but not for ever: the driver gives a server that hangs as long as it wants.
    pub(crate) async fn within<T>(
        &self,
        answer: impl Future<Output = error::Result<T>>,
    ) -> Result<T, StoreError> {
        // The server gives up first, and says why.
        let longest = self.timeout * 2;
        match tokio::time::timeout(longest, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(StoreError::Transient(format!(
                "no answer within {longest:?}"
            ))),
        }
    }
}
