//! [pure] What is to be done for what is desired to be there, given what is observed.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::password;
use crate::admin::{AdminError, PipelineQueues, Tenancy, TenancyNames};

/// Returns before the broker itself condemns a message: so many that hand-backs, which 4.0 to 4.2
/// count, never do. The default is 20, and 4.0 refuses "no limit".
const DELIVERY_LIMIT: u64 = 1_000_000;
/// A user who configures nothing.
const NOTHING: &str = "^$";
/// Publishing by the name of a queue is writing to the default exchange.
const DEFAULT_EXCHANGE: &str = "^amq\\.default$";
/// Work queues and dead-letter queues.
const QUEUES: &str = "^ingest\\.";
const EVERYTHING: &str = ".*";
/// Above policies that an administrator sets for whole virtual hosts.
const PRIORITY: i64 = 10;

/// A user as the management API shows it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct UserView {
    pub(super) password_hash: String,
    pub(super) hashing_algorithm: String,
    #[serde(default)]
    pub(super) tags: Vec<String>,
}

/// What a user may do in a virtual host.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(super) struct PermissionView {
    pub(super) vhost: String,
    pub(super) configure: String,
    pub(super) write: String,
    pub(super) read: String,
}

/// What there is of a tenancy.
#[derive(Clone, Debug, Default)]
pub(super) struct ObservedTenancy {
    pub(super) vhost: bool,
    pub(super) user: Option<UserView>,
    pub(super) permissions: Vec<PermissionView>,
    /// The operator's own, without which it cannot declare queues.
    pub(super) own_permission: Option<PermissionView>,
    pub(super) limits: BTreeMap<String, i64>,
    pub(super) connections: usize,
}

/// A queue as the management API shows it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct QueueView {
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) arguments: Map<String, Value>,
}

/// A policy as the management API shows it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(super) struct PolicyView {
    pub(super) pattern: String,
    #[serde(rename = "apply-to")]
    pub(super) apply_to: String,
    pub(super) priority: i64,
    pub(super) definition: Map<String, Value>,
}

/// What there is of a pipeline's queues.
#[derive(Clone, Debug, Default)]
pub(super) struct ObservedQueues {
    pub(super) policy: Option<PolicyView>,
    pub(super) queue: Option<QueueView>,
    pub(super) dead_letter_queue: Option<QueueView>,
}

/// One request that changes something, safe to repeat.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Put { path: Vec<String>, body: Value },
    Delete { path: Vec<String> },
}

fn put(path: &[&str], body: Value) -> Step {
    let path = path.iter().map(ToString::to_string).collect();
    Step::Put { path, body }
}

fn delete(path: &[&str]) -> Step {
    let path = path.iter().map(ToString::to_string).collect();
    Step::Delete { path }
}

fn permission(vhost: &str, configure: &str, write: &str, read: &str) -> PermissionView {
    PermissionView {
        vhost: vhost.into(),
        configure: configure.into(),
        write: write.into(),
        read: read.into(),
    }
}

fn permit(username: &str, wanted: &PermissionView) -> Step {
    let PermissionView {
        vhost,
        configure,
        write,
        read,
    } = wanted;
    put(
        &["permissions", vhost, username],
        json!({"configure": configure, "write": write, "read": read}),
    )
}

/// Virtual host, limits, user, and the user's rights on this virtual host alone.
pub(super) fn tenancy(desired: &Tenancy, observed: &ObservedTenancy, operator: &str) -> Vec<Step> {
    let Tenancy {
        vhost,
        username,
        password,
        max_connections,
        max_queues,
    } = desired;
    let mut steps = Vec::new();
    if !observed.vhost {
        let body = json!({"default_queue_type": "quorum"});
        steps.push(put(&["vhosts", vhost], body));
    }
    let own = permission(vhost, EVERYTHING, EVERYTHING, EVERYTHING);
    if observed.own_permission.as_ref() != Some(&own) {
        steps.push(permit(operator, &own));
    }
    let limits = [
        ("max-connections", max_connections),
        ("max-queues", max_queues),
    ];
    for (name, value) in limits {
        if observed.limits.get(name) != Some(&i64::from(*value)) {
            let path = ["vhost-limits", vhost, name];
            steps.push(put(&path, json!({"value": value})));
        }
    }
    let user = observed.user.as_ref();
    if !user.is_some_and(|user| is_user(user, password)) {
        let body = json!({"password": password, "tags": ""});
        steps.push(put(&["users", username], body));
    }
    let wanted = permission(vhost, NOTHING, DEFAULT_EXCHANGE, QUEUES);
    if !observed.permissions.contains(&wanted) {
        steps.push(permit(username, &wanted));
    }
    let elsewhere = observed.permissions.iter().filter(|p| p.vhost != *vhost);
    steps.extend(elsewhere.map(|p| delete(&["permissions", &p.vhost, username])));
    steps
}

