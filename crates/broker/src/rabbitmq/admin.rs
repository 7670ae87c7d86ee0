//! [IO] Observes, plans and applies what the operator wants of RabbitMQ.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use serde::Deserialize;
use serde::de::IgnoredAny;
use simbdp_tls::Trust;

use super::http::{Api, client};
use super::plan::{self, ObservedQueues, ObservedTenancy, PermissionView, Step};
use crate::admin::{
    AdminConnector, AdminError, Backlogs, BrokerAdmin, ManagementConnection, PipelineQueues,
    QueueTotals, Tenancy, TenancyNames,
};

/// Logs in to RabbitMQ's management API.
#[derive(Default)]
pub struct RabbitConnector {
    /// One client, with its pool of connections, for all brokers with certificates of the same authorities.
    clients: Mutex<HashMap<Option<Trust>, reqwest::Client>>,
}

impl RabbitConnector {
    fn client(&self, trust: Option<&Trust>) -> Result<reqwest::Client, AdminError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&trust.cloned()) {
            return Ok(client.clone());
        }
        let made = client(trust)?;
        clients.insert(trust.cloned(), made.clone());
        Ok(made)
    }
}

impl AdminConnector for RabbitConnector {
    fn connect<'a>(
        &'a self,
        connection: &'a ManagementConnection,
    ) -> BoxFuture<'a, Result<Arc<dyn BrokerAdmin>, AdminError>> {
        Box::pin(async move {
            let api = Api::new(self.client(connection.tls.as_ref())?, connection)?;
            let _: IgnoredAny = api.get_one(&["whoami"]).await?;
            Ok(Arc::new(RabbitAdmin { api }) as Arc<dyn BrokerAdmin>)
        })
    }
}

/// An administrator's login. Keeps no connection of its own.
pub struct RabbitAdmin {
    api: Api,
}

#[derive(Deserialize)]
struct Overview {
    rabbitmq_version: String,
}

#[derive(Deserialize)]
struct Limits {
    value: BTreeMap<String, i64>,
}

/// Figures are absent while a queue has no leader.
#[derive(Deserialize)]
struct Totals {
    name: String,
    vhost: String,
    messages_ready: Option<u64>,
    messages_unacknowledged: Option<u64>,
}

impl Totals {
    /// What is known; [`None`] where nothing is, which is not the same as an empty queue.
    fn known(self) -> Option<(String, QueueTotals)> {
        let totals = QueueTotals {
            name: self.name,
            ready: self.messages_ready?,
            unacknowledged: self.messages_unacknowledged?,
        };
        Some((self.vhost, totals))
    }
}

const WITH_TOTALS: [(&str, &str); 2] = [("disable_stats", "true"), ("enable_queue_totals", "true")];

impl RabbitAdmin {
    async fn permissions(&self, username: &str) -> Result<Vec<PermissionView>, AdminError> {
        let permissions = self
            .api
            .get(&["users", username, "permissions"], &[])
            .await?;
        Ok(permissions.unwrap_or_default())
    }

    async fn observe_tenancy(
        &self,
        vhost: &str,
        username: &str,
    ) -> Result<ObservedTenancy, AdminError> {
        let api = &self.api;
        let there: Option<IgnoredAny> = api.get(&["vhosts", vhost], &[]).await?;
        let limits: Option<Vec<Limits>> = api.get(&["vhost-limits", vhost], &[]).await?;
        let limits = limits.unwrap_or_default();
        Ok(ObservedTenancy {
            vhost: there.is_some(),
            user: api.get(&["users", username], &[]).await?,
            permissions: self.permissions(username).await?,
            own_permission: api
                .get(&["permissions", vhost, api.username()], &[])
                .await?,
            limits: limits.into_iter().flat_map(|limits| limits.value).collect(),
            connections: 0,
        })
    }

    async fn observe_queues(&self, queues: &PipelineQueues) -> Result<ObservedQueues, AdminError> {
        let vhost = queues.vhost.as_str();
        let plain = [("disable_stats", "true")];
        Ok(ObservedQueues {
            policy: self
                .api
                .get(&["policies", vhost, &queues.queue], &[])
                .await?,
            queue: self
                .api
                .get(&["queues", vhost, &queues.queue], &plain)
                .await?,
            dead_letter_queue: self
                .api
                .get(&["queues", vhost, &queues.dead_letter_queue], &plain)
                .await?,
        })
    }

    async fn apply(&self, steps: Vec<Step>) -> Result<(), AdminError> {
        for step in steps {
            match step {
                Step::Put { path, body } => self.api.put(&segments(&path), &body).await?,
                Step::Delete { path } => self.api.delete(&segments(&path)).await?,
            }
        }
        Ok(())
    }
}

fn segments(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

impl BrokerAdmin for RabbitAdmin {
    fn version(&self) -> BoxFuture<'_, Result<String, AdminError>> {
        Box::pin(async move {
            let overview: Overview = self.api.get_one(&["overview"]).await?;
            Ok(overview.rabbitmq_version)
        })
    }

    fn ensure_tenancy<'a>(&'a self, tenancy: &'a Tenancy) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let observed = self
                .observe_tenancy(&tenancy.vhost, &tenancy.username)
                .await?;
            self.apply(plan::tenancy(tenancy, &observed, self.api.username()))
                .await
        })
    }

    fn suspend_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let path = ["connections", "username", names.username.as_str()];
            let connections: Option<Vec<IgnoredAny>> = self.api.get(&path, &[]).await?;
            let observed = ObservedTenancy {
                permissions: self.permissions(&names.username).await?,
                connections: connections.unwrap_or_default().len(),
                ..ObservedTenancy::default()
            };
            self.apply(plan::suspension(names, &observed)).await
        })
    }

    fn drop_tenancy<'a>(
        &'a self,
        names: &'a TenancyNames,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move { self.apply(plan::removal(names)).await })
    }

    fn ensure_queues<'a>(
        &'a self,
        queues: &'a PipelineQueues,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let observed = self.observe_queues(queues).await?;
            self.apply(plan::queues(queues, &observed)?).await
        })
    }

    fn delete_queues<'a>(
        &'a self,
        vhost: &'a str,
        queue: &'a str,
        dead_letter_queue: &'a str,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            self.apply(plan::queue_removal(vhost, queue, dead_letter_queue))
                .await
        })
    }

    fn queue_totals<'a>(
        &'a self,
        vhost: &'a str,
    ) -> BoxFuture<'a, Result<Vec<QueueTotals>, AdminError>> {
        Box::pin(async move {
            let totals: Option<Vec<Totals>> =
                self.api.get(&["queues", vhost], &WITH_TOTALS).await?;
            let totals = totals.ok_or_else(|| AdminError::Refused {
                action: "the totals of its queues".into(),
                reason: format!("virtual host `{vhost}` is not there"),
            })?;
            Ok(totals
                .into_iter()
                .map(|queue| QueueTotals {
                    name: queue.name,
                    ready: queue.messages_ready.unwrap_or_default(),
                    unacknowledged: queue.messages_unacknowledged.unwrap_or_default(),
                })
                .collect())
        })
    }

    fn backlogs(&self) -> BoxFuture<'_, Result<Backlogs, AdminError>> {
        Box::pin(async move {
            let totals: Option<Vec<Totals>> = self.api.get(&["queues"], &WITH_TOTALS).await?;
            let totals = totals.unwrap_or_default().into_iter();
            Ok(totals.filter_map(Totals::known).collect())
        })
    }
}
