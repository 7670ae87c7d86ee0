//! Size [pure]: members are added and removed one at a time until there are as many as asked for. [`next`] decides from
//! what Kubernetes and the database say of each, [`told`] says it to people.
//!
//! Cassandra's members join by themselves, and hand their data over before they go; their old neighbours then drop what
//! they no longer own. One that took the place of a lost one is repaired before anything is begun that takes a copy of the
//! data away. A MongoDB's are made voters of the set, and taken out of it, while they run. A member that goes
//! is marked on its claim before anything is done to it, so that each step is known after a crash, and its volume
//! never serves again.

use simbdp_api::common::Engine;
use simbdp_coredms::admin::Member;

use super::claims::{Claim, Departure};
use super::names;
use super::observe::{Database, MemberPod, Observed};
use super::validate::LEAST_MEMBERS;

/// What is to be done next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing.
    Done,
    /// Nothing yet; what is waited for.
    Wait(String),
    /// Run one more member, of this number.
    Add(u16),
    /// Make the member that runs one of the database's.
    Enrol(u16),
    /// Let the member hand its data over, or take it out of the set.
    Leave(u16),
    /// The database has the member no more, or never had: mark that its volume serves no more.
    Discard(u16),
    /// Run it no more.
    Stop(u16),
    /// Delete its claim.
    Delete(u16),
    /// Let the member drop what others have taken over.
    Clean(u16),
    /// Let the member, which took the place of a lost one, compare its data with the others'.
    Repair(u16),
}

/// As many members as there are to be in the end.
pub fn target(observed: &Observed) -> u16 {
    let last = observed.wanted.saturating_sub(1);
    let departing = |claim: &Claim| claim.ordinal == last && claim.departure.is_some();
    match last >= LEAST_MEMBERS && observed.claims.iter().any(departing) {
        true => observed.asked.min(last),
        false => observed.asked,
    }
}

/// Decides.
pub fn next(observed: &Observed) -> Step {
    if let Some(step) = remains(observed) {
        return step;
    }
    let target = target(observed);
    if target < observed.wanted {
        // Who has begun to leave leaves; its neighbours are repaired afterwards.
        return match shrink(observed, observed.wanted - 1) {
            leave @ Step::Leave(_) => repair(observed).unwrap_or(leave),
            step => step,
        };
    }
    if let Some(ordinal) = outsider(observed) {
        let ready = pod(observed, ordinal).is_some_and(|pod| pod.state.ready);
        return match unwell(observed, ordinal) {
            Some(why) => Step::Wait(why),
            None if ready => Step::Enrol(ordinal),
            None => Step::Wait(format!("{} is not ready", name(observed, ordinal))),
        };
    }
    if let Some(step) = repair(observed) {
        return step;
    }
    if target > observed.wanted {
        return match unsettled(observed) {
            Some(why) => Step::Wait(why),
            None => Step::Add(observed.wanted),
        };
    }
    clean(observed)
}

/// What is left of a member that has left goes first, whatever is asked for meanwhile.
fn remains(observed: &Observed) -> Option<Step> {
    let left = |claim: &&Claim| claim.departure == Some(Departure::Left);
    let claim = observed.claims.iter().rfind(left)?;
    let (ordinal, name) = (claim.ordinal, name(observed, claim.ordinal));
    if ordinal < observed.wanted {
        let last = ordinal + 1 == observed.wanted && ordinal >= LEAST_MEMBERS;
        return last.then_some(Step::Stop(ordinal));
    }
    Some(match (pod(observed, ordinal), claim.leaving) {
        (Some(_), _) => Step::Wait(format!("{name} is being stopped")),
        (None, true) => Step::Wait(format!("the volume of {name} is being deleted")),
        (None, false) => Step::Delete(ordinal),
    })
}

