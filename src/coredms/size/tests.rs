//! Every state on the way from one number of members to another.

use simbdp_coredms::admin::AdminError;

use super::*;

/// The database's words for members at `10.0.0.<n>`.
fn ring(states: &[&str]) -> Database {
    let members = (0_u16..).zip(states).map(|(n, state)| Member {
        address: format!("10.0.0.{n}"),
        state: (*state).to_owned(),
        up: !["DOWN", "JOINING"].contains(state),
    });
    Database::SetUp {
        members: members.collect(),
    }
}

/// A Cassandra of so many pods, with these members.
fn cassandra(asked: u16, pods: u16, states: &[&str]) -> Observed {
    Observed {
        asked,
        wanted: pods,
        members: (0..pods).map(|n| MemberPod::of("db", n)).collect(),
        claims: (0..pods).map(|n| Claim::of("db", n)).collect(),
        ..Observed::of_three("db", ring(states))
    }
}

/// A MongoDB of so many pods, with these members.
fn mongodb(asked: u16, pods: u16, states: &[&str]) -> Observed {
    let members = states.iter().enumerate().map(|(n, state)| Member {
        address: format!("db-{n}.db.ns.svc:27017"),
        state: (*state).to_owned(),
        up: *state != "DOWN",
    });
    let members = members.collect();
    Observed {
        engine: Engine::MongoDB,
        database: Database::SetUp { members },
        ..cassandra(asked, pods, &[])
    }
}

fn marked(mut observed: Observed, ordinal: usize, departure: Departure) -> Observed {
    observed.claims[ordinal].departure = Some(departure);
    observed
}

/// The same with a pod that is not ready.
fn without(mut observed: Observed, ordinal: usize) -> Observed {
    observed.members[ordinal].state.ready = false;
    observed
}

#[track_caller]
fn waits(observed: &Observed, word: &str) {
    match next(observed) {
        Step::Wait(why) => assert!(why.contains(word), "{why}"),
        other => panic!("{other:?}"),
    }
}

const N: &str = "NORMAL";

#[test]
fn as_many_as_asked_for_is_done_whatever_they_do() {
    assert_eq!(next(&cassandra(3, 3, &[N; 3])), Step::Done);
    assert_eq!(next(&cassandra(3, 3, &[N, "DOWN", N])), Step::Done);
    assert_eq!(next(&without(cassandra(3, 3, &[N; 3]), 1)), Step::Done);
    assert_eq!(told(&cassandra(3, 3, &[N; 3])), None);
}

#[test]
fn one_is_added_at_a_time_and_only_while_all_serve() {
    assert_eq!(next(&cassandra(5, 3, &[N; 3])), Step::Add(3));
    assert_eq!(next(&cassandra(5, 4, &[N; 4])), Step::Add(4));
    waits(&cassandra(5, 4, &[N, N, N, "JOINING"]), "db-3 is JOINING");
    waits(&without(cassandra(5, 4, &[N; 3]), 3), "db-3 is not ready");
    waits(&cassandra(5, 3, &[N, "DOWN", N]), "db-1 is DOWN");
    waits(&cassandra(5, 3, &[N; 4]), "4 members for 3 pods");
    let mut unasked = cassandra(5, 3, &[]);
    unasked.database = Database::Degraded;
    waits(&unasked, "does not say");
    let (reason, message) = told(&cassandra(5, 4, &[N, N, N, "JOINING"])).unwrap();
    assert_eq!(reason, "ScalingOut");
    assert_eq!(message, "4 members run, 5 are asked for; db-3 is JOINING");
}

