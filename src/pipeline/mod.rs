//! The IngestPipeline controller: dereference → validate → build → apply → observe → status, and
//! cleanup.

pub mod apply;
pub mod build;
pub mod cleanup;
pub mod dereference;
pub mod error;
pub mod external;
pub mod observe;
pub mod status;
pub mod validate;

use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::Deployment;
use simbdp_api::IngestPipeline;

use crate::activation::workload;
use crate::apply::ApplyError;
use crate::context::Context;
use crate::controller_runtime::{Controller, Teardown, Told};
use crate::error::Failure;
use crate::tenant::build::Platform;
use crate::tenant::status::Stage;
use dereference::{Access, Found, Home};
use error::Error;
use status::{Apps, Observed, Parts};

/// Figures are looked at this often.
const FIGURES: Duration = Duration::from_secs(10);
/// A gateway is loading or an ingest app stops, which nothing tells the operator.
const CHANGING: Duration = Duration::from_secs(2);

/// An ingest app that is not ready after so many seconds has something wrong with it.
const STARTING_SECONDS: i64 = 60;
const NO_BROKER: &str = "the tenant's Broker is gone";

/// The IngestPipeline controller.
pub struct PipelineController;

impl Controller for PipelineController {
    type Object = IngestPipeline;
    type Observed = Observed;
    type Error = Error;
    const MANAGER: &'static str = apply::MANAGER;

    fn reconcile<'a>(
        ctx: &'a Context,
        pipeline: &'a IngestPipeline,
    ) -> BoxFuture<'a, Result<Observed, Error>> {
        Box::pin(async move {
            let applier = ctx.applier(Self::MANAGER);
            let (tenant, name) = match dereference::find_home(ctx, pipeline).await? {
                Home::Living(tenant, name) => (tenant, name),
                Home::NotYet { message, .. } => return Ok(Observed::TenantNotReady(message)),
                Home::Stopped {
                    tenant, message, ..
                } => {
                    cleanup::suspend(ctx, &applier, pipeline, &tenant, &message).await?;
                    return Ok(Observed::TenantStopped(message));
                }
            };
            let ceilings = crate::tenant::validate::ceilings(&tenant)?;
            let valid = validate::validate(pipeline, &name, tenant.spec.paused, &ceilings)?;
            let found = dereference::dereference(ctx, &applier, &tenant, &name).await?;
            let Some(access) = &found.access else {
                return Ok(Observed::TenantNotReady(
                    "the tenant's Secrets are being made".to_owned(),
                ));
            };

            let (table, table_failure) =
                external::table(ctx, pipeline, &valid, found.coredms.as_ref()).await?;
            let (queues, queues_failure) =
                external::queues(ctx, pipeline, &valid, found.broker.as_ref()).await;
            let mut parts = Parts {
                generation: valid.generation,
                table,
                queues,
                gateway_replicas: found.gateway_replicas,
                loaded: Vec::new(),
                backlog: Err(NO_BROKER.to_owned()),
                apps: Apps::default(),
                paused: valid.paused,
                failure: table_failure.or(queues_failure),
            };
            observe_or_apply(ctx, &applier, &valid, &found, access, &mut parts).await?;
            Ok(Observed::Applied(Box::new(parts)))
        })
    }

    fn status(pipeline: &IngestPipeline, outcome: &Result<Observed, Error>) -> Told<Self> {
        status::status(pipeline, outcome)
    }

    fn resync(observed: &Observed) -> Duration {
        match observed {
            Observed::Applied(parts)
                if parts.accepting() != Stage::Done || parts.apps.former > 0 =>
            {
                CHANGING
            }
            _ => FIGURES,
        }
    }

    fn failure(observed: &Observed) -> Option<Failure> {
        match observed {
            Observed::Applied(parts) => parts.failure.clone(),
            Observed::TenantNotReady(_) | Observed::TenantStopped(_) => None,
        }
    }

    fn cleanup<'a>(
        ctx: &'a Context,
        pipeline: &'a IngestPipeline,
    ) -> BoxFuture<'a, Result<Teardown, Error>> {
        Box::pin(async move { cleanup::cleanup(ctx, pipeline).await })
    }

    fn teardown_status(pipeline: &IngestPipeline, outcome: &Result<Teardown, Error>) -> Told<Self> {
        status::teardown_status(pipeline, outcome)
    }
}

/// A new generation is given to gateway and ingest apps only when its table and queues are there; until
/// then the former one goes on. Figures are taken either way.
async fn observe_or_apply(
    ctx: &Context,
    applier: &crate::apply::Applier,
    valid: &validate::ValidatedPipeline,
    found: &Found,
    access: &Access,
    parts: &mut Parts,
) -> Result<(), Error> {
    let in_place = parts.table == Stage::Done && parts.queues == Stage::Done;
    let (revision, ingest) = match in_place {
        true => {
            let prepared = build::build(valid, &access.digest, &Platform::of(ctx));
            let applied = apply::apply(&ctx.client, applier, valid, prepared).await?;
            apply::announce(&ctx.client, &valid.tenant, &applied.config).await?;
            let revision = applied.config.metadata.resource_version.unwrap_or_default();
            (revision, Some(applied.ingest))
        }
        false => (String::new(), observe::ingest(applier, valid).await?),
    };
    parts.apps = apps(ctx, valid, ingest.as_ref()).await?;
    parts.loaded = observe::loaded(ctx, valid, found.gateway_replicas, access, &revision).await;
    if let Some(broker) = &found.broker {
        parts.backlog = external::totals(ctx, valid, broker)
            .await
            .map_err(|error| error.to_string());
    }
    Ok(())
}

/// What runs of the ingest app, and whether it has had its time to start.
async fn apps(
    ctx: &Context,
    valid: &validate::ValidatedPipeline,
    ingest: Option<&Deployment>,
) -> Result<Apps, ApplyError> {
    let Some(ingest) = ingest else {
        return Ok(Apps {
            least: valid.bounds.min,
            ..Apps::default()
        });
    };
    let (declared, ready) = (workload::replicas(ingest), status::ready_apps(ingest));
    let what = format!("starting/{}", valid.owner.uid);
    let overdue = match declared > 0 && ready == 0 {
        true => {
            let now = (ctx.clock)().as_second();
            now - ctx.memory.since(what, now).await >= STARTING_SECONDS
        }
        false => {
            ctx.memory.no_longer(&what).await;
            false
        }
    };
    Ok(Apps {
        least: valid.bounds.min,
        declared,
        ready,
        former: observe::former_apps(ctx, valid, ingest).await?,
        overdue,
    })
}
