//! [IO] Gives the disk space of records back.

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};

use super::cluster::{Cluster, ClusterError, Place, Topics, by_leader, check, topic_name};

const DELETE_RECORDS: i16 = 2;
const PATIENCE: i32 = 10_000;

/// Deletes what lies before these offsets. Its segments go with their last record. Partitions without a leader are left as
/// they are.
pub(super) async fn delete(
    cluster: &Cluster,
    topics: &Topics,
    before: &HashMap<Place, i64>,
) -> Result<(), ClusterError> {
    for (leader, places) in by_leader(topics) {
        let mut of_topics: BTreeMap<&str, Vec<DeleteRecordsPartition>> = BTreeMap::new();
        for place in &places {
            let Some(offset) = before.get(place) else {
                continue;
            };
            of_topics.entry(&place.0).or_default().push(
                DeleteRecordsPartition::default()
                    .with_partition_index(place.1)
                    .with_offset(*offset),
            );
        }
        if of_topics.is_empty() {
            continue;
        }
        let of_topics = of_topics.into_iter().map(|(topic, partitions)| {
            DeleteRecordsTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(partitions)
        });
        let request = DeleteRecordsRequest::default()
            .with_topics(of_topics.collect())
            .with_timeout_ms(PATIENCE);
        let answer = cluster
            .ask(leader, &request, DELETE_RECORDS, "DeleteRecords")
            .await?;
        for topic in answer.topics {
            for partition in topic.partitions {
                match check(partition.error_code, None) {
                    // A topic that has gone meanwhile, or a partition whose leader has changed.
                    Err(error) if error.is_of_a_moment() => {}
                    deleted => deleted?,
                }
            }
        }
    }
    Ok(())
}