#[test]
fn the_last_hands_its_data_over_before_it_goes() {
    let asked = cassandra(3, 4, &[N; 4]);
    assert_eq!(next(&asked), Step::Leave(3));
    // The operator crashed after the mark: it asks again.
    let asked = marked(asked, 3, Departure::Leaving);
    assert_eq!(next(&asked), Step::Leave(3));
    let leaving = marked(
        cassandra(3, 4, &[N, N, N, "LEAVING"]),
        3,
        Departure::Leaving,
    );
    waits(&leaving, "db-3 hands its data over");
    assert_eq!(told(&leaving).unwrap().0, "ScalingIn");

    let absent = marked(cassandra(3, 4, &[N; 3]), 3, Departure::Leaving);
    waits(&absent, "about to end");
    let absent = without(absent, 3);
    assert_eq!(next(&absent), Step::Discard(3));
    let left = marked(absent, 3, Departure::Left);
    assert_eq!(next(&left), Step::Stop(3));

    let mut stopped = left;
    stopped.wanted = 3;
    waits(&stopped, "db-3 is being stopped");
    stopped.members.pop();
    assert_eq!(next(&stopped), Step::Delete(3));
    stopped.claims[3].leaving = true;
    waits(&stopped, "volume of db-3");
    assert_eq!(told(&stopped).unwrap().0, "ScalingIn");
    stopped.claims.pop();
    assert_eq!(next(&stopped), Step::Done);
}

#[test]
fn nobody_goes_while_another_one_does_not_serve() {
    waits(&cassandra(3, 4, &[N, "DOWN", N, N]), "db-1 is DOWN");
    waits(&without(cassandra(3, 4, &[N; 4]), 0), "db-0 is not ready");
    let mut failed = cassandra(3, 4, &[]);
    failed.database = Database::Failed(AdminError::Unavailable("x".into()));
    waits(&failed, "who its members are");
}

#[test]
fn one_that_cannot_hand_its_data_over_does_not_go() {
    waits(&cassandra(3, 4, &[N, N, N, "DOWN"]), "db-3 is DOWN");
    waits(&cassandra(3, 4, &[N, N, N, "JOINING"]), "db-3 is JOINING");
    waits(&without(cassandra(3, 4, &[N; 4]), 3), "when it serves");
}

#[test]
fn one_that_came_back_with_another_address_is_not_taken_for_gone() {
    // The ring has it at the former address, and its pod is at another.
    let mut moved = without(cassandra(3, 4, &[N, N, N, "DOWN"]), 3);
    moved.members[3].address = Some("10.9.9.9".into());
    waits(&moved, "none of the pods");
    moved.members.pop();
    waits(&moved, "none of the pods");
}

#[test]
fn a_change_of_mind_waits_for_what_was_begun() {
    // Before anything was done, it is as if nothing had been asked.
    assert_eq!(next(&cassandra(4, 4, &[N; 4])), Step::Done);
    // While it leaves, and when it has left, it goes to the end; then it is added anew.
    for (states, departure, ready) in [
        (&[N, N, N, "LEAVING"][..], Departure::Leaving, true),
        (&[N; 3][..], Departure::Leaving, false),
        (&[N; 3][..], Departure::Left, false),
    ] {
        let mut observed = marked(cassandra(5, 4, states), 3, departure);
        observed.members[3].state.ready = ready;
        let (step, reason) = (next(&observed), told(&observed).unwrap().0);
        assert!(
            matches!(step, Step::Wait(_) | Step::Discard(3) | Step::Stop(3)),
            "{step:?}"
        );
        assert_eq!(reason, "ScalingIn");
        assert_eq!(target(&observed), 3);
    }
    let mut stopped = marked(cassandra(5, 4, &[N; 3]), 3, Departure::Left);
    (stopped.wanted, stopped.members) = (3, stopped.members.drain(..3).collect());
    assert_eq!(next(&stopped), Step::Delete(3), "the volume goes first");
    stopped.claims.pop();
    assert_eq!(next(&stopped), Step::Add(3));
}

#[test]
fn one_that_never_joined_is_just_stopped() {
    let never = without(cassandra(3, 4, &[N; 3]), 3);
    assert_eq!(next(&never), Step::Discard(3));
    // Not even set up: the others may not have started either.
    let mut new = without(cassandra(3, 5, &[]), 4);
    (new.before, new.database) = (false, Database::NotAsked);
    waits(&new, "who its members are");
    new.claims[4].bound = false;
    assert_eq!(next(&new), Step::Discard(4));
    new.claims.pop();
    assert_eq!(next(&new), Step::Stop(4));
}

