//! [IO] Observes, plans and applies what the operator wants of Kafka.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::time::sleep;

use super::client::topic;
use super::cluster::{ATTEMPTS, Cluster, ClusterError, PAUSE, Topics};
use super::login::{Login, Mechanism, administrator};
use super::look::{Backlog, Look};
use super::plan::{self, ObservedTopic, Settings};
use super::wire::WireError;
use super::{records, topics, users};
use crate::admin::{
    AdminConnector, AdminError, Backlogs, BrokerAdmin, ManagementConnection, PipelineQueues,
    QueueTotals, Tenancy, TenancyNames,
};

/// Logs in to a Kafka as its administrator.
#[derive(Clone, Copy, Debug, Default)]
pub struct KafkaConnector;

impl AdminConnector for KafkaConnector {
    fn connect<'a>(
        &'a self,
        connection: &'a ManagementConnection,
    ) -> BoxFuture<'a, Result<Arc<dyn BrokerAdmin>, AdminError>> {
        Box::pin(async move {
            let (addresses, login) = administrator(connection)?;
            let admin = KafkaAdmin {
                cluster: Cluster::new(addresses.clone(), login),
                addresses,
            };
            admin.nodes().await?;
            Ok(Arc::new(admin) as Arc<dyn BrokerAdmin>)
        })
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
                username: self.cluster.login().username.to_owned(),
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
            tls: self.cluster.login().tls.clone(),
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

    /// A look at the topics of every tenant.
    async fn look_at_all(&self) -> Result<Look, ClusterError> {
        let mut topics = self.cluster.topics(None).await?;
        topics.retain(|name, _| plan::tenant_of(name).is_some());
        Look::at(&self.cluster, topics).await
    }

    async fn delete(&self, names: Vec<String>) -> Result<(), ClusterError> {
        topics::delete(&self.cluster, &names).await?;
        for _ in 0..ATTEMPTS {
            if self.cluster.topics(Some(&names)).await?.is_empty() {
                break;
            }
            sleep(PAUSE).await;
        }
        topics::delete_groups(&self.cluster, &names).await
    }
}

/// Whether all partitions of a topic are there, each with a leader.
fn is_led(topic: &plan::Topic, there: &Topics) -> bool {
    there.get(&topic.name).is_some_and(|leaders| {
        leaders.len() >= usize::try_from(topic.partitions).unwrap_or(0)
            && leaders.values().all(|leader| *leader >= 0)
    })
}

impl BrokerAdmin for KafkaAdmin {
    fn version(&self) -> BoxFuture<'_, Result<String, AdminError>> {
        Box::pin(async move {
            let version = users::version(&self.cluster).await;
            version.map_err(|error| self.failed("the question for its version", error))
        })
    }

    fn ensure_tenancy<'a>(&'a self, tenancy: &'a Tenancy) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
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
        })
    }

    fn suspend_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move { self.set_rights(&names.username, None).await })
    }

    fn drop_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.set_rights(&names.username, None).await?;
            let failed = |error| self.failed("the end of a tenancy", error);
            users::delete(&self.cluster, &names.username)
                .await
                .map_err(failed)?;
            let topics = self.own_topics(&names.vhost).await.map_err(failed)?;
            self.delete(topics.into_keys().collect())
                .await
                .map_err(failed)
        })
    }

    fn ensure_queues<'a>(
        &'a self,
        queues: &'a PipelineQueues,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
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
        })
    }

    fn delete_queues<'a>(
        &'a self,
        vhost: &'a str,
        queue: &'a str,
        dead_letter_queue: &'a str,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let names = [queue, dead_letter_queue].map(|queue| topic(vhost, queue));
            let deleted = self.delete(names.into()).await;
            deleted.map_err(|error| self.failed("the end of a queue", error))
        })
    }

    fn queue_totals<'a>(
        &'a self,
        vhost: &'a str,
    ) -> BoxFuture<'a, Result<Vec<QueueTotals>, AdminError>> {
        Box::pin(async move {
            let failed = |error| self.failed("the totals of its topics", error);
            let topics = self.own_topics(vhost).await.map_err(failed)?;
            let look = Look::at(&self.cluster, topics).await.map_err(failed)?;
            let prefix = plan::prefix(vhost);
            let queue = |topic: &String| {
                let name = topic.strip_prefix(&prefix).unwrap_or(topic);
                look.backlog(topic).map(|backlog| totals(name, backlog))
            };
            let queues: Result<_, ClusterError> = look.topics.keys().map(queue).collect();
            queues.map_err(failed)
        })
    }

    fn backlogs(&self) -> BoxFuture<'_, Result<Backlogs, AdminError>> {
        Box::pin(async move {
            let look = self.look_at_all().await;
            let look = look.map_err(|error| self.failed("the totals of all topics", error))?;
            let queue = |topic: &String| {
                let (vhost, queue) = plan::tenant_of(topic)?;
                // One that nobody leads now is not told: the others are.
                let backlog = look.backlog(topic).ok()?;
                Some((vhost.to_owned(), totals(queue, backlog)))
            };
            Ok(look.topics.keys().filter_map(queue).collect())
        })
    }

    fn trim(&self) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            let failed = |error| self.failed("the deletion of what is done with", error);
            let look = self.look_at_all().await.map_err(failed)?;
            records::delete(&self.cluster, &look.topics, &look.done())
                .await
                .map_err(failed)
        })
    }
}

fn totals(queue: &str, backlog: Backlog) -> QueueTotals {
    QueueTotals {
        name: queue.to_owned(),
        ready: backlog.ready,
        unacknowledged: backlog.unacknowledged,
    }
}
