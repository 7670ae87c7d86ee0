use serde_json::json;
use simbdp_coredms::admin::{AdminError, Member};

use super::super::observe::MemberPod;
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

fn member(ordinal: u16, problem: Option<(&str, &str)>) -> MemberPod {
    MemberPod {
        state: PodState {
            name: format!("coredms-{ordinal}"),
            ready: problem.is_none(),
            problem: problem.map(|(reason, message)| Problem {
                reason: reason.into(),
                message: message.into(),
                serious: true,
            }),
        },
        ordinal,
        uid: format!("u-{ordinal}"),
        current: true,
        leaving: false,
        address: None,
        volume: None,
    }
}

/// A database that sees so many of three members up.
fn set_up(up: usize) -> Database {
    let member = |n: usize| Member {
        address: format!("10.0.0.{n}"),
        state: if n < up { "NORMAL" } else { "DOWN" }.to_owned(),
        up: n < up,
    };
    Database::SetUp {
        members: (0..3).map(member).collect(),
    }
}

fn observed(problems: [Option<(&str, &str)>; 3], database: Database) -> Observed {
    Observed {
        members: problems
            .into_iter()
            .zip(0..)
            .map(|(p, ordinal)| member(ordinal, p))
            .collect(),
        ..Observed::of_three("coredms", database)
    }
}

fn told(before: bool, observed: Observed) -> (CoreDmsStatus, Facts) {
    status(&coredms(before), &observed)
}

#[test]
fn three_members_and_a_set_up_database_are_ready() {
    let (status, facts) = told(false, observed([None; 3], set_up(3)));
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
    let (_, facts) = told(false, observed([None; 3], set_up(1)));
    assert_eq!(facts.get(READY).unwrap().reason, "MembersDown");
    let failed = Database::Failed(AdminError::Unavailable("no answer".into()));
    let (_, facts) = told(false, observed([None; 3], failed));
    assert_eq!(
        facts.get(DATABASE_READY).unwrap().reason,
        "DatabaseUnavailable"
    );
}

#[test]
fn a_database_that_hangs_is_told_with_its_members_although_kubernetes_sees_nothing() {
    let silent = |pod: &str| Silent {
        pod: pod.into(),
        why: "no answer within 4s".into(),
    };
    let lost = |silent| Database::Lost {
        error: AdminError::Unavailable("2 of 3 replicas".into()),
        silent,
    };
    let two = vec![silent("db-1"), silent("db-2")];
    let (_, facts) = told(true, observed([None; 3], lost(two)));
    for kind in [READY, DATABASE_READY] {
        let fact = facts.get(kind).unwrap();
        assert_eq!((fact.holds, &*fact.reason), (false, QUORUM_LOST));
        assert!(
            fact.message
                .contains("db-1 does not answer (no answer within 4s), db-2")
        );
    }
    let (_, facts) = told(true, observed([None; 3], lost(vec![])));
    let message = &facts.get(READY).unwrap().message;
    assert!(
        message.ends_with("whether they reach each other"),
        "{message}"
    );
}

#[test]
fn volumes_that_cannot_grow_are_told_while_the_database_serves() {
    let with = |volumes| Observed {
        volumes,
        ..observed([None; 3], set_up(3))
    };
    let class = "local".to_owned();
    let (_, facts) = told(
        true,
        with(Volumes::Refused {
            class,
            size: 1 << 30,
        }),
    );
    assert!(facts.get(READY).unwrap().holds);
    for (kind, holds) in [(STALLED, true), (VOLUMES_READY, false)] {
        let fact = facts.get(kind).unwrap();
        assert_eq!(
            (fact.holds, &*fact.reason),
            (holds, "StorageClassCannotExpand")
        );
        assert!(fact.message.contains("`local`") && fact.message.ends_with("back to 1Gi"));
    }
    let claims = vec!["data-db-0".to_owned()];
    let (_, facts) = told(true, with(Volumes::Growing { claims }));
    assert!(facts.get(READY).unwrap().holds && !facts.get(STALLED).unwrap().holds);
    assert_eq!(facts.get(VOLUMES_READY).unwrap().reason, "Growing");
}

#[test]
fn a_rolling_update_is_ready_and_reconciling() {
    let mut rolling = observed([None; 3], set_up(3));
    rolling.members[2].current = false;
    let (_, facts) = told(true, rolling);
    assert!(facts.get(READY).unwrap().holds);
    let reconciling = facts.get(RECONCILING).unwrap();
    assert!(reconciling.holds && reconciling.message.ends_with("2 of 3 run it"));
}

#[test]
fn another_number_of_members_is_ready_and_reconciling() {
    let mut growing = observed([None; 3], set_up(3));
    growing.asked = 4;
    for (n, pod) in growing.members.iter_mut().enumerate() {
        pod.address = Some(format!("10.0.0.{n}"));
    }
    let (status, facts) = told(true, growing);
    assert!(facts.get(READY).unwrap().holds);
    assert_eq!(status.members.as_deref(), Some("3/3"));
    let reconciling = facts.get(RECONCILING).unwrap();
    assert_eq!(
        (reconciling.reason.as_str(), reconciling.message.as_str()),
        (
            "ScalingOut",
            "3 members run, 4 are asked for; coredms-3 is being added"
        )
    );
}

#[test]
fn what_cannot_be_run_is_stalled_and_what_runs_stays_told() {
    let invalid = Invalid::TooLittleMemory {
        limit: "500Mi".into(),
        least: "768Mi".into(),
    };
    let (status, facts) = failed(&coredms(true), &invalid.into());
    assert!(facts.get(STALLED).unwrap().holds);
    assert!(facts.get(READY).unwrap().message.contains("768Mi or more"));
    assert_eq!(status.members.as_deref(), Some("3/3"));
}

#[test]
fn while_tenants_have_places_a_database_that_is_deleted_goes_on() {
    let pending = Teardown::Pending {
        stage: IN_USE,
        message: "until these tenants are gone: acme".into(),
        again: std::time::Duration::from_secs(60),
    };
    let (status, facts) = teardown_status(&coredms(true), &Ok(pending));
    assert_eq!(facts.get(TEARING_DOWN).unwrap().reason, IN_USE);
    assert!(facts.get(READY).is_none(), "it stays as it was");
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

#[test]
fn what_the_data_take_is_told_in_mebibytes_and_kept_while_nothing_is_told() {
    let told = |before: Option<&str>, bytes| {
        let mut coredms = coredms(true);
        coredms.status.as_mut().unwrap().data = before.map(Into::into);
        data(&coredms, bytes).map(|data| data.0)
    };
    assert_eq!(told(None, None), None);
    assert_eq!(told(None, Some((37 << 20) + 1)).as_deref(), Some("38Mi"));
    assert_eq!(told(Some("5Mi"), Some(6 << 20)).as_deref(), Some("6Mi"));
    assert_eq!(told(Some("5Mi"), None).as_deref(), Some("5Mi"));
}
