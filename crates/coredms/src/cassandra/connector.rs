//! Logs in as the operator, and keeps sessions for the next reconcile.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;
use scylla::client::session::Session;
use tokio::sync::Mutex;

use super::admin::CassandraAdmin;
use super::bootstrap;
use super::error::LoginFailure;
use super::session::{SessionOptions, open};
use crate::Connection;
use crate::admin::{AdminConnector, AdminError, ClusterSetup, StoreAdmin};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(15 * 60);
const MOST_DATABASES: u64 = 1_000;
const MOST_ROLES: u64 = 20_000;

/// Session, endpoints and login.
type Key = (Vec<String>, String, String);
/// Endpoints and role.
type RoleKey = (Vec<String>, String);

/// Logs in to Cassandra as the operator. Cheap to clone; sessions are kept while they are used.
#[derive(Clone)]
pub struct CassandraConnector {
    sessions: Cache<Key, Arc<Session>>,
    locks: Cache<Vec<String>, Arc<Mutex<()>>>,
    fitting: Cache<RoleKey, (String, String)>,
}

impl Default for CassandraConnector {
    fn default() -> Self {
        Self::new()
    }
}

impl CassandraConnector {
    /// A connector without any session yet.
    pub fn new() -> Self {
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

    pub(crate) fn options() -> SessionOptions {
        SessionOptions {
            datacenter: None,
            request_timeout: REQUEST_TIMEOUT,
            agreement_timeout: AGREEMENT_TIMEOUT,
        }
    }

    /// A session that is kept.
    pub(crate) async fn session(&self, login: &Connection) -> Result<Arc<Session>, AdminError> {
        self.sessions
            .try_get_with(key(login), async {
                open(login, &Self::options()).await.map(Arc::new)
            })
            .await
            .map_err(|failure| admin_error(&failure, &login.username))
    }

    /// Drops a session that does not answer: the next call logs in anew. The database may be another one
    /// at the same addresses, which the old session would never find out.
    pub(crate) async fn forget_login(&self, login: &Connection) {
        self.sessions.invalidate(&key(login)).await;
    }

    async fn admin(&self, endpoints: &[String], session: Arc<Session>) -> Arc<dyn StoreAdmin> {
        let lock = self
            .locks
            .get_with(endpoints.to_vec(), async { Arc::default() })
            .await;
        Arc::new(CassandraAdmin {
            session,
            endpoints: endpoints.to_vec(),
            changes: lock,
            connector: self.clone(),
        })
    }

    /// Whether the role logs in with this password. A login costs the database a bcrypt, so the answer is
    /// remembered for as long as the stored hash is the same.
    pub(crate) async fn password_fits(
        &self,
        login: &Connection,
        salted_hash: &str,
    ) -> Result<bool, AdminError> {
        let key = (login.endpoints.clone(), login.username.clone());
        let known = (salted_hash.to_owned(), login.password.clone());
        if self.fitting.get(&key).await.as_ref() == Some(&known) {
            return Ok(true);
        }
        match open(login, &Self::options()).await {
            Ok(_) => {
                self.fitting.insert(key, known).await;
                Ok(true)
            }
            Err(LoginFailure::Refused(_)) => Ok(false),
            Err(failure) => Err(admin_error(&failure, &login.username)),
        }
    }

    /// Remembers a password that was just set.
    pub(crate) async fn password_set(&self, login: &Connection, salted_hash: &str) {
        let key = (login.endpoints.clone(), login.username.clone());
        let known = (salted_hash.to_owned(), login.password.clone());
        self.fitting.insert(key, known).await;
    }
}

fn key(login: &Connection) -> Key {
    (
        login.endpoints.clone(),
        login.username.clone(),
        login.password.clone(),
    )
}

pub(crate) fn admin_error(failure: &LoginFailure, username: &str) -> AdminError {
    match failure {
        LoginFailure::Refused(reason) => AdminError::LoginRefused {
            username: username.to_owned(),
            reason: reason.clone(),
        },
        LoginFailure::Unavailable(reason) => AdminError::Unavailable(reason.clone()),
    }
}

#[async_trait]
impl AdminConnector for CassandraConnector {
    async fn bootstrap(
        &self,
        endpoints: &[String],
        setup: &ClusterSetup,
    ) -> Result<Arc<dyn StoreAdmin>, AdminError> {
        let session = bootstrap::run(self, endpoints, setup).await?;
        Ok(self.admin(endpoints, session).await)
    }

    async fn connect(&self, connection: &Connection) -> Result<Arc<dyn StoreAdmin>, AdminError> {
        let session = self.session(connection).await?;
        Ok(self.admin(&connection.endpoints, session).await)
    }

    async fn forget(&self, endpoints: &[String]) {
        for (key, _) in &self.sessions {
            if key.0 == endpoints {
                self.sessions.invalidate(key.as_ref()).await;
            }
        }
    }
}
