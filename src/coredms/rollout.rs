//! Rolling change: members are restarted one by one until each runs what was applied last. [`next`] decides
//! [pure], [`go_on`] takes the pod away [IO]; its StatefulSet makes it anew. While members are added or removed, none
//! that serves is restarted.

use k8s_openapi::api::core::v1::Pod;

use super::observe::{Database, MemberPod, Observed};
use super::size;
use crate::apply::{Applier, ApplyError};

/// What is to be done next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step<'a> {
    /// Nothing: every member runs what was applied last.
    Done,
    /// Nothing yet, until every member is healthy again.
    Wait,
    /// Take this pod away.
    Restart(&'a MemberPod),
}

/// Decides. A member that serves is taken away only while every other one serves as well, both by Kubernetes and by
/// the database itself: secondaries first, the last ordinals first. One that does not serve is taken away
/// at once: nothing is lost with it, and what it was made from may be why it does not start.
pub fn next(observed: &Observed) -> Step<'_> {
    let outdated = || observed.members.iter().filter(|member| !member.current);
    if !observed.revision_known || outdated().any(|member| member.leaving) {
        return Step::Wait;
    }
    if let Some(stuck) = outdated().find(|member| !member.state.ready) {
        return Step::Restart(stuck);
    }
    if outdated().next().is_none() {
        return Step::Done;
    }
    if !healthy(observed) || size::next(observed) != size::Step::Done {
        return Step::Wait;
    }
    let last = outdated().max_by_key(|member| (!leads(observed, member), member.ordinal));
    last.map_or(Step::Done, Step::Restart)
}

fn healthy(observed: &Observed) -> bool {
    let wanted = usize::from(observed.wanted);
    observed.members.len() == wanted
        && observed.ready() == wanted
        && observed.database.up() == Some(wanted)
}

/// Whether others follow it: its restart makes them elect another one, so that comes last.
fn leads(observed: &Observed, member: &MemberPod) -> bool {
    let Database::SetUp { members } = &observed.database else {
        return false;
    };
    let host = format!("{}.", member.state.name);
    members
        .iter()
        .any(|seen| seen.state == "PRIMARY" && seen.address.starts_with(&host))
}

/// One step further.
pub async fn go_on(
    applier: &Applier,
    namespace: &str,
    observed: &Observed,
) -> Result<(), ApplyError> {
    if let Step::Restart(member) = next(observed) {
        let pod = &member.state.name;
        tracing::info!(
            namespace,
            pod,
            "restarting a member with what was applied last"
        );
        applier
            .delete_this::<Pod>(namespace, pod, &member.uid)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use simbdp_coredms::admin::Member;

    use super::*;

    fn member(ordinal: u16, current: bool, ready: bool) -> MemberPod {
        let mut member = MemberPod::of("db", ordinal);
        (member.current, member.state.ready) = (current, ready);
        member
    }

    /// Members as (current, ready), and what the database calls each.
    fn cluster(members: [(bool, bool); 3], states: [&str; 3]) -> Observed {
        let seen = states.iter().enumerate().map(|(n, state)| Member {
            address: format!("db-{n}.db.ns.svc:1"),
            state: (*state).to_owned(),
            up: *state != "DOWN",
        });
        Observed {
            members: members
                .into_iter()
                .zip(0..)
                .map(|((current, ready), ordinal)| member(ordinal, current, ready))
                .collect(),
            ..Observed::of_three(
                "db",
                Database::SetUp {
                    members: seen.collect(),
                },
            )
        }
    }

    fn restarted(observed: &Observed) -> Option<&str> {
        match next(observed) {
            Step::Restart(member) => Some(&member.state.name),
            Step::Done | Step::Wait => None,
        }
    }

    const UP: [&str; 3] = ["NORMAL"; 3];

    #[test]
    fn the_last_goes_first_and_one_at_a_time() {
        let (old, new, starting) = ((false, true), (true, true), (true, false));
        assert_eq!(restarted(&cluster([old, old, old], UP)), Some("db-2"));
        assert_eq!(next(&cluster([old, old, starting], UP)), Step::Wait);
        assert_eq!(restarted(&cluster([old, old, new], UP)), Some("db-1"));
        assert_eq!(restarted(&cluster([old, new, new], UP)), Some("db-0"));
        assert_eq!(next(&cluster([new, new, new], UP)), Step::Done);
    }

    #[test]
    fn nobody_is_taken_away_while_another_one_is_down_by_either_account() {
        let (old, new) = ((false, true), (true, true));
        let down = ["NORMAL", "NORMAL", "DOWN"];
        assert_eq!(next(&cluster([old, old, new], down)), Step::Wait);
        let mut lost = cluster([old, old, new], UP);
        lost.members.pop();
        assert_eq!(next(&lost), Step::Wait);
        let mut unknown = cluster([old, old, old], UP);
        unknown.database = Database::Degraded;
        assert_eq!(next(&unknown), Step::Wait);
    }

    #[test]
    fn the_one_that_leads_goes_last() {
        let old = (false, true);
        let states = ["SECONDARY", "SECONDARY", "PRIMARY"];
        assert_eq!(restarted(&cluster([old; 3], states)), Some("db-1"));
    }

    #[test]
    fn one_that_cannot_start_is_taken_away_when_what_it_was_made_from_is_mended() {
        let (old, stuck) = ((true, true), (false, false));
        assert_eq!(restarted(&cluster([old, old, stuck], UP)), Some("db-2"));
        // Not twice: it is on its way.
        let mut leaving = cluster([old, old, stuck], UP);
        leaving.members[2].leaving = true;
        assert_eq!(next(&leaving), Step::Wait);
    }

    #[test]
    fn while_members_are_added_only_one_that_does_not_start_is_taken_away() {
        let (old, stuck) = ((false, true), (false, false));
        let mut growing = cluster([old, old, old], UP);
        growing.asked = 4;
        assert_eq!(next(&growing), Step::Wait);
        growing.members[2] = member(2, stuck.0, stuck.1);
        assert_eq!(restarted(&growing), Some("db-2"));
    }

    #[test]
    fn nothing_is_decided_by_a_revision_of_before() {
        let mut observed = cluster([(false, true); 3], UP);
        observed.revision_known = false;
        assert_eq!(next(&observed), Step::Wait);
    }
}
