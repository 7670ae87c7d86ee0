//! Conditions [pure]: what a step found, as facts → the conditions of a status, with the times of
//! their last transitions.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// The object does what it was declared to do.
pub const READY: &str = "Ready";
/// kstatus: work is going on.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: nothing will change until somebody changes something.
pub const STALLED: &str = "Stalled";

/// Longest message of a condition that the API server accepts.
const MAX_MESSAGE: usize = 32_768;

/// One thing that is known about an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fact {
    /// Type of the condition.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Whether it is known at all; where it is not, it does not hold either.
    pub known: bool,
    /// Why, in CamelCase.
    pub reason: String,
    /// What a person should know or do.
    pub message: String,
}

impl Fact {
    /// It holds.
    pub fn is(kind: &'static str, reason: &str, message: &str) -> Self {
        Self {
            kind,
            holds: true,
            known: true,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    /// It does not hold.
    pub fn not(kind: &'static str, reason: &str, message: &str) -> Self {
        Self {
            holds: false,
            ..Self::is(kind, reason, message)
        }
    }

    /// Nobody can tell now.
    pub fn unknown(kind: &'static str, reason: &str, message: &str) -> Self {
        Self {
            known: false,
            ..Self::not(kind, reason, message)
        }
    }

    fn status(&self) -> &'static str {
        match (self.known, self.holds) {
            (false, _) => "Unknown",
            (true, true) => "True",
            (true, false) => "False",
        }
    }
}

/// Everything that one reconcile knows about an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    facts: Vec<Fact>,
    keep_others: bool,
}

impl Facts {
    /// These alone: what was known before and is not named is dropped.
    pub fn replacing(facts: Vec<Fact>) -> Self {
        Self {
            facts,
            keep_others: false,
        }
    }

    /// These, and of the rest what was known before: the reconcile did not get so far as to see it again.
    pub fn keeping(facts: Vec<Fact>) -> Self {
        Self {
            facts,
            keep_others: true,
        }
    }

    /// Every fact.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.facts.iter()
    }

    /// The fact of a type.
    pub fn get(&self, kind: &str) -> Option<&Fact> {
        self.facts.iter().find(|fact| fact.kind == kind)
    }

    /// Conditions, ordered by type. A condition that is as it was keeps the time of its last transition.
    pub fn conditions(
        &self,
        previous: &[Condition],
        generation: Option<i64>,
        now: Timestamp,
    ) -> Vec<Condition> {
        let named: BTreeSet<_> = self.facts.iter().map(|fact| fact.kind).collect();
        let kept = previous
            .iter()
            .filter(|old| self.keep_others && !named.contains(old.type_.as_str()))
            .cloned();
        let told = self.facts.iter().map(|fact| {
            let old = previous.iter().find(|old| old.type_ == fact.kind);
            condition(fact, old, generation, now)
        });
        let mut conditions: Vec<_> = kept.chain(told).collect();
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        conditions
    }
}

fn condition(
    fact: &Fact,
    old: Option<&Condition>,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let since = old
        .filter(|old| old.status == fact.status())
        .map(|old| old.last_transition_time.clone());
    Condition {
        type_: fact.kind.to_owned(),
        status: fact.status().to_owned(),
        reason: fact.reason.clone(),
        message: shortened(&fact.message),
        observed_generation: generation,
        last_transition_time: since.unwrap_or_else(|| Time(whole_seconds(now))),
    }
}

/// Times in Kubernetes have whole seconds: anything finer would differ from what is read back.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => message[..end].to_owned(),
        None => message.to_owned(),
    }
}

/// A condition by its type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether a condition of that type holds.
pub fn holds(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// Facts of an object for which nothing more is done until somebody changes something.
pub fn stalled(reason: &str, message: &str) -> Vec<Fact> {
    vec![
        Fact::not(READY, reason, message),
        Fact::not(RECONCILING, "Stalled", ""),
        Fact::is(STALLED, reason, message),
    ]
}

/// Facts of an object that is on its way.
pub fn reconciling(reason: &str, message: &str) -> Vec<Fact> {
    vec![
        Fact::not(READY, reason, message),
        Fact::is(RECONCILING, reason, message),
        Fact::not(STALLED, "Progressing", ""),
    ]
}

/// Facts of an object that is as declared.
pub fn ready(message: &str) -> Vec<Fact> {
    vec![
        Fact::is(READY, "Ready", message),
        Fact::not(RECONCILING, "Ready", ""),
        Fact::not(STALLED, "Ready", ""),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_unchanged_status_keeps_its_time_and_takes_the_new_message() {
        let first =
            Facts::replacing(reconciling("Starting", "0 of 3")).conditions(&[], Some(1), at(5));
        let second =
            Facts::replacing(reconciling("Starting", "1 of 3")).conditions(&first, Some(2), at(9));
        let ready = find(&second, READY).unwrap();
        assert_eq!(ready.last_transition_time, Time(at(5)));
        assert_eq!(ready.message, "1 of 3");
        assert_eq!(ready.observed_generation, Some(2));
    }

    #[test]
    fn a_changed_status_takes_the_new_time_in_whole_seconds() {
        let first = Facts::replacing(reconciling("Starting", "")).conditions(&[], Some(1), at(5));
        let later = Timestamp::from_millisecond(9_700).unwrap();
        let second = Facts::replacing(ready("")).conditions(&first, Some(1), later);
        assert_eq!(
            find(&second, READY).unwrap().last_transition_time,
            Time(at(9))
        );
        assert!(holds(&second, READY) && !holds(&second, RECONCILING));
    }

    #[test]
    fn what_was_not_seen_again_stays_only_when_kept() {
        let before = Facts::replacing(vec![Fact::is("DatabaseReady", "Ready", "")]).conditions(
            &[],
            Some(1),
            at(1),
        );
        let kept = Facts::keeping(stalled("Bad", "")).conditions(&before, Some(1), at(2));
        assert!(holds(&kept, "DatabaseReady"));
        let replaced = Facts::replacing(stalled("Bad", "")).conditions(&before, Some(1), at(2));
        assert!(find(&replaced, "DatabaseReady").is_none());
    }

    #[test]
    fn conditions_come_in_one_order() {
        let one = Facts::replacing(vec![Fact::is("B", "X", ""), Fact::is("A", "X", "")]);
        let types: Vec<_> = one
            .conditions(&[], None, at(1))
            .into_iter()
            .map(|c| c.type_)
            .collect();
        assert_eq!(types, ["A", "B"]);
    }
}
