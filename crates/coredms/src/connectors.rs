//! The connectors of all engines as one.

use std::sync::Arc;

use async_trait::async_trait;
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

#[async_trait]
impl AdminConnector for Connectors {
    async fn bootstrap(
        &self,
        endpoints: &[String],
        setup: &ClusterSetup,
    ) -> Result<Arc<dyn StoreAdmin>, AdminError> {
        let engine = match setup.engine {
            EngineSetup::Cassandra(_) => Engine::Cassandra,
            EngineSetup::MongoDB(_) => Engine::MongoDB,
        };
        self.of(engine).bootstrap(endpoints, setup).await
    }

    async fn connect(&self, connection: &Connection) -> Result<Arc<dyn StoreAdmin>, AdminError> {
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
    }

    async fn answers(&self, connection: &Connection) -> Result<(), String> {
        self.of(connection.engine).answers(connection).await
    }

    async fn forget(&self, endpoints: &[String]) {
        self.cassandra.forget(endpoints).await;
        self.mongodb.forget(endpoints).await;
    }
}
