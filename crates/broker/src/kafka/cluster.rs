//! [IO] A cluster, asked over connections that are made when they are needed: any node, the leader of a partition,
//! the coordinator of a group.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, ListOffsetsRequest, MetadataRequest, MetadataResponse,
    OffsetFetchRequest, TopicName,
};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::login::Login;
use super::wire::{Wire, WireError};

/// A partition of a topic.
pub(super) type Place = (String, i32);

/// The newest versions whose shape is used here: of many groups at a time, of topics by name.
const METADATA: i16 = 9;
const LIST_OFFSETS: i16 = 6;
const OFFSET_FETCH: i16 = 8;
const FIND_COORDINATOR: i16 = 4;
/// Asks for the end of a partition.
pub(super) const END: i64 = -1;
/// Asks for its start.
pub(super) const START: i64 = -2;
const GROUPS: i8 = 0;
/// How often, and after which pause, a cluster is asked for what is there in a moment.
pub(super) const ATTEMPTS: u32 = 60;
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// As a client, not as a replica.
const CLIENT: i32 = -1;

/// Which node is asked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Node {
    /// Whichever answers: it passes on what is the controller's business.
    Any,
    /// The node of this number.
    Number(i32),
}

/// Why a cluster did not do what it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum ClusterError {
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It answered with an error.
    #[error("{error}{}", .text.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        error: ResponseError,
        text: Option<String>,
    },
}

impl ClusterError {
    fn is_about_coordinator(&self) -> bool {
        [
            ResponseError::CoordinatorNotAvailable,
            ResponseError::CoordinatorLoadInProgress,
            ResponseError::NotCoordinator,
        ]
        .iter()
        .any(|error| self.is(*error))
    }

    /// Whether a topic has gone, or a leader changed, since they were looked at.
    pub(super) fn is_of_a_moment(&self) -> bool {
        [
            ResponseError::UnknownTopicOrPartition,
            ResponseError::NotLeaderOrFollower,
            ResponseError::LeaderNotAvailable,
            ResponseError::OffsetOutOfRange,
        ]
        .iter()
        .any(|error| self.is(*error))
    }

    /// Whether it is this error.
    pub(super) fn is(&self, wanted: ResponseError) -> bool {
        matches!(self, Self::Refused { error, .. } if *error == wanted)
    }
}

/// The error of an answer, if it has one.
pub(super) fn check(code: i16, text: Option<&StrBytes>) -> Result<(), ClusterError> {
    match code.err() {
        None => Ok(()),
        Some(error) => Err(ClusterError::Refused {
            error,
            text: text.map(|text| text.to_string()),
        }),
    }
}

/// A name as the protocol has it.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's name as the protocol has it.
pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// Topics by name, each with the leaders of its partitions, by number. A partition without a leader has -1.
pub(super) type Topics = BTreeMap<String, BTreeMap<i32, i32>>;

/// What a group has committed of a partition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Committed {
    pub(super) offset: i64,
    pub(super) text: String,
}

/// Offsets of partitions. One whose leader is not known, or cannot tell, has an error, or is left out.
pub(super) type Offsets = HashMap<Place, Result<i64, ClusterError>>;

/// The offset of a partition.
pub(super) fn offset(offsets: &Offsets, place: &Place) -> Result<i64, ClusterError> {
    match offsets.get(place) {
        Some(offset) => offset.clone(),
        None => {
            let (topic, partition) = place;
            let reason = format!("partition {partition} of {topic} has no leader");
            Err(WireError::Unavailable(reason).into())
        }
    }
}

/// A cluster and who asks it.
pub(super) struct Cluster {
    seeds: Vec<String>,
    login: Login,
    addresses: Mutex<HashMap<i32, String>>,
    wires: Mutex<HashMap<Node, Arc<Mutex<Option<Wire>>>>>,
}

impl Cluster {
    /// Connects when it is asked something.
    pub(super) fn new(seeds: Vec<String>, login: Login) -> Self {
        Self {
            seeds,
            login,
            addresses: Mutex::default(),
            wires: Mutex::default(),
        }
    }

