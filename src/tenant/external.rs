//! The tenancy in broker and database [IO]: put in place when it is not known to be, and looked at again
//! now and then. Not being able to do so is part of the status, not the end of the reconcile.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use simbdp_api::names::TenantName;
use simbdp_api::{Broker, CoreDms, Tenant};
use simbdp_broker::BrokerAdmin;
use simbdp_broker::admin as broker_api;
use simbdp_coredms::StoreAdmin;
use simbdp_coredms::admin as database_api;

use super::apply::MANAGER;
use super::credentials::Credentials;
use super::error::Error;
use super::memory::digest;
use super::status::{Stage, broker_stage, database_stage};
use crate::apply::text;
use crate::conditions::{READY, find};
use crate::context::Context;
use crate::controller_runtime::{Managed, ManagedStatus};
use crate::coredms::names as database_names_of;
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

/// Since when an object is ready, and what was declared: whatever was put in place before may be gone.
pub fn since_ready<K: Managed>(object: &K) -> String {
    let ready = object
        .status()
        .and_then(|status| find(&status.conditions().conditions, READY))
        .map(|ready| format!("{} {:?}", ready.status, ready.last_transition_time));
    format!(
        "{} {} {}",
        object.uid().unwrap_or_default(),
        object.meta().generation.unwrap_or_default(),
        ready.unwrap_or_default()
    )
}

/// The operator's session in a broker; [`None`] while its administrator has no Secret.
pub async fn broker_admin(
    ctx: &Context,
    broker: &Broker,
) -> Result<Option<Arc<dyn BrokerAdmin>>, Error> {
    let name = broker.name_any();
    let Some(connection) = crate::broker::management(ctx, &name).await? else {
        return Ok(None);
    };
    Ok(Some(ctx.broker.connect(&connection).await?))
}

/// The operator's session in a database; [`None`] while its superuser has no Secret.
pub async fn database_admin(
    ctx: &Context,
    coredms: &CoreDms,
) -> Result<Option<Arc<dyn StoreAdmin>>, Error> {
    let (name, namespace) = (coredms.name_any(), coredms.namespace().unwrap_or_default());
    let secret = ctx
        .applier(MANAGER)
        .get::<Secret>(
            Some(&namespace),
            &database_names_of::superuser_secret(&name),
        )
        .await?;
    let login = secret.and_then(|secret| {
        let username = text(&secret, database_names_of::USERNAME)?;
        Some((username, text(&secret, database_names_of::PASSWORD)?))
    });
    let Some((username, password)) = login else {
        return Ok(None);
    };
    let connection = database_names_of::connection(&name, &namespace, username, password);
    Ok(Some(ctx.coredms.connect(&connection).await?))
}

/// The tenancy in the database: keyspaces and roles.
pub async fn database(
    ctx: &Context,
    tenant: &Tenant,
    name: &TenantName,
    coredms: &CoreDms,
    credentials: &Credentials,
) -> (Stage, Option<Failure>) {
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
        datacenter: database_names_of::DATACENTER.to_owned(),
        replication_factor: 3,
    };
    let wanted = digest(&[
        &tenancy.tenant_role.password,
        &tenancy.platform_role.password,
        &since_ready(coredms),
    ]);
    let ensure = async || {
        let Some(admin) = database_admin(ctx, coredms).await? else {
            return Ok(Stage::waiting(
                "DatabaseNotReady",
                "the database's superuser has no Secret yet",
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
    let wanted = digest(&[&tenancy.password, &since_ready(broker)]);
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
