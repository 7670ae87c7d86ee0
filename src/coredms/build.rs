//! Build [pure, infallible]: [`ValidatedCoreDms`] → every object of a Cassandra cluster.

use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount, ServiceSpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::core::ObjectMeta;
use sha2::{Digest, Sha256};
use simbdp_api::{CoreDms, labels};

use super::names::{self, CQL_PORT, STORAGE_PORT};
use super::validate::ValidatedCoreDms;
use crate::apply::MANAGED_BY;
use crate::objects::{Labels, OwnImage, meta, owned_by, selector, service_port};

mod config;
mod pod;
mod stateful_set;

/// What the objects are before they are applied.
#[derive(Clone, Debug)]
pub struct Prepared;

/// What they are afterwards: as the API server returned them, with their status.
#[derive(Clone, Debug)]
pub struct Applied;

/// Every object of a Cassandra cluster, in the order in which they are applied.
#[derive(Clone, Debug)]
pub struct Resources<State> {
    /// Without rights; members run as it.
    pub account: ServiceAccount,
    /// Configuration of every member.
    pub config: ConfigMap,
    /// The operator's superuser. Without an owner: it outlives the CoreDms with its volumes.
    pub superuser: Secret,
    /// Names the members, also those that are not ready yet.
    pub service: Service,
    /// One member at a time.
    pub budget: PodDisruptionBudget,
    /// The members.
    pub members: StatefulSet,
    /// Prepared or applied.
    pub state: PhantomData<State>,
}

/// What else pods and configuration depend on.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Image for init containers, and pull policy.
    pub own: OwnImage,
    /// Repository of Cassandra's image.
    pub repository: String,
    /// Version of the operator.
    pub version: String,
}

/// Builds every object. `password` serves only when the superuser's Secret has none.
pub fn build(
    coredms: &ValidatedCoreDms,
    platform: &Platform,
    password: String,
) -> Resources<Prepared> {
    let config = config_map(coredms, platform);
    let digest = digest(&config);
    Resources {
        account: ServiceAccount {
            metadata: owned(coredms, platform, &coredms.name),
            automount_service_account_token: Some(false),
            ..Default::default()
        },
        superuser: superuser(coredms, platform, password),
        service: service(coredms, platform),
        budget: budget(coredms, platform),
        members: stateful_set::build(coredms, platform, digest),
        config,
        state: PhantomData,
    }
}

/// Labels by which members, and their volumes, are selected; they never change.
pub fn member_labels(coredms: &str) -> Labels {
    Labels::from([
        (labels::APP_NAME.to_owned(), "cassandra".to_owned()),
        (labels::APP_INSTANCE.to_owned(), coredms.to_owned()),
        (labels::COREDMS.to_owned(), coredms.to_owned()),
    ])
}

/// Every label of an object.
fn all_labels(coredms: &ValidatedCoreDms, platform: &Platform) -> Labels {
    let mut all = member_labels(&coredms.name);
    let tenant = coredms.object.labels().get(labels::TENANT).cloned();
    all.extend(tenant.map(|tenant| (labels::TENANT.to_owned(), tenant)));
    all.extend([
        (labels::APP_COMPONENT.to_owned(), "coredms".to_owned()),
        (labels::APP_PART_OF.to_owned(), "simbdp".to_owned()),
        (labels::APP_MANAGED_BY.to_owned(), MANAGED_BY.to_owned()),
        (labels::APP_VERSION.to_owned(), platform.version.clone()),
    ]);
    all
}

fn owned(coredms: &ValidatedCoreDms, platform: &Platform, name: &str) -> ObjectMeta {
    ObjectMeta {
        owner_references: owned_by::<CoreDms>(&coredms.object),
        ..meta(&coredms.namespace, name, &all_labels(coredms, platform))
    }
}

fn config_map(coredms: &ValidatedCoreDms, platform: &Platform) -> ConfigMap {
    ConfigMap {
        metadata: owned(coredms, platform, &names::config(&coredms.name)),
        data: Some(config::files(coredms)),
        ..Default::default()
    }
}

/// Members read their configuration at their start: a change rolls them.
fn digest(config: &ConfigMap) -> String {
    let mut hash = Sha256::new();
    for (name, text) in config.data.iter().flatten() {
        hash.update(name);
        hash.update([0]);
        hash.update(text);
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..16])
}

fn superuser(coredms: &ValidatedCoreDms, platform: &Platform, password: String) -> Secret {
    let entries = [
        (names::USERNAME, names::SUPERUSER.to_owned()),
        (names::PASSWORD, password),
    ];
    let data =
        entries.map(|(key, text)| (key.to_owned(), k8s_openapi::ByteString(text.into_bytes())));
    Secret {
        metadata: meta(
            &coredms.namespace,
            &names::superuser_secret(&coredms.name),
            &all_labels(coredms, platform),
        ),
        type_: Some("kubernetes.io/basic-auth".to_owned()),
        data: Some(data.into()),
        ..Default::default()
    }
}

/// Members that are not ready have names, too: they must find each other to become ready.
fn service(coredms: &ValidatedCoreDms, platform: &Platform) -> Service {
    Service {
        metadata: owned(coredms, platform, &coredms.name),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(member_labels(&coredms.name)),
            ports: Some(vec![
                service_port("cql", CQL_PORT),
                service_port("storage", STORAGE_PORT),
            ]),
            ..Default::default()
        }),
        status: None,
    }
}

fn budget(coredms: &ValidatedCoreDms, platform: &Platform) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: owned(coredms, platform, &coredms.name),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(&member_labels(&coredms.name))),
            ..Default::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests;
