//! Faults at the traits of broker and database.

use std::sync::Arc;

use futures::future::BoxFuture;
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

impl broker::AdminConnector for FaultyBrokers {
    fn connect<'a>(
        &'a self,
        connection: &'a broker::ManagementConnection,
    ) -> BoxFuture<'a, Result<Arc<dyn broker::BrokerAdmin>, broker::AdminError>> {
        Box::pin(async move {
            let work = self.inner.connect(connection);
            let call = read("broker connect");
            let inner = self.faults.around(call, work, broker_error).await?;
            let faults = self.faults.clone();
            Ok(Arc::new(FaultyBrokerAdmin { inner, faults }) as Arc<dyn broker::BrokerAdmin>)
        })
    }
}

impl broker::BrokerAdmin for FaultyBrokerAdmin {
    fn version(&self) -> BoxFuture<'_, Result<String, broker::AdminError>> {
        Box::pin(async move {
            let work = self.inner.version();
            let call = read("broker version");
            self.faults.around(call, work, broker_error).await
        })
    }

    fn ensure_tenancy<'a>(
        &'a self,
        tenancy: &'a broker::Tenancy,
    ) -> BoxFuture<'a, Result<(), broker::AdminError>> {
        Box::pin(async move {
            let work = self.inner.ensure_tenancy(tenancy);
            let call = write(format!("broker ensure_tenancy {}", tenancy.vhost));
            self.faults.around(call, work, broker_error).await
        })
    }

    fn suspend_tenancy<'a>(
        &'a self,
        names: &'a broker::TenancyNames,
    ) -> BoxFuture<'a, Result<(), broker::AdminError>> {
        Box::pin(async move {
            let work = self.inner.suspend_tenancy(names);
            let call = write(format!("broker suspend_tenancy {}", names.vhost));
            self.faults.around(call, work, broker_error).await
        })
    }

    fn drop_tenancy<'a>(
        &'a self,
        names: &'a broker::TenancyNames,
    ) -> BoxFuture<'a, Result<(), broker::AdminError>> {
        Box::pin(async move {
            let work = self.inner.drop_tenancy(names);
            let call = write(format!("broker drop_tenancy {}", names.vhost));
            self.faults.around(call, work, broker_error).await
        })
    }

    fn ensure_queues<'a>(
        &'a self,
        queues: &'a broker::PipelineQueues,
    ) -> BoxFuture<'a, Result<(), broker::AdminError>> {
        Box::pin(async move {
            let work = self.inner.ensure_queues(queues);
            let call = write(format!("broker ensure_queues {}", queues.queue));
            self.faults.around(call, work, broker_error).await
        })
    }

    fn delete_queues<'a>(
        &'a self,
        vhost: &'a str,
        queue: &'a str,
        dead_letter_queue: &'a str,
    ) -> BoxFuture<'a, Result<(), broker::AdminError>> {
        Box::pin(async move {
            let work = self.inner.delete_queues(vhost, queue, dead_letter_queue);
            let call = write(format!("broker delete_queues {queue}"));
            self.faults.around(call, work, broker_error).await
        })
    }

    fn queue_totals<'a>(
        &'a self,
        vhost: &'a str,
    ) -> BoxFuture<'a, Result<Vec<broker::QueueTotals>, broker::AdminError>> {
        Box::pin(async move {
            let work = self.inner.queue_totals(vhost);
            let call = read(format!("broker queue_totals {vhost}"));
            self.faults.around(call, work, broker_error).await
        })
    }

    fn backlogs(&self) -> BoxFuture<'_, Result<broker::Backlogs, broker::AdminError>> {
        Box::pin(async move {
            let work = self.inner.backlogs();
            let call = read("broker backlogs");
            self.faults.around(call, work, broker_error).await
        })
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

