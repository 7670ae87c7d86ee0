//! Users are made, corrected, shut out and dropped; nothing is done twice.

use std::collections::{BTreeMap, BTreeSet};

use super::{Step, UserState, drop, superuser, suspend, tenancy};
use crate::admin::{RoleLogin, Tenancy, TenancyNames};

fn login(name: &str) -> RoleLogin {
    RoleLogin {
        name: name.to_owned(),
        password: "hunter2".to_owned(),
    }
}

fn acme() -> Tenancy {
    Tenancy {
        keyspace: "t_acme".to_owned(),
        platform_keyspace: "p_acme".to_owned(),
        tenant_role: login("t_acme"),
        platform_role: login("p_acme"),
        replication: None,
    }
}

fn names() -> TenancyNames {
    TenancyNames {
        keyspaces: vec!["t_acme".to_owned(), "p_acme".to_owned()],
        roles: vec!["t_acme".to_owned(), "p_acme".to_owned()],
    }
}

fn user(databases: &[&str], password_fits: bool) -> UserState {
    UserState {
        grants: databases
            .iter()
            .map(|database| ("readWrite".to_owned(), (*database).to_owned()))
            .collect(),
        password_fits,
    }
}

fn there() -> BTreeMap<String, UserState> {
    BTreeMap::from([
        ("t_acme".to_owned(), user(&["t_acme"], true)),
        ("p_acme".to_owned(), user(&["t_acme", "p_acme"], true)),
    ])
}

fn actions(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.action.as_str()).collect()
}

#[test]
fn a_tenancy_is_made_once() {
    let steps = tenancy(&acme(), &BTreeMap::new());
    assert_eq!(
        actions(&steps),
        ["create user `t_acme`", "create user `p_acme`"]
    );
    assert!(!format!("{steps:?}").contains("hunter2"));
    assert!(tenancy(&acme(), &there()).is_empty());
}

#[test]
fn roles_that_are_too_many_go_without_touching_the_password() {
    let mut users = there();
    users.insert("t_acme".to_owned(), user(&["t_acme", "t_other"], true));
    let steps = tenancy(&acme(), &users);
    assert_eq!(actions(&steps), ["set the roles of user `t_acme`"]);
    assert!(!steps[0].command.contains_key("pwd"));
}

#[test]
fn who_is_shut_out_comes_back_and_is_shut_out_once() {
    let steps = suspend(&names(), &there(), "random");
    assert_eq!(
        actions(&steps),
        ["shut user `t_acme` out", "shut user `p_acme` out"]
    );
    let out: BTreeMap<_, _> = there()
        .into_keys()
        .map(|name| (name, user(&[], false)))
        .collect();
    assert!(suspend(&names(), &out, "random").is_empty());
    let steps = tenancy(&acme(), &out);
    assert_eq!(steps.len(), 2);
    assert!(steps.iter().all(|step| step.command.contains_key("pwd")));
}

#[test]
fn what_is_there_is_dropped_users_first() {
    let databases = BTreeSet::from(["p_acme".to_owned(), "t_other".to_owned()]);
    let steps = drop(&names(), &there(), &databases);
    assert_eq!(
        actions(&steps),
        [
            "drop user `t_acme`",
            "drop user `p_acme`",
            "drop database `p_acme`"
        ]
    );
    assert!(drop(&names(), &BTreeMap::new(), &BTreeSet::new()).is_empty());
}

#[test]
fn the_operators_user_has_what_it_needs_and_no_more() {
    let own = login("simbdp_operator");
    let Some(step) = superuser(&own, None) else {
        panic!("not made");
    };
    let roles = format!("{:?}", step.command.get_array("roles").unwrap());
    assert!(roles.contains("userAdminAnyDatabase") && !roles.contains("root"));
    let complete = UserState {
        grants: super::SUPERUSER_ROLES
            .map(|role| (role.to_owned(), "admin".to_owned()))
            .into(),
        password_fits: true,
    };
    assert_eq!(superuser(&own, Some(&complete)), None);
}
