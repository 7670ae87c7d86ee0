//! [IO] Topics with their settings, and groups.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, GroupId, IncrementalAlterConfigsRequest,
};

use super::cluster::{Cluster, ClusterError, Node, check, text, topic_name};
use super::plan::{Settings, Step, Topic};

const CREATE_TOPICS: i16 = 6;
const CREATE_PARTITIONS: i16 = 3;
/// The newest that deletes by name alone.
const DELETE_TOPICS: i16 = 5;
const DELETE_GROUPS: i16 = 2;
const CONFIGS: i16 = 1;
/// A topic among resources that have settings.
const TOPIC: i8 = 2;
const SET: i8 = 0;
/// The cluster's own settings say how many replicas there are, and how many of them confirm.
const AS_THE_CLUSTER_SAYS: i16 = -1;
/// How long the cluster may take to have done it, milliseconds.
const PATIENCE: i32 = 10_000;

/// Does one step.
pub(super) async fn apply(cluster: &Cluster, step: Step) -> Result<(), ClusterError> {
    match step {
        Step::Create(topic) => create(cluster, topic).await,
        Step::Grow { name, partitions } => grow(cluster, &name, partitions).await,
        Step::Set { name, settings } => set(cluster, &name, settings).await,
    }
}

async fn create(cluster: &Cluster, topic: Topic) -> Result<(), ClusterError> {
    let configs = topic.settings.iter().map(|(name, value)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    });
    let topic = CreatableTopic::default()
        .with_name(topic_name(&topic.name))
        .with_num_partitions(topic.partitions)
        .with_replication_factor(AS_THE_CLUSTER_SAYS)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(PATIENCE);
    let answer = cluster
        .ask(Node::Any, &request, CREATE_TOPICS, "CreateTopics")
        .await?;
    for topic in answer.topics {
        match check(topic.error_code, topic.error_message.as_ref()) {
            // Another look will tell whether it is as it should be.
            Err(error) if error.is(ResponseError::TopicAlreadyExists) => {}
            created => created?,
        }
    }
    Ok(())
}

async fn grow(cluster: &Cluster, name: &str, partitions: i32) -> Result<(), ClusterError> {
    let topic = CreatePartitionsTopic::default()
        .with_name(topic_name(name))
        .with_count(partitions)
        .with_assignments(None);
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(PATIENCE);
    let answer = cluster
        .ask(Node::Any, &request, CREATE_PARTITIONS, "CreatePartitions")
        .await?;
    for topic in answer.results {
        check(topic.error_code, topic.error_message.as_ref())?;
    }
    Ok(())
}

async fn set(cluster: &Cluster, name: &str, settings: Settings) -> Result<(), ClusterError> {
    let configs = settings.into_iter().map(|(name, value)| {
        AlterableConfig::default()
            .with_name(text(&name))
            .with_config_operation(SET)
            .with_value(Some(text(&value)))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = cluster
        .ask(Node::Any, &request, CONFIGS, "IncrementalAlterConfigs")
        .await?;
    for resource in answer.responses {
        check(resource.error_code, resource.error_message.as_ref())?;
    }
    Ok(())
}

/// Settings of topics, by topic.
pub(super) async fn settings(
    cluster: &Cluster,
    topics: &[&str],
) -> Result<HashMap<String, Settings>, ClusterError> {
    if topics.is_empty() {
        return Ok(HashMap::new());
    }
    let resource = |name: &&str| {
        DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name))
            .with_configuration_keys(None)
    };
    let request =
        DescribeConfigsRequest::default().with_resources(topics.iter().map(resource).collect());
    let answer = cluster
        .ask(Node::Any, &request, CONFIGS, "DescribeConfigs")
        .await?;
    let mut settings = HashMap::new();
    for resource in answer.results {
        check(resource.error_code, resource.error_message.as_ref())?;
        let configs = resource
            .configs
            .into_iter()
            .filter_map(|config| Some((config.name.to_string(), config.value?.to_string())));
        settings.insert(resource.resource_name.to_string(), configs.collect());
    }
    Ok(settings)
}

/// Deletes topics with all that is in them. Already gone is fine.
pub(super) async fn delete(cluster: &Cluster, names: &[String]) -> Result<(), ClusterError> {
    if names.is_empty() {
        return Ok(());
    }
    let request = DeleteTopicsRequest::default()
        .with_topic_names(names.iter().map(|name| topic_name(name)).collect())
        .with_timeout_ms(PATIENCE);
    let answer = cluster
        .ask(Node::Any, &request, DELETE_TOPICS, "DeleteTopics")
        .await?;
    for topic in answer.responses {
        match check(topic.error_code, topic.error_message.as_ref()) {
            Err(error) if error.is(ResponseError::UnknownTopicOrPartition) => {}
            deleted => deleted?,
        }
    }
    Ok(())
}

/// Deletes groups that nobody is in any more. Already gone is fine. What one committed goes with its topic; one that still
/// has a consumer goes with its last.
pub(super) async fn delete_groups(cluster: &Cluster, names: &[String]) -> Result<(), ClusterError> {
    for (coordinator, names) in cluster.coordinators(names).await? {
        let names = names.iter().map(|name| GroupId(text(name)));
        let request = DeleteGroupsRequest::default().with_groups_names(names.collect());
        let answer = cluster
            .ask(coordinator, &request, DELETE_GROUPS, "DeleteGroups")
            .await?;
        for group in answer.results {
            match check(group.error_code, None) {
                Err(error) if error.is(ResponseError::NonEmptyGroup) => {}
                Err(error) if error.is(ResponseError::GroupIdNotFound) => {}
                deleted => deleted?,
            }
        }
    }
    Ok(())
}