#[test]
fn a_mark_on_the_first_members_takes_nobody_away() {
    let marked = marked(cassandra(3, 3, &[N; 3]), 2, Departure::Left);
    assert_eq!(next(&marked), Step::Done);
}

#[test]
fn old_members_are_cleaned_up_one_by_one_at_the_end() {
    let mut grown = cassandra(4, 4, &[N; 4]);
    for claim in &mut grown.claims[..3] {
        claim.to_clean = true;
    }
    assert_eq!(next(&grown), Step::Clean(0));
    assert_eq!(told(&grown).unwrap().0, "CleaningUp");
    grown.claims[0].to_clean = false;
    assert_eq!(next(&grown), Step::Clean(1));
    // More members come, and others go, before.
    grown.asked = 5;
    assert_eq!(next(&grown), Step::Add(4));
    grown.asked = 3;
    assert_eq!(next(&grown), Step::Leave(3));
    // What was declared otherwise is run first.
    grown.asked = 4;
    grown.members[0].current = false;
    assert_eq!(next(&grown), Step::Done);
    grown.members[0].current = true;
    grown.members[1].state.ready = false;
    waits(&grown, "db-1 is not ready");
    assert_eq!(told(&grown).unwrap().0, "CleaningUp");
}

/// The same with members whose volumes were lost.
fn replaced_of(mut observed: Observed, ordinals: &[usize]) -> Observed {
    for ordinal in ordinals {
        observed.claims[*ordinal].to_repair = true;
    }
    observed
}

#[test]
fn one_whose_volume_was_lost_is_repaired_before_anything_else_is_begun() {
    let settled = replaced_of(cassandra(3, 3, &[N; 3]), &[0, 2]);
    assert_eq!(next(&settled), Step::Repair(0));
    let (reason, message) = told(&settled).unwrap();
    assert_eq!(reason, "Repairing");
    assert!(
        message.starts_with("3 members run, as asked for; db-0 is repaired, since its volume"),
        "{message}"
    );
    assert_eq!(
        next(&replaced_of(cassandra(3, 3, &[N; 3]), &[2])),
        Step::Repair(2)
    );
    // More, fewer, and what is left to be cleaned up.
    let more = replaced_of(cassandra(5, 4, &[N; 4]), &[1]);
    assert_eq!(next(&more), Step::Repair(1));
    let (reason, message) = told(&more).unwrap();
    assert_eq!(reason, "Repairing");
    assert!(message.starts_with("4 members run, 5 are asked for; db-1 is repaired"));
    for departure in [None, Some(Departure::Leaving)] {
        let mut fewer = replaced_of(cassandra(3, 4, &[N; 4]), &[3]);
        fewer.claims[3].departure = departure;
        assert_eq!(next(&fewer), Step::Repair(3));
        assert_eq!(told(&fewer).unwrap().0, "Repairing");
    }
    let mut full = replaced_of(cassandra(3, 3, &[N; 3]), &[1]);
    full.claims[0].to_clean = true;
    assert_eq!(next(&full), Step::Repair(1));
}

#[test]
fn a_repair_needs_every_member() {
    let down = replaced_of(cassandra(3, 3, &[N, "DOWN", N]), &[0]);
    waits(&down, "db-0 is to be repaired");
    waits(&down, "db-1 is DOWN");
    assert_eq!(told(&down).unwrap().0, "Repairing");
    let absent = replaced_of(without(cassandra(4, 3, &[N; 3]), 2), &[0]);
    waits(&absent, "db-2 is not ready");
    assert_eq!(told(&absent).unwrap().0, "Repairing");
    waits(
        &replaced_of(cassandra(3, 3, &[N; 4]), &[0]),
        "4 members for 3 pods",
    );
}

