//! Places in shared databases [IO]: taken and given up by writing the claims of a CoreDms at its resourceVersion, so that two
//! Tenants that race for the last place never both get it. The claim is the record: whoever looks finds it there.

use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde_json::json;
use simbdp_api::coredms::Claim;
use simbdp_api::names::TenantName;
use simbdp_api::{CoreDms, Tenant};

use super::apply::MANAGER;
use super::error::Error;
use super::placement::{self, Asked, Choice};
use super::status::Stage;
use super::validate::{Database, ValidatedTenant};
use crate::context::Context;
use crate::coredms::place::DatabasePlace;
use crate::error::ApiError;

/// Where a tenant's database is, or what the tenant waits for.
pub enum Placed {
    /// It is there.
    At(Box<Home>),
    /// There is none yet.
    Waiting(Stage),
}

/// Where a tenant's database is.
pub struct Home {
    /// The place.
    pub place: DatabasePlace,
    /// The CoreDms, where it is a shared one.
    pub shared: Option<CoreDms>,
    /// Why it was chosen, when that was just now.
    pub why: Option<String>,
}

impl Placed {
    fn shared(coredms: CoreDms, why: Option<String>) -> Self {
        Self::At(Box::new(Home {
            place: DatabasePlace::of(&coredms),
            shared: Some(coredms),
            why,
        }))
    }
}

/// Decides where a tenant's database is, and takes the place.
pub async fn place(
    ctx: &Context,
    tenant: &Tenant,
    valid: &ValidatedTenant,
) -> Result<Placed, Error> {
    let (engine, reference, recorded) = match &valid.coredms {
        Database::Dedicated(spec) => {
            return Ok(Placed::At(Box::new(Home {
                place: DatabasePlace::dedicated(&valid.name, spec.engine),
                shared: None,
                why: None,
            })));
        }
        Database::Shared {
            engine,
            reference,
            recorded,
        } => (*engine, reference.as_deref(), recorded.as_deref()),
    };
    let asked = Asked {
        tenant: &valid.name,
        engine,
        reference,
        recorded,
        namespace: &ctx.identity.namespace,
    };
    let template = ctx.config.shared_coredms.template(engine);
    // One choice at a time: each sees what the one before took. Between operators the resourceVersion decides.
    let _one = ctx.memory.placing.lock().await;
    let all = list(ctx).await?;
    Ok(match placement::choose(asked, &all, template.is_some())? {
        Choice::Has(coredms) => Placed::shared(*coredms, None),
        Choice::Take(coredms, why) => {
            let claimed = take(ctx, &coredms, &valid.name).await?;
            if elsewhere(ctx, &claimed, &valid.name).await? {
                release(ctx, &claimed, &valid.name).await?;
                let message = "another operator was choosing a place as well";
                return Ok(Placed::Waiting(Stage::waiting("DatabaseNotReady", message)));
            }
            let about = tenant.object_ref(&());
            ctx.events.normal(&about, "Place", "Placed", &why).await;
            Placed::shared(claimed, Some(why))
        }
        Choice::Wait(message) => Placed::Waiting(Stage::waiting("DatabaseNotReady", message)),
        Choice::Create(name) => {
            if let Some(template) = template {
                let namespace = asked.namespace;
                create(
                    ctx,
                    &placement::from_template(engine, &name, namespace, template),
                )
                .await?;
            }
            let message = format!("every shared CoreDms is full; `{name}` is being created");
            Placed::Waiting(Stage::waiting("DatabaseNotReady", message))
        }
    })
}

fn api(ctx: &Context) -> Api<CoreDms> {
    Api::namespaced(ctx.client.clone(), &ctx.identity.namespace)
}

async fn list(ctx: &Context) -> Result<Vec<CoreDms>, Error> {
    let listed = api(ctx).list(&ListParams::default()).await;
    Ok(listed.map_err(Error::reading("the shared CoreDms"))?.items)
}

/// The shared CoreDms in which a tenant has a place.
pub async fn claimed(ctx: &Context, tenant: &TenantName) -> Result<Option<CoreDms>, Error> {
    let all = list(ctx).await?;
    Ok(all
        .into_iter()
        .find(|one| one.spec.claimed_by(tenant.as_str())))
}

async fn take(ctx: &Context, coredms: &CoreDms, tenant: &TenantName) -> Result<CoreDms, Error> {
    let mut claims = coredms.spec.claims.clone();
    claims.push(Claim {
        tenant: tenant.to_string(),
    });
    write(ctx, coredms, claims).await
}

/// Whether the tenant has another place as well: an operator that no longer leads may just have taken one. Whoever
/// writes last sees it, and gives up its own.
async fn elsewhere(ctx: &Context, taken: &CoreDms, tenant: &TenantName) -> Result<bool, Error> {
    let all = list(ctx).await?;
    Ok(all
        .iter()
        .filter(|one| one.name_any() != taken.name_any())
        .any(|one| one.spec.claimed_by(tenant.as_str())))
}

/// Gives a tenant's place up for others.
pub async fn release(ctx: &Context, coredms: &CoreDms, tenant: &TenantName) -> Result<(), Error> {
    let mut claims = coredms.spec.claims.clone();
    claims.retain(|claim| claim.tenant != tenant.as_str());
    write(ctx, coredms, claims).await.map(drop)
}

/// The resourceVersion makes it safe: a CoreDms that changed since is read again first.
async fn write(ctx: &Context, coredms: &CoreDms, claims: Vec<Claim>) -> Result<CoreDms, Error> {
    let patch = json!({
        "metadata": {"resourceVersion": coredms.resource_version()},
        "spec": {"claims": claims},
    });
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..Default::default()
    };
    let name = coredms.name_any();
    api(ctx)
        .patch(&name, &params, &Patch::Merge(patch))
        .await
        .map_err(|error| Error::Claim {
            coredms: name,
            source: ApiError(error),
        })
}

/// Never over one that is there: whoever else found every one full made it under the same name.
async fn create(ctx: &Context, coredms: &CoreDms) -> Result<(), Error> {
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..Default::default()
    };
    match api(ctx).create(&params, coredms).await.map_err(ApiError) {
        Err(error) if error.code() == Some(409) => Ok(()),
        other => other.map(drop).map_err(|source| Error::Create {
            coredms: coredms.name_any(),
            source,
        }),
    }
}
