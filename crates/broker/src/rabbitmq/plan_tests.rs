//! Plans by what is observed.

use super::*;

/// Made by RabbitMQ 4.0.5 of the password `pw`.
const HASH: &str = "yJgQ52LPzFD2NCdZClURYGsLfArH8PJ/Yo3qhf2ylgfurfaV";

fn desired() -> Tenancy {
    Tenancy {
        vhost: "tenant-x".into(),
        username: "tenant-x".into(),
        password: "pw".into(),
        max_connections: 50,
        max_queues: 100,
    }
}

fn observed() -> ObservedTenancy {
    ObservedTenancy {
        vhost: true,
        user: Some(UserView {
            password_hash: HASH.into(),
            hashing_algorithm: password::SHA256.into(),
            tags: Vec::new(),
        }),
        permissions: vec![permission(
            "tenant-x",
            "^$",
            "^amq\\.default$",
            "^ingest\\.",
        )],
        own_permission: Some(permission("tenant-x", ".*", ".*", ".*")),
        limits: BTreeMap::from([("max-connections".into(), 50), ("max-queues".into(), 100)]),
        connections: 0,
    }
}

fn paths(steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .map(|step| match step {
            Step::Put { path, .. } => format!("PUT {}", path.join("/")),
            Step::Delete { path } => format!("DELETE {}", path.join("/")),
        })
        .collect()
}

#[test]
fn a_new_tenancy_is_made_in_order() {
    let steps = tenancy(&desired(), &ObservedTenancy::default(), "operator");
    assert_eq!(
        paths(&steps),
        [
            "PUT vhosts/tenant-x",
            "PUT permissions/tenant-x/operator",
            "PUT vhost-limits/tenant-x/max-connections",
            "PUT vhost-limits/tenant-x/max-queues",
            "PUT users/tenant-x",
            "PUT permissions/tenant-x/tenant-x",
        ]
    );
}

#[test]
fn what_is_as_desired_is_left_alone() {
    assert_eq!(tenancy(&desired(), &observed(), "operator"), []);
}

#[test]
fn drift_is_repaired_by_itself_alone() {
    let mut rotated = desired();
    rotated.password = "other".into();
    assert_eq!(
        paths(&tenancy(&rotated, &observed(), "operator")),
        ["PUT users/tenant-x"]
    );

    let mut promoted = observed();
    promoted.user.as_mut().unwrap().tags = vec!["administrator".into()];
    assert_eq!(
        paths(&tenancy(&desired(), &promoted, "operator")),
        ["PUT users/tenant-x"]
    );

    let mut wider = observed();
    wider.permissions[0].configure = ".*".into();
    wider.permissions.push(permission("tenant-y", "", "", ".*"));
    assert_eq!(
        paths(&tenancy(&desired(), &wider, "operator")),
        [
            "PUT permissions/tenant-x/tenant-x",
            "DELETE permissions/tenant-y/tenant-x"
        ]
    );

    let mut limited = desired();
    limited.max_queues = 7;
    assert_eq!(
        paths(&tenancy(&limited, &observed(), "operator")),
        ["PUT vhost-limits/tenant-x/max-queues"]
    );
}

#[test]
fn a_suspended_tenancy_is_left_alone() {
    let names = TenancyNames {
        vhost: "tenant-x".into(),
        username: "tenant-x".into(),
    };
    let mut live = observed();
    live.connections = 2;
    assert_eq!(
        paths(&suspension(&names, &live)),
        [
            "DELETE permissions/tenant-x/tenant-x",
            "DELETE connections/username/tenant-x"
        ]
    );
    let mut suspended = observed();
    suspended.permissions.clear();
    assert_eq!(suspension(&names, &suspended), []);
}

fn desired_queues() -> PipelineQueues {
    PipelineQueues {
        vhost: "tenant-x".into(),
        queue: "ingest.p-1".into(),
        dead_letter_queue: "ingest.p-1.dead".into(),
        max_bytes: 1_000,
        consumer_timeout_ms: 60_000,
        consumers: 1,
    }
}

fn observed_queues() -> ObservedQueues {
    let view = |arguments| QueueView {
        durable: true,
        arguments,
    };
    ObservedQueues {
        policy: Some(policy(&desired_queues())),
        queue: Some(view(work_arguments(&desired_queues()))),
        dead_letter_queue: Some(view(dead_letter_arguments())),
    }
}

#[test]
fn queues_are_declared_after_their_policy_and_the_work_queue_last() {
    let steps = queues(&desired_queues(), &ObservedQueues::default()).unwrap();
    assert_eq!(
        paths(&steps),
        [
            "PUT policies/tenant-x/ingest.p-1",
            "PUT queues/tenant-x/ingest.p-1.dead",
            "PUT queues/tenant-x/ingest.p-1",
        ]
    );
    let Step::Put { body, .. } = &steps[0] else {
        panic!("the policy is put")
    };
    assert_eq!(body["pattern"], "^(ingest\\.p\\-1|ingest\\.p\\-1\\.dead)$");
}

#[test]
fn queues_as_desired_are_left_alone_and_limits_change_by_policy() {
    assert_eq!(queues(&desired_queues(), &observed_queues()), Ok(vec![]));
    let mut larger = desired_queues();
    larger.max_bytes = 2_000;
    larger.consumer_timeout_ms = 1;
    assert_eq!(
        paths(&queues(&larger, &observed_queues()).unwrap()),
        ["PUT policies/tenant-x/ingest.p-1"]
    );
}

#[test]
fn another_queue_of_the_same_name_is_refused_by_its_argument() {
    let refusal = |observed: &ObservedQueues| match queues(&desired_queues(), observed) {
        Err(AdminError::Refused { action, reason }) => format!("{action}: {reason}"),
        other => panic!("{other:?} is no refusal"),
    };
    let mut classic = observed_queues();
    let arguments = &mut classic.queue.as_mut().unwrap().arguments;
    arguments.insert("x-queue-type".into(), "classic".into());
    let text = refusal(&classic);
    assert!(text.contains("`ingest.p-1`"), "{text}");
    assert!(
        text.contains("x-queue-type is \"classic\", not \"quorum\""),
        "{text}"
    );

    let mut extra = observed_queues();
    let arguments = &mut extra.dead_letter_queue.as_mut().unwrap().arguments;
    arguments.insert("x-message-ttl".into(), 5.into());
    let text = refusal(&extra);
    assert!(text.contains("x-message-ttl is 5, not absent"), "{text}");
}
