//! Observes what is there [IO]: users, databases, collections, members.

use std::collections::{BTreeMap, BTreeSet};

use mongodb::bson::{Bson, Document, doc};
use mongodb::{Client, Database};

use super::client::anybody;
use super::error::{code, command_code, refused};
use super::plan::{Grant, Step};
use super::schema::CollectionState;
use super::shard::Sharding;
use super::{ADMIN, client};
use crate::admin::{AdminError, Member};

/// Longest that an administrative change may wait for a majority.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// Applies steps in order; the first failure ends it.
pub(crate) async fn apply(
    client: &Client,
    steps: impl IntoIterator<Item = Step>,
) -> Result<(), AdminError> {
    for step in steps {
        tracing::info!(action = step.action, "changing the database");
        let mut command = step.command;
        command.insert("writeConcern", client::write_concern_document(TIMEOUT));
        match run(&client.database(&step.database), command, &step.action).await {
            Ok(_) => {}
            Err((Some(code), _)) if step.fine.contains(&code) => {}
            Err((_, error)) => return Err(error),
        }
    }
    Ok(())
}

/// Runs a command on the primary; the error comes with the server's code.
async fn run(
    database: &Database,
    command: Document,
    action: &str,
) -> Result<Document, (Option<i32>, AdminError)> {
    let answer = database.run_command(command).await;
    let answer = answer.map_err(|error| (command_code(&error), refused(&error, action)))?;
    // A change that was made but has not reached a majority in time is not done.
    match answer.get_document("writeConcernError") {
        Ok(late) => {
            let reason = late.get_str("errmsg").unwrap_or_default();
            let error = AdminError::Unavailable(format!("{action}: {reason}"));
            Err((None, error))
        }
        Err(_) => Ok(answer),
    }
}

pub(crate) async fn ask(
    database: &Database,
    command: Document,
    action: &str,
) -> Result<Document, AdminError> {
    run(database, command, action)
        .await
        .map_err(|(_, error)| error)
}

/// A user as `usersInfo` has it.
#[derive(Clone, Debug)]
pub(crate) struct UserRow {
    pub grants: BTreeSet<Grant>,
    /// What the database stores of its password.
    pub stored_key: String,
}

/// A user, if it is there.
pub(crate) async fn user(client: &Client, name: &str) -> Result<Option<UserRow>, AdminError> {
    let command = doc! {"usersInfo": {"user": name, "db": ADMIN}, "showCredentials": true};
    let answer = ask(&client.database(ADMIN), command, "read users").await?;
    Ok(documents(&answer, "users").into_iter().next().map(user_row))
}

fn user_row(user: Document) -> UserRow {
    let text =
        |document: &Document, key: &str| document.get_str(key).unwrap_or_default().to_owned();
    let stored_key = user
        .get_document("credentials")
        .and_then(|credentials| credentials.get_document("SCRAM-SHA-256"))
        .map(|scram| text(scram, "storedKey"));
    UserRow {
        grants: documents(&user, "roles")
            .iter()
            .map(|role| (text(role, "role"), text(role, "db")))
            .collect(),
        stored_key: stored_key.unwrap_or_default(),
    }
}

/// Whether any user has a role on the database: without one there is no tenancy, or it is suspended.
pub(crate) async fn is_used(client: &Client, database: &str) -> Result<bool, AdminError> {
    let command = doc! {"usersInfo": 1, "filter": {"roles.db": database}};
    let answer = ask(&client.database(ADMIN), command, "read users").await?;
    Ok(!documents(&answer, "users").is_empty())
}

/// Names of all databases that have collections.
pub(crate) async fn databases(client: &Client) -> Result<BTreeSet<String>, AdminError> {
    let command = doc! {"listDatabases": 1, "nameOnly": true};
    let answer = ask(&client.database(ADMIN), command, "read databases").await?;
    Ok(documents(&answer, "databases")
        .iter()
        .filter_map(|database| database.get_str("name").ok())
        .map(ToOwned::to_owned)
        .collect())
}

/// Bytes that all databases take on the primary's disk.
pub(crate) async fn bytes(client: &Client) -> Result<u64, AdminError> {
    let command = doc! {"listDatabases": 1};
    let answer = ask(&client.database(ADMIN), command, "read sizes of databases").await?;
    // Servers tell it as whichever number it fits.
    let total = match answer.get("totalSize") {
        Some(Bson::Int32(bytes)) => u64::try_from(*bytes).ok(),
        Some(Bson::Int64(bytes)) => u64::try_from(*bytes).ok(),
        Some(Bson::Double(bytes)) => Some(*bytes as u64),
        _ => None,
    };
    total.ok_or_else(|| AdminError::Refused {
        action: "read sizes of databases".to_owned(),
        reason: "it does not tell totalSize".to_owned(),
    })
}

/// The options of every collection of a database, by name.
pub(crate) async fn collections(
    database: &Database,
) -> Result<BTreeMap<String, Document>, AdminError> {
    let answer = ask(database, list_collections(doc! {}), "read collections").await?;
    Ok(first_batch(&answer)
        .into_iter()
        .filter_map(|collection| {
            let options = collection.get_document("options").cloned();
            let name = collection.get_str("name").ok()?.to_owned();
            Some((name, options.unwrap_or_default()))
        })
        .collect())
}

