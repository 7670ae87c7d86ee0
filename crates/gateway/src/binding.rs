//! Service Binding directories (<https://servicebinding.io/spec/core/1.1.0/>) → clients of the servers
//! behind the gateway. Nothing is connected here: each client does so when it can.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use simbdp_api::mounts;
use simbdp_api::names::TenantName;
use simbdp_coredms::{Database, binding};
use tokio_util::sync::CancellationToken;

use crate::gateway::Backends;

/// How often the database's binding is looked at for another login.
const LOOK: Duration = Duration::from_secs(10);

/// The clients, and the database's once more for its login.
pub struct Bound {
    /// The clients.
    pub backends: Backends,
    database: Arc<dyn Database>,
    directory: PathBuf,
}

/// Makes the clients from the bindings below `root`.
pub fn bind(root: &Path, tenant: &TenantName) -> anyhow::Result<Bound> {
    let directory = root.join(mounts::COREDMS_BINDING);
    let (connection, options) = binding::read(&directory)?;
    let database = simbdp_coredms::open(connection, options);
    let broker = root.join(mounts::BROKER_BINDING);
    let publisher = simbdp_broker::publisher(&broker)?;
    let dead_letters = simbdp_broker::dead_letter_queues(&broker)?;
    Ok(Bound {
        backends: Backends {
            store: database.store(),
            ledger: database.ledger(&tenant.platform_keyspace()),
            publisher,
            dead_letters,
        },
        database,
        directory,
    })
}

impl Bound {
    /// Follows the login of the database when its password is changed, until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_some()
        {
            match binding::read(&self.directory) {
                // The same login again changes nothing.
                Ok((connection, _)) => self.database.replace_login(connection).await,
                Err(error) => {
                    tracing::warn!(error = error.to_string(), "the database's binding");
                }
            }
        }
    }
}