fn is_user(user: &UserView, password: &str) -> bool {
    user.tags.is_empty()
        && user.hashing_algorithm == password::SHA256
        && password::matches(&user.password_hash, password)
}

/// No rights, no connections; the queues stay.
pub(super) fn suspension(names: &TenancyNames, observed: &ObservedTenancy) -> Vec<Step> {
    let rights = observed.permissions.iter();
    let mut steps: Vec<Step> = rights
        .map(|p| delete(&["permissions", &p.vhost, &names.username]))
        .collect();
    // Last: without rights nobody connects again.
    if observed.connections > 0 {
        steps.push(delete(&["connections", "username", &names.username]));
    }
    steps
}

/// The end of a tenancy; deleting a virtual host deletes its queues and closes its connections.
pub(super) fn removal(names: &TenancyNames) -> Vec<Step> {
    vec![
        delete(&["users", &names.username]),
        delete(&["vhosts", &names.vhost]),
    ]
}

/// The policy comes first, so that no queue is ever without its limits.
pub(super) fn queues(
    desired: &PipelineQueues,
    observed: &ObservedQueues,
) -> Result<Vec<Step>, AdminError> {
    let vhost = &desired.vhost;
    let mut steps = Vec::new();
    let policy = policy(desired);
    if observed.policy.as_ref() != Some(&policy) {
        let body = json!({
            "pattern": policy.pattern,
            "apply-to": policy.apply_to,
            "priority": policy.priority,
            "definition": policy.definition,
        });
        steps.push(put(&["policies", vhost, &desired.queue], body));
    }
    let declared = [
        (
            &desired.dead_letter_queue,
            &observed.dead_letter_queue,
            dead_letter_arguments(),
        ),
        (&desired.queue, &observed.queue, work_arguments(desired)),
    ];
    for (name, observed, arguments) in declared {
        match observed {
            Some(observed) => same(name, &arguments, observed)?,
            None => {
                let body = json!({"durable": true, "auto_delete": false, "arguments": arguments});
                steps.push(put(&["queues", vhost, name], body));
            }
        }
    }
    Ok(steps)
}

/// The end of a pipeline's queues.
pub(super) fn queue_removal(vhost: &str, queue: &str, dead_letter_queue: &str) -> Vec<Step> {
    vec![
        delete(&["queues", vhost, queue]),
        delete(&["queues", vhost, dead_letter_queue]),
        delete(&["policies", vhost, queue]),
    ]
}

/// Limits that may change. They hold for the dead-letter queue too: it lies on the same disk.
fn policy(desired: &PipelineQueues) -> PolicyView {
    let mut definition = Map::new();
    definition.insert("max-length-bytes".into(), desired.max_bytes.into());
    definition.insert(
        "consumer-timeout".into(),
        desired.consumer_timeout_ms.into(),
    );
    PolicyView {
        pattern: format!(
            "^({}|{})$",
            literal(&desired.queue),
            literal(&desired.dead_letter_queue)
        ),
        apply_to: "quorum_queues".into(),
        priority: PRIORITY,
        definition,
    }
}

/// A regular expression for exactly this text.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 4);
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

fn dead_letter_arguments() -> Map<String, Value> {
    let mut arguments = Map::new();
    arguments.insert("x-queue-type".into(), "quorum".into());
    arguments.insert("x-overflow".into(), "reject-publish".into());
    arguments.insert("x-delivery-limit".into(), DELIVERY_LIMIT.into());
    arguments
}

/// At-least-once needs `reject-publish` and a dead-letter exchange, or it falls back to at-most-once
/// (<https://www.rabbitmq.com/docs/quorum-queues#activating-at-least-once-dead-lettering>).
fn work_arguments(desired: &PipelineQueues) -> Map<String, Value> {
    let mut arguments = dead_letter_arguments();
    let dead_letter_queue = desired.dead_letter_queue.as_str();
    arguments.insert("x-dead-letter-exchange".into(), "".into());
    arguments.insert("x-dead-letter-routing-key".into(), dead_letter_queue.into());
    arguments.insert("x-dead-letter-strategy".into(), "at-least-once".into());
    arguments
}

/// Arguments are fixed when a queue is declared; another queue of that name is not ours to replace.
fn same(name: &str, desired: &Map<String, Value>, observed: &QueueView) -> Result<(), AdminError> {
    let refused = |reason: String| {
        Err(AdminError::Refused {
            action: format!("the declaration of queue `{name}`"),
            reason,
        })
    };
    if !observed.durable {
        return refused("a queue of that name is there and is not durable; delete it".into());
    }
    let names = desired.keys().chain(observed.arguments.keys());
    for argument in names {
        let (wanted, found) = (desired.get(argument), observed.arguments.get(argument));
        if wanted != found {
            let show = |value: Option<&Value>| value.map_or("absent".into(), Value::to_string);
            return refused(format!(
                "a queue of that name is there and its argument {argument} is {}, not {}; arguments cannot be changed: delete the queue once it is empty",
                show(found),
                show(wanted)
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
