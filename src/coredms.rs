//! The CoreDms controller: validate → build → apply → observe → status, and cleanup. A CoreDms refers to
//! nothing, so there is nothing to dereference.

pub mod apply;
pub mod build;
pub mod cleanup;
pub mod error;
pub mod names;
pub mod observe;
pub mod status;
pub mod validate;

use std::time::Duration;

use async_trait::async_trait;
use kube::ResourceExt;
use simbdp_api::CoreDms;

use crate::apply::random_text;
use crate::context::Context;
use crate::controller_runtime::{Controller, Teardown, Told};
use crate::error::{Class, Failure};
use crate::objects::{OwnImage, namespace_of};
use build::Platform;
use error::{Error, database_reason};
use observe::{Database, Observed};

/// Drift inside the database is looked for this often.
const RESYNC: Duration = Duration::from_secs(600);
/// While members start, their events come first; this is the safety net.
const STARTING: Duration = Duration::from_secs(5);

/// The CoreDms controller.
pub struct CoreDmsController;

#[async_trait]
impl Controller for CoreDmsController {
    type Object = CoreDms;
    type Observed = Observed;
    type Error = Error;
    const MANAGER: &'static str = "simbdp-operator-coredms";

    async fn reconcile(ctx: &Context, coredms: &CoreDms) -> Result<Observed, Error> {
        let valid = validate::validate(coredms)?;
        let prepared = build::build(&valid, &platform(ctx), random_text());
        let applier = ctx.applier(Self::MANAGER);
        let applied = apply::apply(&applier, prepared).await?;
        ctx.secrets.watch(&namespace_of(coredms));
        observe::observe(ctx, &applier, &valid, &applied).await
    }

    fn status(coredms: &CoreDms, outcome: &Result<Observed, Error>) -> Told<Self> {
        status::status(coredms, outcome)
    }

    fn resync(observed: &Observed) -> Duration {
        match observed.database {
            Database::SetUp { up } if observed.current && up >= usize::from(observed.wanted) => {
                RESYNC
            }
            _ => STARTING,
        }
    }

    fn failure(observed: &Observed) -> Option<Failure> {
        match &observed.database {
            Database::Failed(error) => Some(Failure {
                class: Class::Transient,
                reason: database_reason(error),
                message: error.to_string(),
            }),
            _ => None,
        }
    }

    async fn cleanup(ctx: &Context, coredms: &CoreDms) -> Result<Teardown, Error> {
        let endpoint = names::endpoint(&coredms.name_any(), &namespace_of(coredms));
        ctx.coredms.forget(&[endpoint]).await;
        cleanup::cleanup(&ctx.applier(Self::MANAGER), coredms).await
    }

    fn teardown_status(coredms: &CoreDms, outcome: &Result<Teardown, Error>) -> Told<Self> {
        status::teardown_status(coredms, outcome)
    }
}

fn platform(ctx: &Context) -> Platform {
    Platform {
        own: OwnImage {
            image: ctx.config.images.simbdp.clone(),
            pull_policy: ctx.config.image_pull_policy.as_str().to_owned(),
        },
        repository: ctx.config.images.cassandra.clone(),
        version: ctx.version().to_owned(),
    }
}
