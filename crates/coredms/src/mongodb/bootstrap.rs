//! First login to a new database: the replica set initiated once, the platform's own superuser made. Each step
//! looks at what is there, so that a crash after any of them is made good.
//!
//! Before there is any user, members let in only their own one, whose password is the keyfile's text; it is asked
//! of each member directly, over the network. A set is initiated only when every member says that it has no
//! configuration: one that lost its volume among others that have one is given it by them, and a second set on its
//! volume would never be one with the first.

use std::time::Duration;

use futures::future::join_all;
use mongodb::Client;
use mongodb::bson::{Document, doc};

use super::ADMIN;
use super::client::{of_member, of_member_as_system, open};
use super::connector::MongoConnector;
use super::error::{code, command_code, login, reason, refused};
use super::observe::{self, apply};
use super::plan::{self, UserState};
use crate::Connection;
use crate::admin::{AdminError, ClusterSetup, ReplicaSet, RoleLogin};
use crate::kept::LoginFailure;

/// How long a member may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// State of a primary (<https://www.mongodb.com/docs/manual/reference/replica-states/>).
const PRIMARY: i32 = 1;

/// What a member says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It has a configuration and is the primary.
    Primary,
    /// It has a configuration.
    Initiated,
    /// It has none.
    New,
    /// It has a configuration in which it does not find itself: no name of a member led to it when it started.
    Removed,
    /// It does not answer.
    Away(String),
}

/// What is to be done next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// Every member is new: initiate the set, through the first.
    Initiate,
    /// No member finds itself, and each waits for another to tell it that it is one: they look again when they start.
    Restart,
    /// The member at this place is the primary.
    Lead(usize),
}

/// Decides what is to be done [pure]; the error says what is waited for.
pub(crate) fn next(members: &[String], standings: &[Standing]) -> Result<Next, AdminError> {
    let wait = |reason: String| Err(AdminError::Unavailable(reason));
    if let Some(primary) = standings.iter().position(|s| *s == Standing::Primary) {
        return Ok(Next::Lead(primary));
    }
    if !standings.is_empty() && standings.iter().all(|s| *s == Standing::Removed) {
        return Ok(Next::Restart);
    }
    if standings.contains(&Standing::Initiated) || standings.contains(&Standing::Removed) {
        return wait("the replica set has no primary yet: an election is under way, or a majority of its members does not answer".to_owned());
    }
    let away = members
        .iter()
        .zip(standings)
        .find_map(|(member, standing)| match standing {
            Standing::Away(reason) => Some((member, reason)),
            _ => None,
        });
    match away {
        Some((member, reason)) => wait(format!(
            "member {member} does not answer, and the replica set is initiated only when all do: {reason}"
        )),
        None if members.is_empty() => wait("the replica set has no members".to_owned()),
        None => Ok(Next::Initiate),
    }
}

/// The configuration of a new set [pure].
pub(crate) fn configuration(set: &ReplicaSet) -> Document {
    let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    let members: Vec<Document> = (0_i32..)
        .zip(&set.members)
        .map(|(id, host)| doc! {"_id": id, "host": host})
        .collect();
    doc! {
        "_id": &set.name,
        "version": 1,
        "members": members,
        "settings": {
            "electionTimeoutMillis": millis(set.election_timeout),
            "heartbeatIntervalMillis": millis(set.heartbeat_interval),
        },
    }
}

/// Logs in as the platform's superuser, making it first where need be.
pub(crate) async fn run(
    connector: &MongoConnector,
    own: &Connection,
    setup: &ClusterSetup,
    set: &ReplicaSet,
) -> Result<Client, AdminError> {
    // Who has logged in since this operator's start need not look at each member again.
    if let Some(client) = connector.kept.known(own).await {
        match open(Ok(client), TIMEOUT).await {
            Ok(client) => return Ok(client),
            Err(_) => connector.kept.forget_login(own).await,
        }
    }
    let primary = lead(set).await?;
    ensure_superuser(&primary, setup).await?;
    connector.session(own).await
}

struct Primary {
    member: String,
    system: Client,
}

/// The primary of the set, which is initiated where it is not.
async fn lead(set: &ReplicaSet) -> Result<Primary, AdminError> {
    let mut clients = look(set).await?;
    match next(&set.members, &standings(&clients))? {
        Next::Initiate => {
            initiate(set, &clients).await?;
            clients = look(set).await?;
        }
        Next::Restart => return Err(restart(set, &clients).await),
        Next::Lead(_) => {}
    }
    match next(&set.members, &standings(&clients))? {
        Next::Lead(place) if place < clients.len() => {
            let (system, _) = clients.swap_remove(place);
            let member = set.members[place].clone();
            Ok(Primary { member, system })
        }
        _ => Err(AdminError::Unavailable(
            "the replica set was initiated just now and its members have not taken it up yet"
                .to_owned(),
        )),
    }
}

