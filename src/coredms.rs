//! The CoreDms controller: validate → look at what runs → build → apply → observe → resize, roll out → status, and cleanup.
//! A CoreDms refers to nothing, so there is nothing to dereference. An external one is only observed.

pub mod apply;
pub mod build;
pub mod claims;
pub mod cleanup;
pub mod error;
pub mod external;
pub mod joined;
pub mod login;
pub mod names;
pub mod observe;
pub mod place;
pub mod pulse;
pub mod resize;
pub mod rollout;
pub mod size;
pub mod status;
pub mod validate;
pub mod volumes;

use std::time::Duration;

use futures::future::BoxFuture;
use simbdp_api::CoreDms;
use simbdp_api::common::Engine;

use crate::apply::random_text;
use crate::config::Config;
use crate::context::Context;
use crate::controller_runtime::{Controller, Teardown, Told};
use crate::error::{Class, Failure};
use crate::objects::{OwnImage, namespace_of};
use build::{Fresh, Platform};
use error::{Error, database_reason};
use observe::{Database, Observed};
use place::DatabasePlace;
use resize::Resize;
use size::Step;

/// Drift inside the database is looked for this often.
const RESYNC: Duration = Duration::from_secs(600);
/// While members start, their events come first; this is the safety net.
const STARTING: Duration = Duration::from_secs(5);

/// What was seen of a database.
pub enum Seen {
    /// Of one that the operator runs.
    Members(Observed),
    /// Of one that it does not run.
    External(external::Observed),
}

/// The CoreDms controller.
pub struct CoreDmsController;

impl Controller for CoreDmsController {
    type Object = CoreDms;
    type Observed = Seen;
    type Error = Error;
    const MANAGER: &'static str = "simbdp-operator-coredms";

    fn reconcile<'a>(ctx: &'a Context, coredms: &'a CoreDms) -> BoxFuture<'a, Result<Seen, Error>> {
        Box::pin(async move {
            let applier = ctx.applier(Self::MANAGER);
            if let Some(place) = external::validate(coredms)? {
                let observed = external::observe(ctx, &applier, coredms, place).await?;
                return Ok(Seen::External(observed));
            }
            let mut valid = validate::validate(coredms)?;
            let claims = claims::list(&applier, &valid).await?;
            let volumes = volumes::look(&applier, &valid, &claims).await?;
            volumes::grow(ctx, &valid, &volumes).await?;
            valid.needs.storage = volumes.size;
            let platform = platform(
                &ctx.config,
                &ctx.identity.namespace,
                ctx.version(),
                valid.engine,
            );
            let size = claims::look(&applier, &valid, &claims).await?;
            let prepared = build::build(&valid, &platform, fresh(), size.running);
            let applied = apply::apply(&applier, prepared).await?;
            ctx.secrets.watch(&namespace_of(coredms));
            let (mut observed, admin) =
                observe::observe(ctx, &applier, &valid, &applied, size).await?;
            observed.volumes = volumes.volumes;
            joined::record(&applier, &valid, &platform, &mut observed).await?;
            let resize = Resize {
                applier: &applier,
                exec: ctx.exec.as_ref(),
                admin: admin.as_deref(),
                coredms: &valid,
                platform: &platform,
                observed: &observed,
            };
            observed.problem = resize.go_on().await?;
            rollout::go_on(&applier, &valid.namespace, &observed).await?;
            Ok(Seen::Members(observed))
        })
    }

    fn status(coredms: &CoreDms, outcome: &Result<Seen, Error>) -> Told<Self> {
        match outcome {
            Ok(Seen::Members(observed)) => status::status(coredms, observed),
            Ok(Seen::External(observed)) => external::status(coredms, observed),
            Err(error) => status::failed(coredms, error),
        }
    }

    fn resync(seen: &Seen) -> Duration {
        let settled = match seen {
            Seen::Members(observed) => {
                observed.current()
                    && observed.database.up() >= Some(observed.wanted.into())
                    && size::next(observed) == Step::Done
            }
            Seen::External(observed) => matches!(observed.answer, external::Answer::Said { .. }),
        };
        if settled { RESYNC } else { STARTING }
    }

    fn failure(seen: &Seen) -> Option<Failure> {
        let (error, message) = match seen {
            Seen::Members(observed) => match &observed.database {
                Database::Failed(error) | Database::Lost { error, .. } => {
                    (error, error.to_string())
                }
                _ => {
                    let message = observed.problem.clone()?;
                    return Some(Failure {
                        class: Class::Transient,
                        reason: "ResizeFailed",
                        message,
                    });
                }
            },
            Seen::External(observed) => match &observed.answer {
                external::Answer::Failed(error) => {
                    (error, external::explain(error, &observed.place))
                }
                _ => return None,
            },
        };
        Some(Failure {
            class: Class::Transient,
            reason: database_reason(error),
            message,
        })
    }

    fn cleanup<'a>(
        ctx: &'a Context,
        coredms: &'a CoreDms,
    ) -> BoxFuture<'a, Result<Teardown, Error>> {
        Box::pin(async move {
            if coredms.spec.claims.is_empty() {
                ctx.pulses.forget(coredms);
                let endpoints = DatabasePlace::of(coredms).endpoints();
                ctx.coredms.forget(&endpoints).await;
            }
            cleanup::cleanup(&ctx.applier(Self::MANAGER), coredms).await
        })
    }

    fn teardown_status(coredms: &CoreDms, outcome: &Result<Teardown, Error>) -> Told<Self> {
        status::teardown_status(coredms, outcome)
    }
}

fn fresh() -> Fresh {
    Fresh {
        password: random_text(),
        keyfile: random_text(),
    }
}

/// What objects of a database depend on beside its own declaration.
pub fn platform(config: &Config, namespace: &str, version: &str, engine: Engine) -> Platform {
    let images = &config.images;
    Platform {
        namespace: namespace.to_owned(),
        own: OwnImage {
            image: images.simbdp.clone(),
            pull_policy: config.image_pull_policy.as_str().to_owned(),
        },
        repository: match engine {
            Engine::Cassandra => images.cassandra.clone(),
            Engine::MongoDB => images.mongodb.clone(),
        },
        version: version.to_owned(),
    }
}
