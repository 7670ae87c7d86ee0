//! Members of the set, one step at a time: [`next`] decides [pure] from the configuration and what members say of each
//! other, [`step`] asks for it [IO].
//!
//! A configuration takes effect only after the one that it was made from: of two operators that change the set at the
//! same moment one is refused. A new member has no vote before it has the data (since 5.0), so that a majority is
//! always one of members that serve.

use std::collections::BTreeSet;

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};

use super::ADMIN;
use super::error::{code, command_code, refused};
use super::observe::{ask, documents};
use crate::admin::AdminError;

/// How long the member that is to go is not elected again, in seconds.
const STAND_BACK: i32 = 60;
/// How long another one may take to catch up with it before, in seconds.
const CATCH_UP: i32 = 10;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// Nothing: the set has the members.
    Nothing,
    /// Nothing yet; why.
    Wait(String),
    /// This member goes, and others follow it: another one is to be elected first.
    StepDown(String),
    /// This configuration; what it does.
    Configure(Document, String),
}

/// Decides. `config` is the set's configuration, `status` what the primary says of the members.
pub(crate) fn next(wanted: &[String], config: &Document, status: &Document) -> Change {
    let members = documents(config, "members");
    let host = |member: &Document| member.get_str("host").unwrap_or_default().to_owned();
    let missing = wanted
        .iter()
        .find(|wanted| !members.iter().any(|member| host(member) == **wanted));
    let surplus = members
        .iter()
        .map(host)
        .rfind(|member| !wanted.contains(member));
    let leaving = match (missing, &surplus) {
        (None, None) => return Change::Nothing,
        (Some(_), _) => None,
        (None, surplus) => surplus.as_deref(),
    };
    let states = states(status);
    let serving = |member: &String| {
        let serves = |(name, state): &&(String, String)| {
            name == member && ["PRIMARY", "SECONDARY"].contains(&state.as_str())
        };
        states.iter().any(|state| serves(&state))
    };
    let staying = members.iter().map(host);
    let mut staying = staying.filter(|member| Some(member.as_str()) != leaving);
    if let Some(other) = staying.find(|member| !serving(member)) {
        return Change::Wait(format!(
            "member {other} does not serve, and the set is changed only when all others do"
        ));
    }
    match (missing, leaving) {
        (Some(host), _) => {
            let mut members = members;
            members.push(doc! {"_id": free_id(&members), "host": host});
            configure(config, members, format!("add member {host}"))
        }
        (None, Some(leaving)) => {
            let leads = |(name, state): &(String, String)| name == leaving && state == "PRIMARY";
            if states.iter().any(leads) {
                return Change::StepDown(leaving.to_owned());
            }
            let members = members.into_iter();
            let members = members.filter(|member| host(member) != leaving).collect();
            configure(config, members, format!("take member {leaving} out"))
        }
        (None, None) => Change::Nothing,
    }
}

fn configure(config: &Document, members: Vec<Document>, action: String) -> Change {
    let mut config = config.clone();
    // The shell's numbers are doubles, the server's integers.
    let version = match config.get("version") {
        Some(Bson::Int32(version)) => i64::from(*version),
        Some(Bson::Int64(version)) => *version,
        Some(Bson::Double(version)) => *version as i64,
        _ => 0,
    };
    config.insert("version", version + 1);
    config.insert("members", members);
    Change::Configure(config, action)
}

/// The least number that no member has: a member that comes back is not told from the one it was by its number.
fn free_id(members: &[Document]) -> i32 {
    let taken: BTreeSet<i64> = members
        .iter()
        .filter_map(|member| match member.get("_id") {
            Some(Bson::Int32(id)) => Some(i64::from(*id)),
            Some(Bson::Int64(id)) => Some(*id),
            Some(Bson::Double(id)) => Some(*id as i64),
            _ => None,
        })
        .collect();
    (0..i32::MAX)
        .find(|id| !taken.contains(&i64::from(*id)))
        .unwrap_or_default()
}

/// Names of members, and what they are.
fn states(status: &Document) -> Vec<(String, String)> {
    let text = |member: &Document, key| member.get_str(key).unwrap_or_default().to_owned();
    documents(status, "members")
        .iter()
        .map(|member| (text(member, "name"), text(member, "stateStr")))
        .collect()
}

/// One step. What is waited for is an error that passes.
pub(crate) async fn step(client: &Client, wanted: &[String]) -> Result<(), AdminError> {
    let admin = client.database(ADMIN);
    let answer = ask(
        &admin,
        doc! {"replSetGetConfig": 1},
        "read the configuration",
    )
    .await?;
    let config = answer.get_document("config").cloned().unwrap_or_default();
    let status = ask(&admin, doc! {"replSetGetStatus": 1}, "read the members").await?;
    let (command, action) = match next(wanted, &config, &status) {
        Change::Nothing => return Ok(()),
        Change::Wait(reason) => return Err(AdminError::Unavailable(reason)),
        Change::StepDown(member) => (
            doc! {"replSetStepDown": STAND_BACK, "secondaryCatchUpPeriodSecs": CATCH_UP},
            format!("elect another primary than {member}"),
        ),
        Change::Configure(config, action) => (doc! {"replSetReconfig": config}, action),
    };
    tracing::info!(action, "changing the replica set");
    match admin.run_command(command).await {
        Ok(_) => Ok(()),
        Err(error) if command_code(&error) == Some(code::INCOMPATIBLE_CONFIGURATION) => {
            Err(AdminError::Unavailable(format!(
                "{action}: somebody else has changed the set at the same moment"
            )))
        }
        Err(error) => Err(refused(&error, &action)),
    }
}

#[cfg(test)]
#[path = "voters_tests.rs"]
mod tests;
