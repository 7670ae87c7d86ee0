//! The tenancy in broker and database [IO]: put in place when it is not known to be, and looked at again
//! now and then. Not being able to do so is part of the status, not the end of the reconcile.

use std::sync::Arc;

use kube::ResourceExt;
use simbdp_api::common::Engine;
use simbdp_api::names::TenantName;
use simbdp_api::{Broker, CoreDms, CoreDmsSpec, Tenant};
use simbdp_broker::BrokerAdmin;
use simbdp_broker::admin as broker_api;
use simbdp_coredms::StoreAdmin;
use simbdp_coredms::admin as database_api;

use super::apply::MANAGER;
use super::credentials::Credentials;
use super::error::Error;
use super::memory::digest;
use super::status::{Stage, broker_stage, database_stage};
use crate::conditions::{READY, find};
use crate::context::Context;
use crate::controller_runtime::{Managed, ManagedStatus};
use crate::coredms::login;
use crate::coredms::names as database_names_of;
use crate::coredms::place::DatabasePlace;
use crate::error::Failure;

/// Most connections to a tenant's virtual host: gateways and ingest apps take two each.
const MAX_CONNECTIONS: u32 = 512;
/// Most queues of a tenant: two a pipeline.
const MAX_QUEUES: u32 = 512;

/// Names of the tenancy in a broker.
pub fn broker_names(tenant: &TenantName) -> broker_api::TenancyNames {
    broker_api::TenancyNames {
        vhost: tenant.vhost(),
        username: tenant.broker_user(),
    }
}

/// Names of the tenancy in a database.
pub fn database_names(tenant: &TenantName) -> database_api::TenancyNames {
    database_api::TenancyNames {
        keyspaces: vec![tenant.keyspace(), tenant.platform_keyspace()],
        roles: vec![tenant.tenant_role(), tenant.platform_role()],
    }
}

/// Since when a database is ready, and what was declared of it: whatever was put in place before may be gone. Who else
/// has a place in it does not matter.
pub fn database_since(coredms: &CoreDms) -> String {
    let spec = CoreDmsSpec {
        claims: Vec::new(),
        max_tenants: None,
        ..coredms.spec.clone()
    };
    let declared = serde_json::to_string(&spec).unwrap_or_default();
    since_ready(coredms, &declared)
}

/// The same of a Broker.
pub fn broker_since(broker: &Broker) -> String {
    let generation = broker.metadata.generation.unwrap_or_default();
    since_ready(broker, &generation.to_string())
}

fn since_ready<K: Managed>(object: &K, declared: &str) -> String {
    let ready = object
        .status()
        .and_then(|status| find(&status.conditions().conditions, READY))
        .map(|ready| format!("{} {:?}", ready.status, ready.last_transition_time));
    format!(
        "{} {declared} {}",
        object.uid().unwrap_or_default(),
        ready.unwrap_or_default()
    )
}

/// The operator's session in a broker; [`None`] while there is no Secret with its login.
pub async fn broker_admin(
    ctx: &Context,
    broker: &Broker,
) -> Result<Option<Arc<dyn BrokerAdmin>>, Error> {
    match crate::broker::management(ctx, broker).await? {
        Ok(connection) => Ok(Some(ctx.broker.connect(&connection).await?)),
        Err(_) => Ok(None),
    }
}

/// The operator's session in a database; [`None`] while there is no Secret with its login.
pub async fn database_admin(
    ctx: &Context,
    coredms: &CoreDms,
) -> Result<Option<Arc<dyn StoreAdmin>>, Error> {
    let place = DatabasePlace::of(coredms);
    match login::connection(&ctx.applier(MANAGER), &place).await? {
        Ok(connection) => Ok(Some(ctx.coredms.connect(&connection).await?)),
        Err(_) => Ok(None),
    }
}

