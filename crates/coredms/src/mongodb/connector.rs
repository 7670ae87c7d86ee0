//! Logs in as the operator, and keeps clients for the next reconcile.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use mongodb::Client;
use simbdp_api::common::Engine;

use super::admin::MongoAdmin;
use super::bootstrap;
use super::client::{of_first, of_set, open};
use crate::Connection;
use crate::admin::{AdminConnector, AdminError, ClusterSetup, EngineSetup, StoreAdmin};
use crate::kept::{Kept, LoginFailure};

/// How long the database may take to say who its primary is, and to let somebody in.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long one member may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Logs in to MongoDB as the operator. Cheap to clone; clients are kept while they are used.
#[derive(Clone, Default)]
pub struct MongoConnector {
    pub(crate) kept: Kept<Client>,
}

impl MongoConnector {
    /// A connector without any client yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client that is kept.
    pub(crate) async fn session(&self, login: &Connection) -> Result<Client, AdminError> {
        self.kept
            .session(login, open(of_set(login, TIMEOUT), TIMEOUT))
            .await
    }

    async fn admin(&self, own: Connection, client: Client) -> Arc<dyn StoreAdmin> {
        Arc::new(MongoAdmin {
            client,
            changes: self.kept.lock(&own.endpoints).await,
            own,
            connector: self.clone(),
        })
    }

    /// Whether the user logs in with this password.
    pub(crate) async fn password_fits(
        &self,
        login: &Connection,
        stored_key: &str,
    ) -> Result<bool, AdminError> {
        let open = open(of_set(login, TIMEOUT), TIMEOUT);
        self.kept.password_fits(login, stored_key, open).await
    }
}

impl AdminConnector for MongoConnector {
    fn bootstrap<'a>(
        &'a self,
        endpoints: &'a [String],
        setup: &'a ClusterSetup,
    ) -> BoxFuture<'a, Result<Arc<dyn StoreAdmin>, AdminError>> {
        Box::pin(async move {
            let EngineSetup::MongoDB(set) = &setup.engine else {
                return Err(AdminError::Refused {
                    action: "the setup".to_owned(),
                    reason: "the setup is of another engine than MongoDB".to_owned(),
                });
            };
            let own = setup.login(Engine::MongoDB, endpoints);
            let client = bootstrap::run(self, &own, setup, set).await?;
            Ok(self.admin(own, client).await)
        })
    }

    fn connect<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Arc<dyn StoreAdmin>, AdminError>> {
        Box::pin(async move {
            let client = self.session(connection).await?;
            Ok(self.admin(connection.clone(), client).await)
        })
    }

    fn answers<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            match open(of_first(connection, ANSWER_TIMEOUT), ANSWER_TIMEOUT).await {
                Ok(_) | Err(LoginFailure::Refused(_)) => Ok(()),
                Err(LoginFailure::Foreign(reason) | LoginFailure::Unavailable(reason)) => {
                    Err(reason)
                }
            }
        })
    }

    fn forget<'a>(&'a self, endpoints: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.kept.forget(endpoints).await;
        })
    }
}
