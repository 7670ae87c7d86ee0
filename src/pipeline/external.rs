//! The pipeline's table and queues in the tenant's database and broker [IO]: put in place when they are
//! not known to be, and looked at again now and then.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Api, ListParams};
use simbdp_api::{Broker, CoreDms, IngestPipeline};
use simbdp_broker::BrokerAdmin;
use simbdp_broker::admin::AdminError;
use simbdp_coredms::admin::AdminError as DatabaseError;

use super::build;
use super::error::Error;
use super::status::Backlog;
use super::validate::ValidatedPipeline;
use crate::context::Context;
use crate::error::Failure;
use crate::tenant::external::{broker_admin, broker_since, database_admin, database_since};
use crate::tenant::memory::digest;
use crate::tenant::status::{Stage, broker_stage, database_stage};
use crate::tenant::validate::max_queue_bytes;

/// The table: created or added to. A conflict is an error; that the database cannot be asked now is not,
/// since the pipeline's figures are still of interest.
pub async fn table(
    ctx: &Context,
    object: &IngestPipeline,
    pipeline: &ValidatedPipeline,
    coredms: Option<&CoreDms>,
) -> Result<(Stage, Option<Failure>), Error> {
    let Some(coredms) = coredms else {
        let waiting = Stage::waiting("DatabaseNotReady", "the tenant's database is not there yet");
        return Ok((waiting, None));
    };
    let wanted = digest(&[
        &serde_json::to_string(&pipeline.table).unwrap_or_default(),
        &database_since(coredms),
    ]);
    let what = format!("table/{}", object.uid().unwrap_or_default());
    if ctx.memory.is_ensured(&what, &wanted).await {
        return Ok((Stage::Done, None));
    }
    let waiting @ Stage::Waiting { .. } = database_stage(coredms) else {
        return match ensure_table(ctx, pipeline, coredms).await {
            Ok(true) => {
                ctx.memory.ensured(what, wanted).await;
                Ok((Stage::Done, None))
            }
            Ok(false) => Ok((
                Stage::waiting(
                    "DatabaseNotReady",
                    "there is no Secret with a login to the database yet",
                ),
                None,
            )),
            Err(Error::Tenant(crate::tenant::error::Error::Database(
                DatabaseError::TableConflict {
                    table,
                    column,
                    reason,
                },
            ))) => Err(Error::TableConflict {
                conflict: DatabaseError::TableConflict {
                    table,
                    column,
                    reason,
                }
                .to_string(),
                others: others(ctx, object).await?,
            }),
            Err(error) => {
                let failure = Failure::from(&error);
                Ok((Stage::failed(&failure), Some(failure)))
            }
        };
    };
    Ok((waiting, None))
}

async fn ensure_table(
    ctx: &Context,
    pipeline: &ValidatedPipeline,
    coredms: &CoreDms,
) -> Result<bool, Error> {
    let Some(admin) = database_admin(ctx, coredms).await? else {
        return Ok(false);
    };
    admin
        .ensure_table(&pipeline.tenant.keyspace(), &pipeline.table)
        .await
        .map_err(crate::tenant::error::Error::from)?;
    Ok(true)
}

/// Other pipelines with the same table.
async fn others(ctx: &Context, pipeline: &IngestPipeline) -> Result<Vec<String>, Error> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let api: Api<IngestPipeline> = Api::namespaced(ctx.client.clone(), &namespace);
    let all = api
        .list(&ListParams::default())
        .await
        .map_err(Error::reading("the pipelines with the same table"))?;
    let mut names: Vec<String> = all
        .iter()
        .filter(|other| other.spec.table.name == pipeline.spec.table.name)
        .map(ResourceExt::name_any)
        .filter(|name| *name != pipeline.name_any())
        .collect();
    names.sort();
    Ok(names)
}

/// The queues.
pub async fn queues(
    ctx: &Context,
    object: &IngestPipeline,
    pipeline: &ValidatedPipeline,
    broker: Option<&Broker>,
) -> (Stage, Option<Failure>) {
    let Some(broker) = broker else {
        let message = "the tenant's Broker is gone: see condition BrokerReady of the Tenant";
        return (Stage::waiting("BrokerNotReady", message), None);
    };
    match ensure_queues(ctx, object, pipeline, broker).await {
        Ok(stage) => (stage, None),
        Err(error) => {
            let failure = Failure::from(&error);
            (Stage::failed(&failure), Some(failure))
        }
    }
}

async fn ensure_queues(
    ctx: &Context,
    object: &IngestPipeline,
    pipeline: &ValidatedPipeline,
    broker: &Broker,
) -> Result<Stage, Error> {
    let max_bytes = max_queue_bytes(broker);
    let consumers = pipeline.bounds.max;
    let queues = build::queues(&pipeline.tenant, &pipeline.name, max_bytes, consumers);
    let wanted = digest(&[&format!("{queues:?}"), &broker_since(broker)]);
    let what = format!("queues/{}", object.uid().unwrap_or_default());
    if ctx.memory.is_ensured(&what, &wanted).await {
        return Ok(Stage::Done);
    }
    if let waiting @ Stage::Waiting { .. } = broker_stage(broker) {
        return Ok(waiting);
    }
    let Some(admin) = broker_admin(ctx, broker).await? else {
        return Ok(Stage::waiting(
            "BrokerNotReady",
            "the Broker's administrator has no Secret yet",
        ));
    };
    admin.ensure_queues(&queues).await?;
    ctx.memory.ensured(what, wanted).await;
    Ok(Stage::Done)
}

/// How full the work queue and the dead-letter queue are, or why nobody can tell; one question for all pipelines of a
/// Broker.
pub async fn totals(
    ctx: &Context,
    pipeline: &ValidatedPipeline,
    broker: &Broker,
) -> Result<Backlog, AdminError> {
    let asked = ctx
        .memory
        .backlogs(&broker.name_any(), async || {
            administrator(ctx, broker).await
        })
        .await?;
    let (vhost, name) = (pipeline.tenant.vhost(), &pipeline.name);
    let queue = name.queue();
    let work = asked.get(&vhost, &queue).cloned().ok_or_else(|| {
        AdminError::Unavailable(format!("it does not tell how full queue `{queue}` is"))
    })?;
    Ok(Backlog {
        work,
        dead: asked.get(&vhost, &name.dead_letter_queue()).cloned(),
    })
}

/// The operator's session in a Broker.
pub async fn administrator(
    ctx: &Context,
    broker: &Broker,
) -> Result<Arc<dyn BrokerAdmin>, AdminError> {
    match broker_admin(ctx, broker).await {
        Ok(Some(admin)) => Ok(admin),
        Ok(None) => Err(AdminError::Unavailable(
            "its administrator has no Secret yet".into(),
        )),
        Err(error) => Err(AdminError::Unavailable(error.to_string())),
    }
}
