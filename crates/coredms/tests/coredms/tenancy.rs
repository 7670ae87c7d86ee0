//! Keyspaces, roles and rights: isolation, drift, suspension, end.

use simbdp_coredms::admin::RoleLogin;

use crate::server::{Server, admin, converge, eventually, logs_in, names, tenancy};

on_each_engine! {
    a_role_reaches_its_own_keyspaces_alone
    the_same_tenancy_again_writes_no_role
    another_password_is_applied_and_drift_corrected
    a_suspended_tenancy_comes_back_with_its_data_and_a_dropped_one_does_not
}

async fn check(on: &dyn Server, role: &RoleLogin, (may, may_not): (Vec<String>, Vec<String>)) {
    for statement in may {
        assert!(on.allowed(role, &statement).await, "{statement}");
    }
    for statement in may_not {
        assert!(!on.allowed(role, &statement).await, "{statement}");
    }
}

async fn a_role_reaches_its_own_keyspaces_alone(on: &dyn Server) {
    let admin = admin(on).await;
    let (a, b) = (tenancy(on, "iso_a"), tenancy(on, "iso_b"));
    converge(|| admin.ensure_tenancy(&a)).await;
    converge(|| admin.ensure_tenancy(&b)).await;
    for tenancy in [&a, &b] {
        on.make_x(&tenancy.keyspace).await;
    }
    check(on, &a.tenant_role, on.tenants_rights("iso_a", "iso_b")).await;
    check(on, &a.platform_role, on.platforms_rights("iso_a", "iso_b")).await;
}

async fn the_same_tenancy_again_writes_no_role(on: &dyn Server) {
    let tenancy = tenancy(on, "again");
    let first = admin(on).await;
    converge(|| first.ensure_tenancy(&tenancy)).await;
    let seen = async || {
        let role = "t_again";
        let table = on.table("p_again", "files").await;
        (on.stored_password(role).await, on.rights(role).await, table)
    };
    let before = seen().await;
    converge(|| first.ensure_tenancy(&tenancy)).await;
    // Another operator knows no password to be right, and has to try them.
    let other = admin(on).await;
    converge(|| other.ensure_tenancy(&tenancy)).await;
    assert_eq!(seen().await, before);
}

async fn another_password_is_applied_and_drift_corrected(on: &dyn Server) {
    let admin = admin(on).await;
    let mut tenancy = tenancy(on, "drift");
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    let old = tenancy.tenant_role.clone();
    assert!(logs_in(on, &old).await);
    let (rights, keyspace) = (on.rights(&old.name).await, on.keyspace("t_drift").await);
    tenancy.tenant_role.password = "rotated".to_owned();
    for statement in on.drift(&tenancy) {
        on.run(&statement).await;
    }
    assert_ne!(on.rights(&old.name).await, rights);
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    eventually("the new password is in effect", || async {
        logs_in(on, &tenancy.tenant_role).await && !logs_in(on, &old).await
    })
    .await;
    assert_eq!(on.rights(&old.name).await, rights);
    assert_eq!(on.keyspace("t_drift").await, keyspace);
}

async fn a_suspended_tenancy_comes_back_with_its_data_and_a_dropped_one_does_not(on: &dyn Server) {
    let admin = admin(on).await;
    let tenancy = tenancy(on, "end");
    let names = names(&tenancy);
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    on.make_x("t_end").await;
    let role = &tenancy.tenant_role;

    converge(|| admin.suspend_tenancy(&names)).await;
    converge(|| admin.suspend_tenancy(&names)).await;
    eventually("the login is off", || async { !logs_in(on, role).await }).await;
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    eventually("the login is on", || async { logs_in(on, role).await }).await;
    assert_eq!(on.count("t_end", "x").await, 1);

    converge(|| admin.drop_tenancy(&names)).await;
    converge(|| admin.drop_tenancy(&names)).await;
    converge(|| admin.suspend_tenancy(&names)).await;
    for keyspace in ["t_end", "p_end"] {
        assert_eq!(on.keyspace(keyspace).await, None);
    }
    eventually("the role is gone", || async { !logs_in(on, role).await }).await;
}