/// How the tenant's keyspaces are replicated, where that is not the engine's own affair; [`None`] until it is known.
fn replication(coredms: &CoreDms) -> Option<Option<database_api::Replication>> {
    match coredms.spec.engine {
        Engine::MongoDB => Some(None),
        Engine::Cassandra => {
            let datacenter = DatabasePlace::of(coredms).datacenter?;
            Some(Some(database_names_of::replication(datacenter)))
        }
    }
}

/// The tenancy in the database: keyspaces and roles.
pub async fn database(
    ctx: &Context,
    tenant: &Tenant,
    name: &TenantName,
    coredms: Option<&CoreDms>,
    credentials: &Credentials,
) -> (Stage, Option<Failure>) {
    let found = coredms.and_then(|coredms| Some((coredms, replication(coredms)?)));
    let Some((coredms, replication)) = found else {
        let waiting = Stage::waiting("DatabaseNotReady", "the database is being looked at");
        return (waiting, None);
    };
    let tenancy = database_api::Tenancy {
        keyspace: name.keyspace(),
        platform_keyspace: name.platform_keyspace(),
        tenant_role: database_api::RoleLogin {
            name: name.tenant_role(),
            password: credentials.tenant_role.clone(),
        },
        platform_role: database_api::RoleLogin {
            name: name.platform_role(),
            password: credentials.platform_role.clone(),
        },
        replication,
    };
    let wanted = digest(&[
        &tenancy.tenant_role.password,
        &tenancy.platform_role.password,
        &database_since(coredms),
    ]);
    let ensure = async || {
        let Some(admin) = database_admin(ctx, coredms).await? else {
            return Ok(Stage::waiting(
                "DatabaseNotReady",
                "there is no Secret with a login to the database yet",
            ));
        };
        admin.ensure_tenancy(&tenancy).await?;
        Ok(Stage::Done)
    };
    once(
        ctx,
        tenant,
        "database",
        wanted,
        database_stage(coredms),
        ensure,
    )
    .await
}

/// The tenancy in the broker: virtual host, user, permissions and limits.
pub async fn broker(
    ctx: &Context,
    tenant: &Tenant,
    name: &TenantName,
    broker: Option<&Broker>,
    credentials: &Credentials,
) -> (Stage, Option<Failure>) {
    let Some(broker) = broker else {
        return (Stage::waiting("BrokerNotFound", "the Broker is gone"), None);
    };
    let tenancy = broker_api::Tenancy {
        vhost: name.vhost(),
        username: name.broker_user(),
        password: credentials.broker.clone(),
        max_connections: MAX_CONNECTIONS,
        max_queues: MAX_QUEUES,
    };
    let wanted = digest(&[&tenancy.password, &broker_since(broker)]);
    let ensure = async || {
        let Some(admin) = broker_admin(ctx, broker).await? else {
            return Ok(Stage::waiting(
                "BrokerNotReady",
                "the Broker's administrator has no Secret yet",
            ));
        };
        admin.ensure_tenancy(&tenancy).await?;
        Ok(Stage::Done)
    };
    once(ctx, tenant, "broker", wanted, broker_stage(broker), ensure).await
}

/// Ensures what is wanted unless that was done not long ago, or the server is not ready for it.
async fn once(
    ctx: &Context,
    tenant: &Tenant,
    what: &str,
    wanted: String,
    server: Stage,
    ensure: impl AsyncFnOnce() -> Result<Stage, Error>,
) -> (Stage, Option<Failure>) {
    let what = format!("{what}/{}", tenant.uid().unwrap_or_default());
    if server != Stage::Done || ctx.memory.is_ensured(&what, &wanted).await {
        return (server, None);
    }
    match ensure().await {
        Ok(stage) => {
            if stage == Stage::Done {
                ctx.memory.ensured(what, wanted).await;
            }
            (stage, None)
        }
        Err(error) => {
            let failure = Failure::from(&error);
            (Stage::failed(&failure), Some(failure))
        }
    }
}
