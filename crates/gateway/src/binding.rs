//! Service Binding directories (<https://servicebinding.io/spec/core/1.1.0/>) → clients of the servers
//! behind the gateway. Nothing is connected here: each client does so when it can.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use simbdp_api::mounts;
use simbdp_api::names::TenantName;
use simbdp_broker::ConnectionSource;
use simbdp_broker::rabbitmq::{PublisherOptions, RabbitPublisher};
use simbdp_coredms::Connection;
use simbdp_coredms::cassandra::{CassandraStore, StoreOptions};
use tokio_util::sync::CancellationToken;

use crate::gateway::Backends;

/// How often the database's binding is looked at for another login.
const LOOK: Duration = Duration::from_secs(10);

/// The clients, and the database's once more for its login.
pub struct Bound {
    /// The clients.
    pub backends: Backends,
    store: CassandraStore,
    directory: PathBuf,
}

/// Makes the clients from the bindings below `root`.
pub fn bind(root: &Path, tenant: &TenantName) -> anyhow::Result<Bound> {
    let directory = root.join(mounts::COREDMS_BINDING);
    let connection = read_coredms(&directory)?;
    let options = StoreOptions {
        datacenter: read(&directory, "datacenter").ok(),
        ..StoreOptions::default()
    };
    let store = CassandraStore::connect(connection, options);
    let source = ConnectionSource::binding(root.join(mounts::BROKER_BINDING));
    let publisher = RabbitPublisher::new(source, PublisherOptions::default());
    let ledger = store.ledger(&tenant.platform_keyspace());
    Ok(Bound {
        backends: Backends {
            store: Arc::new(store.clone()),
            ledger: Arc::new(ledger),
            publisher: Arc::new(publisher),
        },
        store,
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
            match read_coredms(&self.directory) {
                // The same login again changes nothing.
                Ok(connection) => self.store.replace_login(connection).await,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the database's binding")
                }
            }
        }
    }
}

fn read_coredms(directory: &Path) -> anyhow::Result<Connection> {
    let (host, port) = (read(directory, "host")?, read(directory, "port")?);
    Ok(Connection {
        endpoints: host
            .split(',')
            .map(|host| format!("{}:{port}", host.trim()))
            .collect(),
        username: read(directory, "username")?,
        password: read(directory, "password")?,
    })
}

fn read(directory: &Path, name: &str) -> anyhow::Result<String> {
    let path = directory.join(name);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("read the binding {}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_binding_of_several_hosts() {
        let directory = tempfile::tempdir().unwrap();
        for (name, value) in [
            ("host", "a.example, b.example\n"),
            ("port", "9042\n"),
            ("username", "p_x"),
            ("password", "secret\n"),
        ] {
            std::fs::write(directory.path().join(name), value).unwrap();
        }
        let connection = read_coredms(directory.path()).unwrap();
        assert_eq!(connection.endpoints, ["a.example:9042", "b.example:9042"]);
        assert_eq!(connection.password, "secret");
        std::fs::remove_file(directory.path().join("port")).unwrap();
        let error = format!("{:#}", read_coredms(directory.path()).err().unwrap());
        assert!(
            error.contains("port") && !error.contains("secret"),
            "{error}"
        );
    }
}