    /// Who asks.
    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    /// Asks a node. A connection that was left idle may be gone: then it is made again, once.
    pub(super) async fn ask<R: Request>(
        &self,
        node: Node,
        request: &R,
        newest: i16,
        what: &'static str,
    ) -> Result<R::Response, ClusterError> {
        let wire = self.wires.lock().await.entry(node).or_default().clone();
        let mut wire = wire.lock().await;
        let fresh = wire.is_none();
        match self.ask_over(&mut wire, node, request, newest, what).await {
            Err(WireError::Unavailable(_)) if !fresh => Ok(self
                .ask_over(&mut wire, node, request, newest, what)
                .await?),
            answer => Ok(answer?),
        }
    }

    async fn ask_over<R: Request>(
        &self,
        place: &mut Option<Wire>,
        node: Node,
        request: &R,
        newest: i16,
        what: &'static str,
    ) -> Result<R::Response, WireError> {
        // Taken out: an exchange that is given up halfway leaves no connection behind.
        let mut wire = match place.take() {
            Some(wire) => wire,
            None => self.open(node).await?,
        };
        let answer = wire.ask(request, newest, what).await;
        if !matches!(answer, Err(WireError::Unavailable(_))) {
            *place = Some(wire);
        }
        answer
    }

    async fn open(&self, node: Node) -> Result<Wire, WireError> {
        let addresses = match node {
            Node::Any => self.seeds.clone(),
            Node::Number(number) => {
                let known = self.addresses.lock().await.get(&number).cloned();
                let unknown = || WireError::Unavailable(format!("node {number} is not known"));
                vec![known.ok_or_else(unknown)?]
            }
        };
        let mut failed = WireError::Unavailable("the broker has no address".into());
        for address in addresses {
            match Wire::open(&address, &self.login).await {
                Ok(wire) => return Ok(wire),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Nodes, and topics of these names, or all. A topic that is not there is left out.
    pub(super) async fn topics(&self, names: Option<&[String]>) -> Result<Topics, ClusterError> {
        let answer = self.metadata(names).await?;
        let mut topics = Topics::new();
        for topic in answer.topics {
            let Some(name) = topic.name else { continue };
            match topic.error_code.err() {
                Some(ResponseError::UnknownTopicOrPartition) => continue,
                _ => check(topic.error_code, None)?,
            }
            let leaders = topic.partitions.iter();
            let leaders =
                leaders.map(|partition| (partition.partition_index, partition.leader_id.0));
            topics.insert(name.to_string(), leaders.collect());
        }
        Ok(topics)
    }

    /// How many nodes there are. Tells whether anybody answers.
    pub(super) async fn nodes(&self) -> Result<usize, ClusterError> {
        Ok(self.metadata(Some(&[])).await?.brokers.len())
    }

    async fn metadata(&self, names: Option<&[String]>) -> Result<MetadataResponse, ClusterError> {
        let topic =
            |name: &String| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default()
            .with_topics(names.map(|names| names.iter().map(topic).collect()))
            .with_allow_auto_topic_creation(false);
        let answer = self.ask(Node::Any, &request, METADATA, "Metadata").await?;
        let mut addresses = self.addresses.lock().await;
        for broker in &answer.brokers {
            let address = format!("{}:{}", broker.host.as_str(), broker.port);
            let number = broker.node_id.0;
            if addresses
                .insert(number, address.clone())
                .is_some_and(|before| before != address)
            {
                self.wires.lock().await.remove(&Node::Number(number));
            }
        }
        Ok(answer)
    }

    /// Offsets of every partition of these topics: `at` is [`START`] or [`END`].
    pub(super) async fn offsets(&self, topics: &Topics, at: i64) -> Result<Offsets, ClusterError> {
        let mut offsets = Offsets::new();
        for (leader, places) in by_leader(topics) {
            let mut of_topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
            for (topic, partition) in &places {
                of_topics.entry(topic).or_default().push(
                    ListOffsetsPartition::default()
                        .with_partition_index(*partition)
                        .with_timestamp(at),
                );
            }
            let of_topics = of_topics.into_iter().map(|(topic, partitions)| {
                ListOffsetsTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(partitions)
            });
            let request = ListOffsetsRequest::default()
                .with_replica_id(CLIENT.into())
                .with_topics(of_topics.collect());
            let answer = self
                .ask(leader, &request, LIST_OFFSETS, "ListOffsets")
                .await?;
            for topic in answer.topics {
                for partition in topic.partitions {
                    let place = (topic.name.to_string(), partition.partition_index);
                    let told = check(partition.error_code, None);
                    offsets.insert(place, told.map(|()| partition.offset));
                }
            }
        }
        Ok(offsets)
    }

    /// What groups have committed. One that is not there has committed nothing. A cluster that nobody has consumed
    /// from yet makes room for groups only now, and a node that takes groups over reads them first: that is waited for.
    pub(super) async fn committed(
        &self,
        groups: &[String],
    ) -> Result<HashMap<Place, Committed>, ClusterError> {
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match self.committed_now(groups).await {
                Err(error) if left > 0 && error.is_about_coordinator() => sleep(PAUSE).await,
                committed => return committed,
            }
        }
    }

    async fn committed_now(
        &self,
        groups: &[String],
    ) -> Result<HashMap<Place, Committed>, ClusterError> {
        let mut committed = HashMap::new();
        for (coordinator, groups) in self.coordinators(groups).await? {
            let group = |name: String| {
                OffsetFetchRequestGroup::default()
                    .with_group_id(GroupId(StrBytes::from_string(name)))
                    .with_topics(None)
            };
            let request = OffsetFetchRequest::default()
                .with_groups(groups.into_iter().map(group).collect())
                .with_require_stable(false);
            let answer = self
                .ask(coordinator, &request, OFFSET_FETCH, "OffsetFetch")
                .await?;
            for group in answer.groups {
                check(group.error_code, None)?;
                for topic in group.topics {
                    for partition in topic.partitions {
                        check(partition.error_code, None)?;
                        if partition.committed_offset < 0 {
                            continue;
                        }
                        committed.insert(
                            (topic.name.to_string(), partition.partition_index),
                            Committed {
                                offset: partition.committed_offset,
                                text: partition.metadata.unwrap_or_default().to_string(),
                            },
                        );
                    }
                }
            }
        }
        Ok(committed)
    }

    /// The nodes that keep what groups commit, each with its groups.
    pub(super) async fn coordinators(
        &self,
        groups: &[String],
    ) -> Result<HashMap<Node, Vec<String>>, ClusterError> {
        let mut coordinators: HashMap<Node, Vec<String>> = HashMap::new();
        if groups.is_empty() {
            return Ok(coordinators);
        }
        let request = FindCoordinatorRequest::default()
            .with_key_type(GROUPS)
            .with_coordinator_keys(groups.iter().map(|group| text(group)).collect());
        let answer = self
            .ask(Node::Any, &request, FIND_COORDINATOR, "FindCoordinator")
            .await?;
        for found in answer.coordinators {
            check(found.error_code, found.error_message.as_ref())?;
            let number = found.node_id.0;
            let address = format!("{}:{}", found.host.as_str(), found.port);
            self.addresses.lock().await.insert(number, address);
            let of_node = coordinators.entry(Node::Number(number)).or_default();
            of_node.push(found.key.to_string());
        }
        Ok(coordinators)
    }
}

/// Partitions by the node that leads them; those that nobody leads are left out.
pub(super) fn by_leader(topics: &Topics) -> Vec<(Node, Vec<Place>)> {
    let mut by_leader: BTreeMap<i32, Vec<Place>> = BTreeMap::new();
    for (topic, partitions) in topics {
        for (partition, leader) in partitions {
            if *leader >= 0 {
                let place = (topic.clone(), *partition);
                by_leader.entry(*leader).or_default().push(place);
            }
        }
    }
    let nodes = by_leader.into_iter();
    nodes
        .map(|(leader, places)| (Node::Number(leader), places))
        .collect()
}
