//! [IO] Observes, plans and applies what the operator wants of Kafka.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use kafka_protocol::ResponseError;
use tokio::time::sleep;

use super::client::topic;
use super::cluster::{
    ATTEMPTS, Cluster, ClusterError, Committed, END, PAUSE, Place, START, Topics,
};
use super::login::{Login, Mechanism, administrator};
use super::plan::{self, ObservedTopic, Settings};
use super::wire::WireError;
use super::{attempts::Attempts, records, topics, users};
use crate::admin::{
    AdminConnector, AdminError, BrokerAdmin, ManagementConnection, PipelineQueues, QueueTotals,
    Tenancy, TenancyNames,
};

/// Logs in to a Kafka as its administrator.
#[derive(Clone, Copy, Debug, Default)]
pub struct KafkaConnector;

#[async_trait]
impl AdminConnector for KafkaConnector {
    async fn connect(
        &self,
        connection: &ManagementConnection,
    ) -> Result<Arc<dyn BrokerAdmin>, AdminError> {
        let (addresses, login) = administrator(connection)?;
        let admin = KafkaAdmin {
            cluster: Cluster::new(addresses.clone(), login),
            addresses,
        };
        admin.nodes().await?;
        Ok(Arc::new(admin))
    }
}

/// An administrator's login. What the controller has changed the nodes learn a moment later: that is waited for, but not
/// for long, since clients try again.
pub struct KafkaAdmin {
    cluster: Cluster,
    addresses: Vec<String>,
}

impl KafkaAdmin {
    async fn nodes(&self) -> Result<usize, AdminError> {
        let nodes = self.cluster.nodes().await;
        nodes.map_err(|error| self.failed("the look at its nodes", error))
    }

    /// An error as the operator knows it.
    fn failed(&self, action: &str, error: ClusterError) -> AdminError {
        match error {
            ClusterError::Wire(WireError::Unavailable(reason)) => AdminError::Unavailable(reason),
            ClusterError::Wire(WireError::LoginRefused(_)) => AdminError::LoginRefused {
                username: self.cluster.username().to_owned(),
            },
            ClusterError::Refused { error, .. } if error.is_retriable() => {
                AdminError::Unavailable(format!("{action}: {error}"))
            }
            error => AdminError::Refused {
                action: action.to_owned(),
                reason: error.to_string(),
            },
        }
    }

    /// Whether the user has this password: nobody can read it back, so it is tried.
    async fn has_password(&self, tenancy: &Tenancy) -> Result<bool, AdminError> {
        let login = Login {
            username: tenancy.username.clone(),
            password: tenancy.password.clone(),
            mechanism: Mechanism::Scram,
        };
        match Cluster::new(self.addresses.clone(), login).nodes().await {
            Ok(_) => Ok(true),
            Err(ClusterError::Wire(WireError::LoginRefused(_))) => Ok(false),
            Err(error) => Err(self.failed("the login of the tenant's user", error)),
        }
    }

