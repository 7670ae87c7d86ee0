//! Members that have joined: their addresses and volumes, kept for their pods' next start. [`seen`] tells [pure],
//! [`record`] keeps it [IO]. A member that comes back with another volume takes the place of the one it was, and is marked
//! on its claim: it is to be repaired.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use simbdp_api::labels::TO_REPAIR;
use simbdp_coredms::admin::Member;

use super::build::{DATA_VOLUME, Platform, joined_members};
use super::claims::Claim;
use super::names;
use super::observe::{Database, MemberPod, Observed};
use super::validate::ValidatedCoreDms;
use crate::apply::{Applier, ApplyError};
use crate::prepare::volume::Joined;

/// Members whose pods serve and that the database sees up at their addresses, by pod.
pub fn seen(observed: &Observed) -> BTreeMap<String, Joined> {
    let Database::SetUp { members } = &observed.database else {
        return BTreeMap::new();
    };
    observed
        .members
        .iter()
        .filter_map(|pod| Some((pod.state.name.clone(), joined(pod, members)?)))
        .collect()
}

fn joined(pod: &MemberPod, members: &[Member]) -> Option<Joined> {
    let joined = Joined {
        address: pod.address.clone()?,
        volume: pod.volume.clone()?,
    };
    let up = |member: &Member| member.up && member.address == joined.address;
    (pod.state.ready && members.iter().any(up)).then_some(joined)
}

/// Keeps what is known, with what was seen just now. Members that were not seen keep what was known of them. Who has another
/// volume is marked before that, as soon as its pod has told it, so that no crash forgets it.
pub async fn record(
    applier: &Applier,
    coredms: &ValidatedCoreDms,
    platform: &Platform,
    observed: &mut Observed,
) -> Result<(), ApplyError> {
    let told = told(observed);
    if told.is_empty() {
        return Ok(());
    }
    let mut seen = seen(observed);
    let name = names::members(&coredms.name);
    let known = applier
        .get::<ConfigMap>(Some(&coredms.namespace), &name)
        .await?;
    let mut data = known.and_then(|known| known.data).unwrap_or_default();
    let before = data.clone();
    for (pod, volume) in told {
        if !replaced(data.get(&pod), &volume) {
            continue;
        }
        match claim_of(&mut observed.claims, &pod) {
            Some(claim) => mark(applier, coredms, claim).await?,
            // It was made since: the next look finds it.
            None => drop(seen.remove(&pod)),
        }
    }
    // Two texts always serialise.
    let texts = seen
        .into_iter()
        .map(|(pod, joined)| (pod, serde_json::to_string(&joined).unwrap_or_default()));
    data.extend(texts);
    if data == before {
        return Ok(());
    }
    applier
        .apply(&joined_members(coredms, platform, data))
        .await
        .map(drop)
}

/// Ids of the volumes that pods have told, by pod.
fn told(observed: &Observed) -> Vec<(String, String)> {
    let pods = observed.members.iter();
    pods.filter_map(|pod| Some((pod.state.name.clone(), pod.volume.clone()?)))
        .collect()
}

/// Whether a member was known with another volume than this one. What cannot be read may have been another one.
fn replaced(known: Option<&String>, volume: &str) -> bool {
    known.is_some_and(|known| {
        let known = serde_json::from_str::<Joined>(known);
        known.map_or(true, |known| known.volume != volume)
    })
}

fn claim_of<'a>(claims: &'a mut [Claim], pod: &str) -> Option<&'a mut Claim> {
    let name = format!("{DATA_VOLUME}-{pod}");
    claims.iter_mut().find(|claim| claim.name == name)
}

async fn mark(
    applier: &Applier,
    coredms: &ValidatedCoreDms,
    claim: &mut Claim,
) -> Result<(), ApplyError> {
    if !claim.to_repair {
        let (namespace, name) = (&coredms.namespace, &claim.name);
        tracing::info!(
            namespace,
            claim = name,
            "a member has another volume than it had: it is to be repaired"
        );
        applier
            .annotate::<PersistentVolumeClaim>(namespace, name, &claim.uid, TO_REPAIR, Some("true"))
            .await?;
        claim.to_repair = true;
    }
    Ok(())
}

/// Forgets a member that has left: the next one of its name is another, and takes nobody's place.
pub async fn forget(
    applier: &Applier,
    coredms: &ValidatedCoreDms,
    platform: &Platform,
    ordinal: u16,
) -> Result<(), ApplyError> {
    let name = names::members(&coredms.name);
    let known = applier
        .get::<ConfigMap>(Some(&coredms.namespace), &name)
        .await?;
    let Some(mut data) = known.and_then(|known| known.data) else {
        return Ok(());
    };
    if data
        .remove(&names::member(&coredms.name, ordinal))
        .is_none()
    {
        return Ok(());
    }
    applier
        .apply(&joined_members(coredms, platform, data))
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::PodState;

    fn pod(ordinal: u16, ready: bool) -> MemberPod {
        MemberPod {
            state: PodState {
                name: format!("db-{ordinal}"),
                ready,
                problem: None,
            },
            ordinal,
            uid: String::new(),
            current: true,
            leaving: false,
            address: Some(format!("10.0.0.{ordinal}")),
            volume: Some(format!("v-{ordinal}")),
        }
    }

    #[test]
    fn a_member_has_joined_when_both_kubernetes_and_the_database_say_so() {
        let member = |n: u16, up| Member {
            address: format!("10.0.0.{n}"),
            state: String::new(),
            up,
        };
        let observed = Observed {
            wanted: 4,
            members: vec![pod(0, true), pod(1, false), pod(2, true), pod(3, true)],
            database: Database::SetUp {
                members: vec![member(0, true), member(1, true), member(2, false)],
            },
            ..Observed::of_three("db", Database::NotAsked)
        };
        let seen = seen(&observed);
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["db-0"]);
        assert_eq!(seen["db-0"].volume, "v-0");
    }

    #[test]
    fn a_member_that_was_known_with_another_volume_was_replaced() {
        let known = Joined {
            address: "10.0.0.1".to_owned(),
            volume: "one".to_owned(),
        };
        let known = serde_json::to_string(&known).unwrap();
        assert!(!replaced(None, "one"), "a new one");
        assert!(!replaced(Some(&known), "one"));
        assert!(replaced(Some(&known), "two"));
        assert!(replaced(Some(&"{".to_owned()), "one"));
    }
}
