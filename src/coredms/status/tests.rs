use serde_json::json;
use simbdp_coredms::admin::AdminError;

use super::super::validate::Invalid;
use super::*;
use crate::pods::{PodState, Problem};

fn coredms(ready_before: bool) -> CoreDms {
    let status = if ready_before { "True" } else { "False" };
    serde_json::from_value(json!({
        "metadata": {"name": "coredms", "namespace": "tenant-a", "labels": {"simbdp.dev/tenant": "a"}},
        "spec": {"storage": {"size": "1Gi"}},
        "status": {"members": "3/3", "conditions": [{
            "type": "DatabaseReady", "status": status, "reason": "X", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]},
    }))
    .unwrap()
}

fn member(ordinal: u16, problem: Option<(&str, &str)>) -> PodState {
    PodState {
        name: format!("coredms-{ordinal}"),
        ready: problem.is_none(),
        problem: problem.map(|(reason, message)| Problem {
            reason: reason.into(),
            message: message.into(),
            serious: true,
        }),
    }
}

fn observed(problems: [Option<(&str, &str)>; 3], database: Database) -> Observed {
    Observed {
        wanted: 3,
        members: problems
            .into_iter()
            .zip(0..)
            .map(|(p, ordinal)| member(ordinal, p))
            .collect(),
        current: true,
        database,
    }
}

fn told(before: bool, observed: Observed) -> (CoreDmsStatus, Facts) {
    status(&coredms(before), &Ok(observed))
}

#[test]
fn three_members_and_a_set_up_database_are_ready() {
    let (status, facts) = told(false, observed([None; 3], Database::SetUp { up: 3 }));
    assert!(facts.get(READY).unwrap().holds && facts.get(DATABASE_READY).unwrap().holds);
    assert!(!facts.get(RECONCILING).unwrap().holds && !facts.get(STALLED).unwrap().holds);
    assert_eq!(status.members.as_deref(), Some("3/3"));
    assert_eq!(
        status.endpoint.as_deref(),
        Some("coredms.tenant-a.svc:9042")
    );
    assert_eq!(status.binding.unwrap().name, "coredms-binding");
}

#[test]
fn two_of_three_members_go_on_and_say_which_one_is_missing_and_why() {
    let missing = [None, None, Some(("Unschedulable", "0/1 nodes"))];
    let (_, facts) = told(true, observed(missing, Database::Degraded));
    let ready = facts.get(READY).unwrap();
    assert!(ready.holds);
    assert_eq!(
        ready.message,
        "2 of 3 members are ready; coredms-2: Unschedulable: 0/1 nodes"
    );
    assert_eq!(facts.get(RECONCILING).unwrap().reason, "Unschedulable");
}

#[test]
fn one_of_three_members_is_not_ready_and_says_that_the_quorum_is_lost() {
    let missing = [
        None,
        Some(("CrashLoopBackOff", "x")),
        Some(("CrashLoopBackOff", "x")),
    ];
    let (status, facts) = told(true, observed(missing, Database::NotAsked));
    let ready = facts.get(READY).unwrap();
    assert_eq!((ready.holds, ready.reason.as_str()), (false, "QuorumLost"));
    assert!(!facts.get(DATABASE_READY).unwrap().holds);
    assert_eq!(status.members.as_deref(), Some("1/3"));

    // Remembered, so that two members are enough again.
    let mut later = coredms(false);
    let now = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
    later.status.as_mut().unwrap().conditions.conditions = facts.conditions(&[], None, now);
    assert!(was_set_up(&later) && !was_set_up(&coredms(false)));
}

#[test]
fn a_first_start_names_its_problem() {
    let missing = [Some(("ImagePullBackOff", "not found")), None, None];
    let (_, facts) = told(false, observed(missing, Database::NotAsked));
    assert_eq!(facts.get(READY).unwrap().reason, "ImagePullBackOff");
}

#[test]
fn ready_pods_that_do_not_see_each_other_are_no_database() {
    let (_, facts) = told(false, observed([None; 3], Database::SetUp { up: 1 }));
    assert_eq!(facts.get(READY).unwrap().reason, "MembersDown");
    let failed = Database::Failed(AdminError::Unavailable("no answer".into()));
    let (_, facts) = told(false, observed([None; 3], failed));
    assert_eq!(
        facts.get(DATABASE_READY).unwrap().reason,
        "DatabaseUnavailable"
    );
}

#[test]
fn a_rolling_update_is_ready_and_reconciling() {
    let mut rolling = observed([None; 3], Database::SetUp { up: 3 });
    rolling.current = false;
    let (_, facts) = told(true, rolling);
    assert!(facts.get(READY).unwrap().holds && facts.get(RECONCILING).unwrap().holds);
}

#[test]
fn what_cannot_be_run_is_stalled_and_what_runs_stays_told() {
    let invalid = Invalid::TooLittleMemory {
        limit: "500Mi".into(),
        least: "768Mi".into(),
    };
    let (status, facts) = status(&coredms(true), &Err(invalid.into()));
    assert!(facts.get(STALLED).unwrap().holds);
    assert!(facts.get(READY).unwrap().message.contains("768Mi or more"));
    assert_eq!(status.members.as_deref(), Some("3/3"));
}

#[test]
fn a_teardown_says_where_it_is() {
    let pending = Teardown::Pending {
        stage: "StoppingMembers",
        message: "2 members are still stopping".into(),
        again: std::time::Duration::from_secs(5),
    };
    let (_, facts) = teardown_status(&coredms(true), &Ok(pending));
    let teardown = facts.get(TEARING_DOWN).unwrap();
    assert_eq!(teardown.reason, "StoppingMembers");
    assert!(!facts.get(READY).unwrap().holds);
}
