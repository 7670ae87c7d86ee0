//! Volumes of members grow with what is declared: [`look`] reads StorageClasses [IO], [`plan`] decides
//! [pure], [`grow`] asks for more [IO]. A StatefulSet cannot change its claims: it is made anew around its pods.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use simbdp_api::common::Quantity;

use super::error::Error;
use super::validate::ValidatedCoreDms;
use crate::apply::{Applier, ApplyError};
use crate::context::Context;
use crate::objects::memory;

/// A member's claim.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claimed {
    /// Its name.
    pub name: String,
    /// What it asks for, bytes.
    pub requested: u64,
    /// What it has, bytes; [`None`] until it is bound.
    pub capacity: Option<u64>,
    /// Its StorageClass.
    pub class: String,
    /// Whether that class lets volumes grow.
    pub expandable: bool,
}

/// How far the volumes are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Volumes {
    /// As large as declared.
    AsDeclared,
    /// On their way.
    Growing {
        /// Claims that have not what was declared yet.
        claims: Vec<String>,
    },
    /// They cannot grow.
    Refused {
        /// The StorageClass that does not let them.
        class: String,
        /// What they have instead, bytes.
        size: u64,
    },
}

/// What is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// What new members' volumes have, bytes.
    pub size: u64,
    /// Claims that are to ask for that.
    pub grow: Vec<String>,
    /// How far the volumes are then.
    pub volumes: Volumes,
}

/// Decides [pure]. Volumes that are larger than what is asked, as those that were retained may be, stay so.
pub fn plan(asked: u64, claims: &[Claimed]) -> Plan {
    let largest = claims.iter().map(|claim| claim.requested).max();
    let small: Vec<_> = claims
        .iter()
        .filter(|claim| claim.requested < asked)
        .collect();
    if let Some(fixed) = small.iter().find(|claim| !claim.expandable) {
        let size = largest.unwrap_or(asked).min(asked);
        let class = fixed.class.clone();
        return Plan {
            size,
            grow: Vec::new(),
            volumes: Volumes::Refused { class, size },
        };
    }
    let behind = |claim: &&Claimed| claim.capacity.is_some_and(|capacity| capacity < asked);
    let names = |claims: &mut dyn Iterator<Item = &Claimed>| -> Vec<String> {
        claims.map(|claim| claim.name.clone()).collect()
    };
    let growing = names(&mut claims.iter().filter(behind));
    Plan {
        size: asked.max(largest.unwrap_or(asked)),
        grow: names(&mut small.into_iter()),
        volumes: match growing.is_empty() {
            true => Volumes::AsDeclared,
            false => Volumes::Growing { claims: growing },
        },
    }
}

fn bytes(
    quantity: Option<&k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
) -> Option<u64> {
    Quantity(quantity?.0.clone()).bytes().ok()
}

fn claimed(claim: &PersistentVolumeClaim, classes: &[StorageClass]) -> Option<Claimed> {
    let spec = claim.spec.as_ref()?;
    let requests = spec.resources.as_ref()?.requests.as_ref()?;
    let status = claim.status.as_ref();
    let capacity = status.and_then(|status| status.capacity.as_ref());
    let class = spec.storage_class_name.clone().unwrap_or_default();
    let its = classes.iter().find(|known| known.name_any() == class);
    Some(Claimed {
        name: claim.name_any(),
        requested: bytes(requests.get("storage"))?,
        capacity: bytes(capacity.and_then(|capacity| capacity.get("storage"))),
        expandable: its.is_some_and(|class| class.allow_volume_expansion == Some(true)),
        class,
    })
}

/// Decides by the members' claims, and by the StorageClasses where these matter: when a claim is to grow, and before there
/// is any. A class that is not there is told before anything waits for it.
pub async fn look(
    applier: &Applier,
    coredms: &ValidatedCoreDms,
    claims: &[PersistentVolumeClaim],
) -> Result<Plan, Error> {
    let asked = coredms.needs.storage;
    let claimed = |classes: &[StorageClass]| -> Vec<Claimed> {
        let claims = claims.iter();
        claims.filter_map(|one| claimed(one, classes)).collect()
    };
    let known = claimed(&[]);
    let large = known.iter().all(|claim| claim.requested >= asked);
    if large && !known.is_empty() {
        return Ok(plan(asked, &known));
    }
    let classes: Vec<StorageClass> = applier.list(None, "").await?;
    if let Some(class) = &coredms.storage_class
        && known.is_empty()
        && !classes.iter().any(|known| known.name_any() == *class)
    {
        return Err(Error::StorageClassMissing {
            class: class.clone(),
            known: classes.iter().map(ResourceExt::name_any).collect(),
        });
    }
    Ok(plan(asked, &claimed(&classes)))
}

/// Lets claims ask for more.
pub async fn grow(ctx: &Context, coredms: &ValidatedCoreDms, plan: &Plan) -> Result<(), Error> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &coredms.namespace);
    let requests = json!({"storage": memory(plan.size)});
    let patch = Patch::Merge(json!({"spec": {"resources": {"requests": requests}}}));
    for claim in &plan.grow {
        tracing::info!(claim, bytes = plan.size, "growing a volume");
        let patched = api.patch(claim, &PatchParams::default(), &patch).await;
        patched.map_err(|error| ApplyError::Write {
            object: format!("PersistentVolumeClaim {claim}"),
            source: error.into(),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(name: &str, requested: u64, capacity: u64, expandable: bool) -> Claimed {
        Claimed {
            name: name.into(),
            requested,
            capacity: Some(capacity),
            class: "fast".into(),
            expandable,
        }
    }

    #[test]
    fn volumes_grow_where_their_class_lets_them() {
        let before = [claim("a", 1, 1, true), claim("b", 1, 1, true)];
        let both = vec!["a".to_owned(), "b".to_owned()];
        let growing = Volumes::Growing {
            claims: both.clone(),
        };
        let asked = plan(2, &before);
        assert_eq!(
            (asked.size, &asked.grow, &asked.volumes),
            (2, &both, &growing)
        );
        // One was asked for when somebody died; the other has it already.
        let between = plan(2, &[claim("a", 2, 1, true), claim("b", 1, 2, true)]);
        assert_eq!(between.grow, ["b"]);
        let waiting = plan(2, &[claim("a", 2, 1, true), claim("b", 2, 2, true)]);
        assert!(waiting.grow.is_empty());
        assert_eq!(
            waiting.volumes,
            Volumes::Growing {
                claims: vec!["a".into()]
            }
        );
        let done = plan(2, &[claim("a", 2, 2, true), claim("b", 2, 3, true)]);
        assert_eq!((done.size, done.volumes), (2, Volumes::AsDeclared));
    }

    #[test]
    fn where_the_class_does_not_nothing_is_altered() {
        let refused = plan(2, &[claim("a", 1, 1, false), claim("b", 1, 1, false)]);
        let class = "fast".to_owned();
        assert_eq!((refused.size, refused.grow.len()), (1, 0));
        assert_eq!(refused.volumes, Volumes::Refused { class, size: 1 });
    }

    #[test]
    fn volumes_that_are_larger_stay_and_new_ones_are_as_asked() {
        assert_eq!(plan(2, &[]).size, 2);
        let retained = plan(1, &[claim("a", 2, 2, false)]);
        assert_eq!((retained.size, retained.volumes), (2, Volumes::AsDeclared));
    }
}
