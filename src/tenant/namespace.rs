//! Whose a namespace is [pure]. A tenant's namespace carries the operator's annotation of the Tenant's
//! name, which tenants have no right to write, and its UID is in the Tenant's status. Any other is
//! refused and not touched.

use k8s_openapi::api::core::v1::Namespace;
use simbdp_api::common::ObjectRef;
use simbdp_api::labels::{self, OWNED_BY_TENANT};
use simbdp_api::names::TenantName;

/// What there is of a tenant's namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Claim {
    /// Nothing: it can be created.
    Absent,
    /// Nothing, but one is on record: the record goes first. Otherwise a namespace that is created
    /// just before a crash would not be told from somebody else's.
    Forget,
    /// It is the tenant's: made for it, or retained from a Tenant of the same name.
    Ours {
        /// Its UID.
        uid: String,
    },
    /// It is the tenant's and on its way out; it can be made anew afterwards.
    Terminating,
}

/// What holds a tenant's queues and data already, as its namespace records it: neither moves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Current {
    /// Name of the Broker.
    pub broker: Option<String>,
    /// The CoreDms.
    pub coredms: Option<ObjectRef>,
}

impl Current {
    /// What a namespace records.
    pub fn of(namespace: Option<&Namespace>) -> Self {
        let recorded = |key: &str| {
            let annotations = namespace?.metadata.annotations.as_ref()?;
            annotations.get(key).map(String::as_str)
        };
        let coredms = recorded(labels::COREDMS).and_then(|text| text.split_once('/'));
        Self {
            broker: recorded(labels::BROKER).map(str::to_owned),
            coredms: coredms.map(|(namespace, name)| ObjectRef {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
        }
    }
}

/// A namespace of the tenant's name that is not the tenant's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Taken {
    /// It has no annotation of ours, or another Tenant's.
    #[error(
        "namespace `{0}` is not this Tenant's and is left alone: delete it, or choose another name for the Tenant"
    )]
    Foreign(String),
    /// It was put in the place of the one on record.
    #[error(
        "namespace `{namespace}` has the UID {found}, but the one on record is {recorded}: it is left alone; delete it, or delete and apply the Tenant again to adopt it"
    )]
    Replaced {
        /// Name.
        namespace: String,
        /// UID on record.
        recorded: String,
        /// UID that was found.
        found: String,
    },
}

/// Tells whose the namespace is. `recorded` is the UID in the Tenant's status.
pub fn claim(
    tenant: &TenantName,
    namespace: Option<&Namespace>,
    recorded: Option<&str>,
) -> Result<Claim, Taken> {
    let Some(namespace) = namespace else {
        return Ok(match recorded {
            None => Claim::Absent,
            Some(_) => Claim::Forget,
        });
    };
    let metadata = &namespace.metadata;
    let annotation = metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(OWNED_BY_TENANT));
    let uid = metadata.uid.clone().unwrap_or_default();
    match recorded {
        _ if annotation.map(String::as_str) != Some(tenant.as_str()) => {
            Err(Taken::Foreign(tenant.namespace()))
        }
        Some(recorded) if recorded != uid => Err(Taken::Replaced {
            namespace: tenant.namespace(),
            recorded: recorded.to_owned(),
            found: uid,
        }),
        _ if metadata.deletion_timestamp.is_some() => Ok(Claim::Terminating),
        _ => Ok(Claim::Ours { uid }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn namespace(uid: &str, annotation: Option<&str>) -> Namespace {
        let mut namespace = Namespace::default();
        namespace.metadata.uid = Some(uid.into());
        namespace.metadata.annotations =
            annotation.map(|name| [(OWNED_BY_TENANT.to_owned(), name.to_owned())].into());
        namespace
    }

    #[test]
    fn whose_a_namespace_is() {
        let tenant = TenantName::new("acme").unwrap();
        let claim =
            |namespace: Option<Namespace>, recorded| claim(&tenant, namespace.as_ref(), recorded);
        let ours = Ok(Claim::Ours { uid: "u1".into() });
        let foreign = Err(Taken::Foreign("tenant-acme".into()));
        assert_eq!(claim(None, None), Ok(Claim::Absent));
        assert_eq!(claim(None, Some("u1")), Ok(Claim::Forget));
        assert_eq!(claim(Some(namespace("u1", Some("acme"))), None), ours);
        assert_eq!(claim(Some(namespace("u1", Some("acme"))), Some("u1")), ours);
        assert_eq!(claim(Some(namespace("u1", None)), None), foreign);
        assert_eq!(claim(Some(namespace("u1", None)), Some("u1")), foreign);
        assert_eq!(claim(Some(namespace("u1", Some("other"))), None), foreign);
        let replaced = claim(Some(namespace("u2", Some("acme"))), Some("u1")).unwrap_err();
        assert!(
            replaced
                .to_string()
                .contains("UID u2, but the one on record is u1")
        );
    }

    #[test]
    fn a_namespace_on_its_way_out_is_waited_for() {
        let tenant = TenantName::new("acme").unwrap();
        let mut leaving = namespace("u1", Some("acme"));
        leaving.metadata.deletion_timestamp = Some(Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(
            claim(&tenant, Some(&leaving), Some("u1")),
            Ok(Claim::Terminating)
        );
    }
}
