//! Plans users and databases [pure]: what is desired against what is there, as commands that may be repeated.
//!
//! A tenant's user reads and writes its own database and nothing else; the platform's user both of the tenant's.
//! A user that is suspended has no roles and a password that nobody knows: MongoDB has no login to turn off, and
//! roles that are taken away stop those who are logged in already. Any other role that a user is found to have is
//! taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mongodb::bson::{Document, doc};

use super::ADMIN;
use super::error::code;
use crate::admin::{RoleLogin, Tenancy, TenancyNames};

/// One command, safe to repeat.
#[derive(Clone, PartialEq)]
pub(crate) struct Step {
    /// What it does, for errors and logs: never a secret.
    pub action: String,
    pub database: String,
    /// Without the write concern.
    pub command: Document,
    /// Codes of errors which say that there is nothing left to do.
    pub fine: &'static [i32],
}

impl Step {
    pub(crate) fn new(action: String, database: &str, command: Document) -> Self {
        Self {
            action,
            database: database.to_owned(),
            command,
            fine: &[],
        }
    }

    pub(crate) fn unless(mut self, fine: &'static [i32]) -> Self {
        self.fine = fine;
        self
    }
}

/// A command may have a password in it.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.action)
    }
}

/// The least that the operator needs: users, collections and indexes of every database, members. It reads and
/// writes no rows.
pub(crate) const SUPERUSER_ROLES: [&str; 4] = [
    "userAdminAnyDatabase",
    "dbAdminAnyDatabase",
    "clusterManager",
    "clusterMonitor",
];
const READ_WRITE: &str = "readWrite";

/// A role that is granted: its name and its database.
pub(crate) type Grant = (String, String);

/// A user that is there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct UserState {
    pub grants: BTreeSet<Grant>,
    /// Whether it logs in with the password that is desired.
    pub password_fits: bool,
}

fn roles(grants: &BTreeSet<Grant>) -> Vec<Document> {
    grants
        .iter()
        .map(|(role, database)| doc! {"role": role, "db": database})
        .collect()
}

/// Makes the user log in with its password and have these roles; none where it does.
fn user(login: &RoleLogin, grants: BTreeSet<Grant>, state: Option<&UserState>) -> Option<Step> {
    let (name, password) = (&login.name, &login.password);
    let mechanisms = ["SCRAM-SHA-256"];
    match state {
        None => Some(Step::new(
            format!("create user `{name}`"),
            ADMIN,
            doc! {"createUser": name, "pwd": password, "roles": roles(&grants), "mechanisms": mechanisms},
        )),
        Some(state) if !state.password_fits => Some(Step::new(
            format!("set password and roles of user `{name}`"),
            ADMIN,
            doc! {"updateUser": name, "pwd": password, "roles": roles(&grants), "mechanisms": mechanisms},
        )),
        Some(state) if state.grants != grants => Some(Step::new(
            format!("set the roles of user `{name}`"),
            ADMIN,
            doc! {"updateUser": name, "roles": roles(&grants)},
        )),
        Some(_) => None,
    }
}

/// The operator's own user. Another operator may have made it just now.
pub(crate) fn superuser(login: &RoleLogin, state: Option<&UserState>) -> Option<Step> {
    let grants = SUPERUSER_ROLES
        .map(|role| (role.to_owned(), ADMIN.to_owned()))
        .into();
    user(login, grants, state).map(|step| step.unless(&[code::USER_ALREADY_EXISTS]))
}

fn read_write(databases: &[&String]) -> BTreeSet<Grant> {
    databases
        .iter()
        .map(|database| (READ_WRITE.to_owned(), (*database).clone()))
        .collect()
}

/// Users of a tenancy; databases come with their collections.
pub(crate) fn tenancy(tenancy: &Tenancy, users: &BTreeMap<String, UserState>) -> Vec<Step> {
    let (own, platform) = (&tenancy.keyspace, &tenancy.platform_keyspace);
    [
        (&tenancy.tenant_role, read_write(&[own])),
        (&tenancy.platform_role, read_write(&[own, platform])),
    ]
    .into_iter()
    .filter_map(|(login, grants)| user(login, grants, users.get(&login.name)))
    .collect()
}

/// Shuts users out. `random` is a password that nobody keeps.
pub(crate) fn suspend(
    names: &TenancyNames,
    users: &BTreeMap<String, UserState>,
    random: &str,
) -> Vec<Step> {
    let open = |name: &&String| {
        users
            .get(*name)
            .is_some_and(|state| !state.grants.is_empty())
    };
    names
        .roles
        .iter()
        .filter(open)
        .map(|name| {
            let nothing: [Document; 0] = [];
            let command = doc! {"updateUser": name, "pwd": random, "roles": &nothing[..]};
            Step::new(format!("shut user `{name}` out"), ADMIN, command)
                .unless(&[code::USER_NOT_FOUND])
        })
        .collect()
}

/// Drops users, then databases.
pub(crate) fn drop(
    names: &TenancyNames,
    users: &BTreeMap<String, UserState>,
    databases: &BTreeSet<String>,
) -> Vec<Step> {
    let users = names
        .roles
        .iter()
        .filter(|name| users.contains_key(*name))
        .map(|name| {
            let command = doc! {"dropUser": name};
            Step::new(format!("drop user `{name}`"), ADMIN, command).unless(&[code::USER_NOT_FOUND])
        });
    let databases = names
        .keyspaces
        .iter()
        .filter(|name| databases.contains(*name))
        .map(|name| {
            let command = doc! {"dropDatabase": 1};
            Step::new(format!("drop database `{name}`"), name, command)
        });
    users.chain(databases).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
