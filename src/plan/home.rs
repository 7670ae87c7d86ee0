//! Where the database of a planned Tenant would be [IO]: the operator's own
//! choice among the shared databases that are there and those that are planned.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use simbdp_api::common::Engine;
use simbdp_api::coredms::Claim;
use simbdp_api::{CoreDms, Tenant};

use super::coredms;
use super::error::PlanError;
use super::report::{Item, Section};
use super::scene::{Scene, put};
use super::tenant::place_taken;
use crate::conditions::READY;
use crate::coredms::place::DatabasePlace;
use crate::tenant::placement::{Asked, Choice, choose, from_template};
use crate::tenant::validate::{Database, ValidatedTenant};

/// Where a tenant's database would be.
pub struct Home {
    /// The place.
    pub place: DatabasePlace,
}

/// Chooses; [`None`] where there is no place to have.
pub async fn find(
    scene: &mut Scene<'_>,
    tenant: &Tenant,
    valid: &ValidatedTenant,
    section: &mut Section,
) -> Result<Option<Home>, PlanError> {
    let (engine, reference, recorded) = match &valid.coredms {
        Database::Dedicated(spec) => {
            let place = DatabasePlace::dedicated(&valid.name, spec.engine);
            return Ok(Some(Home { place }));
        }
        Database::Shared {
            engine,
            reference,
            recorded,
        } => (*engine, reference.clone(), recorded.clone()),
    };
    let asked = Asked {
        tenant: &valid.name,
        engine,
        reference: reference.as_deref(),
        recorded: recorded.as_deref(),
        namespace: &scene.platform.namespace,
    };
    let can_create = scene
        .platform
        .config
        .shared_coredms
        .template(engine)
        .is_some();
    let choice = match choose(asked, &scene.shared, can_create) {
        // Once it is ready, the tenant gets its place there.
        Ok(Choice::Wait(message)) => {
            section.note(format!("it waits for its database: {message}"));
            choose(asked, &ready(&scene.shared), can_create)
        }
        other => other,
    };
    let home = match choice {
        Ok(Choice::Has(coredms)) => *coredms,
        Ok(Choice::Take(coredms, why)) => {
            section.note(format!("it gets a place in CoreDms {why}"));
            section.change.push(place_taken(&coredms, &valid.name));
            claimed(scene, *coredms, tenant)
        }
        Ok(Choice::Create(name)) => match create(scene, engine, &name, section).await? {
            Some(made) => claimed(scene, made, tenant),
            None => return Ok(None),
        },
        Ok(Choice::Wait(_)) => return Ok(None),
        Err(no_place) => {
            section.refuse(no_place.reason(), no_place.to_string());
            return Ok(None);
        }
    };
    let place = DatabasePlace::of(&home);
    Ok(Some(Home { place }))
}

/// The next Tenant that is planned finds the place taken.
fn claimed(scene: &mut Scene<'_>, mut coredms: CoreDms, tenant: &Tenant) -> CoreDms {
    coredms.spec.claims.push(Claim {
        tenant: tenant.name_any(),
    });
    let there = scene
        .shared
        .iter()
        .find(|one| one.name_any() == coredms.name_any());
    // What is not ready stays so, for the note of the next Tenant.
    coredms.status = there.and_then(|there| there.status.clone());
    put(&mut scene.shared, coredms.clone());
    coredms
}

/// The shared CoreDms that the operator creates when every one is full.
async fn create(
    scene: &mut Scene<'_>,
    engine: Engine,
    name: &str,
    section: &mut Section,
) -> Result<Option<CoreDms>, PlanError> {
    let platform = scene.platform;
    let template = platform.config.shared_coredms.template(engine);
    let Some(template) = template else {
        return Ok(None);
    };
    let made = from_template(engine, name, &platform.namespace, template);
    section.note(format!(
        "every shared CoreDms is full: the operator creates `{name}`"
    ));
    let item = Item::object("CoreDms", Some(&platform.namespace), name);
    section.create.push(item.with("shared"));
    coredms::children(scene, &made, true, section).await?;
    Ok(Some(made))
}

/// The same, as if each were ready.
fn ready(all: &[CoreDms]) -> Vec<CoreDms> {
    let mut all = all.to_vec();
    for one in &mut all {
        let conditions = &mut one.status.get_or_insert_default().conditions.conditions;
        conditions.retain(|condition| condition.type_ != READY);
        conditions.push(Condition {
            type_: READY.to_owned(),
            status: "True".to_owned(),
            reason: READY.to_owned(),
            message: String::new(),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: None,
        });
    }
    all
}
