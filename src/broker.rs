//! The Broker controller: dereference → validate → credentials → build → apply → observe → status, and cleanup.

pub mod apply;
pub mod build;
pub mod cleanup;
pub mod credentials;
pub mod dereference;
pub mod error;
pub mod external;
pub mod names;
pub mod observe;
pub mod place;
pub mod status;
pub mod validate;

use std::time::Duration;

use futures::future::BoxFuture;
use simbdp_api::Broker;

use crate::apply::random_text;
use crate::config::Config;
use crate::context::Context;
use crate::controller_runtime::{Controller, Teardown, Told};
use crate::error::{Class, Failure};
use crate::objects::OwnImage;
use build::Platform;
pub use credentials::management;
use error::{Error, broker_reason};
use external::NoAnswer;
use observe::Observed;

/// Field manager.
pub const MANAGER: &str = "simbdp-operator-broker";
/// Whether the broker answers is looked at this often.
const RESYNC: Duration = Duration::from_secs(300);
/// While the node starts, its events come first; this is the safety net.
const STARTING: Duration = Duration::from_secs(15);

/// What was seen of a broker.
pub enum Seen {
    /// Of one that the operator runs.
    Nodes(Observed),
    /// Of one that it does not run.
    External(external::Observed),
}

/// The Broker controller.
pub struct BrokerController;

impl Controller for BrokerController {
    type Object = Broker;
    type Observed = Seen;
    type Error = Error;
    const MANAGER: &'static str = MANAGER;

    fn reconcile<'a>(ctx: &'a Context, broker: &'a Broker) -> BoxFuture<'a, Result<Seen, Error>> {
        Box::pin(async move {
            let applier = ctx.applier(MANAGER);
            let other_defaults = dereference::other_defaults(&applier, broker).await?;
            if let Some(place) = external::validate(broker)? {
                let observed = external::observe(ctx, broker, place, other_defaults).await?;
                return Ok(Seen::External(observed));
            }
            let valid = validate::validate(broker)?;
            let platform = platform(&ctx.config, &ctx.identity.namespace, ctx.version());
            let credentials = credentials::ensure(
                &applier,
                &valid,
                &platform.namespace,
                &platform.version,
                random_text,
            )
            .await?;
            let prepared = build::build(&valid, &platform, &credentials);
            let applied = apply::apply(&applier, prepared).await?;
            let observed =
                observe::observe(ctx, &applier, &valid, &applied, credentials, other_defaults)
                    .await?;
            Ok(Seen::Nodes(observed))
        })
    }

    fn status(broker: &Broker, outcome: &Result<Seen, Error>) -> Told<Self> {
        status::status(broker, outcome)
    }

    fn resync(seen: &Seen) -> Duration {
        let answers = match seen {
            Seen::Nodes(observed) => {
                matches!(observed.answer, Some(Ok(_))) && observed.has_quorum()
            }
            Seen::External(observed) => observed.answer.is_ok(),
        };
        if answers { RESYNC } else { STARTING }
    }

    fn failure(seen: &Seen) -> Option<Failure> {
        let (reason, message) = match seen {
            Seen::Nodes(observed) => match &observed.answer {
                Some(Err(error)) => (broker_reason(error), error.to_string()),
                _ => return None,
            },
            Seen::External(observed) => match &observed.answer {
                Err(answer @ NoAnswer::Failed(_)) => {
                    (answer.reason(), answer.explain(&observed.place))
                }
                _ => return None,
            },
        };
        Some(Failure {
            class: Class::Transient,
            reason,
            message,
        })
    }

    fn cleanup<'a>(ctx: &'a Context, broker: &'a Broker) -> BoxFuture<'a, Result<Teardown, Error>> {
        Box::pin(async move {
            cleanup::cleanup(&ctx.applier(MANAGER), &ctx.identity.namespace, broker).await
        })
    }

    fn teardown_status(broker: &Broker, outcome: &Result<Teardown, Error>) -> Told<Self> {
        status::teardown_status(broker, outcome)
    }
}

/// What objects of a broker depend on beside its own declaration.
pub fn platform(config: &Config, namespace: &str, version: &str) -> Platform {
    Platform {
        namespace: namespace.to_owned(),
        own: OwnImage {
            image: config.images.simbdp.clone(),
            pull_policy: config.image_pull_policy.as_str().to_owned(),
        },
        rabbitmq: config.images.rabbitmq.clone(),
        kafka: config.images.kafka.clone(),
        version: version.to_owned(),
    }
}
