//! Plans the platform's superuser and a tenant's keyspaces, roles and rights [pure]: what is desired
//! against what is there, as statements that may be repeated.
//!
//! A tenant's role reads and writes rows of its own keyspace and nothing else: tables are declared by
//! pipelines and made by the operator, so it may neither create, alter nor drop. The platform's role
//! reads and writes rows of both keyspaces. Any other right on data that either is found to have is revoked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{literal, quote};
use crate::admin::{AdminError, ClusterSetup, Replication, RoleLogin, Tenancy, TenancyNames};

/// One statement, safe to repeat.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Step {
    /// What it does, for errors and logs: never a secret.
    pub action: String,
    pub cql: String,
    /// Part of the statement that must not show.
    pub secret: Option<String>,
    /// Whether every replica must answer, rather than a quorum of them.
    pub everywhere: bool,
}

impl Step {
    pub(crate) fn new(action: String, cql: String) -> Self {
        Self {
            action,
            cql,
            secret: None,
            everywhere: false,
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.action)
    }
}

/// Name of the superuser that a new database makes by itself.
pub(crate) const DEFAULT_SUPERUSER: &str = "cassandra";
/// Keyspace of roles and rights.
pub(crate) const AUTH_KEYSPACE: &str = "system_auth";

const STRATEGY: &str = "NetworkTopologyStrategy";
const RIGHTS: [&str; 2] = ["SELECT", "MODIFY"];

/// A keyspace that is there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct KeyspaceState {
    pub replication: BTreeMap<String, String>,
    pub durable_writes: bool,
}

/// A role that is there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct RoleState {
    pub can_login: bool,
    pub is_superuser: bool,
    /// Whether it logs in with the password that is desired.
    pub password_fits: bool,
}

/// What is there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Observed {
    pub keyspaces: BTreeMap<String, KeyspaceState>,
    pub roles: BTreeMap<String, RoleState>,
    /// Role, resource (`data/keyspace/table`) and permission.
    pub rights: BTreeSet<(String, String, String)>,
}

/// What cannot be done in Cassandra, whatever is there.
pub(crate) fn unsuitable(reason: &str) -> AdminError {
    AdminError::Refused {
        action: "the setup".to_owned(),
        reason: reason.to_owned(),
    }
}

fn replication(desired: &Replication) -> BTreeMap<String, String> {
    BTreeMap::from([
        (
            "class".to_owned(),
            format!("org.apache.cassandra.locator.{STRATEGY}"),
        ),
        (desired.datacenter.clone(), desired.factor.to_string()),
    ])
}

fn replication_cql(desired: &Replication) -> String {
    let (datacenter, factor) = (literal(&desired.datacenter), desired.factor);
    format!("{{'class': '{STRATEGY}', {datacenter}: {factor}}}")
}

fn keyspace(name: &str, desired: &Replication, observed: &Observed) -> Option<Step> {
    let replicas = replication_cql(desired);
    match observed.keyspaces.get(name) {
        None => Some(Step::new(
            format!("create keyspace `{name}`"),
            format!(
                "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {replicas} AND durable_writes = true",
                quote(name)
            ),
        )),
        Some(state) if state.replication != replication(desired) || !state.durable_writes => {
            Some(Step::new(
                format!("replicate keyspace `{name}`"),
                format!(
                    "ALTER KEYSPACE {} WITH replication = {replicas} AND durable_writes = true",
                    quote(name)
                ),
            ))
        }
        Some(_) => None,
    }
}

fn role_step(verb: &str, role: &RoleLogin, superuser: bool) -> Step {
    let guard = if verb == "CREATE" {
        "IF NOT EXISTS "
    } else {
        ""
    };
    let mut step = Step::new(
        format!("{} role `{}`", verb.to_lowercase(), role.name),
        format!(
            "{verb} ROLE {guard}{} WITH PASSWORD = {} AND LOGIN = true AND SUPERUSER = {superuser}",
            quote(&role.name),
            literal(&role.password)
        ),
    );
    step.secret = Some(literal(&role.password));
    step
}

/// Makes the role log in with its password; none where it does. CREATE alone would keep an old password.
fn role(role: &RoleLogin, superuser: bool, observed: &Observed) -> Vec<Step> {
    match observed.roles.get(&role.name) {
        None => vec![role_step("CREATE", role, superuser)],
        Some(state)
            if !state.can_login || !state.password_fits || state.is_superuser != superuser =>
        {
            vec![role_step("ALTER", role, superuser)]
        }
        Some(_) => Vec::new(),
    }
}

/// The platform's own superuser, made by the default one. Roles are replicated before any is made,
/// because CQL cannot repair what was written to too few members.
pub(crate) fn first_login(
    setup: &ClusterSetup,
    replication: &Replication,
    observed: &Observed,
) -> Vec<Step> {
    let own = RoleLogin {
        name: setup.superuser.clone(),
        password: setup.password.clone(),
    };
    let mut steps: Vec<Step> = auth_keyspace(replication, observed).into_iter().collect();
    steps.push(spread_default());
    steps.extend(role(&own, true, observed));
    steps
}

/// The server wrote the default role to one member. A quorum that leaves that one out would refuse the
/// default login after a crash; reading the row from all members writes it where it is missing.
fn spread_default() -> Step {
    let mut step = Step::new(
        "spread the default superuser to every member".to_owned(),
        format!(
            "SELECT role, is_superuser, can_login, salted_hash FROM {AUTH_KEYSPACE}.roles WHERE role = {}",
            literal(DEFAULT_SUPERUSER)
        ),
    );
    step.everywhere = true;
    step
}

