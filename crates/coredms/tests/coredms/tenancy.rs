//! Keyspaces, roles and rights: isolation, drift, suspension, end.

use scylla::client::session::Session;
use scylla::value::Row;

use crate::server::{
    admin, connection, converge, eventually, login, names, query, superuser, tenancy,
};
use simbdp_coredms::AdminConnector;
use simbdp_coredms::admin::RoleLogin;
use simbdp_coredms::cassandra::CassandraConnector;

async fn allowed(session: &Session, cql: &str) -> bool {
    match session.query_unpaged(cql, ()).await {
        Ok(_) => true,
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.contains("doesn't have the right") || text.contains("permission"),
                "{cql}: {text}"
            );
            false
        }
    }
}

async fn login_as(role: &RoleLogin) -> Session {
    login(&role.name, &role.password).await.unwrap()
}

#[tokio::test]
async fn a_tenants_role_reaches_its_own_keyspace_alone() {
    let admin = admin().await;
    let (a, b) = (tenancy("iso_a"), tenancy("iso_b"));
    converge(|| admin.ensure_tenancy(&a)).await;
    converge(|| admin.ensure_tenancy(&b)).await;
    let root = superuser().await;
    for keyspace in ["t_iso_a", "t_iso_b"] {
        let cql = format!("CREATE TABLE {keyspace}.x (k int PRIMARY KEY, v int)");
        root.query_unpaged(cql, ()).await.unwrap();
    }
    let own = login_as(&a.tenant_role).await;
    assert!(allowed(&own, "INSERT INTO t_iso_a.x (k, v) VALUES (1, 1)").await);
    assert!(allowed(&own, "SELECT * FROM t_iso_a.x").await);
    for cql in [
        "SELECT * FROM t_iso_b.x",
        "INSERT INTO t_iso_b.x (k, v) VALUES (1, 1)",
        "SELECT * FROM p_iso_a.files",
        "INSERT INTO p_iso_a.totals (pipeline, instance, rows) VALUES ('p', 'i', 1)",
        "SELECT * FROM p_iso_b.files",
        "SELECT * FROM system_auth.roles",
        "CREATE TABLE t_iso_a.y (k int PRIMARY KEY)",
        "ALTER TABLE t_iso_a.x ADD w int",
        "DROP TABLE t_iso_a.x",
        "DROP KEYSPACE t_iso_b",
        "CREATE KEYSPACE mine WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
        "CREATE ROLE mine",
        "GRANT SELECT ON KEYSPACE t_iso_b TO t_iso_a",
    ] {
        assert!(!allowed(&own, cql).await, "{cql}");
    }
    let platform = login_as(&a.platform_role).await;
    for cql in ["SELECT * FROM t_iso_a.x", "SELECT * FROM p_iso_a.files"] {
        assert!(allowed(&platform, cql).await, "{cql}");
    }
    for cql in [
        "SELECT * FROM t_iso_b.x",
        "SELECT * FROM p_iso_b.files",
        "DROP TABLE p_iso_a.files",
    ] {
        assert!(!allowed(&platform, cql).await, "{cql}");
    }
}

async fn written(root: &Session) -> Vec<Row> {
    let mut rows = Vec::new();
    for role in ["t_again", "p_again"] {
        for (table, column) in [
            ("roles", "salted_hash"),
            ("role_permissions", "resource, permissions"),
        ] {
            let column = match table {
                "roles" => format!("WRITETIME({column})"),
                _ => column.to_owned(),
            };
            let cql = format!("SELECT {column} FROM system_auth.{table} WHERE role = '{role}'");
            rows.extend(query(root, &cql).await);
        }
    }
    rows.extend(query(root, "SELECT schema_version FROM system.local").await);
    rows
}

#[tokio::test]
async fn the_same_tenancy_again_writes_no_role() {
    let tenancy = tenancy("again");
    let admin = admin().await;
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    let root = superuser().await;
    let hashes = "SELECT WRITETIME(salted_hash) FROM system_auth.roles WHERE role = 't_again'";
    let before = query(&root, hashes).await;
    let rights = written(&root).await.len();
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    // Another operator knows no password to be right, and has to try them.
    let connection = connection(crate::server::SUPERUSER, crate::server::PASSWORD).await;
    let other = CassandraConnector::new()
        .connect(&connection)
        .await
        .unwrap();
    converge(|| other.ensure_tenancy(&tenancy)).await;
    assert_eq!(query(&root, hashes).await, before);
    assert_eq!(written(&root).await.len(), rights);
}

#[tokio::test]
async fn another_password_is_applied_and_drift_corrected() {
    let admin = admin().await;
    let mut tenancy = tenancy("drift");
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    let old = tenancy.tenant_role.clone();
    login_as(&old).await;
    tenancy.tenant_role.password = "rotated".to_owned();
    let root = superuser().await;
    for cql in [
        "GRANT SELECT ON KEYSPACE p_drift TO t_drift",
        "REVOKE MODIFY ON KEYSPACE t_drift FROM t_drift",
        "ALTER KEYSPACE t_drift WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
    ] {
        root.query_unpaged(cql, ()).await.unwrap();
    }
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    eventually("the new password is in effect", || async {
        login(&old.name, "rotated").await.is_ok() && login(&old.name, &old.password).await.is_err()
    })
    .await;
    let rights = query(
        &root,
        "SELECT resource, permissions FROM system_auth.role_permissions WHERE role = 't_drift'",
    )
    .await;
    let text = format!("{rights:?}");
    assert_eq!(rights.len(), 1, "{text}");
    assert!(
        text.contains("MODIFY") && text.contains("data/t_drift"),
        "{text}"
    );
    let replication = query(
        &root,
        "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = 't_drift'",
    )
    .await;
    assert!(format!("{replication:?}").contains("NetworkTopologyStrategy"));
}

#[tokio::test]
async fn a_suspended_tenancy_comes_back_with_its_data_and_a_dropped_one_does_not() {
    let admin = admin().await;
    let tenancy = tenancy("end");
    let names = names(&tenancy);
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    let root = superuser().await;
    root.query_unpaged("CREATE TABLE t_end.x (k int PRIMARY KEY)", ())
        .await
        .unwrap();
    let role = &tenancy.tenant_role;
    let session = login_as(role).await;
    session
        .query_unpaged("INSERT INTO t_end.x (k) VALUES (7)", ())
        .await
        .unwrap();

    converge(|| admin.suspend_tenancy(&names)).await;
    converge(|| admin.suspend_tenancy(&names)).await;
    eventually("the login is off", || async {
        login(&role.name, &role.password).await.is_err()
    })
    .await;
    converge(|| admin.ensure_tenancy(&tenancy)).await;
    eventually("the login is on", || async {
        login(&role.name, &role.password).await.is_ok()
    })
    .await;
    assert_eq!(query(&root, "SELECT k FROM t_end.x").await.len(), 1);

    converge(|| admin.drop_tenancy(&names)).await;
    converge(|| admin.drop_tenancy(&names)).await;
    converge(|| admin.suspend_tenancy(&names)).await;
    let left = query(&root, "SELECT keyspace_name FROM system_schema.keyspaces").await;
    assert!(!format!("{left:?}").contains("_end\""), "{left:?}");
    eventually("the role is gone", || async {
        login(&role.name, &role.password).await.is_err()
    })
    .await;
}