/// A command that lists collections; the tenants' databases have far fewer than a batch.
pub(crate) fn list_collections(filter: Document) -> Document {
    doc! {"listCollections": 1, "filter": filter, "cursor": {"batchSize": 10_000}}
}

/// A collection, if it is there.
pub(crate) async fn collection(
    database: &Database,
    name: &str,
) -> Result<Option<CollectionState>, AdminError> {
    let Some(options) = collections(database).await?.remove(name) else {
        return Ok(None);
    };
    Ok(Some(CollectionState {
        options,
        indexes: indexes(database, name).await?,
    }))
}

/// Names of a collection's indexes.
pub(crate) async fn indexes(
    database: &Database,
    name: &str,
) -> Result<BTreeSet<String>, AdminError> {
    let command = doc! {"listIndexes": name, "cursor": {"batchSize": 1_000}};
    let answer = match run(database, command, "read indexes").await {
        Ok(answer) => answer,
        Err((Some(code::NAMESPACE_NOT_FOUND), _)) => return Ok(BTreeSet::new()),
        Err((_, error)) => return Err(error),
    };
    Ok(first_batch(&answer)
        .iter()
        .filter_map(|index| index.get_str("name").ok())
        .map(ToOwned::to_owned)
        .collect())
}

/// Asks the primary for a sign of life.
pub(crate) async fn primary_answers(client: &Client) -> Result<(), AdminError> {
    let database = client.database(ADMIN);
    ask(&database, doc! {"ping": 1}, "answer").await.map(drop)
}

/// Whether a router of a sharded cluster answers, and not a member of a replica set.
async fn is_router(client: &Client) -> Result<bool, AdminError> {
    let answer = client
        .database(ADMIN)
        .run_command(doc! {"hello": 1})
        .selection_criteria(anybody())
        .await
        .map_err(|error| refused(&error, "ask what it is"))?;
    Ok(answer.get_str("msg").is_ok_and(|kind| kind == "isdbgrid"))
}

/// How a collection is spread over shards.
pub(crate) async fn sharding(
    client: &Client,
    database: &str,
    name: &str,
) -> Result<Sharding, AdminError> {
    if !is_router(client).await? {
        return Ok(Sharding::NoRouter);
    }
    // Servers before 5.0 keep what was dropped; since 8.0 there are also collections that are not sharded.
    let filter = doc! {
        "_id": format!("{database}.{name}"),
        "dropped": {"$ne": true},
        "unsplittable": {"$ne": true},
    };
    let command = doc! {"find": "collections", "filter": filter, "limit": 1};
    let answer = ask(&client.database("config"), command, "read shard keys").await?;
    let sharded = first_batch(&answer).pop();
    let key = sharded.and_then(|entry| entry.get_document("key").cloned().ok());
    Ok(key.map_or(Sharding::Whole, Sharding::By))
}

/// The shards of a cluster, as its router knows them: it tells nothing of their members' health.
async fn shards(client: &Client) -> Result<Vec<Member>, AdminError> {
    let answer = ask(
        &client.database(ADMIN),
        doc! {"listShards": 1},
        "read the shards",
    )
    .await?;
    Ok(documents(&answer, "shards").iter().map(shard).collect())
}

fn shard(entry: &Document) -> Member {
    let draining = entry.get_bool("draining").unwrap_or_default();
    Member {
        address: entry.get_str("host").unwrap_or_default().to_owned(),
        up: true,
        state: if draining { "DRAINING" } else { "SHARD" }.to_owned(),
    }
}

/// Members as any of them sees the others; the shards where a router answers.
pub(crate) async fn members(client: &Client) -> Result<Vec<Member>, AdminError> {
    if is_router(client).await? {
        return shards(client).await;
    }
    let answer = client
        .database(ADMIN)
        .run_command(doc! {"replSetGetStatus": 1})
        .selection_criteria(anybody())
        .await
        .map_err(|error| refused(&error, "read the members"))?;
    Ok(documents(&answer, "members").iter().map(member).collect())
}

/// States of members (<https://www.mongodb.com/docs/manual/reference/replica-states/>) that serve nobody.
const DOWN: i32 = 8;
const GONE: [&str; 3] = ["DOWN", "UNKNOWN", "REMOVED"];

fn member(status: &Document) -> Member {
    let state = match status.get_i32("state") {
        // The text of this one is a sentence.
        Ok(DOWN) => "DOWN",
        _ => status.get_str("stateStr").unwrap_or("UNKNOWN"),
    };
    let healthy = status.get_f64("health").is_ok_and(|health| health > 0.0);
    Member {
        address: status.get_str("name").unwrap_or_default().to_owned(),
        up: healthy && !GONE.contains(&state),
        state: state.to_owned(),
    }
}

/// The documents of an array; none where there is no array.
pub(crate) fn documents(from: &Document, key: &str) -> Vec<Document> {
    let array = from.get_array(key).map(Vec::as_slice).unwrap_or_default();
    array
        .iter()
        .filter_map(|element| element.as_document().cloned())
        .collect()
}

/// The documents of an answer with a cursor that was given room for all of them.
pub(crate) fn first_batch(answer: &Document) -> Vec<Document> {
    answer
        .get_document("cursor")
        .map(|cursor| documents(cursor, "firstBatch"))
        .unwrap_or_default()
}
