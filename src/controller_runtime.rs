//! The driver of every controller: finalizer, reconcile or cleanup, status, metrics, requeue. A controller
//! says only what its steps are.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kube::api::{Api, Patch, PatchParams};
use kube::core::object::HasStatus;
use kube::runtime::controller::Action;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use simbdp_api::common::Conditions;
use simbdp_api::labels::FINALIZER;
use simbdp_api::{
    Broker, BrokerStatus, CoreDms, CoreDmsStatus, IngestPipeline, IngestPipelineStatus, Tenant,
    TenantStatus,
};

use crate::conditions::{Facts, READY, find};
use crate::context::Context;
use crate::error::{ApiError, Class, Classified, Failure};
use crate::metrics::Figures;
use crate::requeue::Key;

/// A status that the driver completes with conditions and the generation that it is about.
pub trait ManagedStatus:
    Clone + Debug + Default + DeserializeOwned + PartialEq + Send + Serialize + Sync
{
    /// Its conditions.
    fn conditions(&self) -> &Conditions;
    /// What it counts, for the metrics.
    fn figures(&self) -> Figures {
        Figures::default()
    }
    /// Sets both.
    fn complete(&mut self, conditions: Conditions, generation: Option<i64>);
}

/// One of this project's custom resources.
pub trait Managed:
    Clone
    + Debug
    + DeserializeOwned
    + HasStatus<Status: ManagedStatus>
    + Resource<DynamicType = ()>
    + Send
    + Serialize
    + Sync
    + 'static
{
    /// Objects of the kind in a namespace, or those that are in none.
    fn api(client: &Client, namespace: Option<&str>) -> Api<Self>;
}

macro_rules! managed {
    ($kind:ty, $status:ty, $api:expr $(, $figures:item)?) => {
        impl ManagedStatus for $status {
            $($figures)?
            fn conditions(&self) -> &Conditions {
                &self.conditions
            }
            fn complete(&mut self, conditions: Conditions, generation: Option<i64>) {
                self.conditions = conditions;
                self.observed_generation = generation;
            }
        }
        impl Managed for $kind {
            fn api(client: &Client, namespace: Option<&str>) -> Api<Self> {
                let api: fn(Client, &str) -> Api<Self> = $api;
                api(client.clone(), namespace.unwrap_or_default())
            }
        }
    };
}

managed!(Broker, BrokerStatus, |client, _| Api::all(client));
managed!(CoreDms, CoreDmsStatus, |client, namespace| Api::namespaced(
    client, namespace
));
managed!(
    IngestPipeline,
    IngestPipelineStatus,
    |client, namespace| Api::namespaced(client, namespace),
    fn figures(&self) -> Figures {
        Figures {
            backlog: self.backlog,
            dead_letters: self.dead_letters,
            rows: self.rows,
            rejected: self.rejected,
        }
    }
);
managed!(Tenant, TenantStatus, |client, _| Api::all(client));

/// How far a teardown is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Teardown {
    /// Nothing is left: the object may go.
    Done,
    /// Something is left.
    Pending {
        /// Which step, in CamelCase.
        stage: &'static str,
        /// What is waited for, and what a person can do.
        message: String,
        /// When to look again, when no event comes before.
        again: Duration,
    },
}

/// What a status function says: the status but for its conditions, and the facts that make these.
pub type Told<C> = (<<C as Controller>::Object as HasStatus>::Status, Facts);

/// A controller: the steps of one kind.
pub trait Controller: Send + Sync + 'static {
    /// The kind.
    type Object: Managed;
    /// What a reconcile has seen.
    type Observed: Send + Sync;
    /// What can fail.
    type Error: Classified + Send + Sync;
    /// Field manager of everything that the controller applies.
    const MANAGER: &'static str;

    /// Dereference, validate, build, apply, observe.
    fn reconcile<'a>(
        ctx: &'a Context,
        object: &'a Self::Object,
    ) -> BoxFuture<'a, Result<Self::Observed, Self::Error>>;

    /// Status [pure], also of a failure.
    fn status(object: &Self::Object, outcome: &Result<Self::Observed, Self::Error>) -> Told<Self>
    where
        Self: Sized;

    /// When to reconcile again after a success, when no event comes before.
    fn resync(observed: &Self::Observed) -> Duration;

    /// A failure that the reconcile went on after, since status has more to say: it backs off and counts
    /// like any other.
    fn failure(_observed: &Self::Observed) -> Option<Failure> {
        None
    }

    /// Takes away what the object stands for, a step at a time; needs no valid spec.
    fn cleanup<'a>(
        ctx: &'a Context,
        object: &'a Self::Object,
    ) -> BoxFuture<'a, Result<Teardown, Self::Error>>;

    /// Status [pure] of an object that is being deleted.
    fn teardown_status(
        object: &Self::Object,
        outcome: &Result<Teardown, Self::Error>,
    ) -> Told<Self>
    where
        Self: Sized;
}

/// Reconciles one object by name: the driver. `Err` says how the reconcile failed; its status is written.
pub async fn drive<C: Controller>(
    ctx: &Context,
    namespace: Option<&str>,
    name: &str,
) -> Result<Action, Failure> {
    let key = Key {
        kind: C::Object::kind(&()).into_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    };
    let started = Instant::now();
    let outcome = steps::<C>(ctx, &key).await;
    ctx.metrics
        .reconciled(&key.kind, started.elapsed(), outcome.as_ref().err());
    match outcome {
        Ok(action) => {
            ctx.backoff.reset(&key);
            Ok(action)
        }
        Err(failure) => {
            tracing::warn!(
                kind = key.kind,
                namespace,
                name,
                class = failure.class.as_str(),
                reason = failure.reason,
                error = failure.message,
                "reconcile failed"
            );
            Err(failure)
        }
    }
}

