//! Plans against every state that a crash can leave.

use std::collections::BTreeMap;

use super::{
    AUTH_KEYSPACE, KeyspaceState, Observed, RoleState, Step, drop, first_login, replication,
    settle, suspend, tenancy,
};
use crate::admin::{ClusterSetup, EngineSetup, Replication, RoleLogin, Tenancy, TenancyNames};

fn setup() -> ClusterSetup {
    ClusterSetup {
        superuser: "simbdp".to_owned(),
        password: "it's secret".to_owned(),
        engine: EngineSetup::Cassandra(replicas(3)),
    }
}

fn replicas(factor: u16) -> Replication {
    Replication {
        datacenter: "dc1".to_owned(),
        factor,
    }
}

fn fresh() -> Observed {
    let simple = BTreeMap::from([
        (
            "class".to_owned(),
            "org.apache.cassandra.locator.SimpleStrategy".to_owned(),
        ),
        ("replication_factor".to_owned(), "1".to_owned()),
    ]);
    Observed {
        keyspaces: BTreeMap::from([(
            AUTH_KEYSPACE.to_owned(),
            KeyspaceState {
                replication: simple,
                durable_writes: true,
            },
        )]),
        roles: BTreeMap::from([(
            "cassandra".to_owned(),
            RoleState {
                can_login: true,
                is_superuser: true,
                password_fits: false,
            },
        )]),
        ..Observed::default()
    }
}

fn replicated(names: &[&str]) -> BTreeMap<String, KeyspaceState> {
    let state = KeyspaceState {
        replication: replication(&replicas(3)),
        durable_writes: true,
    };
    names
        .iter()
        .map(|name| ((*name).to_owned(), state.clone()))
        .collect()
}

fn actions(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.action.as_str()).collect()
}

#[test]
fn roles_are_replicated_before_one_is_made() {
    let steps = first_login(&setup(), &replicas(3), &fresh());
    assert_eq!(
        actions(&steps),
        [
            "replicate keyspace `system_auth`",
            "spread the default superuser to every member",
            "create role `simbdp`",
        ]
    );
    assert_eq!(
        steps[0].cql,
        "ALTER KEYSPACE \"system_auth\" WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3} AND durable_writes = true"
    );
    assert_eq!(
        steps[2].cql,
        "CREATE ROLE IF NOT EXISTS \"simbdp\" WITH PASSWORD = 'it''s secret' AND LOGIN = true AND SUPERUSER = true"
    );
}

#[test]
fn a_crash_after_the_first_step_is_made_good() {
    let mut observed = fresh();
    observed.keyspaces = replicated(&[AUTH_KEYSPACE]);
    assert_eq!(
        actions(&first_login(&setup(), &replicas(3), &observed)),
        [
            "spread the default superuser to every member",
            "create role `simbdp`"
        ]
    );
}

#[test]
fn a_superuser_with_another_password_gets_this_one() {
    let mut observed = fresh();
    observed.keyspaces = replicated(&[AUTH_KEYSPACE]);
    let state = RoleState {
        can_login: true,
        is_superuser: true,
        password_fits: false,
    };
    observed.roles.insert("simbdp".to_owned(), state);
    let steps = first_login(&setup(), &replicas(3), &observed);
    assert_eq!(steps[1].action, "alter role `simbdp`");
}

#[test]
fn the_default_superuser_is_shut_out_once() {
    let mut observed = fresh();
    observed.keyspaces = replicated(&[AUTH_KEYSPACE]);
    let steps = settle(&setup(), &replicas(3), &observed, "random");
    assert_eq!(actions(&steps), ["disable the default superuser"]);
    assert!(
        steps[0].cql.contains("LOGIN = false AND SUPERUSER = false"),
        "{}",
        steps[0].cql
    );
    observed
        .roles
        .insert("cassandra".to_owned(), RoleState::default());
    assert!(settle(&setup(), &replicas(3), &observed, "random").is_empty());
    observed.roles.remove("cassandra");
    assert!(settle(&setup(), &replicas(3), &observed, "random").is_empty());
}