/// What is left once the platform's own superuser logs in: the default one is shut out for good.
pub(crate) fn settle(
    setup: &ClusterSetup,
    replication: &Replication,
    observed: &Observed,
    random: &str,
) -> Vec<Step> {
    let mut steps: Vec<Step> = auth_keyspace(replication, observed).into_iter().collect();
    let open = observed
        .roles
        .get(DEFAULT_SUPERUSER)
        .is_some_and(|state| state.can_login || state.is_superuser);
    if open && setup.superuser != DEFAULT_SUPERUSER {
        let mut step = Step::new(
            "disable the default superuser".to_owned(),
            format!(
                "ALTER ROLE {} WITH PASSWORD = {} AND LOGIN = false AND SUPERUSER = false",
                quote(DEFAULT_SUPERUSER),
                literal(random)
            ),
        );
        step.secret = Some(literal(random));
        steps.push(step);
    }
    steps
}

fn auth_keyspace(replication: &Replication, observed: &Observed) -> Option<Step> {
    observed.keyspaces.get(AUTH_KEYSPACE)?;
    keyspace(AUTH_KEYSPACE, replication, observed)
}

fn resource(keyspace: &str) -> String {
    format!("data/{keyspace}")
}

/// `data`, `data/keyspace` or `data/keyspace/table` as CQL.
fn resource_cql(resource: &str) -> Option<String> {
    let mut parts = resource.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("data"), None, None, None) => Some("ALL KEYSPACES".to_owned()),
        (Some("data"), Some(keyspace), None, None) => Some(format!("KEYSPACE {}", quote(keyspace))),
        (Some("data"), Some(keyspace), Some("*"), None) => {
            Some(format!("ALL TABLES IN KEYSPACE {}", quote(keyspace)))
        }
        (Some("data"), Some(keyspace), Some(table), None) => {
            Some(format!("TABLE {}.{}", quote(keyspace), quote(table)))
        }
        _ => None,
    }
}

fn right(verb: &str, link: &str, (role, resource, permission): (&str, &str, &str)) -> Option<Step> {
    let on = resource_cql(resource)?;
    Some(Step::new(
        format!(
            "{} {permission} on `{resource}` {} `{role}`",
            verb.to_lowercase(),
            link.to_lowercase()
        ),
        format!("{verb} {permission} ON {on} {link} {}", quote(role)),
    ))
}

fn rights(role: &str, keyspaces: &[&str], observed: &Observed) -> Vec<Step> {
    let desired: BTreeSet<(String, &str)> = keyspaces
        .iter()
        .flat_map(|keyspace| RIGHTS.map(|permission| (resource(keyspace), permission)))
        .collect();
    let there: BTreeSet<(String, &str)> = observed
        .rights
        .iter()
        .filter(|(owner, _, _)| owner == role)
        .map(|(_, resource, permission)| (resource.clone(), permission.as_str()))
        .collect();
    let grants = desired
        .difference(&there)
        .filter_map(|(resource, permission)| right("GRANT", "TO", (role, resource, permission)));
    let revokes = there
        .difference(&desired)
        .filter_map(|(resource, permission)| right("REVOKE", "FROM", (role, resource, permission)));
    grants.chain(revokes).collect()
}

/// Keyspaces, roles and rights of a tenancy.
pub(crate) fn tenancy(
    tenancy: &Tenancy,
    replication: &Replication,
    observed: &Observed,
) -> Vec<Step> {
    let (own, platform) = (&tenancy.keyspace, &tenancy.platform_keyspace);
    let mut steps: Vec<Step> = [own, platform]
        .into_iter()
        .filter_map(|name| keyspace(name, replication, observed))
        .collect();
    steps.extend(role(&tenancy.tenant_role, false, observed));
    steps.extend(role(&tenancy.platform_role, false, observed));
    steps.extend(rights(&tenancy.tenant_role.name, &[own], observed));
    steps.extend(rights(
        &tenancy.platform_role.name,
        &[own, platform],
        observed,
    ));
    steps
}

/// Turns logins off.
pub(crate) fn suspend(names: &TenancyNames, observed: &Observed) -> Vec<Step> {
    let on = |role: &&String| {
        observed
            .roles
            .get(*role)
            .is_some_and(|state| state.can_login)
    };
    names
        .roles
        .iter()
        .filter(on)
        .map(|role| {
            Step::new(
                format!("turn the login of role `{role}` off"),
                format!("ALTER ROLE {} WITH LOGIN = false", quote(role)),
            )
        })
        .collect()
}

/// Drops roles, then keyspaces.
pub(crate) fn drop(names: &TenancyNames, observed: &Observed) -> Vec<Step> {
    let roles = names
        .roles
        .iter()
        .filter(|role| observed.roles.contains_key(*role))
        .map(|role| {
            Step::new(
                format!("drop role `{role}`"),
                format!("DROP ROLE IF EXISTS {}", quote(role)),
            )
        });
    let keyspaces = names
        .keyspaces
        .iter()
        .filter(|keyspace| observed.keyspaces.contains_key(*keyspace))
        .map(|keyspace| {
            Step::new(
                format!("drop keyspace `{keyspace}`"),
                format!("DROP KEYSPACE IF EXISTS {}", quote(keyspace)),
            )
        });
    roles.chain(keyspaces).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
