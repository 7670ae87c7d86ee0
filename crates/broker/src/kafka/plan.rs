//! [pure] What is to be done for what is desired to be there, given what is observed.

use std::collections::{BTreeMap, BTreeSet};

use simbdp_api::names::TenantName;

use super::client::{LARGEST_RECORD, topic};
use crate::admin::PipelineQueues;

/// Numbers of the protocol: kinds of resources, patterns, operations, permissions
/// (<https://kafka.apache.org/documentation/#operations_in_kafka>).
const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const PREFIXED: i8 = 4;
const READ: i8 = 3;
const WRITE: i8 = 4;
const ALLOW: i8 = 3;

/// Least and most bytes of a segment: the unit in which a topic gives disk space back.
const SEGMENT: (u64, u64) = (1 << 20, 64 << 20);
/// As many segments as a full queue has.
const SEGMENTS: u64 = 8;

/// A right of a user.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Right {
    pub(super) resource: i8,
    pub(super) name: String,
    pub(super) pattern: i8,
    pub(super) operation: i8,
    pub(super) host: String,
    pub(super) permission: i8,
}

/// What begins the names of a tenant's topics and groups, and of nobody else's.
pub(super) fn prefix(vhost: &str) -> String {
    topic(vhost, "")
}

/// The tenant that a topic is of, as the name of its virtual host, and its queue. Other topics of the cluster are of none.
pub(super) fn tenant_of(topic: &str) -> Option<(&str, &str)> {
    let (vhost, queue) = topic.split_once('.')?;
    TenantName::from_namespace(vhost)?;
    Some((vhost, queue))
}

/// A user as the cluster calls it.
pub(super) fn principal(username: &str) -> String {
    format!("User:{username}")
}

/// A tenant publishes, consumes and commits below its prefix. It makes no topics and deletes none.
pub(super) fn rights(vhost: &str) -> BTreeSet<Right> {
    let right = |resource, operation| Right {
        resource,
        name: prefix(vhost),
        pattern: PREFIXED,
        operation,
        host: "*".into(),
        permission: ALLOW,
    };
    BTreeSet::from([right(TOPIC, READ), right(TOPIC, WRITE), right(GROUP, READ)])
}

/// Rights to be given, and to be taken away.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct RightsPlan {
    pub(super) give: Vec<Right>,
    pub(super) take: Vec<Right>,
}

/// What makes the rights that are there those that are wanted.
pub(super) fn change_rights(wanted: &BTreeSet<Right>, there: &BTreeSet<Right>) -> RightsPlan {
    RightsPlan {
        give: wanted.difference(there).cloned().collect(),
        take: there.difference(wanted).cloned().collect(),
    }
}

/// Settings of a topic by name.
pub(super) type Settings = BTreeMap<String, String>;

/// A topic as it is to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Topic {
    pub(super) name: String,
    /// At least.
    pub(super) partitions: i32,
    pub(super) settings: Settings,
}

/// The topic of the queue, and that of its dead letters.
pub(super) fn topics(queues: &PipelineQueues) -> [Topic; 2] {
    let settings = settings(queues.max_bytes);
    [
        Topic {
            name: topic(&queues.vhost, &queues.dead_letter_queue),
            partitions: 1,
            settings: settings.clone(),
        },
        Topic {
            name: topic(&queues.vhost, &queues.queue),
            partitions: i32::from(queues.consumers.max(1)),
            settings,
        },
    ]
}

/// Nothing is deleted by age or size: what nobody has read would be lost. The operator deletes what is committed.
/// The broker's clock stamps records: a version is made of it.
fn settings(max_bytes: u64) -> Settings {
    let (least, most) = SEGMENT;
    let segment = (max_bytes / SEGMENTS).clamp(least, most);
    let settings = [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("retention.bytes", "-1".to_owned()),
        ("segment.bytes", segment.to_string()),
        ("max.message.bytes", LARGEST_RECORD.to_string()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ];
    let settings = settings.into_iter();
    settings
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// A topic as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ObservedTopic {
    pub(super) partitions: i32,
    pub(super) settings: Settings,
}

/// One request that changes something, safe to repeat.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Create(Topic),
    Grow { name: String, partitions: i32 },
    Set { name: String, settings: Settings },
}

