//! What a connector keeps for the next reconcile: sessions, one lock a database, passwords known to be right.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::Mutex;

use crate::admin::AdminError;
use crate::{Connection, Trust};

const IDLE: Duration = Duration::from_secs(15 * 60);
const MOST_DATABASES: u64 = 1_000;
const MOST_ROLES: u64 = 20_000;

/// Endpoints, role, password and trust.
type Login = (Vec<String>, String, String, Option<Trust>);
/// Endpoints and role.
type Role = (Vec<String>, String);

/// How a login ended that did not succeed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum LoginFailure {
    /// The database knows the role and refuses it, or does not know it.
    Refused(String),
    /// What answers is another kind of server.
    Foreign(String),
    /// Nobody could decide: nobody answers, or too few to read the roles.
    Unavailable(String),
}

impl LoginFailure {
    pub(crate) fn admin_error(&self, username: &str) -> AdminError {
        match self {
            Self::Refused(reason) => AdminError::LoginRefused {
                username: username.to_owned(),
                reason: reason.clone(),
            },
            Self::Foreign(reason) => AdminError::Refused {
                action: "to be logged in to".to_owned(),
                reason: format!("it is not the engine that was declared: {reason}"),
            },
            Self::Unavailable(reason) => AdminError::Unavailable(reason.clone()),
        }
    }
}

/// Cheap to clone; clones share what is kept.
#[derive(Clone)]
pub(crate) struct Kept<S: Clone + Send + Sync + 'static> {
    sessions: Cache<Login, S>,
    locks: Cache<Vec<String>, Arc<Mutex<()>>>,
    fitting: Cache<Role, (String, String)>,
}

impl<S: Clone + Send + Sync + 'static> Default for Kept<S> {
    fn default() -> Self {
        Self {
            sessions: Cache::builder()
                .max_capacity(MOST_DATABASES)
                .time_to_idle(IDLE)
                .build(),
            locks: Cache::builder()
                .max_capacity(MOST_DATABASES)
                .time_to_idle(IDLE)
                .build(),
            fitting: Cache::builder()
                .max_capacity(MOST_ROLES)
                .time_to_idle(IDLE)
                .build(),
        }
    }
}

fn key(login: &Connection) -> Login {
    (
        login.endpoints.clone(),
        login.username.clone(),
        login.password.clone(),
        login.tls.clone(),
    )
}

impl<S: Clone + Send + Sync + 'static> Kept<S> {
    /// The session of a login, opened where there is none.
    pub(crate) async fn session(
        &self,
        login: &Connection,
        open: impl Future<Output = Result<S, LoginFailure>>,
    ) -> Result<S, AdminError> {
        self.sessions
            .try_get_with(key(login), open)
            .await
            .map_err(|failure| failure.admin_error(&login.username))
    }

    /// The session of a login, if there is one.
    pub(crate) async fn known(&self, login: &Connection) -> Option<S> {
        self.sessions.get(&key(login)).await
    }

    /// Drops a session that does not answer: the next call logs in anew. The database may be another one
    /// at the same addresses, which the old session would never find out.
    pub(crate) async fn forget_login(&self, login: &Connection) {
        self.sessions.invalidate(&key(login)).await;
    }

    /// Drops all sessions of a database.
    pub(crate) async fn forget(&self, endpoints: &[String]) {
        for (login, _) in &self.sessions {
            if login.0 == endpoints {
                self.sessions.invalidate(login.as_ref()).await;
            }
        }
    }

    /// One lock for each database.
    pub(crate) async fn lock(&self, endpoints: &[String]) -> Arc<Mutex<()>> {
        self.locks
            .get_with(endpoints.to_vec(), async { Arc::default() })
            .await
    }

    /// Whether the role logs in with this password; `open` tries. A login costs the database a slow hash, so it is
    /// not tried again for as long as what the database stores of the password is `stored`.
    pub(crate) async fn password_fits(
        &self,
        login: &Connection,
        stored: &str,
        open: impl Future<Output = Result<S, LoginFailure>>,
    ) -> Result<bool, AdminError> {
        let role = (login.endpoints.clone(), login.username.clone());
        let known = self.fitting.get(&role).await;
        if known.is_some_and(|(hash, password)| hash == stored && password == login.password) {
            return Ok(true);
        }
        match open.await {
            Ok(_) => {
                self.remember(login, stored).await;
                Ok(true)
            }
            Err(LoginFailure::Refused(_)) => Ok(false),
            Err(failure) => Err(failure.admin_error(&login.username)),
        }
    }

    /// Remembers a password that fits.
    pub(crate) async fn remember(&self, login: &Connection, stored: &str) {
        let key = (login.endpoints.clone(), login.username.clone());
        let known = (stored.to_owned(), login.password.clone());
        self.fitting.insert(key, known).await;
    }
}