#[test]
fn who_has_begun_to_leave_leaves_before_a_repair() {
    let of = |states: &[&str], departure| {
        let observed = replaced_of(cassandra(3, 4, states), &[0]);
        marked(observed, 3, departure)
    };
    let leaving = of(&[N, N, N, "LEAVING"], Departure::Leaving);
    waits(&leaving, "db-3 hands its data over");
    assert_eq!(told(&leaving).unwrap().0, "ScalingIn");
    let absent = without(of(&[N; 3], Departure::Leaving), 3);
    assert_eq!(next(&absent), Step::Discard(3));
    let left = without(of(&[N; 3], Departure::Left), 3);
    assert_eq!(next(&left), Step::Stop(3));
    let mut gone = left;
    (gone.wanted, gone.members) = (3, gone.members.drain(..3).collect());
    assert_eq!(next(&gone), Step::Delete(3));
    gone.claims.pop();
    assert_eq!(next(&gone), Step::Repair(0));
    // A volume that has left is no member's.
    let mut other = cassandra(3, 3, &[N; 3]);
    other.claims.push(Claim {
        to_repair: true,
        ..Claim::of("db", 3)
    });
    assert_eq!(next(&other), Step::Done);
}

#[test]
fn a_change_is_rolled_out_after_a_repair_unless_some_run_it_already() {
    let mut changed = replaced_of(cassandra(4, 3, &[N; 3]), &[0]);
    for member in &mut changed.members {
        member.current = false;
    }
    assert_eq!(next(&changed), Step::Repair(0));
    changed.members[0].current = true;
    assert_eq!(next(&changed), Step::Done, "then it is rolled out");
    changed.asked = 3;
    assert_eq!(next(&changed), Step::Done);
    changed.members[1].current = true;
    changed.members[2].current = true;
    assert_eq!(next(&changed), Step::Repair(0));
}

#[test]
fn a_member_of_mongodb_copies_all_anew_and_needs_no_repair() {
    let replaced = replaced_of(mongodb(3, 3, &SET[..3]), &[0]);
    assert_eq!(next(&replaced), Step::Done);
    assert_eq!(told(&replaced), None);
}

const SET: [&str; 5] = [
    "SECONDARY",
    "PRIMARY",
    "SECONDARY",
    "SECONDARY",
    "SECONDARY",
];

#[test]
fn a_member_of_mongodb_runs_before_it_is_one_of_the_set() {
    assert_eq!(next(&mongodb(5, 3, &SET[..3])), Step::Add(3));
    waits(&without(mongodb(5, 4, &SET[..3]), 3), "db-3 is not ready");
    let runs = mongodb(5, 4, &SET[..3]);
    assert_eq!(next(&runs), Step::Enrol(3));
    assert_eq!(told(&runs).unwrap().0, "ScalingOut");
    let mut syncs = SET;
    syncs[3] = "STARTUP2";
    waits(&mongodb(5, 4, &syncs[..4]), "db-3 is STARTUP2");
    assert_eq!(next(&mongodb(5, 4, &SET[..4])), Step::Add(4));
    assert_eq!(next(&mongodb(5, 5, &SET[..4])), Step::Enrol(4));
    assert_eq!(told(&mongodb(5, 5, &SET[..4])).unwrap().0, "ScalingOut");
    assert_eq!(next(&mongodb(5, 5, &SET)), Step::Done);
}

#[test]
fn a_member_of_mongodb_is_taken_out_of_the_set_before_it_stops() {
    assert_eq!(next(&mongodb(3, 5, &SET)), Step::Leave(4));
    let mut down = SET;
    down[4] = "DOWN";
    let down = without(mongodb(3, 5, &down), 4);
    assert_eq!(
        next(&down),
        Step::Leave(4),
        "it has nothing that others lack"
    );
    let mut down = SET;
    down[0] = "RECOVERING";
    waits(&mongodb(3, 5, &down), "db-0 is RECOVERING");
    let absent = mongodb(3, 5, &SET[..4]);
    assert_eq!(next(&absent), Step::Discard(4));
    let left = marked(absent, 4, Departure::Left);
    assert_eq!(next(&left), Step::Stop(4));
    assert_eq!(next(&mongodb(3, 4, &SET[..4])), Step::Leave(3));
    // In between nobody makes it a member again.
    let asked = marked(mongodb(5, 5, &SET[..4]), 4, Departure::Leaving);
    assert_eq!(next(&asked), Step::Discard(4));
}
