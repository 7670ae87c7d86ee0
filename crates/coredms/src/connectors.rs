//! The connectors of all engines as one.

use std::sync::Arc;

use futures::future::BoxFuture;
use simbdp_api::common::Engine;
use simbdp_tls::{Address, fault};

use crate::Connection;
use crate::admin::{AdminConnector, AdminError, ClusterSetup, EngineSetup, StoreAdmin};
use crate::cassandra::CassandraConnector;
use crate::mongodb::MongoConnector;

/// Logs in to databases of every engine as the operator. Cheap to clone; sessions are kept while they are used.
#[derive(Clone, Default)]
pub struct Connectors {
    cassandra: CassandraConnector,
    mongodb: MongoConnector,
}

impl Connectors {
    /// Connectors without any session yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn of(&self, engine: Engine) -> &dyn AdminConnector {
        match engine {
            Engine::Cassandra => &self.cassandra,
            Engine::MongoDB => &self.mongodb,
        }
    }
}

impl AdminConnector for Connectors {
    fn bootstrap<'a>(
        &'a self,
        endpoints: &'a [String],
        setup: &'a ClusterSetup,
    ) -> BoxFuture<'a, Result<Arc<dyn StoreAdmin>, AdminError>> {
        Box::pin(async move {
            let engine = match setup.engine {
                EngineSetup::Cassandra(_) => Engine::Cassandra,
                EngineSetup::MongoDB(_) => Engine::MongoDB,
            };
            self.of(engine).bootstrap(endpoints, setup).await
        })
    }

    fn connect<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Arc<dyn StoreAdmin>, AdminError>> {
        Box::pin(async move {
            let failed = match self.of(connection.engine).connect(connection).await {
                Err(error @ (AdminError::Unavailable(_) | AdminError::Refused { .. })) => error,
                other => return other,
            };
            // Members of Cassandra tell each other's addresses and no names, so that the driver knows them by these alone.
            let known = match connection.engine {
                Engine::Cassandra => Address::Number,
                Engine::MongoDB => Address::Host,
            };
            let fault = fault(connection.tls.as_ref(), &connection.endpoints, known);
            Err(fault.await.map_or(failed, AdminError::Tls))
        })
    }

    fn answers<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.of(connection.engine).answers(connection).await })
    }

    fn forget<'a>(&'a self, endpoints: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.cassandra.forget(endpoints).await;
            self.mongodb.forget(endpoints).await;
        })
    }
}