/// A client of each member, and what the member says of itself.
type Looks = Vec<(Client, Standing)>;

fn standings(looks: &[(Client, Standing)]) -> Vec<Standing> {
    looks.iter().map(|(_, standing)| standing.clone()).collect()
}

async fn look(set: &ReplicaSet) -> Result<Looks, AdminError> {
    let looks = set.members.iter().map(|member| look_at(member, set));
    join_all(looks).await.into_iter().collect()
}

async fn look_at(member: &str, set: &ReplicaSet) -> Result<(Client, Standing), AdminError> {
    let client = of_member_as_system(member, &set.keyfile, TIMEOUT)
        .map_err(|error| refused(&error, &format!("the address of member {member}")))?;
    let database = client.database(ADMIN);
    let status = async { database.run_command(doc! {"replSetGetStatus": 1}).await };
    let standing = match tokio::time::timeout(TIMEOUT, status).await {
        Ok(Ok(status)) if status.get_i32("myState").ok() == Some(PRIMARY) => Standing::Primary,
        Ok(Ok(_)) => Standing::Initiated,
        Ok(Err(error)) => match (command_code(&error), login(&error)) {
            (Some(code::NOT_YET_INITIALIZED), _) => Standing::New,
            (_, LoginFailure::Refused(_)) => {
                return Err(AdminError::Refused {
                    action: format!("the login of the operator to member {member}"),
                    reason: "the member does not know the keyfile: it was started with another one"
                        .to_owned(),
                });
            }
            (Some(code::INVALID_REPLICA_SET_CONFIG), _) => Standing::Removed,
            // Whatever else it says of its configuration, it has one.
            (Some(_), _) => Standing::Initiated,
            (None, _) => Standing::Away(reason(&error)),
        },
        Err(_) => Standing::Away(format!("no answer within {TIMEOUT:?}")),
    };
    Ok((client, standing))
}

async fn initiate(set: &ReplicaSet, clients: &[(Client, Standing)]) -> Result<(), AdminError> {
    let Some((first, _)) = clients.first() else {
        return Err(AdminError::Unavailable(
            "the replica set has no members".to_owned(),
        ));
    };
    tracing::info!(set = set.name, "initiating the replica set");
    let command = doc! {"replSetInitiate": configuration(set)};
    match first.database(ADMIN).run_command(command).await {
        Ok(_) => Ok(()),
        Err(error) if command_code(&error) == Some(code::ALREADY_INITIALIZED) => Ok(()),
        Err(error) => Err(refused(&error, "initiate the replica set")),
    }
}

/// Ends every member's server, which its container starts again. Nobody is served by any of them, so nobody is cut off.
async fn restart(set: &ReplicaSet, clients: &[(Client, Standing)]) -> AdminError {
    tracing::warn!(
        set = set.name,
        "no member finds itself in the replica set: restarting all"
    );
    let ends = clients.iter().map(|(client, _)| async {
        let database = client.database(ADMIN);
        let shutdown = async {
            database
                .run_command(doc! {"shutdown": 1, "force": true})
                .await
        };
        // A server that does what is asked ends without an answer.
        match tokio::time::timeout(TIMEOUT, shutdown).await {
            Ok(Err(error)) if command_code(&error).is_some() => Some(reason(&error)),
            _ => None,
        }
    });
    let refusal = join_all(ends).await.into_iter().flatten().next();
    AdminError::Unavailable(match refusal {
        None => "no member found itself in the replica set when it started, as when names could not be resolved: all are restarted".to_owned(),
        Some(reason) => format!("no member finds itself in the replica set, and one refuses to be restarted: delete the members' pods, so that they look again ({reason})"),
    })
}

/// Makes the operator's user where it is missing, and sets its password and roles where they differ.
async fn ensure_superuser(primary: &Primary, setup: &ClusterSetup) -> Result<(), AdminError> {
    let own = RoleLogin {
        name: setup.superuser.clone(),
        password: setup.password.clone(),
    };
    let state = match observe::user(&primary.system, &own.name).await? {
        None => None,
        Some(row) => {
            let client = of_member(&primary.member, &own.name, &own.password, TIMEOUT);
            let password_fits = match open(client, TIMEOUT).await {
                Ok(_) => true,
                Err(LoginFailure::Refused(_)) => false,
                Err(failure) => return Err(failure.admin_error(&own.name)),
            };
            Some(UserState {
                grants: row.grants,
                password_fits,
            })
        }
    };
    let step = plan::superuser(&own, state.as_ref());
    apply(&primary.system, step).await
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