/// The last member goes.
fn shrink(observed: &Observed, last: u16) -> Step {
    let mut claims = observed.claims.iter();
    let claim = claims.find(|claim| claim.ordinal == last);
    if !observed.before && claim.is_none_or(|claim| !claim.bound) {
        // Nothing was ever written to it, and nobody knows of it.
        return match claim {
            Some(_) => Step::Discard(last),
            None => Step::Stop(last),
        };
    }
    let Database::SetUp { members } = &observed.database else {
        return Step::Wait("the database is to say who its members are".to_owned());
    };
    let name = name(observed, last);
    if let Some(why) = unwell(observed, last) {
        return Step::Wait(format!("{name} goes when all others serve: {why}"));
    }
    let pod = pod(observed, last);
    let ready = pod.is_some_and(|pod| pod.state.ready);
    let cassandra = observed.engine == Engine::Cassandra;
    match entry(observed, last, members) {
        Some(member) if member.state == "LEAVING" => Step::Wait(format!(
            "{name} hands its data over to the others; see its logs if this takes too long, and delete its pod to begin again"
        )),
        Some(member) if cassandra && !(ready && serves(member)) => Step::Wait(format!(
            "{name} is {}, and can hand its data over when it serves",
            member.state
        )),
        Some(_) if members.len() != usize::from(observed.wanted) => Step::Wait(format!(
            "the database names {} members for {} pods: remove by hand who is none of them",
            members.len(),
            observed.wanted
        )),
        Some(_) => Step::Leave(last),
        None if members.len() != usize::from(last) => Step::Wait(format!(
            "the database names a member that is none of the pods, which may be {name}: it goes when it is back, or when the other one was removed by hand"
        )),
        // Its port closes after the others know that it has left.
        None if cassandra && ready => Step::Wait(format!("{name} is about to end")),
        None => match claim {
            Some(_) => Step::Discard(last),
            None => Step::Stop(last),
        },
    }
}

/// The first member that runs and is none of the database's, where it does not join by itself.
fn outsider(observed: &Observed) -> Option<u16> {
    let Database::SetUp { members } = &observed.database else {
        return None;
    };
    if observed.engine == Engine::Cassandra {
        return None;
    }
    (0..observed.wanted).find(|ordinal| entry(observed, *ordinal, members).is_none())
}

/// The first member that took the place of a lost one, and may lack what one replica alone has.
fn replaced(observed: &Observed) -> Option<u16> {
    let marked = |claim: &&Claim| claim.to_repair && claim.ordinal < observed.wanted;
    let claim = observed.claims.iter().find(marked)?;
    (observed.engine == Engine::Cassandra).then_some(claim.ordinal)
}

/// What was given to it anew came from one replica of each row, which may have missed it: such a row is with one member
/// alone, and is lost with that one. A change that has reached some members is rolled out to all before, since members
/// of different versions may not be able to compare.
fn repair(observed: &Observed) -> Option<Step> {
    let ordinal = replaced(observed)?;
    let current = observed.members.iter().filter(|member| member.current);
    let current = current.count();
    if (1..observed.members.len()).contains(&current) {
        return Some(Step::Done);
    }
    Some(match unsettled(observed) {
        Some(why) => Step::Wait(format!(
            "{} is to be repaired, since its volume was lost: {why}",
            name(observed, ordinal)
        )),
        None => Step::Repair(ordinal),
    })
}

/// Old members drop what newer ones have taken over, one at a time, when nothing else is to be done.
fn clean(observed: &Observed) -> Step {
    let full = |claim: &&Claim| claim.to_clean && claim.ordinal < observed.wanted;
    let Some(claim) = observed.claims.iter().find(full) else {
        return Step::Done;
    };
    // A changed database is restarted before.
    if observed.engine != Engine::Cassandra || !observed.current() {
        return Step::Done;
    }
    match unsettled(observed) {
        Some(why) => Step::Wait(why),
        None => Step::Clean(claim.ordinal),
    }
}