/// What makes the topic what it is to be. Partitions only ever grow: they cannot be taken away, and messages lie in
/// them.
pub(super) fn change_topic(wanted: Topic, there: Option<&ObservedTopic>) -> Vec<Step> {
    let Some(there) = there else {
        return vec![Step::Create(wanted)];
    };
    let mut steps = Vec::new();
    let Topic {
        name,
        partitions,
        settings,
    } = wanted;
    let settings: Settings = settings
        .into_iter()
        .filter(|(name, value)| there.settings.get(name) != Some(value))
        .collect();
    if !settings.is_empty() {
        steps.push(Step::Set {
            name: name.clone(),
            settings,
        });
    }
    if there.partitions < partitions {
        steps.push(Step::Grow { name, partitions });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(consumers: u16, max_bytes: u64) -> PipelineQueues {
        PipelineQueues {
            vhost: "tenant-a".into(),
            queue: "ingest.flights".into(),
            dead_letter_queue: "ingest.flights.dead".into(),
            max_bytes,
            consumer_timeout_ms: 1,
            consumers,
        }
    }

    fn observed(topic: &Topic) -> ObservedTopic {
        ObservedTopic {
            partitions: topic.partitions,
            settings: topic.settings.clone(),
        }
    }

    #[test]
    fn a_prefix_is_of_one_tenant_alone() {
        assert_eq!(prefix("tenant-a"), "tenant-a.");
        assert!(!topic("tenant-ab", "ingest.x").starts_with(&prefix("tenant-a")));
        assert!(
            rights("tenant-a")
                .iter()
                .all(|right| right.name == "tenant-a.")
        );
    }

    #[test]
    fn topics_of_tenants_are_told_from_others() {
        let topic = topic("tenant-a", "ingest.flights.dead");
        assert_eq!(tenant_of(&topic), Some(("tenant-a", "ingest.flights.dead")));
        for other in ["__consumer_offsets", "orders.eu", "tenant-a", "tenant-.x"] {
            assert_eq!(tenant_of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_there_is_not_made_again_and_partitions_only_grow() {
        let [_, work] = topics(&queues(3, 1 << 30));
        assert_eq!(
            change_topic(work.clone(), None),
            vec![Step::Create(work.clone())]
        );
        let there = observed(&work);
        assert_eq!(change_topic(work.clone(), Some(&there)), vec![]);
        let [_, less] = topics(&queues(1, 1 << 30));
        assert_eq!(change_topic(less, Some(&there)), vec![]);
        let [_, more] = topics(&queues(5, 1 << 30));
        let name = more.name.clone();
        assert_eq!(
            change_topic(more, Some(&there)),
            vec![Step::Grow {
                name,
                partitions: 5
            }]
        );
    }

    #[test]
    fn a_setting_that_was_changed_is_set_alone() {
        let [dead, _] = topics(&queues(3, 1 << 30));
        assert_eq!(dead.partitions, 1);
        let mut there = observed(&dead);
        there.settings.insert("retention.ms".into(), "1000".into());
        let settings = Settings::from([("retention.ms".into(), "-1".into())]);
        let name = dead.name.clone();
        assert_eq!(
            change_topic(dead, Some(&there)),
            vec![Step::Set { name, settings }]
        );
    }

    #[test]
    fn segments_are_of_use_whatever_the_size_of_the_queue() {
        let segment = |bytes| settings(bytes)["segment.bytes"].parse::<u64>().unwrap();
        assert_eq!(segment(1), 1 << 20);
        assert_eq!(segment(256 << 20), 32 << 20);
        assert_eq!(segment(u64::MAX), 64 << 20);
    }

    #[test]
    fn rights_of_old_are_taken_away() {
        let wanted = rights("tenant-a");
        let mut there = rights("tenant-b");
        there.extend(wanted.iter().take(1).cloned());
        let plan = change_rights(&wanted, &there);
        assert_eq!(plan.give.len(), 2);
        assert_eq!(plan.take.len(), 3);
        assert_eq!(change_rights(&wanted, &wanted), RightsPlan::default());
    }
}