/// When to try again after a failure.
pub fn after_failure(ctx: &Context, key: &Key, failure: &Failure) -> Action {
    Action::requeue(ctx.backoff.failed(key, failure.class, rand::random()))
}

async fn steps<C: Controller>(ctx: &Context, key: &Key) -> Result<Action, Failure> {
    let api = C::Object::api(&ctx.client, key.namespace.as_deref());
    let found = api
        .get_opt(&key.name)
        .await
        .map_err(|e| asked("ReadFailed", e))?;
    let Some(object) = found else {
        ctx.metrics.forget(key);
        return Ok(Action::await_change());
    };
    let finalized = object.finalizers().iter().any(|f| f == FINALIZER);
    if object.meta().deletion_timestamp.is_some() {
        return match finalized {
            true => tear_down::<C>(ctx, key, &api, &object).await,
            false => Ok(Action::await_change()),
        };
    }
    if !finalized {
        let finalizers = [object.finalizers(), &[FINALIZER.to_owned()]].concat();
        set_finalizers::<C>(&api, &object, finalizers).await?;
    }
    let outcome = C::reconcile(ctx, &object).await;
    let told = C::status(&object, &outcome);
    write_status::<C>(ctx, key, &api, &object, told).await?;
    let observed = outcome.map_err(|error| Failure::from(&error))?;
    match C::failure(&observed) {
        Some(failure) => Err(failure),
        None => Ok(Action::requeue(C::resync(&observed))),
    }
}

async fn tear_down<C: Controller>(
    ctx: &Context,
    key: &Key,
    api: &Api<C::Object>,
    object: &C::Object,
) -> Result<Action, Failure> {
    let outcome = C::cleanup(ctx, object).await;
    if let Ok(Teardown::Done) = outcome {
        let finalizers = object.finalizers().iter().filter(|f| *f != FINALIZER);
        set_finalizers::<C>(api, object, finalizers.cloned().collect()).await?;
        ctx.metrics.forget(key);
        return Ok(Action::await_change());
    }
    let told = C::teardown_status(object, &outcome);
    write_status::<C>(ctx, key, api, object, told).await?;
    match outcome.map_err(|error| Failure::from(&error))? {
        Teardown::Pending { again, .. } => Ok(Action::requeue(again)),
        Teardown::Done => Ok(Action::await_change()),
    }
}

/// The resourceVersion makes it safe: an object that changed since, or is gone, is read again first.
async fn set_finalizers<C: Controller>(
    api: &Api<C::Object>,
    object: &C::Object,
    finalizers: Vec<String>,
) -> Result<(), Failure> {
    let patch = json!({"metadata": {
        "finalizers": finalizers,
        "resourceVersion": object.resource_version(),
    }});
    let params = PatchParams {
        field_manager: Some(C::MANAGER.to_owned()),
        ..Default::default()
    };
    match api
        .patch(&object.name_any(), &params, &Patch::Merge(patch))
        .await
        .map_err(ApiError)
    {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(404) => Ok(()),
        Err(ApiError(error)) => Err(asked("FinalizerFailed", error)),
    }
}

/// Completes the status and writes it, unless it is as it was. A change of `Ready` is an event, too.
async fn write_status<C: Controller>(
    ctx: &Context,
    key: &Key,
    api: &Api<C::Object>,
    object: &C::Object,
    (mut status, facts): Told<C>,
) -> Result<(), Failure> {
    let before = object.status().cloned().unwrap_or_default();
    let generation = object.meta().generation;
    let conditions = facts.conditions(&before.conditions().conditions, generation, (ctx.clock)());
    ctx.metrics.state(key, &conditions);
    ctx.metrics.figures(key, status.figures());
    status.complete(Conditions { conditions }, generation);
    if object.status() == Some(&status) {
        return Ok(());
    }
    let patch = json!({
        "apiVersion": C::Object::api_version(&()),
        "kind": C::Object::kind(&()),
        "status": status,
    });
    let params = PatchParams::apply(C::MANAGER).force();
    api.patch_status(&key.name, &params, &Patch::Apply(patch))
        .await
        .map_err(|error| asked("StatusFailed", error))?;
    announce::<C>(ctx, object, &before, &status).await;
    Ok(())
}

async fn announce<C: Controller>(
    ctx: &Context,
    object: &C::Object,
    before: &<C::Object as HasStatus>::Status,
    after: &<C::Object as HasStatus>::Status,
) {
    let Some(now) = find(&after.conditions().conditions, READY) else {
        return;
    };
    let was = find(&before.conditions().conditions, READY);
    if was.is_some_and(|was| was.status == now.status && was.reason == now.reason) {
        return;
    }
    let about = object.object_ref(&());
    let stalled =
        crate::conditions::holds(&after.conditions().conditions, crate::conditions::STALLED);
    let lost = was.is_some_and(|was| was.status == "True") && now.status != "True";
    let deleted = object.meta().deletion_timestamp.is_some();
    match (stalled || lost) && !deleted {
        true => {
            ctx.events
                .warning(&about, "Reconcile", &now.reason, &now.message)
                .await
        }
        false => {
            ctx.events
                .normal(&about, "Reconcile", &now.reason, &now.message)
                .await
        }
    }
}

fn asked(reason: &'static str, error: kube::Error) -> Failure {
    let error = ApiError(error);
    Failure {
        class: Class::Transient,
        reason,
        message: error.to_string(),
    }
}