#[test]
fn debug_shows_no_secret() {
    let steps = first_login(&setup(), &replicas(3), &fresh());
    assert!(!format!("{steps:?}").contains("secret"));
}

fn tenant() -> Tenancy {
    let role = |name: &str| RoleLogin {
        name: name.to_owned(),
        password: format!("password of {name}"),
    };
    Tenancy {
        keyspace: "t_a".to_owned(),
        platform_keyspace: "p_a".to_owned(),
        tenant_role: role("t_a"),
        platform_role: role("p_a"),
        replication: Some(replicas(3)),
    }
}

fn complete() -> Observed {
    let fits = RoleState {
        can_login: true,
        is_superuser: false,
        password_fits: true,
    };
    let rights = [("t_a", "t_a"), ("p_a", "t_a"), ("p_a", "p_a")];
    Observed {
        keyspaces: replicated(&["t_a", "p_a"]),
        roles: BTreeMap::from([("t_a".to_owned(), fits), ("p_a".to_owned(), fits)]),
        rights: rights
            .iter()
            .flat_map(|(role, keyspace)| {
                ["SELECT", "MODIFY"].map(|right| {
                    (
                        (*role).to_owned(),
                        format!("data/{keyspace}"),
                        right.to_owned(),
                    )
                })
            })
            .collect(),
    }
}

#[test]
fn a_tenancy_is_made_keyspaces_first() {
    let steps = tenancy(&tenant(), &replicas(3), &Observed::default());
    assert_eq!(
        actions(&steps),
        [
            "create keyspace `t_a`",
            "create keyspace `p_a`",
            "create role `t_a`",
            "create role `p_a`",
            "grant MODIFY on `data/t_a` to `t_a`",
            "grant SELECT on `data/t_a` to `t_a`",
            "grant MODIFY on `data/p_a` to `p_a`",
            "grant SELECT on `data/p_a` to `p_a`",
            "grant MODIFY on `data/t_a` to `p_a`",
            "grant SELECT on `data/t_a` to `p_a`",
        ]
    );
    assert_eq!(steps[4].cql, "GRANT MODIFY ON KEYSPACE \"t_a\" TO \"t_a\"");
}

#[test]
fn a_complete_tenancy_is_left_alone() {
    assert_eq!(tenancy(&tenant(), &replicas(3), &complete()), []);
}

#[test]
fn drift_is_corrected() {
    let mut observed = complete();
    let state = observed.roles.get_mut("t_a").unwrap();
    state.password_fits = false;
    observed.keyspaces.get_mut("p_a").unwrap().replication = replication(&replicas(1));
    observed
        .rights
        .remove(&("t_a".into(), "data/t_a".into(), "SELECT".into()));
    observed
        .rights
        .insert(("t_a".into(), "data/p_a/files".into(), "MODIFY".into()));
    let steps = tenancy(&tenant(), &replicas(3), &observed);
    assert_eq!(
        actions(&steps),
        [
            "replicate keyspace `p_a`",
            "alter role `t_a`",
            "grant SELECT on `data/t_a` to `t_a`",
            "revoke MODIFY on `data/p_a/files` from `t_a`",
        ]
    );
    assert_eq!(
        steps[3].cql,
        "REVOKE MODIFY ON TABLE \"p_a\".\"files\" FROM \"t_a\""
    );
}

#[test]
fn the_end_tolerates_what_is_gone() {
    let names = TenancyNames {
        keyspaces: vec!["t_a".to_owned(), "p_a".to_owned()],
        roles: vec!["t_a".to_owned(), "p_a".to_owned()],
    };
    let mut observed = complete();
    observed.roles.remove("p_a");
    observed.keyspaces.remove("t_a");
    assert_eq!(
        actions(&drop(&names, &observed)),
        ["drop role `t_a`", "drop keyspace `p_a`"]
    );
    assert_eq!(
        actions(&suspend(&names, &observed)),
        ["turn the login of role `t_a` off"]
    );
    assert!(suspend(&names, &Observed::default()).is_empty());
}
