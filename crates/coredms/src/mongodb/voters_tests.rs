//! One member at a time, and never while another one does not serve.

use mongodb::bson::{Bson, Document, doc};

use super::{Change, next};

/// Members `m<n>:1` with these numbers.
fn config(members: &[i32]) -> Document {
    let members: Vec<_> = members
        .iter()
        .map(|n| doc! {"_id": n, "host": format!("m{n}:1")})
        .collect();
    doc! {"_id": "set", "version": 7, "term": 3, "members": members, "settings": {"a": 1}}
}

fn status(states: &[(i32, &str)]) -> Document {
    let members: Vec<_> = states
        .iter()
        .map(|(n, state)| doc! {"name": format!("m{n}:1"), "stateStr": state})
        .collect();
    doc! {"members": members}
}

fn wanted(members: &[i32]) -> Vec<String> {
    members.iter().map(|n| format!("m{n}:1")).collect()
}

const THREE: [(i32, &str); 3] = [(0, "PRIMARY"), (1, "SECONDARY"), (2, "SECONDARY")];

fn hosts(change: Change) -> Vec<String> {
    let Change::Configure(config, _) = change else {
        panic!("{change:?}");
    };
    assert_eq!(config.get("version"), Some(&Bson::Int64(8)));
    assert_eq!(config.get_i32("term").unwrap(), 3);
    assert_eq!(config.get_document("settings").unwrap(), &doc! {"a": 1});
    let members = config.get_array("members").unwrap().iter();
    members
        .map(|member| {
            let member = member.as_document().unwrap();
            let host = member.get_str("host").unwrap();
            format!("{}={host}", member.get_i32("_id").unwrap())
        })
        .collect()
}

#[test]
fn a_set_with_its_members_is_left_alone_whatever_they_do() {
    let down = status(&[(0, "PRIMARY"), (1, "(not reachable/healthy)")]);
    let all = [0, 1, 2];
    assert_eq!(next(&wanted(&all), &config(&all), &down), Change::Nothing);
}

#[test]
fn one_is_added_at_a_time() {
    let five = wanted(&[0, 1, 2, 3, 4]);
    let added = next(&five, &config(&[0, 1, 2]), &status(&THREE));
    assert_eq!(hosts(added), ["0=m0:1", "1=m1:1", "2=m2:1", "3=m3:1"]);
    // The first one has been away for long: its number is free again.
    let numbered = next(&wanted(&[0, 1, 2]), &config(&[1, 2]), &status(&THREE));
    assert_eq!(hosts(numbered), ["1=m1:1", "2=m2:1", "0=m0:1"]);
}

#[test]
fn the_next_one_is_added_when_the_one_before_has_its_data() {
    let mut states = THREE.to_vec();
    states.push((3, "STARTUP2"));
    let five = wanted(&[0, 1, 2, 3, 4]);
    let four = config(&[0, 1, 2, 3]);
    match next(&five, &four, &status(&states)) {
        Change::Wait(reason) => assert!(reason.contains("m3:1"), "{reason}"),
        other => panic!("{other:?}"),
    }
    states[3] = (3, "SECONDARY");
    let added = next(&five, &four, &status(&states));
    assert_eq!(hosts(added).last().unwrap(), "4=m4:1");
}

#[test]
fn the_last_goes_first_and_steps_down_before() {
    let mut states = THREE.to_vec();
    states.extend([(3, "SECONDARY"), (4, "SECONDARY")]);
    let five = config(&[0, 1, 2, 3, 4]);
    let three = wanted(&[0, 1, 2]);
    let without = next(&three, &five, &status(&states));
    assert_eq!(
        hosts(without),
        ["0=m0:1", "1=m1:1", "2=m2:1", "3=m3:1"],
        "one at a time"
    );
    states[0].1 = "SECONDARY";
    states[4].1 = "PRIMARY";
    assert_eq!(
        next(&three, &five, &status(&states)),
        Change::StepDown("m4:1".to_owned())
    );
}

#[test]
fn one_that_is_down_may_go_but_not_while_another_one_is() {
    let mut states = THREE.to_vec();
    states.push((3, "(not reachable/healthy)"));
    let (three, four) = (wanted(&[0, 1, 2]), config(&[0, 1, 2, 3]));
    assert_eq!(hosts(next(&three, &four, &status(&states))).len(), 3);
    states[1].1 = "RECOVERING";
    assert!(matches!(
        next(&three, &four, &status(&states)),
        Change::Wait(_)
    ));
}