/// Why not every member serves, by Kubernetes and by the database; the database has no others.
fn unsettled(observed: &Observed) -> Option<String> {
    if let Some(why) = unwell(observed, observed.wanted) {
        return Some(why);
    }
    match observed.database.members() {
        Some(members) if members.len() == usize::from(observed.wanted) => None,
        Some(members) => Some(format!(
            "the database has {} members for {} pods",
            members.len(),
            observed.wanted
        )),
        None => Some("the database does not say who its members are".to_owned()),
    }
}

/// Why not every member before this one serves.
fn unwell(observed: &Observed, before: u16) -> Option<String> {
    let Some(members) = observed.database.members() else {
        return Some("the database does not say who its members are".to_owned());
    };
    (0..before).find_map(|ordinal| {
        let name = name(observed, ordinal);
        if !pod(observed, ordinal).is_some_and(|pod| pod.state.ready) {
            return Some(format!("{name} is not ready"));
        }
        match entry(observed, ordinal, members) {
            Some(member) if serves(member) => None,
            Some(member) => Some(format!("{name} is {}", member.state)),
            None => Some(format!("{name} is no member of the database yet")),
        }
    })
}

fn serves(member: &Member) -> bool {
    member.up && ["NORMAL", "PRIMARY", "SECONDARY"].contains(&member.state.as_str())
}

fn name(observed: &Observed, ordinal: u16) -> String {
    names::member(&observed.name, ordinal)
}

fn pod(observed: &Observed, ordinal: u16) -> Option<&MemberPod> {
    let mut pods = observed.members.iter();
    pods.find(|pod| pod.ordinal == ordinal)
}

/// A member as the database sees it: Cassandra by the address of its pod, MongoDB by its host.
fn entry<'a>(observed: &Observed, ordinal: u16, members: &'a [Member]) -> Option<&'a Member> {
    let host = format!("{}.", name(observed, ordinal));
    let address = pod(observed, ordinal).and_then(|pod| pod.address.as_deref());
    members.iter().find(|member| {
        Some(member.address.as_str()) == address || member.address.starts_with(&host)
    })
}

/// What is under way, as a reason and a message; [`None`] when there are as many members as asked for.
pub fn told(observed: &Observed) -> Option<(&'static str, String)> {
    let name = |ordinal: &u16| name(observed, *ordinal);
    let step = next(observed);
    let doing = match &step {
        Step::Done => return None,
        Step::Wait(why) => why.clone(),
        Step::Add(new) => format!("{} is being added", name(new)),
        Step::Enrol(new) => format!("{} becomes a member of the set", name(new)),
        Step::Leave(last) => format!("{} is asked to leave", name(last)),
        Step::Discard(last) | Step::Stop(last) => {
            format!("the database has {} no more: it is stopped", name(last))
        }
        Step::Delete(last) => format!("the volume of {} is deleted", name(last)),
        Step::Clean(old) => format!("{} drops what others have taken over", name(old)),
        Step::Repair(new) => format!(
            "{} is repaired, since its volume was lost: what it holds is compared with every replica, as rows that one alone has would be lost with that one",
            name(new)
        ),
    };
    let (target, wanted) = (target(observed), observed.wanted);
    let reason = match step {
        Step::Clean(_) => "CleaningUp",
        Step::Repair(_) => "Repairing",
        Step::Stop(_) | Step::Delete(_) => "ScalingIn",
        _ if target < wanted || remains(observed).is_some() => "ScalingIn",
        _ if replaced(observed).is_some() => "Repairing",
        _ if target > wanted || outsider(observed).is_some() => "ScalingOut",
        _ => "CleaningUp",
    };
    let asked = observed.asked;
    let counted = match reason {
        "CleaningUp" | "Repairing" if wanted == asked => {
            format!("{wanted} members run, as asked for")
        }
        _ => format!("{wanted} members run, {asked} are asked for"),
    };
    let problem = observed.problem.iter();
    let parts: Vec<_> = [counted, doing]
        .into_iter()
        .chain(problem.cloned())
        .collect();
    Some((reason, parts.join("; ")))
}

#[cfg(test)]
mod tests;
