//! Claims of members' volumes, and how many members run [IO]: what was begun is known by them, also to an operator that
//! has just started.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use simbdp_api::labels::{DEPARTURE, TO_CLEAN, TO_REPAIR};

use super::build::{DATA_VOLUME, member_labels};
use super::names;
use super::validate::{LEAST_MEMBERS, ValidatedCoreDms};
use crate::apply::{Applier, ApplyError};
use crate::objects::selector_text;

/// A member goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Departure {
    /// It hands its data over.
    Leaving,
    /// The others have its data.
    Left,
}

impl Departure {
    /// As the annotation says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leaving => "leaving",
            Self::Left => "left",
        }
    }
}

/// The claim of a member's volume.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// Number of the member, from 0.
    pub ordinal: u16,
    /// Name of the claim.
    pub name: String,
    /// UID: the next one of that name is another.
    pub uid: String,
    /// Whether its member goes.
    pub departure: Option<Departure>,
    /// Whether there are data on it that others have taken over.
    pub to_clean: bool,
    /// Whether its member may lack what one replica alone has.
    pub to_repair: bool,
    /// Whether it is being deleted.
    pub leaving: bool,
    /// Whether there is a volume: without one nothing was ever written.
    pub bound: bool,
}

/// What there is of members before anything is applied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Size {
    /// How many run.
    pub running: u16,
    /// Their claims, and those of members that were.
    pub claims: Vec<Claim>,
}

/// Every claim of the database's members.
pub async fn list(
    applier: &Applier,
    coredms: &ValidatedCoreDms,
) -> Result<Vec<PersistentVolumeClaim>, ApplyError> {
    let labels = selector_text(&member_labels(coredms.engine, &coredms.name));
    applier.list(Some(&coredms.namespace), &labels).await
}

/// Looks at the StatefulSet beside the claims.
pub async fn look(
    applier: &Applier,
    coredms: &ValidatedCoreDms,
    claims: &[PersistentVolumeClaim],
) -> Result<Size, ApplyError> {
    let namespace = Some(coredms.namespace.as_str());
    let members = applier
        .get::<StatefulSet>(namespace, &coredms.name)
        .await?
        .and_then(|members| members.spec?.replicas?.try_into().ok());
    let mut claims: Vec<_> = claims
        .iter()
        .filter_map(|one| claim(&coredms.name, one))
        .collect();
    claims.sort_by_key(|claim| claim.ordinal);
    Ok(Size {
        running: running(members, coredms.replicas, &claims),
        claims,
    })
}

/// [`None`] for a claim that is no member's.
fn claim(coredms: &str, claim: &PersistentVolumeClaim) -> Option<Claim> {
    let name = claim.name_any();
    let member = name.strip_prefix(DATA_VOLUME)?.strip_prefix('-')?;
    let ordinal = member.rsplit_once('-')?.1.parse().ok()?;
    let annotations = claim.annotations();
    (member == names::member(coredms, ordinal)).then(|| Claim {
        ordinal,
        uid: claim.uid().unwrap_or_default(),
        departure: match annotations.get(DEPARTURE).map(String::as_str) {
            Some("leaving") => Some(Departure::Leaving),
            Some(_) => Some(Departure::Left),
            None => None,
        },
        to_clean: annotations.contains_key(TO_CLEAN),
        to_repair: annotations.contains_key(TO_REPAIR),
        leaving: claim.metadata.deletion_timestamp.is_some(),
        bound: claim
            .spec
            .as_ref()
            .is_some_and(|spec| spec.volume_name.is_some()),
        name,
    })
}

/// As many members as the StatefulSet has, and never fewer than have data that the others may not have: so neither a
/// StatefulSet that is made anew nor one that somebody scales takes a member away. As many as are asked for where there
/// is nothing yet.
fn running(members: Option<u16>, asked: u16, claims: &[Claim]) -> u16 {
    let holding = claims
        .iter()
        .filter(|claim| claim.departure != Some(Departure::Left));
    let held = holding.map(|claim| claim.ordinal + 1);
    match members.into_iter().chain(held).max() {
        Some(members) => members.max(LEAST_MEMBERS),
        None => asked,
    }
}

#[cfg(test)]
impl Claim {
    /// One with a volume.
    pub fn of(name: &str, ordinal: u16) -> Self {
        Self {
            ordinal,
            name: format!("{DATA_VOLUME}-{}", names::member(name, ordinal)),
            uid: format!("c-{ordinal}"),
            departure: None,
            to_clean: false,
            to_repair: false,
            leaving: false,
            bound: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(name: &str, departure: Option<&str>) -> Option<Claim> {
        let mut object = json!({"metadata": {"name": name, "uid": "u"}, "spec": {}});
        if let Some(departure) = departure {
            object["metadata"]["annotations"] = json!({DEPARTURE: departure});
        }
        claim("db", &serde_json::from_value(object).unwrap())
    }

    fn claims(departures: &[Option<&str>]) -> Vec<Claim> {
        let claims = departures.iter().enumerate();
        claims
            .filter_map(|(n, departure)| found(&format!("data-db-{n}"), *departure))
            .collect()
    }

    #[test]
    fn a_claim_is_known_by_its_name() {
        assert_eq!(found("data-db-7", None).unwrap().ordinal, 7);
        for other in ["data-db-07", "data-other-1", "data-db", "staging-db-1"] {
            assert_eq!(found(other, None), None, "{other}");
        }
        let leaving = found("data-db-3", Some("leaving")).unwrap();
        assert_eq!(leaving.departure, Some(Departure::Leaving));
    }

    #[test]
    fn as_many_run_as_the_stateful_set_has_and_as_have_data() {
        assert_eq!(running(None, 5, &[]), 5, "a new database");
        assert_eq!(running(Some(3), 5, &claims(&[None; 3])), 3);
        assert_eq!(running(Some(4), 3, &claims(&[None; 4])), 4);
        let left = [None, None, None, Some("left")];
        assert_eq!(running(Some(4), 3, &claims(&left)), 4);
        assert_eq!(running(Some(3), 4, &claims(&left)), 3);
        let leaving = [None, None, None, Some("leaving")];
        assert_eq!(running(Some(4), 4, &claims(&leaving)), 4);
    }

    #[test]
    fn a_stateful_set_that_is_made_anew_or_scaled_by_somebody_takes_nobody_away() {
        assert_eq!(running(None, 3, &claims(&[None; 4])), 4);
        assert_eq!(running(Some(1), 3, &claims(&[None; 3])), 3);
        let left = [None, None, None, Some("left")];
        assert_eq!(running(None, 3, &claims(&left)), 3);
    }
}
