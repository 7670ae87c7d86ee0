//! Build [pure, infallible]: [`ValidatedCoreDms`] → every object of a database's cluster.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount, ServiceSpec};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::core::ObjectMeta;
use sha2::{Digest, Sha256};
use simbdp_api::common::Engine;
use simbdp_api::{CoreDms, labels};

use super::names::{self, application, ports};
use super::validate::ValidatedCoreDms;
use crate::apply::MANAGED_BY;
use crate::objects::{Labels, OwnImage, meta, owned_by, selector, service_port};

mod cassandra;
mod engine;
mod mongodb;
mod network;
mod pod;
mod stateful_set;

pub use pod::DATA_VOLUME;

/// What the objects are before they are applied.
#[derive(Clone, Debug)]
pub struct Prepared;

/// What they are afterwards: as the API server returned them, with their status.
#[derive(Clone, Debug)]
pub struct Applied;

/// Every object of a cluster, in the order in which they are applied.
#[derive(Clone, Debug)]
pub struct Resources<State> {
    /// Without rights; members run as it.
    pub account: ServiceAccount,
    /// Configuration of every member.
    pub config: ConfigMap,
    /// The operator's superuser. Without an owner: it outlives the CoreDms with its volumes.
    pub superuser: Secret,
    /// Who may reach the members; in a tenant's namespace the tenant's own policies say so.
    pub network: Option<NetworkPolicy>,
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
    /// Namespace of the operator.
    pub namespace: String,
    /// Image for init containers, and pull policy.
    pub own: OwnImage,
    /// Repository of the engine's image.
    pub repository: String,
    /// Version of the operator.
    pub version: String,
}

/// Texts for keys that the superuser's Secret has not yet.
#[derive(Clone)]
pub struct Fresh {
    /// Password of the superuser.
    pub password: String,
    /// By which members of MongoDB know each other: 6 to 1,024 characters of base64.
    pub keyfile: String,
}

/// Builds every object. `running` is how many members run, which may be others than are asked for while some are added
/// or removed.
pub fn build(
    coredms: &ValidatedCoreDms,
    platform: &Platform,
    fresh: Fresh,
    running: u16,
) -> Resources<Prepared> {
    Resources {
        account: ServiceAccount {
            metadata: owned(coredms, platform, &coredms.name),
            automount_service_account_token: Some(false),
            ..Default::default()
        },
        superuser: superuser(coredms, platform, fresh),
        network: network::build(coredms, platform),
        service: service(coredms, platform),
        budget: budget(coredms, platform),
        members: members(coredms, platform, running),
        config: config_map(coredms, platform, running),
        state: PhantomData,
    }
}

/// The StatefulSet of so many members.
pub fn members(coredms: &ValidatedCoreDms, platform: &Platform, running: u16) -> StatefulSet {
    stateful_set::build(coredms, platform, digest(coredms), running)
}

/// Labels by which members, and their volumes, are selected; they never change.
pub fn member_labels(engine: Engine, coredms: &str) -> Labels {
    Labels::from([
        (labels::APP_NAME.to_owned(), application(engine).to_owned()),
        (labels::APP_INSTANCE.to_owned(), coredms.to_owned()),
        (labels::COREDMS.to_owned(), coredms.to_owned()),
    ])
}

/// Every label of an object.
fn all_labels(coredms: &ValidatedCoreDms, platform: &Platform) -> Labels {
    let mut all = member_labels(coredms.engine, &coredms.name);
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

/// Files of the members that run and of those that are asked for.
fn config_map(coredms: &ValidatedCoreDms, platform: &Platform, running: u16) -> ConfigMap {
    ConfigMap {
        metadata: owned(coredms, platform, &names::config(&coredms.name)),
        data: Some(engine::config(coredms, coredms.replicas.max(running))),
        ..Default::default()
    }
}

/// What is known of members that have joined. Without an owner: it outlives the CoreDms with their volumes.
pub fn joined_members(
    coredms: &ValidatedCoreDms,
    platform: &Platform,
    data: BTreeMap<String, String>,
) -> ConfigMap {
    ConfigMap {
        metadata: meta(
            &coredms.namespace,
            &names::members(&coredms.name),
            &all_labels(coredms, platform),
        ),
        data: Some(data),
        ..Default::default()
    }
}

/// Members read their configuration at their start: a change restarts them. What is said of the first members is
/// said of all; one more member changes nothing for the others.
fn digest(coredms: &ValidatedCoreDms) -> String {
    let mut hash = Sha256::new();
    for (name, text) in engine::config(coredms, cassandra::FIRST) {
        hash.update(name);
        hash.update([0]);
        hash.update(text);
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..16])
}

fn superuser(coredms: &ValidatedCoreDms, platform: &Platform, fresh: Fresh) -> Secret {
    let mut entries = vec![
        (crate::login::USERNAME, names::SUPERUSER.to_owned()),
        (crate::login::PASSWORD, fresh.password),
    ];
    if coredms.engine == Engine::MongoDB {
        entries.push((names::KEYFILE, fresh.keyfile));
    }
    let data = entries
        .into_iter()
        .map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())));
    Secret {
        metadata: meta(
            &coredms.namespace,
            &names::superuser_secret(&coredms.name),
            &all_labels(coredms, platform),
        ),
        type_: Some("kubernetes.io/basic-auth".to_owned()),
        data: Some(data.collect()),
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
            selector: Some(member_labels(coredms.engine, &coredms.name)),
            ports: Some(
                ports(coredms.engine)
                    .iter()
                    .map(|(name, port)| service_port(name, *port))
                    .collect(),
            ),
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
            selector: Some(selector(&member_labels(coredms.engine, &coredms.name))),
            ..Default::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests;