impl coredms::AdminConnector for FaultyStores {
    fn bootstrap<'a>(
        &'a self,
        endpoints: &'a [String],
        setup: &'a coredms::ClusterSetup,
    ) -> BoxFuture<'a, Result<Arc<dyn coredms::StoreAdmin>, coredms::AdminError>> {
        Box::pin(async move {
            let work = self.inner.bootstrap(endpoints, setup);
            let call = write("coredms bootstrap");
            let admin = self.faults.around(call, work, store_error).await?;
            Ok(self.faulty(admin))
        })
    }

    fn connect<'a>(
        &'a self,
        connection: &'a simbdp_coredms::Connection,
    ) -> BoxFuture<'a, Result<Arc<dyn coredms::StoreAdmin>, coredms::AdminError>> {
        Box::pin(async move {
            let work = self.inner.connect(connection);
            let call = read("coredms connect");
            let admin = self.faults.around(call, work, store_error).await?;
            Ok(self.faulty(admin))
        })
    }

    fn answers<'a>(
        &'a self,
        connection: &'a simbdp_coredms::Connection,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.inner.answers(connection).await })
    }

    fn forget<'a>(&'a self, endpoints: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.inner.forget(endpoints).await;
        })
    }
}

impl coredms::StoreAdmin for FaultyStoreAdmin {
    fn serves(&self) -> BoxFuture<'_, Result<(), coredms::AdminError>> {
        Box::pin(async move {
            let work = self.inner.serves();
            let call = read("coredms serves");
            self.faults.around(call, work, store_error).await
        })
    }

    fn members(&self) -> BoxFuture<'_, Result<Vec<coredms::Member>, coredms::AdminError>> {
        Box::pin(async move {
            let work = self.inner.members();
            let call = read("coredms members");
            self.faults.around(call, work, store_error).await
        })
    }

    fn datacenter(&self) -> BoxFuture<'_, Result<Option<String>, coredms::AdminError>> {
        Box::pin(async move {
            let work = self.inner.datacenter();
            let call = read("coredms datacenter");
            self.faults.around(call, work, store_error).await
        })
    }

    fn bytes(&self) -> BoxFuture<'_, Result<u64, coredms::AdminError>> {
        Box::pin(async move {
            let work = self.inner.bytes();
            let call = read("coredms bytes");
            self.faults.around(call, work, store_error).await
        })
    }

    fn unrepaired<'a>(
        &'a self,
        member: &'a str,
    ) -> BoxFuture<'a, Result<coredms::Unrepaired, coredms::AdminError>> {
        Box::pin(async move {
            let work = self.inner.unrepaired(member);
            let call = read(format!("coredms unrepaired {member}"));
            self.faults.around(call, work, store_error).await
        })
    }

    fn ensure_members<'a>(
        &'a self,
        members: &'a [String],
    ) -> BoxFuture<'a, Result<(), coredms::AdminError>> {
        Box::pin(async move {
            let work = self.inner.ensure_members(members);
            let call = write(format!("coredms ensure_members {}", members.len()));
            self.faults.around(call, work, store_error).await
        })
    }

    fn ensure_tenancy<'a>(
        &'a self,
        tenancy: &'a coredms::Tenancy,
    ) -> BoxFuture<'a, Result<(), coredms::AdminError>> {
        Box::pin(async move {
            let work = self.inner.ensure_tenancy(tenancy);
            let call = write(format!("coredms ensure_tenancy {}", tenancy.keyspace));
            self.faults.around(call, work, store_error).await
        })
    }

    fn suspend_tenancy<'a>(
        &'a self,
        names: &'a coredms::TenancyNames,
    ) -> BoxFuture<'a, Result<(), coredms::AdminError>> {
        Box::pin(async move {
            let work = self.inner.suspend_tenancy(names);
            let call = write(format!("coredms suspend_tenancy {}", names.roles.join(",")));
            self.faults.around(call, work, store_error).await
        })
    }

    fn drop_tenancy<'a>(
        &'a self,
        names: &'a coredms::TenancyNames,
    ) -> BoxFuture<'a, Result<(), coredms::AdminError>> {
        Box::pin(async move {
            let work = self.inner.drop_tenancy(names);
            let call = write(format!(
                "coredms drop_tenancy {}",
                names.keyspaces.join(",")
            ));
            self.faults.around(call, work, store_error).await
        })
    }

    fn ensure_table<'a>(
        &'a self,
        keyspace: &'a str,
        table: &'a TableSpec,
    ) -> BoxFuture<'a, Result<(), coredms::AdminError>> {
        Box::pin(async move {
            let work = self.inner.ensure_table(keyspace, table);
            let call = write(format!("coredms ensure_table {keyspace}.{}", table.name));
            self.faults.around(call, work, store_error).await
        })
    }
}
