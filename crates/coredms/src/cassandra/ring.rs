//! Members of the ring [pure]: what the driver sees of them, and what they say of themselves by gossip → their states.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::admin::Member;

/// Members, by address. `known` are those that have a part of the ring, and whether they answer; `said` is the status
/// of each by gossip, which tells who joins and who leaves. Who has left is told of for days, and is no member.
pub(crate) fn members(
    known: &BTreeMap<IpAddr, bool>,
    said: &BTreeMap<IpAddr, String>,
) -> Vec<Member> {
    let addresses: BTreeSet<_> = known.keys().chain(said.keys()).collect();
    addresses
        .into_iter()
        .filter_map(|address| {
            let status = said.get(address).map(|status| word(status));
            let answers = known.get(address).copied();
            let (state, up) = state(status, answers)?;
            Some(Member {
                address: address.to_string(),
                state: state.to_owned(),
                up,
            })
        })
        .collect()
}

/// The first word of a status: after it come tokens, hosts or times.
fn word(status: &str) -> &str {
    status.split(',').next().unwrap_or_default()
}

fn state(status: Option<&str>, answers: Option<bool>) -> Option<(&'static str, bool)> {
    let up = answers.unwrap_or(false);
    match (status, answers) {
        (Some("LEFT" | "removed" | "removing"), _) => None,
        (Some("LEAVING"), _) => Some(("LEAVING", up)),
        (Some("BOOT" | "BOOT_REPLACE"), _) => Some(("JOINING", false)),
        (_, Some(true)) => Some(("NORMAL", true)),
        (_, Some(false)) => Some(("DOWN", false)),
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(known: &[(&str, bool)], said: &[(&str, &str)]) -> Vec<(String, String, bool)> {
        let known = known.iter().map(|(a, up)| (a.parse().unwrap(), *up));
        let said = said
            .iter()
            .map(|(a, status)| (a.parse().unwrap(), (*status).to_owned()));
        members(&known.collect(), &said.collect())
            .into_iter()
            .map(|member| (member.address, member.state, member.up))
            .collect()
    }

    fn one(known: Option<bool>, said: &str) -> Option<(String, bool)> {
        let known: Vec<_> = known.map(|up| ("10.0.0.1", up)).into_iter().collect();
        let member = told(&known, &[("10.0.0.1", said)]).pop()?;
        Some((member.1, member.2))
    }

    #[test]
    fn who_joins_and_who_leaves_is_told_by_gossip() {
        let is = |state: &str, up| Some((state.to_owned(), up));
        assert_eq!(one(Some(true), "NORMAL,-42"), is("NORMAL", true));
        assert_eq!(one(Some(false), "NORMAL,-42"), is("DOWN", false));
        assert_eq!(one(Some(false), "shutdown,true"), is("DOWN", false));
        assert_eq!(one(Some(true), "LEAVING,-42"), is("LEAVING", true));
        assert_eq!(one(None, "BOOT,-42"), is("JOINING", false));
        assert_eq!(
            one(None, "BOOT_REPLACE,10.0.0.2:7000"),
            is("JOINING", false)
        );
    }

    #[test]
    fn who_has_left_is_no_member_even_while_the_ring_still_names_it() {
        assert_eq!(one(None, "LEFT,-42,1763760000000"), None);
        assert_eq!(one(Some(false), "LEFT,-42,1763760000000"), None);
        assert_eq!(one(None, "removed,x,1"), None);
        assert_eq!(one(None, "hibernate,true"), None);
    }

    #[test]
    fn without_gossip_the_ring_alone_tells() {
        let told = told(&[("10.0.0.1", true), ("10.0.0.2", false)], &[]);
        let states: Vec<_> = told.iter().map(|(_, state, _)| state.as_str()).collect();
        assert_eq!(states, ["NORMAL", "DOWN"]);
    }
}
