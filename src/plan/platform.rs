//! The operator that would do what is planned [IO]: found in the cluster with its configuration, since names, images and
//! shared databases come from there.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PodSpec};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use simbdp_api::common::Engine;
use simbdp_api::labels;

use super::error::PlanError;
use crate::config::Config;
use crate::{broker, coredms, tenant};

/// What the chart labels the operator with.
const SELECTOR: &str = "app.kubernetes.io/name=simbdp,app.kubernetes.io/component=operator";
/// ServiceAccount of an operator that does not say otherwise.
const SERVICE_ACCOUNT: &str = "simbdp";
/// Service of an operator that does not say otherwise.
const SERVICE: &str = "simbdp-operator";
/// Key of the configuration.
const FILE: &str = "operator.yaml";

/// The operator that would do what is planned.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Its namespace.
    pub namespace: String,
    /// Its ServiceAccount.
    pub service_account: String,
    /// Its Service.
    pub service: String,
    /// Its version.
    pub version: String,
    /// Its configuration.
    pub config: Config,
}

impl Platform {
    /// An operator with this configuration, of this program's version.
    pub fn new(namespace: &str, config: Config) -> Self {
        Self {
            namespace: namespace.to_owned(),
            service_account: SERVICE_ACCOUNT.to_owned(),
            service: SERVICE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config,
        }
    }

    /// The operator of the cluster, in one namespace when that is named.
    pub async fn find(client: &Client, namespace: Option<&str>) -> Result<Self, PlanError> {
        let api: Api<Deployment> = match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let found = api
            .list(&ListParams::default().labels(SELECTOR))
            .await
            .map_err(PlanError::reading("the operator's Deployment"))?;
        let [deployment] = found.items.as_slice() else {
            return Err(PlanError::NoOperator(ambiguous(&found.items)));
        };
        let namespace = deployment.namespace().unwrap_or_default();
        let pod = pod(deployment);
        let name = pod.and_then(configuration).unwrap_or_default();
        let config = configured(client, &namespace, &name).await?;
        let version = deployment.labels().get(labels::APP_VERSION).cloned();
        Ok(Self {
            service_account: pod
                .and_then(|pod| pod.service_account_name.clone())
                .unwrap_or_else(|| SERVICE_ACCOUNT.to_owned()),
            service: pod.and_then(service).unwrap_or_else(|| SERVICE.to_owned()),
            version: version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            ..Self::new(&namespace, config)
        })
    }

    /// What to say when the operator is of another version than this program.
    pub fn other_version(&self) -> Option<String> {
        let own = env!("CARGO_PKG_VERSION");
        (self.version != own).then(|| {
            format!(
                "the operator is of version {} and this program of {own}: what the operator makes may differ",
                self.version
            )
        })
    }

    /// For objects of tenants.
    pub fn of_tenants(&self) -> tenant::build::Platform {
        tenant::build::Platform {
            namespace: self.namespace.clone(),
            service_account: self.service_account.clone(),
            image: self.config.images.simbdp.clone(),
            pull_policy: self.config.image_pull_policy.as_str().to_owned(),
            version: self.version.clone(),
            service: self.service.clone(),
            // The Secret with it is the operator's alone; of what is made with it only the name counts.
            authority: Some(String::new()),
        }
    }

    /// For objects of databases.
    pub fn of_databases(&self, engine: Engine) -> coredms::build::Platform {
        coredms::platform(&self.config, &self.namespace, &self.version, engine)
    }

    /// For objects of brokers.
    pub fn of_brokers(&self) -> broker::build::Platform {
        broker::platform(&self.config, &self.namespace, &self.version)
    }
}

fn ambiguous(found: &[Deployment]) -> String {
    let named = |one: &Deployment| one.namespace().unwrap_or_default();
    let namespaces: Vec<_> = found.iter().map(named).collect();
    match namespaces.as_slice() {
        [] => "no operator is found in the cluster: give the --operator-namespace that it has, and its --operator-config where it does not run in the cluster".to_owned(),
        several => format!(
            "operators are found in the namespaces {}: give one as --operator-namespace",
            several.join(", ")
        ),
    }
}

fn pod(deployment: &Deployment) -> Option<&PodSpec> {
    deployment.spec.as_ref()?.template.spec.as_ref()
}

/// The Service that the operator is told that it has.
fn service(pod: &PodSpec) -> Option<String> {
    let variables = pod
        .containers
        .iter()
        .flat_map(|one| one.env.iter().flatten());
    let mut named = variables.filter(|variable| variable.name == "SIMBDP_SERVICE");
    named.next()?.value.clone()
}

/// The ConfigMap that the operator mounts.
fn configuration(pod: &PodSpec) -> Option<String> {
    let volumes = pod.volumes.iter().flatten();
    let mut maps = volumes.filter_map(|volume| volume.config_map.as_ref());
    maps.next().map(|map| map.name.clone())
}

async fn configured(client: &Client, namespace: &str, name: &str) -> Result<Config, PlanError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = api
        .get(name)
        .await
        .map_err(PlanError::reading(format!("ConfigMap {namespace}/{name}")))?;
    let text = map.data.and_then(|mut data| data.remove(FILE));
    serde_yaml::from_str(&text.unwrap_or_default()).map_err(|source| PlanError::Config {
        name: format!("{namespace}/{name}"),
        source,
    })
}