    async fn set_rights(&self, username: &str, vhost: Option<&str>) -> Result<(), AdminError> {
        let failed = |error| self.failed("the change of rights", error);
        let wanted = vhost.map(plan::rights).unwrap_or_default();
        let there = users::rights(&self.cluster, username)
            .await
            .map_err(failed)?;
        let change = plan::change_rights(&wanted, &there);
        users::give(&self.cluster, username, &change.give)
            .await
            .map_err(failed)?;
        users::take(&self.cluster, username, &change.take)
            .await
            .map_err(failed)?;
        for _ in 0..ATTEMPTS {
            let there = users::rights(&self.cluster, username)
                .await
                .map_err(failed)?;
            if there == wanted {
                break;
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn ensure_topic(
        &self,
        wanted: plan::Topic,
        there: &Topics,
        settings: &HashMap<String, Settings>,
    ) -> Result<(), AdminError> {
        let action = format!("the declaration of topic `{}`", wanted.name);
        let observed = there.get(&wanted.name).map(|partitions| ObservedTopic {
            partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
            settings: settings.get(&wanted.name).cloned().unwrap_or_default(),
        });
        for step in plan::change_topic(wanted, observed.as_ref()) {
            topics::apply(&self.cluster, step)
                .await
                .map_err(|error| self.failed(&action, error))?;
        }
        Ok(())
    }

    /// The topics of a tenant.
    async fn own_topics(&self, vhost: &str) -> Result<Topics, ClusterError> {
        let prefix = plan::prefix(vhost);
        let mut topics = self.cluster.topics(None).await?;
        topics.retain(|name, _| name.starts_with(&prefix));
        Ok(topics)
    }

    async fn look(&self, vhost: &str) -> Result<Look, ClusterError> {
        let topics = self.own_topics(vhost).await?;
        // A group is named like the topic that it consumes.
        let mut committed = HashMap::new();
        for name in topics.keys() {
            committed.extend(self.cluster.committed(name).await?);
        }
        Ok(Look {
            committed,
            starts: self.cluster.offsets(&topics, START).await?,
            ends: self.cluster.offsets(&topics, END).await?,
            topics,
        })
    }

    async fn delete(&self, names: Vec<String>) -> Result<(), ClusterError> {
        topics::delete(&self.cluster, &names).await?;
        for _ in 0..ATTEMPTS {
            if self.cluster.topics(Some(&names)).await?.is_empty() {
                break;
            }
            sleep(PAUSE).await;
        }
        for name in &names {
            match topics::delete_group(&self.cluster, name).await {
                // What it committed goes with its topic; the group itself with its last consumer.
                Err(error) if error.is(ResponseError::NonEmptyGroup) => {}
                Err(error) if error.is(ResponseError::GroupIdNotFound) => {}
                deleted => deleted?,
            }
        }
        Ok(())
    }
}

/// Whether all partitions of a topic are there, each with a leader.
fn is_led(topic: &plan::Topic, there: &Topics) -> bool {
    there.get(&topic.name).is_some_and(|leaders| {
        leaders.len() >= usize::try_from(topic.partitions).unwrap_or(0)
            && leaders.values().all(|leader| *leader >= 0)
    })
}

/// What there is of a tenant's topics.
struct Look {
    topics: Topics,
    starts: HashMap<Place, i64>,
    ends: HashMap<Place, i64>,
    committed: HashMap<Place, Committed>,
}

impl Look {
    fn totals(&self, topic: &str, name: String) -> QueueTotals {
        let mut totals = QueueTotals {
            name,
            ready: 0,
            unacknowledged: 0,
        };
        for partition in self.topics.get(topic).into_iter().flatten() {
            let place = (topic.to_owned(), *partition.0);
            let backlog = backlog(
                self.starts.get(&place).copied().unwrap_or_default(),
                self.ends.get(&place).copied().unwrap_or_default(),
                self.committed.get(&place),
            );
            totals.ready += backlog.ready;
            totals.unacknowledged += backlog.unacknowledged;
        }
        totals
    }

    /// Offsets before which everything is done with, where there is something.
    fn done(&self) -> HashMap<Place, i64> {
        let done = self.committed.iter().filter(|(place, committed)| {
            let start = self.starts.get(*place);
            start.is_some_and(|start| *start < committed.offset)
        });
        done.map(|(place, committed)| (place.clone(), committed.offset))
            .collect()
    }
}

/// How many messages wait in a partition.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Backlog {
    /// Never delivered, or not since they came back.
    pub(super) ready: u64,
    /// Delivered, and not known to be done with.
    pub(super) unacknowledged: u64,
}

/// What lies between what is committed and the end of a partition.
pub(super) fn backlog(start: i64, end: i64, committed: Option<&Committed>) -> Backlog {
    let (from, taken) = match committed {
        Some(committed) => {
            let from = committed.offset.max(start);
            (from, Attempts::read(&committed.text).end(from))
        }
        None => (start, start),
    };
    let taken = taken.min(end).max(from);
    Backlog {
        ready: u64::try_from(end - taken).unwrap_or_default(),
        unacknowledged: u64::try_from(taken - from).unwrap_or_default(),
    }
}

#[async_trait]
impl BrokerAdmin for KafkaAdmin {
    async fn version(&self) -> Result<String, AdminError> {
        let version = users::version(&self.cluster).await;
        version.map_err(|error| self.failed("the question for its version", error))
    }

    async fn ensure_tenancy(&self, tenancy: &Tenancy) -> Result<(), AdminError> {
        if !self.has_password(tenancy).await? {
            users::set_password(&self.cluster, &tenancy.username, &tenancy.password)
                .await
                .map_err(|error| self.failed("the creation of the tenant's user", error))?;
            for _ in 0..ATTEMPTS {
                if self.has_password(tenancy).await? {
                    break;
                }
                sleep(PAUSE).await;
            }
        }
        self.set_rights(&tenancy.username, Some(&tenancy.vhost))
            .await
    }

    async fn suspend_tenancy(&self, names: &TenancyNames) -> Result<(), AdminError> {
        self.set_rights(&names.username, None).await
    }

    async fn drop_tenancy(&self, names: &TenancyNames) -> Result<(), AdminError> {
        self.set_rights(&names.username, None).await?;
        let failed = |error| self.failed("the end of a tenancy", error);
        users::delete(&self.cluster, &names.username)
            .await
            .map_err(failed)?;
        let topics = self.own_topics(&names.vhost).await.map_err(failed)?;
        self.delete(topics.into_keys().collect())
            .await
            .map_err(failed)
    }

    async fn ensure_queues(&self, queues: &PipelineQueues) -> Result<(), AdminError> {
        let wanted = plan::topics(queues);
        let names: Vec<String> = wanted.iter().map(|topic| topic.name.clone()).collect();
        let failed = |error| self.failed("the look at topics", error);
        let there = self.cluster.topics(Some(&names)).await.map_err(failed)?;
        let named: Vec<&str> = there.keys().map(String::as_str).collect();
        let settings = topics::settings(&self.cluster, &named)
            .await
            .map_err(failed)?;
        for topic in &wanted {
            self.ensure_topic(topic.clone(), &there, &settings).await?;
        }
        for _ in 0..ATTEMPTS {
            let there = self.cluster.topics(Some(&names)).await.map_err(failed)?;
            if wanted.iter().all(|topic| is_led(topic, &there)) {
                break;
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn delete_queues(
        &self,
        vhost: &str,
        queue: &str,
        dead_letter_queue: &str,
    ) -> Result<(), AdminError> {
        let names = [queue, dead_letter_queue].map(|queue| topic(vhost, queue));
        let deleted = self.delete(names.into()).await;
        deleted.map_err(|error| self.failed("the end of a queue", error))
    }

    async fn queue_totals(&self, vhost: &str) -> Result<Vec<QueueTotals>, AdminError> {
        let look = self.look(vhost).await;
        let look = look.map_err(|error| self.failed("the totals of its topics", error))?;
        let prefix = plan::prefix(vhost);
        let queue = |topic: &String| {
            let name = topic.strip_prefix(&prefix).unwrap_or(topic);
            look.totals(topic, name.to_owned())
        };
        Ok(look.topics.keys().map(queue).collect())
    }

    async fn trim(&self, vhost: &str) -> Result<(), AdminError> {
        let failed = |error| self.failed("the deletion of what is done with", error);
        let look = self.look(vhost).await.map_err(failed)?;
        let done = look.done();
        records::delete(&self.cluster, &look.topics, &done)
            .await
            .map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(offset: i64, text: &str) -> Committed {
        Committed {
            offset,
            text: text.into(),
        }
    }

    #[test]
    fn a_backlog_is_what_is_not_committed() {
        let counts = |backlog: Backlog| (backlog.ready, backlog.unacknowledged);
        assert_eq!(counts(backlog(5, 12, None)), (7, 0));
        assert_eq!(counts(backlog(5, 12, Some(&committed(8, "")))), (4, 0));
        let taken = committed(8, "simbdp1 9*2 11*1");
        assert_eq!(counts(backlog(5, 12, Some(&taken))), (1, 3));
        // Older than what there is, and newer than it.
        assert_eq!(counts(backlog(10, 12, Some(&taken))), (1, 1));
        assert_eq!(counts(backlog(0, 8, Some(&taken))), (0, 0));
        assert_eq!(counts(backlog(0, 3, Some(&taken))), (0, 0));
    }
}
