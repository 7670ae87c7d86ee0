//! The Tenant controller: dereference → validate → build → apply → observe → status, and cleanup.

pub mod apply;
pub mod build;
pub mod cleanup;
pub mod credentials;
pub mod dereference;
pub mod error;
pub mod external;
pub mod hash;
pub mod isolation;
pub mod memory;
pub mod namespace;
pub mod observe;
pub mod placement;
pub mod places;
pub mod status;
pub mod validate;

use std::time::Duration;

use futures::future::BoxFuture;
use kube::ResourceExt;
use simbdp_api::Tenant;
use simbdp_api::names::TenantName;

use crate::apply::random_text;
use crate::context::Context;
use crate::controller_runtime::{Controller, Teardown, Told};
use crate::error::Failure;
use build::meta::{Owner, Platform};
use build::namespace::Hosts;
use error::Error;
use namespace::Claim;
use places::Placed;
use status::{Observed, Parts, Stage};

/// Figures and drift are looked at this often when no event comes before.
const RESYNC: Duration = Duration::from_secs(300);
/// While something starts, the objects' events come first; this is the safety net.
const STARTING: Duration = Duration::from_secs(15);

/// The Tenant controller.
pub struct TenantController;

impl Controller for TenantController {
    type Object = Tenant;
    type Observed = Observed;
    type Error = Error;
    const MANAGER: &'static str = apply::MANAGER;

    fn reconcile<'a>(
        ctx: &'a Context,
        tenant: &'a Tenant,
    ) -> BoxFuture<'a, Result<Observed, Error>> {
        Box::pin(async move {
            let name = TenantName::new(tenant.name_any())?;
            let recorded = tenant
                .status
                .as_ref()
                .and_then(|status| status.namespace_uid.as_deref());
            let found = dereference::dereference(&ctx.client, &name).await?;
            let claim = namespace::claim(&name, found.namespace.as_ref(), recorded)?;
            let valid = validate::validate(tenant, &found.brokers, &found.current())?;
            if matches!(claim, Claim::Forget | Claim::Terminating) {
                return Ok(Observed::NamespaceGone);
            }

            let home = match places::place(ctx, tenant, &valid).await? {
                Placed::At(home) => home,
                Placed::Waiting(stage) => return Ok(Observed::Unplaced(stage)),
            };
            let platform = Platform::of(ctx);
            let owner = Owner::tenant(&name, &platform);
            let applier = ctx.applier(Self::MANAGER);
            let namespace_uid = apply::namespace(
                &ctx.client,
                &applier,
                &owner,
                &claim,
                &Hosts::of(&valid, &home.place),
                &platform,
            )
            .await?;
            ctx.secrets.watch(&name.namespace());
            let generated =
                build::secrets::generated(&owner, &valid, &home.place, &platform, random_text);
            let secrets = apply::secrets(&applier, &owner, generated).await?;
            let credentials = credentials::read(&secrets, &valid.users)?;
            let users = ctx.memory.hasher.users(&credentials.users).await?;
            let gateway = observe::gateway(&applier, &name).await?;
            if let Some(gateway) = &gateway {
                validate::check_staging(&valid.gateway.staging, gateway)?;
            }
            let replicas =
                observe::gateway_replicas(ctx, &valid, gateway.as_ref(), &credentials).await;
            let digest = credentials.digest();
            let prepared = build::build(&valid, &home.place, &digest, &users, replicas, &platform);
            let applied = apply::apply(&applier, prepared).await?;

            let coredms = applied.coredms.as_ref().or(home.shared.as_ref());
            let (database, database_failure) =
                external::database(ctx, tenant, &name, coredms, &credentials).await;
            let (broker, broker_failure) = external::broker(
                ctx,
                tenant,
                &name,
                found.broker(&valid.broker.name),
                &credentials,
            )
            .await;
            let gateway = status::gateway_stage(&applied, valid.gateway.replicas);
            let settled = [&database, &broker, &gateway];
            let settled = settled.into_iter().all(|stage| *stage == Stage::Done);
            let isolation =
                isolation::check(ctx, &applier, tenant, &valid, &home.place, settled).await;
            Ok(Observed::Applied(Box::new(Parts {
                namespace_uid,
                broker_name: valid.broker.name,
                coredms: home.place.reference(),
                placement: home.why,
                members: coredms.and_then(|coredms| coredms.status.as_ref()?.members.clone()),
                database,
                broker,
                gateway,
                isolation,
                failure: database_failure.or(broker_failure),
            })))
        })
    }

    fn status(tenant: &Tenant, outcome: &Result<Observed, Error>) -> Told<Self> {
        status::status(tenant, outcome)
    }

    fn resync(observed: &Observed) -> Duration {
        match observed {
            Observed::Applied(parts)
                if [&parts.database, &parts.broker, &parts.gateway]
                    .into_iter()
                    .all(|stage| *stage == Stage::Done) =>
            {
                RESYNC
            }
            Observed::Applied(_) | Observed::Unplaced(_) => STARTING,
            // Nothing else tells that the record is gone.
            Observed::NamespaceGone => Duration::from_secs(1),
        }
    }

    fn failure(observed: &Observed) -> Option<Failure> {
        match observed {
            Observed::Applied(parts) => parts.failure.clone(),
            Observed::NamespaceGone | Observed::Unplaced(_) => None,
        }
    }

    fn cleanup<'a>(ctx: &'a Context, tenant: &'a Tenant) -> BoxFuture<'a, Result<Teardown, Error>> {
        Box::pin(async move { cleanup::cleanup(ctx, tenant).await })
    }

    fn teardown_status(tenant: &Tenant, outcome: &Result<Teardown, Error>) -> Told<Self> {
        status::teardown_status(tenant, outcome)
    }
}
