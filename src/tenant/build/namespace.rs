//! The namespace [pure]: security level, the operator's right to it, quota and defaults.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, LimitRangeSpec, Namespace, ResourceQuota, ResourceQuotaSpec,
};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::ObjectMeta;
use simbdp_api::labels;
use simbdp_api::tenant::Quota;

use super::meta::{Owner, Platform};
use crate::coredms::place::DatabasePlace;
use crate::tenant::validate::ValidatedTenant;

/// Name of the operator's own RoleBinding, ResourceQuota and LimitRange in a tenant's namespace.
pub const OWN: &str = "simbdp";
/// ClusterRole that the operator binds to itself in each namespace that it manages.
pub const TENANT_ROLE: &str = "simbdp-tenant";

/// What holds the tenant's queues and data: on record with the namespace, since they stay there also when the Tenant is
/// applied anew.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hosts {
    /// Name of the Broker.
    pub broker: String,
    /// The CoreDms, `<namespace>/<name>`.
    pub coredms: String,
}

impl Hosts {
    /// Those of a tenant whose database is there.
    pub fn of(tenant: &ValidatedTenant, place: &DatabasePlace) -> Self {
        Self {
            broker: tenant.broker.name.clone(),
            coredms: place.to_string(),
        }
    }
}

/// The tenant's namespace. No owner reference: with Retain it outlives the Tenant. `uid` is that of
/// the namespace that was looked at, so that another one of the same name is never written to.
pub fn namespace(owner: &Owner, uid: &str, hosts: &Hosts) -> Namespace {
    let mut all = owner.labels("namespace");
    for mode in ["enforce", "audit", "warn"] {
        all.insert(
            format!("pod-security.kubernetes.io/{mode}"),
            "restricted".to_owned(),
        );
    }
    Namespace {
        metadata: ObjectMeta {
            uid: Some(uid.to_owned()),
            labels: Some(all),
            ..new_namespace(owner, hosts).metadata
        },
        ..Default::default()
    }
}

/// The namespace at its birth: marked as the tenant's from its first moment.
pub fn new_namespace(owner: &Owner, hosts: &Hosts) -> Namespace {
    Namespace {
        metadata: ObjectMeta {
            name: Some(owner.name().namespace()),
            labels: Some(owner.labels("namespace")),
            annotations: Some(BTreeMap::from([
                (labels::OWNED_BY_TENANT.to_owned(), owner.name().to_string()),
                (labels::BROKER.to_owned(), hosts.broker.clone()),
                (labels::COREDMS.to_owned(), hosts.coredms.clone()),
            ])),
            ..Default::default()
        },
        ..Default::default()
    }
}

/// Gives the operator what it needs in this namespace, Secrets above all.
pub fn role_binding(owner: &Owner, platform: &Platform) -> RoleBinding {
    RoleBinding {
        metadata: owner.meta(OWN, "operator"),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "ClusterRole".into(),
            name: TENANT_ROLE.into(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: platform.service_account.clone(),
            namespace: Some(platform.namespace.clone()),
            api_group: None,
        }]),
    }
}

/// What the namespace may use at most; nothing is limited that the Tenant does not limit.
pub fn quota(owner: &Owner, quota: &Quota) -> ResourceQuota {
    let declared = [
        (
            "requests.storage",
            quota.storage.as_ref().map(|q| q.canonical().0),
        ),
        ("pods", quota.pods.map(|pods| pods.to_string())),
        ("requests.cpu", quota.cpu.as_ref().map(|q| q.canonical().0)),
        (
            "limits.memory",
            quota.memory.as_ref().map(|q| q.canonical().0),
        ),
    ];
    ResourceQuota {
        metadata: owner.meta(OWN, "quota"),
        spec: Some(ResourceQuotaSpec {
            hard: Some(
                declared
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), Quantity(value?))))
                    .collect(),
            ),
            ..Default::default()
        }),
        status: None,
    }
}

/// What a container gets that asks for nothing, so that a quota never refuses it for that.
pub fn limits(owner: &Owner) -> LimitRange {
    let list = |items: &[(&str, &str)]| {
        Some(
            items
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned())))
                .collect(),
        )
    };
    LimitRange {
        metadata: owner.meta(OWN, "quota"),
        spec: Some(LimitRangeSpec {
            limits: vec![LimitRangeItem {
                type_: "Container".into(),
                default: list(&[("memory", "256Mi")]),
                default_request: list(&[("cpu", "50m"), ("memory", "128Mi")]),
                ..Default::default()
            }],
        }),
    }
}
