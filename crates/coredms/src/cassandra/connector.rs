//! Logs in as the operator, and keeps sessions for the next reconcile.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use scylla::client::session::Session;
use simbdp_api::common::Engine;

use super::admin::CassandraAdmin;
use super::session::{SessionOptions, answers, open};
use super::{bootstrap, plan};
use crate::Connection;
use crate::admin::{AdminConnector, AdminError, ClusterSetup, EngineSetup, StoreAdmin};
use crate::kept::Kept;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Logs in to Cassandra as the operator. Cheap to clone; sessions are kept while they are used.
#[derive(Clone, Default)]
pub struct CassandraConnector {
    pub(crate) kept: Kept<Arc<Session>>,
}

impl CassandraConnector {
    /// A connector without any session yet.
    pub fn new() -> Self {
        Self::default()
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
        let open = async { open(login, &Self::options()).await.map(Arc::new) };
        self.kept.session(login, open).await
    }

    async fn admin(&self, own: Connection, session: Arc<Session>) -> Arc<dyn StoreAdmin> {
        Arc::new(CassandraAdmin {
            session,
            changes: self.kept.lock(&own.endpoints).await,
            own,
            connector: self.clone(),
        })
    }

    /// Whether the role logs in with this password.
    pub(crate) async fn password_fits(
        &self,
        login: &Connection,
        salted_hash: &str,
    ) -> Result<bool, AdminError> {
        let open = async { open(login, &Self::options()).await.map(Arc::new) };
        self.kept.password_fits(login, salted_hash, open).await
    }
}

impl AdminConnector for CassandraConnector {
    fn bootstrap<'a>(
        &'a self,
        endpoints: &'a [String],
        setup: &'a ClusterSetup,
    ) -> BoxFuture<'a, Result<Arc<dyn StoreAdmin>, AdminError>> {
        Box::pin(async move {
            let EngineSetup::Cassandra(replication) = &setup.engine else {
                return Err(plan::unsuitable(
                    "the setup is of another engine than Cassandra",
                ));
            };
            let own = setup.login(Engine::Cassandra, endpoints);
            let session = bootstrap::run(self, &own, setup, replication).await?;
            Ok(self.admin(own, session).await)
        })
    }

    fn connect<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Arc<dyn StoreAdmin>, AdminError>> {
        Box::pin(async move {
            let session = self.session(connection).await?;
            Ok(self.admin(connection.clone(), session).await)
        })
    }

    fn answers<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { answers(connection, &Self::options()).await })
    }

    fn forget<'a>(&'a self, endpoints: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.kept.forget(endpoints).await;
        })
    }
}
