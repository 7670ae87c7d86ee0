//! Faults at the traits of broker and database.

use std::sync::Arc;

use async_trait::async_trait;
use simbdp_api::pipeline::TableSpec;
use simbdp_broker::admin as broker;
use simbdp_coredms::admin as coredms;

use crate::fault::{Call, Faults, Interruption, Operation};

/// A broker whose administrators go by the faults.
pub struct FaultyBrokers {
    inner: Arc<dyn broker::AdminConnector>,
    faults: Faults,
}

impl FaultyBrokers {
    /// Puts faults before a connector.
    pub fn new(inner: Arc<dyn broker::AdminConnector>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

/// An administrator of a broker who goes by the faults.
pub struct FaultyBrokerAdmin {
    inner: Arc<dyn broker::BrokerAdmin>,
    faults: Faults,
}

fn broker_error<T>(interruption: Interruption) -> Result<T, broker::AdminError> {
    let reason = interruption.to_string();
    Err(match interruption {
        Interruption::Status(401 | 403) => broker::AdminError::LoginRefused {
            username: "injected".into(),
        },
        Interruption::Status(400..500) => broker::AdminError::Refused {
            action: "the call".into(),
            reason,
        },
        _ => broker::AdminError::Unavailable(reason),
    })
}

fn read(name: impl Into<String>) -> Call {
    Call::new(Operation::Read, name)
}

fn write(name: impl Into<String>) -> Call {
    Call::new(Operation::Write, name)
}

#[async_trait]
impl broker::AdminConnector for FaultyBrokers {
    async fn connect(
        &self,
        connection: &broker::ManagementConnection,
    ) -> Result<Arc<dyn broker::BrokerAdmin>, broker::AdminError> {
        let work = self.inner.connect(connection);
        let call = read("broker connect");
        let inner = self.faults.around(call, work, broker_error).await?;
        let faults = self.faults.clone();
        Ok(Arc::new(FaultyBrokerAdmin { inner, faults }))
    }
}

#[async_trait]
impl broker::BrokerAdmin for FaultyBrokerAdmin {
    async fn version(&self) -> Result<String, broker::AdminError> {
        let work = self.inner.version();
        let call = read("broker version");
        self.faults.around(call, work, broker_error).await
    }

    async fn ensure_tenancy(&self, tenancy: &broker::Tenancy) -> Result<(), broker::AdminError> {
        let work = self.inner.ensure_tenancy(tenancy);
        let call = write(format!("broker ensure_tenancy {}", tenancy.vhost));
        self.faults.around(call, work, broker_error).await
    }

    async fn suspend_tenancy(
        &self,
        names: &broker::TenancyNames,
    ) -> Result<(), broker::AdminError> {
        let work = self.inner.suspend_tenancy(names);
        let call = write(format!("broker suspend_tenancy {}", names.vhost));
        self.faults.around(call, work, broker_error).await
    }

    async fn drop_tenancy(&self, names: &broker::TenancyNames) -> Result<(), broker::AdminError> {
        let work = self.inner.drop_tenancy(names);
        let call = write(format!("broker drop_tenancy {}", names.vhost));
        self.faults.around(call, work, broker_error).await
    }

    async fn ensure_queues(
        &self,
        queues: &broker::PipelineQueues,
    ) -> Result<(), broker::AdminError> {
        let work = self.inner.ensure_queues(queues);
        let call = write(format!("broker ensure_queues {}", queues.queue));
        self.faults.around(call, work, broker_error).await
    }

    async fn delete_queues(
        &self,
        vhost: &str,
        queue: &str,
        dead_letter_queue: &str,
    ) -> Result<(), broker::AdminError> {
        let work = self.inner.delete_queues(vhost, queue, dead_letter_queue);
        let call = write(format!("broker delete_queues {queue}"));
        self.faults.around(call, work, broker_error).await
    }

    async fn queue_totals(
        &self,
        vhost: &str,
    ) -> Result<Vec<broker::QueueTotals>, broker::AdminError> {
        let work = self.inner.queue_totals(vhost);
        let call = read(format!("broker queue_totals {vhost}"));
        self.faults.around(call, work, broker_error).await
    }

    async fn backlogs(&self) -> Result<broker::Backlogs, broker::AdminError> {
        let work = self.inner.backlogs();
        let call = read("broker backlogs");
        self.faults.around(call, work, broker_error).await
    }
}

/// Databases whose administrators go by the faults.
pub struct FaultyStores {
    inner: Arc<dyn coredms::AdminConnector>,
    faults: Faults,
}

impl FaultyStores {
    /// Puts faults before a connector.
    pub fn new(inner: Arc<dyn coredms::AdminConnector>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    fn faulty(&self, inner: Arc<dyn coredms::StoreAdmin>) -> Arc<dyn coredms::StoreAdmin> {
        let faults = self.faults.clone();
        Arc::new(FaultyStoreAdmin { inner, faults })
    }
}

/// An administrator of a database who goes by the faults.
pub struct FaultyStoreAdmin {
    inner: Arc<dyn coredms::StoreAdmin>,
    faults: Faults,
}

fn store_error<T>(interruption: Interruption) -> Result<T, coredms::AdminError> {
    let reason = interruption.to_string();
    Err(match interruption {
        Interruption::Status(401 | 403) => coredms::AdminError::LoginRefused {
            username: "injected".into(),
            reason,
        },
        Interruption::Status(400..500) => coredms::AdminError::Refused {
            action: "the call".into(),
            reason,
        },
        _ => coredms::AdminError::Unavailable(reason),
    })
}

#[async_trait]
impl coredms::AdminConnector for FaultyStores {
    async fn bootstrap(
        &self,
        endpoints: &[String],
        setup: &coredms::ClusterSetup,
    ) -> Result<Arc<dyn coredms::StoreAdmin>, coredms::AdminError> {
        let work = self.inner.bootstrap(endpoints, setup);
        let call = write("coredms bootstrap");
        let admin = self.faults.around(call, work, store_error).await?;
        Ok(self.faulty(admin))
    }

    async fn connect(
        &self,
        connection: &simbdp_coredms::Connection,
    ) -> Result<Arc<dyn coredms::StoreAdmin>, coredms::AdminError> {
        let work = self.inner.connect(connection);
        let call = read("coredms connect");
        let admin = self.faults.around(call, work, store_error).await?;
        Ok(self.faulty(admin))
    }

    async fn answers(&self, connection: &simbdp_coredms::Connection) -> Result<(), String> {
        self.inner.answers(connection).await
    }

    async fn forget(&self, endpoints: &[String]) {
        self.inner.forget(endpoints).await;
    }
}

#[async_trait]
impl coredms::StoreAdmin for FaultyStoreAdmin {
    async fn serves(&self) -> Result<(), coredms::AdminError> {
        let work = self.inner.serves();
        let call = read("coredms serves");
        self.faults.around(call, work, store_error).await
    }

    async fn members(&self) -> Result<Vec<coredms::Member>, coredms::AdminError> {
        let work = self.inner.members();
        let call = read("coredms members");
        self.faults.around(call, work, store_error).await
    }

    async fn datacenter(&self) -> Result<Option<String>, coredms::AdminError> {
        let work = self.inner.datacenter();
        let call = read("coredms datacenter");
        self.faults.around(call, work, store_error).await
    }

    async fn bytes(&self) -> Result<u64, coredms::AdminError> {
        let work = self.inner.bytes();
        let call = read("coredms bytes");
        self.faults.around(call, work, store_error).await
    }

    async fn unrepaired(&self, member: &str) -> Result<coredms::Unrepaired, coredms::AdminError> {
        let work = self.inner.unrepaired(member);
        let call = read(format!("coredms unrepaired {member}"));
        self.faults.around(call, work, store_error).await
    }

    async fn ensure_members(&self, members: &[String]) -> Result<(), coredms::AdminError> {
        let work = self.inner.ensure_members(members);
        let call = write(format!("coredms ensure_members {}", members.len()));
        self.faults.around(call, work, store_error).await
    }

    async fn ensure_tenancy(&self, tenancy: &coredms::Tenancy) -> Result<(), coredms::AdminError> {
        let work = self.inner.ensure_tenancy(tenancy);
        let call = write(format!("coredms ensure_tenancy {}", tenancy.keyspace));
        self.faults.around(call, work, store_error).await
    }

    async fn suspend_tenancy(
        &self,
        names: &coredms::TenancyNames,
    ) -> Result<(), coredms::AdminError> {
        let work = self.inner.suspend_tenancy(names);
        let call = write(format!("coredms suspend_tenancy {}", names.roles.join(",")));
        self.faults.around(call, work, store_error).await
    }

    async fn drop_tenancy(&self, names: &coredms::TenancyNames) -> Result<(), coredms::AdminError> {
        let work = self.inner.drop_tenancy(names);
        let call = write(format!(
            "coredms drop_tenancy {}",
            names.keyspaces.join(",")
        ));
        self.faults.around(call, work, store_error).await
    }

    async fn ensure_table(
        &self,
        keyspace: &str,
        table: &TableSpec,
    ) -> Result<(), coredms::AdminError> {
        let work = self.inner.ensure_table(keyspace, table);
        let call = write(format!("coredms ensure_table {keyspace}.{}", table.name));
        self.faults.around(call, work, store_error).await
    }
}
